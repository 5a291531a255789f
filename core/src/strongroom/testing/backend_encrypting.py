"""Checks of a backend that also encrypts and signs with named keys: see ``Encrypting``."""

from __future__ import annotations

import logging
import secrets

from collections.abc import Callable
from typing import Literal, TypeGuard

import pytest

from strongroom.contracts import Backend, Capability
from strongroom.contracts.encrypting import (
    DataKeyRequest,
    DataKeyResult,
    DecryptRequest,
    Encrypting,
    EncryptRequest,
    EncryptResult,
    RewrapRequest,
    RotateKeyRequest,
    RotateKeyResult,
    SignRequest,
    VerifySignatureRequest,
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
from strongroom.testing.backend_kit import BackendKit, names_below, read
from strongroom.testing.leaks import assert_hidden, marker_value, report_of
from strongroom.testing.processes import in_forked_child, in_threads
from strongroom.testing.spans import Spans

KeyMaker = Callable[[Literal["encrypting", "signing"]], SecretName]
"""Makes a key that is used by nobody else, and returns its name."""

CONTENTS = {
    "empty": b"",
    "every byte": bytes(range(256)),
    "blanks at its ends": b" \n text \n\0 ",
    "text": "grüße, 日本".encode(),
    "64 KiB": bytes(range(256)) * 256,
}
REFUSED = (TamperedError, InvalidValueError, SecretNotFoundError)
"""What may be said of a ciphertext that was changed: not authentic, of no form, or of a version that is not there."""


class EncryptingChecks(BackendKit):
    """Checks of named keys; they are left out for a backend that is not ``Encrypting``.

    Override the fixture ``make_key`` where a key is not made by being used.
    """

    @pytest.fixture
    def keeper(self, backend: Backend) -> Encrypting:
        """Return the backend under test as a keeper of keys."""
        if not has_keys(backend):
            # The interface is optional.
            pytest.skip("the backend is not Encrypting")
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
    def test_what_is_encrypted_comes_back_exactly(self, keeper: Encrypting, make_key: KeyMaker, content: bytes) -> None:
        """A ciphertext is printable ASCII, and different each time, so that equal values do not show."""
        key = make_key("encrypting")
        made = [encrypt(keeper, key, content).ciphertext for _ in range(2)]
        assert [decrypt(keeper, key, ciphertext) for ciphertext in made] == [content, content]
        assert made[0] != made[1], "equal values have equal ciphertexts"
        assert all(text.isascii() and text.isprintable() and " " not in text for text in made)

    def test_text_is_encrypted_as_utf_8(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """What comes back are its bytes."""
        key = make_key("encrypting")
        made = keeper.encrypt(EncryptRequest(key=key, plaintext=SecretValue("grüße")))
        assert decrypt(keeper, key, made.ciphertext) == "grüße".encode()

    def test_associated_data_must_be_stated_again(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """So that a ciphertext cannot be moved to another place, of a database say."""
        key = make_key("encrypting")
        bound = encrypt(keeper, key, b"content", b"row 1").ciphertext
        free = encrypt(keeper, key, b"content").ciphertext
        assert decrypt(keeper, key, bound, b"row 1") == b"content"
        for ciphertext, data in ((bound, b"row 2"), (bound, b""), (bound, b"row 1\0"), (free, b"row 1")):
            with pytest.raises(TamperedError):
                decrypt(keeper, key, ciphertext, data)

    def test_another_key_does_not_decrypt(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Even if it is of the same kind and as old."""
        ciphertext = encrypt(keeper, make_key("encrypting"), b"content").ciphertext
        with pytest.raises(REFUSED):
            decrypt(keeper, make_key("encrypting"), ciphertext)

    def test_a_ciphertext_that_is_changed_anywhere_is_refused(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Each of its characters counts, those in front of the encrypted part, too."""
        key = make_key("encrypting")
        ciphertext = encrypt(keeper, key, b"content").ciphertext
        for changed in changes_of(ciphertext):
            with pytest.raises(REFUSED):
                taken(decrypt(keeper, key, changed), changed, ciphertext)

    @pytest.mark.parametrize("text", ["", "x", "vault:v1:", "no such thing", "vault:v1:é", "\0", "AAAA" * 1000])
    def test_what_is_no_ciphertext_is_invalid(self, keeper: Encrypting, make_key: KeyMaker, text: str) -> None:
        """A mistake of the caller's, and not a sign that somebody has changed something."""
        with pytest.raises(InvalidValueError):
            decrypt(keeper, make_key("encrypting"), text)

    def test_a_key_that_is_not_there_is_not_found(self, keeper: Encrypting, make_key: KeyMaker, folder: str) -> None:
        """Neither decrypting, re-wrapping, verifying nor rotating makes one."""
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

    def test_a_rotated_key_still_decrypts_what_is_older(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """And encrypts by its new version."""
        key = make_key("encrypting")
        old = encrypt(keeper, key, b"content")
        rotated = rotate(keeper, key)
        new = encrypt(keeper, key, b"content")
        assert decrypt(keeper, key, old.ciphertext) == decrypt(keeper, key, new.ciphertext) == b"content"
        assert new.key_version == rotated.key_version
        assert new.key_version is None or new.key_version != old.key_version

    def test_rewrapping_moves_a_ciphertext_to_the_newest_version(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """What is in it stays."""
        key = make_key("encrypting")
        old = encrypt(keeper, key, b"content")
        rotated = rotate(keeper, key)
        new = rewrap(keeper, key, old.ciphertext)
        assert new.ciphertext != old.ciphertext
        assert new.key_version == rotated.key_version
        assert decrypt(keeper, key, new.ciphertext) == b"content"

    def test_rewrapping_keeps_associated_data_or_is_unsupported(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """It never gives a ciphertext that needs none any more."""
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

    def test_a_changed_ciphertext_is_not_rewrapped(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Otherwise it would come out authentic."""
        key = make_key("encrypting")
        ciphertext = encrypt(keeper, key, b"content").ciphertext
        for changed in changes_of(ciphertext):
            with pytest.raises(REFUSED):
                taken(rewrap(keeper, key, changed), changed, ciphertext)

    @pytest.mark.parametrize("size", [16, 32, 64])
    def test_a_data_key_can_be_had_again(self, keeper: Encrypting, make_key: KeyMaker, size: int) -> None:
        """From its ciphertext; and no two are equal."""
        key = make_key("encrypting")
        made = [data_key(keeper, key, size) for _ in range(2)]
        plain = [one.plaintext.reveal() for one in made]
        assert [len(content) for content in plain] == [size, size]
        assert plain[0] != plain[1]
        assert [decrypt(keeper, key, one.ciphertext) for one in made] == plain

    @pytest.mark.parametrize("size", [-16, 0, 1, 31, 33, 4096])
    def test_a_data_key_of_another_size_is_refused(self, keeper: Encrypting, make_key: KeyMaker, size: int) -> None:
        """There are sizes that no cipher takes."""
        key = make_key("encrypting")
        with pytest.raises(InvalidValueError):
            data_key(keeper, key, size)

    @pytest.mark.parametrize("message", CONTENTS.values(), ids=CONTENTS.keys())
    def test_a_signature_is_for_one_message(self, keeper: Encrypting, make_key: KeyMaker, message: bytes) -> None:
        """It is printable ASCII."""
        key = make_key("signing")
        signature = sign(keeper, key, message)
        assert verify(keeper, key, message, signature)
        assert not verify(keeper, key, message + b"\0", signature)
        assert signature.isascii()
        assert signature.isprintable()
        assert " " not in signature

    def test_another_keys_signature_is_not_authentic(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Even if that key is of the same kind."""
        signature = sign(keeper, make_key("signing"), b"message")
        assert not verify(keeper, make_key("signing"), b"message", signature)

    def test_a_signature_that_is_changed_anywhere_is_not_authentic(
        self, keeper: Encrypting, make_key: KeyMaker
    ) -> None:
        """That is an answer, and no error."""
        key = make_key("signing")
        signature = sign(keeper, key, b"message")
        authentic = [changed for changed in changes_of(signature) if verify(keeper, key, b"message", changed)]
        assert authentic == [], f"taken for {signature!r}"

    @pytest.mark.parametrize("text", ["", "x", "vault:v1:", "no such thing", "vault:v1:é", "\0", "AAAA" * 1000])
    def test_what_is_no_signature_is_not_authentic(self, keeper: Encrypting, make_key: KeyMaker, text: str) -> None:
        """A signature comes from others; whatever they send, the answer is no."""
        assert not verify(keeper, make_key("signing"), b"message", text)

    def test_a_rotated_key_still_verifies_what_is_older(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """And signs by its new version."""
        key = make_key("signing")
        old = sign(keeper, key, b"message")
        rotate(keeper, key)
        new = sign(keeper, key, b"message")
        assert old != new
        assert verify(keeper, key, b"message", old)
        assert verify(keeper, key, b"message", new)

    def test_a_key_is_no_secret(self, backend: Backend, make_key: KeyMaker) -> None:
        """It is neither read nor listed under its name."""
        key = make_key("encrypting")
        with pytest.raises(SecretNotFoundError):
            read(backend, key)
        if Capability.LIST in self.capabilities:
            assert key not in names_below(backend, "")

    def test_no_plaintext_in_results_and_errors(self, keeper: Encrypting, backend: Backend, make_key: KeyMaker) -> None:
        """A value shows in no ``repr``, and in neither text, cause nor local variable of an error."""
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

    def test_no_plaintext_in_the_log(
        self, keeper: Encrypting, make_key: KeyMaker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not even at level DEBUG of all libraries."""
        caplog.set_level(logging.DEBUG)
        marker = marker_value()
        key = make_key("encrypting")
        decrypt(keeper, key, encrypt(keeper, key, marker.encode()).ciphertext)
        self._failures_with(keeper, key, marker)
        logged = [f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records]
        assert_hidden(marker, "\n".join(logged), "the log")

    def test_no_plaintext_and_no_key_name_in_spans(self, backend: Backend, make_key: KeyMaker) -> None:
        """The core opens one span around each call; it holds the HMAC of the key's name only."""
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

    def test_threads_that_use_one_key_do_not_disturb_each_other(self, keeper: Encrypting, make_key: KeyMaker) -> None:
        """Each gets back what it has encrypted, also while the key is rotated."""
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

    def test_a_forked_child_can_encrypt(self, keeper: Encrypting, backend: Backend, make_key: KeyMaker) -> None:
        """After ``after_fork`` it works on its own, and the parent goes on."""
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


def has_keys(backend: Backend) -> TypeGuard[Encrypting]:
    """Tell whether a backend encrypts, too."""
    return isinstance(backend, Encrypting)


def errors_of(attempts: list[Callable[[], object]]) -> list[StrongroomError]:
    """Return the errors that some attempts raise."""
    errors = []
    for attempt in attempts:
        try:
            attempt()
        except StrongroomError as error:
            errors.append(error)
    return errors


def unused_key(folder: str) -> SecretName:
    """Return the name of a key that nobody has made."""
    return SecretName(f"{folder}-{secrets.token_hex(4)}")


def changes_of(text: str) -> list[str]:
    """Return a printable text with each of its characters changed in turn, cut in several places, and lengthened."""
    other = [("B" if character == "A" else "0" if character == "1" else "A") for character in text]
    changed = [text[:at] + other[at] + text[at + 1 :] for at in range(len(text))]
    cut = [text[:size] for size in {0, 1, len(text) // 2, len(text) - 1}]
    return [*changed, *cut, text + "A", text + "=", text + text[-4:], text + "\n", " " + text]


def taken(result: object, changed: str, ciphertext: str) -> None:
    """Fail, since a changed ciphertext was taken for the right one; both are of the check's own random key."""
    pytest.fail(f"{changed!r} was taken for {ciphertext!r}, and gave {type(result).__name__}")


def encrypt(keeper: Encrypting, key: str, content: bytes, associated_data: bytes = b"") -> EncryptResult:
    """Encrypt under a key."""
    request = EncryptRequest(key=SecretName(key), plaintext=SecretValue(content), associated_data=associated_data)
    return keeper.encrypt(request)


def decrypt(keeper: Encrypting, key: str, ciphertext: str, associated_data: bytes = b"") -> bytes:
    """Decrypt what was encrypted under a key."""
    request = DecryptRequest(key=SecretName(key), ciphertext=ciphertext, associated_data=associated_data)
    return keeper.decrypt(request).plaintext.reveal()


def rewrap(keeper: Encrypting, key: str, ciphertext: str, associated_data: bytes = b"") -> EncryptResult:
    """Encrypt a ciphertext anew."""
    return keeper.rewrap(RewrapRequest(key=SecretName(key), ciphertext=ciphertext, associated_data=associated_data))


def sign(keeper: Encrypting, key: str, message: bytes) -> str:
    """Sign a message."""
    return keeper.sign(SignRequest(key=SecretName(key), message=SecretValue(message))).signature


def verify(keeper: Encrypting, key: str, message: bytes, signature: str) -> bool:
    """Check a signature."""
    request = VerifySignatureRequest(key=SecretName(key), message=SecretValue(message), signature=signature)
    return keeper.verify_signature(request).valid


def data_key(keeper: Encrypting, key: str, size: int) -> DataKeyResult:
    """Make a data key."""
    return keeper.data_key(DataKeyRequest(key=SecretName(key), size=size))


def rotate(keeper: Encrypting, key: str) -> RotateKeyResult:
    """Make a new version of a key."""
    return keeper.rotate_key(RotateKeyRequest(key=SecretName(key)))
