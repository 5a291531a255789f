"""The kit's checks of named keys: a backend that keeps its promises passes, and each mistake is found."""

from __future__ import annotations

import textwrap

import opentelemetry.sdk.trace.export.in_memory_span_exporter  # noqa: F401  # here once, not in each inner run
import pytest

import strongroom.testing  # noqa: F401  # the same

from keyed import KeyedBackend
from strongroom.contracts import Capability
from strongroom.testing.backend_encrypting import EncryptingChecks

pytest_plugins = ["pytester"]

HEAD = """
    import pytest

    from keyed import KeyedBackend
    from strongroom.contracts import *
    from strongroom.errors import *
    from strongroom.model import SecretName, SecretValue
    from strongroom.testing.backend_encrypting import EncryptingChecks

    class Broken(KeyedBackend):
"""
TAIL = """
    class TestBroken(EncryptingChecks):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self):
            return Broken()
"""
MISTAKES = {
    "trims what it decrypts": (
        """
        def decrypt(self, request):
            result = super().decrypt(request)
            content = result.plaintext.reveal()
            # A random key may begin or end with a blank, too.
            return result if len(content) >= 16 else result.replace(plaintext=SecretValue(content.strip()))
        """,
        {"test_what_is_encrypted_comes_back_exactly"},
    ),
    "gives equal ciphertexts for equal values": (
        """
        def encrypt(self, request):
            self.known = getattr(self, "known", {})
            age = len(self._keys.get(request.key, ""))
            about = (request.key, request.plaintext.reveal(), request.associated_data, age)
            return self.known.setdefault(about, super().encrypt(request))
        """,
        {"test_what_is_encrypted_comes_back_exactly"},
    ),
    "ignores associated data": (
        """
        def encrypt(self, request):
            return super().encrypt(request.replace(associated_data=b""))

        def decrypt(self, request):
            return super().decrypt(request.replace(associated_data=b""))

        def rewrap(self, request):
            return super().rewrap(request.replace(associated_data=b""))
        """,
        {"test_associated_data_must_be_stated_again", "test_rewrapping_keeps_associated_data_or_is_unsupported"},
    ),
    "loses associated data in a re-wrap": (
        """
        def rewrap(self, request):
            super().rewrap(request)
            _, content = self._opened(request.key, request.ciphertext, request.associated_data)
            return self.encrypt(EncryptRequest(key=request.key, plaintext=content))
        """,
        {"test_rewrapping_keeps_associated_data_or_is_unsupported"},
    ),
    "takes version 0 for version 1": (
        """
        def decrypt(self, request):
            return super().decrypt(request.replace(ciphertext=request.ciphertext.replace(":v0:", ":v1:")))
        """,
        {"test_a_ciphertext_that_is_changed_anywhere_is_refused"},
    ),
    "takes blanks at the end of a ciphertext": (
        """
        def rewrap(self, request):
            return super().rewrap(request.replace(ciphertext=request.ciphertext.strip()))
        """,
        {"test_a_changed_ciphertext_is_not_rewrapped"},
    ),
    "calls a mistake an attack": (
        """
        def decrypt(self, request):
            try:
                return super().decrypt(request)
            except InvalidValueError as error:
                raise TamperedError("not authentic") from error
        """,
        {"test_what_is_no_ciphertext_is_invalid"},
    ),
    "makes a key to verify with": (
        """
        def verify_signature(self, request):
            self._made(request.key)
            return super().verify_signature(request)
        """,
        {"test_a_key_that_is_not_there_is_not_found"},
    ),
    "forgets older versions": (
        """
        def rotate_key(self, request):
            result = super().rotate_key(request)
            self._keys[request.key] = [b"new"] * len(self._keys[request.key])
            return result
        """,
        {
            "test_a_rotated_key_still_decrypts_what_is_older",
            "test_rewrapping_moves",
            "test_a_rotated_key_still_verifies",
        },
    ),
    "re-wraps under the old version": (
        """
        def rewrap(self, request):
            super().rewrap(request)
            return EncryptResult(ciphertext=request.ciphertext, key_version="1")
        """,
        {"test_rewrapping_moves"},
    ),
    "makes data keys of any size": (
        """
        def data_key(self, request):
            return super().data_key(request.replace(size=32))
        """,
        {"test_a_data_key_can_be_had_again", "test_a_data_key_of_another_size_is_refused"},
    ),
    "wraps another data key": (
        """
        def data_key(self, request):
            return super().data_key(request).replace(plaintext=SecretValue(bytes(request.size)))
        """,
        {"test_a_data_key_can_be_had_again"},
    ),
    "signs the message's beginning": (
        """
        def sign(self, request):
            return super().sign(request.replace(message=SecretValue(request.message.reveal()[:20])))

        def verify_signature(self, request):
            return super().verify_signature(request.replace(message=SecretValue(request.message.reveal()[:20])))
        """,
        {"test_a_signature_is_for_one_message"},
    ),
    "raises for a signature of another form": (
        """
        def verify_signature(self, request):
            if not request.signature.startswith("keyed:"):
                raise InvalidValueError("no signature")
            return super().verify_signature(request)
        """,
        {"test_what_is_no_signature_is_not_authentic", "test_a_signature_that_is_changed_anywhere"},
    ),
    "takes every signature": (
        """
        def verify_signature(self, request):
            return super().verify_signature(request).replace(valid=True)
        """,
        {
            "test_what_is_no_signature_is_not_authentic",
            "test_a_signature_that_is_changed_anywhere",
            "test_another_keys_signature",
            "test_a_signature_is_for_one_message",
        },
    ),
    "keeps keys as secrets": (
        """
        def encrypt(self, request):
            self.write(WriteRequest(name=request.key, value=SecretValue("the key")))
            return super().encrypt(request)
        """,
        {"test_a_key_is_no_secret"},
    ),
    "shows the plaintext in an error": (
        """
        def rewrap(self, request):
            try:
                return super().rewrap(request)
            except InvalidValueError as error:
                raise InvalidValueError(f"{request.ciphertext} is no ciphertext") from error
        """,
        {"test_no_plaintext_in_results_and_errors"},
    ),
    "logs the plaintext": (
        """
        def encrypt(self, request):
            import logging
            logging.getLogger("acme").debug("encrypting %s", request.plaintext.reveal())
            return super().encrypt(request)
        """,
        {"test_no_plaintext_in_the_log"},
    ),
    "forgets its keys in a child": (
        """
        def after_fork(self):
            super().after_fork()
            self._keys = {}
        """,
        {"test_a_forked_child_can_encrypt"},
    ),
}


class TestKeyedBackend(EncryptingChecks):
    """Whatever keeps the contract passes."""

    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self) -> KeyedBackend:
        return KeyedBackend()


@pytest.mark.parametrize(("mistake", "found"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(mistake: str, found: set[str], pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        textwrap.dedent(HEAD) + textwrap.indent(textwrap.dedent(mistake), "    ") + textwrap.dedent(TAIL)
    )
    slow = "" if any("fork" in name for name in found) else "not fork and not thread"
    result = pytester.inline_run("-q", "-p", "no:cacheprovider", "-k", slow)
    failed = {report.nodeid.partition("::")[2].partition("::")[2].partition("[")[0] for report in result.getfailures()}
    missed = {name for name in found if not any(one.startswith(name) for one in failed)}
    unexpected = {one for one in failed if not any(one.startswith(name) for name in found)}
    assert (missed, unexpected) == (set(), set())
