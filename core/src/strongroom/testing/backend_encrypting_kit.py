"""What the checks of named keys share: short calls, and what is encrypted and changed."""

from __future__ import annotations

import secrets

from collections.abc import Callable
from typing import Literal, TypeGuard

import pytest

from strongroom.contracts import Backend
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
)
from strongroom.model import SecretName, SecretValue

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
