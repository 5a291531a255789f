"""Checks of a backend that also encrypts and signs with named keys: see ``Encrypting``."""

from __future__ import annotations

import logging

from collections.abc import Callable
from typing import Literal

import pytest

from strongroom.contracts import Backend, Capability
from strongroom.contracts.encrypting import (
    DecryptRequest,
    Encrypting,
    EncryptRequest,
    EncryptResult,
)
from strongroom.errors import (
    InvalidValueError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import Telemetry
from strongroom.testing.backend_encrypting_kit import (
    CONTENTS,
    REFUSED,
    KeyMaker,
    changes_of,
    data_key,
    decrypt,
    encrypt,
    errors_of,
    has_keys,
    rewrap,
    rotate,
    sign,
    taken,
    unused_key,
    verify,
)
from strongroom.testing.backend_kit import BackendKit, names_below, read
from strongroom.testing.leaks import assert_hidden, marker_value, report_of
from strongroom.testing.processes import in_forked_child, in_threads
from strongroom.testing.promises import promised_by
from strongroom.testing.spans import Spans


class EncryptingChecks(BackendKit):
    """Checks of named keys; they are left out for a backend that is not ``Encrypting``.

    Override the fixture ``make_key`` where a key is not made by being used.
    """

    @pytest.fixture
    def keeper(self, backend: Backend) -> Encrypting:
        """Return the backend under test as a keeper of keys."""
        if not has_keys(backend):
            # The interface is optional.
            pytest.skip("the backend does not implement the optional interface Encrypting")
        return backend

    @pytest.fixture
    def make_key(self, keeper: Encrypting, folder: str) -> KeyMaker:
        """Return a function that makes a key; override it where a key is not made by being used."""

        def make(purpose: Literal["encrypting", "signing"]) -> SecretName:
            name = unused_key(folder)
            if purpose == "encrypting":
                encrypt(keeper, name, b"")
            else:
                sign(keeper, name, b"")
            return name

        return make

    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
    @promised_by(Encrypting.encrypt)
    def test_what_is_encrypted_comes_back_exactly(self, keeper: Encrypting, make_key: KeyMaker, content: bytes) -> None:
        """Decrypting gives every byte back; the ciphertext is printable ASCII and another one each time.

        Applications keep ciphertexts as text, and equal ones would show that the values are equal.
        """
        key = make_key("encrypting")
        made = [encrypt(keeper, key, content).ciphertext for _ in range(2)]
        assert [decrypt(keeper, key, ciphertext) for ciphertext in made] == [content, content]
        assert made[0] != made[1], "equal values have equal ciphertexts"
        assert all(text.isascii() and text.isprintable() and " " not in text for text in made)

    @promised_by(Encrypting.encrypt)
    def test_text_is_encrypted_as_utf_8(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """A text is encrypted as its bytes in UTF-8, and decrypting gives these.

        Whoever decrypts it with another backend or another program must get the same.
        """
        key = make_key("encrypting")
        made = keeper.encrypt(EncryptRequest(key=key, plaintext=SecretValue("grüße")))
        assert decrypt(keeper, key, made.ciphertext) == "grüße".encode()

    @promised_by(Encrypting.decrypt)
    def test_associated_data_must_be_stated_again(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """A ciphertext with associated data is decrypted with the very same data only.

        It binds a ciphertext to its place, so that nobody can move it to another row of a table.
        """
        key = make_key("encrypting")
        bound = encrypt(keeper, key, b"content", b"row 1").ciphertext
        free = encrypt(keeper, key, b"content").ciphertext
        assert decrypt(keeper, key, bound, b"row 1") == b"content"
        for ciphertext, data in ((bound, b"row 2"), (bound, b""), (bound, b"row 1\0"), (free, b"row 1")):
            with pytest.raises(TamperedError):
                decrypt(keeper, key, ciphertext, data)

    @promised_by(Encrypting.decrypt)
    def test_another_key_does_not_decrypt(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """A ciphertext of one key is refused under any other.

        Who may use one key is a question of rights, which a key that opens everything would answer for everybody.
        """
        ciphertext = encrypt(keeper, make_key("encrypting"), b"content").ciphertext
        with pytest.raises(REFUSED):
            decrypt(keeper, make_key("encrypting"), ciphertext)

    @promised_by(Encrypting.decrypt)
    def test_a_ciphertext_that_is_changed_anywhere_is_refused(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """A ciphertext with any one of its characters changed, cut or added is refused.

        What is kept outside can be changed by others; an altered value must never be taken for the real one.
        """
        key = make_key("encrypting")
        ciphertext = encrypt(keeper, key, b"content").ciphertext
        for changed in changes_of(ciphertext):
            with pytest.raises(REFUSED):
                taken(decrypt(keeper, key, changed), changed, ciphertext)

    @pytest.mark.parametrize("text", ["", "x", "vault:v1:", "no such thing", "vault:v1:é", "\0", "AAAA" * 1000])
    @promised_by(Encrypting.decrypt)
    def test_what_is_no_ciphertext_is_invalid(self, keeper: Encrypting, make_key: KeyMaker, text: str) -> None:
        """A text that is no ciphertext at all raises ``InvalidValueError``.

        That is a mistake of the caller's, and is told apart from a sign that somebody has changed something.
        """
        with pytest.raises(InvalidValueError):
            decrypt(keeper, make_key("encrypting"), text)

    @promised_by(Encrypting)
    def test_a_key_that_is_not_there_is_not_found(self, keeper: Encrypting, make_key: KeyMaker, folder: str) -> None:
        """Decrypting, re-wrapping, verifying and rotating under a missing key raise ``SecretNotFoundError``.

        None of them may make a key: a misspelt name would go unnoticed.
        """
        ciphertext = encrypt(keeper, make_key("encrypting"), b"content").ciphertext
        signature = sign(keeper, make_key("signing"), b"message")
        missing = unused_key(folder)
        attempts: list[Callable[[], object]] = [
            lambda: decrypt(keeper, missing, ciphertext),
            lambda: rewrap(keeper, missing, ciphertext),
            lambda: verify(keeper, missing, b"message", signature),
            lambda: rotate(keeper, missing),
        ]
        for attempt in attempts:
            with pytest.raises(SecretNotFoundError):
                attempt()

    @promised_by(Encrypting.rotate_key)
    def test_a_rotated_key_still_decrypts_what_is_older(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """After a rotation the key decrypts what is older, and encrypts under its new version.

        What was encrypted before is kept for years, and must stay readable.
        """
        key = make_key("encrypting")
        old = encrypt(keeper, key, b"content")
        rotated = rotate(keeper, key)
        new = encrypt(keeper, key, b"content")
        assert decrypt(keeper, key, old.ciphertext) == decrypt(keeper, key, new.ciphertext) == b"content"
        assert new.key_version == rotated.key_version
        assert new.key_version is None or new.key_version != old.key_version

    @promised_by(Encrypting.rewrap)
    def test_rewrapping_moves_a_ciphertext_to_the_newest_version(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Re-wrapping gives another ciphertext, of the newest version, with the same content.

        Only then can the older versions of a key be given up.
        """
        key = make_key("encrypting")
        old = encrypt(keeper, key, b"content")
        rotated = rotate(keeper, key)
        new = rewrap(keeper, key, old.ciphertext)
        assert new.ciphertext != old.ciphertext
        assert new.key_version == rotated.key_version
        assert decrypt(keeper, key, new.ciphertext) == b"content"

    @promised_by(Encrypting.rewrap)
    def test_rewrapping_keeps_associated_data_or_is_unsupported(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Re-wrapping keeps the associated data, or raises ``UnsupportedOperationError``.

        A ciphertext that needs none any more could be moved to another place.
        """
        key = make_key("encrypting")
        old = encrypt(keeper, key, b"content", b"row 1").ciphertext
        with pytest.raises(TamperedError):
            rewrap(keeper, key, old)
        try:
            new = rewrap(keeper, key, old, b"row 1").ciphertext
        except UnsupportedOperationError:
            return
        assert decrypt(keeper, key, new, b"row 1") == b"content"
        with pytest.raises(TamperedError):
            decrypt(keeper, key, new)

    @promised_by(Encrypting.rewrap)
    def test_a_changed_ciphertext_is_not_rewrapped(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Re-wrapping a ciphertext that was changed raises an error.

        Otherwise what somebody has changed would come out authentic.
        """
        key = make_key("encrypting")
        ciphertext = encrypt(keeper, key, b"content").ciphertext
        for changed in changes_of(ciphertext):
            with pytest.raises(REFUSED):
                taken(rewrap(keeper, key, changed), changed, ciphertext)

    @pytest.mark.parametrize("size", [16, 32, 64])
    @promised_by(Encrypting.data_key)
    def test_a_data_key_can_be_had_again(self, keeper: Encrypting, make_key: KeyMaker, size: int) -> None:
        """A data key has the size asked for, is another one each time, and its ciphertext decrypts to it.

        The application throws the plain key away and has nothing but the ciphertext to get it back.
        """
        key = make_key("encrypting")
        made = [data_key(keeper, key, size) for _ in range(2)]
        plain = [one.plaintext.reveal() for one in made]
        assert [len(content) for content in plain] == [size, size]
        assert plain[0] != plain[1]
        assert [decrypt(keeper, key, one.ciphertext) for one in made] == plain

    @pytest.mark.parametrize("size", [-16, 0, 1, 31, 33, 4096])
    @promised_by(Encrypting.data_key)
    def test_a_data_key_of_another_size_is_refused(self, keeper: Encrypting, make_key: KeyMaker, size: int) -> None:
        """A size that no cipher takes raises ``InvalidValueError``.

        A key of another size than was asked for would be cut or filled up somewhere, and be weaker.
        """
        key = make_key("encrypting")
        with pytest.raises(InvalidValueError):
            data_key(keeper, key, size)

    @pytest.mark.parametrize("message", CONTENTS.values(), ids=CONTENTS.keys())
    @promised_by(Encrypting.verify_signature)
    def test_a_signature_is_for_one_message(self, keeper: Encrypting, make_key: KeyMaker, message: bytes) -> None:
        """A signature is printable ASCII, and authentic for its message and for no other.

        It is what others trust the message for.
        """
        key = make_key("signing")
        signature = sign(keeper, key, message)
        assert verify(keeper, key, message, signature)
        assert not verify(keeper, key, message + b"\0", signature)
        assert signature.isascii()
        assert signature.isprintable()
        assert " " not in signature

    @promised_by(Encrypting.verify_signature)
    def test_another_keys_signature_is_not_authentic(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """A signature that another key has made is not authentic.

        It tells who has signed; with any key accepted, anybody could have.
        """
        signature = sign(keeper, make_key("signing"), b"message")
        assert not verify(keeper, make_key("signing"), b"message", signature)

    @promised_by(Encrypting.verify_signature)
    def test_a_signature_that_is_changed_anywhere_is_not_authentic(
        self, keeper: Encrypting, make_key: KeyMaker
    ) -> None:
        """A signature with any one of its characters changed is answered with no, and with no error.

        That somebody else's signature is wrong is an answer that the caller has asked for.
        """
        key = make_key("signing")
        signature = sign(keeper, key, b"message")
        authentic = [changed for changed in changes_of(signature) if verify(keeper, key, b"message", changed)]
        assert authentic == [], f"taken for {signature!r}"

    @pytest.mark.parametrize("text", ["", "x", "vault:v1:", "no such thing", "vault:v1:é", "\0", "AAAA" * 1000])
    @promised_by(Encrypting.verify_signature)
    def test_what_is_no_signature_is_not_authentic(self, keeper: Encrypting, make_key: KeyMaker, text: str) -> None:
        """A text that is no signature at all is answered with no, and with no error.

        A signature comes from others; whatever they send must not make a server fail.
        """
        assert not verify(keeper, make_key("signing"), b"message", text)

    @promised_by(Encrypting.rotate_key)
    def test_a_rotated_key_still_verifies_what_is_older(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """After a rotation the key verifies what is older, and makes other signatures.

        What was signed before is still in the hands of others.
        """
        key = make_key("signing")
        old = sign(keeper, key, b"message")
        rotate(keeper, key)
        new = sign(keeper, key, b"message")
        assert old != new
        assert verify(keeper, key, b"message", old)
        assert verify(keeper, key, b"message", new)

    @promised_by(Encrypting)
    def test_a_key_is_no_secret(self, backend: Backend, make_key: KeyMaker) -> None:
        """A key is neither read nor listed as a secret under its name.

        Keys never leave the backend; a read that gives one away would make all of this useless.
        """
        key = make_key("encrypting")
        with pytest.raises(SecretNotFoundError):
            read(backend, key)
        if Capability.LIST in self.capabilities:
            assert key not in names_below(backend, "")

    @promised_by(Backend)
    def test_no_plaintext_in_results_and_errors(self, keeper: Encrypting, backend: Backend, make_key: KeyMaker) -> None:
        """No ``repr``, error, cause or local variable of the plugin shows what is encrypted.

        Results and errors are logged and sent to error trackers.
        """
        marker = marker_value()
        key = make_key("encrypting")
        made = encrypt(keeper, key, marker.encode())
        result = keeper.decrypt(DecryptRequest(key=key, ciphertext=made.ciphertext))
        assert_hidden(marker, f"{made!r} {result!r} {backend!r}", "a result")
        package = type(backend).__module__.partition(".")[0]
        for error in self._failures_with(keeper, key, marker):
            assert_hidden(marker, report_of(error, package), f"the report of {type(error).__name__}")
        # Who takes a value for a ciphertext sees it in no text either; what is called ciphertext is no secret, though.
        for error in errors_of([lambda: decrypt(keeper, key, marker), lambda: rewrap(keeper, key, marker)]):
            assert_hidden(marker, report_of(error), f"the report of {type(error).__name__}")

    @promised_by(Backend)
    def test_no_plaintext_in_the_log(
        self, keeper: Encrypting, make_key: KeyMaker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing that is logged shows what is encrypted, not even at level DEBUG of all libraries.

        Logs are read by more people than may decrypt.
        """
        caplog.set_level(logging.DEBUG)
        marker = marker_value()
        key = make_key("encrypting")
        decrypt(keeper, key, encrypt(keeper, key, marker.encode()).ciphertext)
        self._failures_with(keeper, key, marker)
        logged = [f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records]
        assert_hidden(marker, "\n".join(logged), "the log")

    @promised_by(Backend)
    def test_no_plaintext_and_no_key_name_in_spans(self, backend: Backend, make_key: KeyMaker) -> None:
        """The core's one span around a call shows neither plaintext nor ciphertext nor the key's name.

        Spans go to other systems: of a name they hold an HMAC only.
        """
        marker, key, spans = marker_value(), make_key("encrypting"), Spans()
        guard = GuardedBackend(
            backend,
            name="under-test",
            type="test",
            capabilities=self.capabilities,
            telemetry=Telemetry(tracer_provider=spans.provider),
        )
        request = EncryptRequest(key=key, plaintext=SecretValue(marker))
        made = guard.crypt("encrypt", request, gives=EncryptResult)
        assert [span.name for span in spans.finished() if span.parent is None] == ["strongroom.encrypt"]
        assert_hidden(marker, spans.text(), "a span")
        assert key not in spans.text()
        assert made.ciphertext not in spans.text()

    @promised_by(Encrypting)
    def test_threads_that_use_one_key_do_not_disturb_each_other(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Four threads each get back what they have encrypted, while the key is rotated, too.

        A server uses one key in all of its threads, and rotates it in the middle of its work.
        """
        key = make_key("encrypting")

        def work(number: int) -> bool:
            for turn in range(5):
                content = b"%d %d" % (number, turn)
                if decrypt(keeper, key, encrypt(keeper, key, content).ciphertext) != content:
                    return False
                if number == 0:
                    rotate(keeper, key)
            return True

        assert in_threads(4, work) == [True] * 4

    @promised_by(Backend.after_fork)
    def test_a_forked_child_can_encrypt(self, keeper: Encrypting, backend: Backend, make_key: KeyMaker) -> None:
        """After ``after_fork`` the child encrypts and decrypts on its own, and the parent goes on.

        Servers fork; what both would use at the same time is not theirs any more.
        """
        key = make_key("encrypting")
        before = encrypt(keeper, key, b"parent").ciphertext

        def child() -> str:
            backend.after_fork()
            again = decrypt(keeper, key, encrypt(keeper, key, b"child").ciphertext)
            return f"{decrypt(keeper, key, before)!r} {again!r}"

        assert in_forked_child(child) == "b'parent' b'child'"
        assert decrypt(keeper, key, before) == b"parent"

    def _failures_with(self, keeper: Encrypting, key: SecretName, marker: str) -> list[StrongroomError]:
        """Return the errors of what can go wrong while a plaintext is at hand."""
        content = SecretValue(marker)
        ciphertext = keeper.encrypt(EncryptRequest(key=key, plaintext=content)).ciphertext
        attempts: list[Callable[[], object]] = [
            lambda: decrypt(keeper, key, ciphertext, b"other"),
            lambda: keeper.encrypt(
                EncryptRequest(key=SecretName("no key/has a name/like this\u00e9"), plaintext=content)
            ),
        ]
        return errors_of(attempts)
