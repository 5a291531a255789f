"""Encrypting and signing with the transit engine, whose keys never leave the server: one request an operation."""

from __future__ import annotations

import base64
import binascii
import re

from collections.abc import Callable
from typing import Final

from strongroom.contracts import (
    DataKeyRequest,
    DataKeyResult,
    DecryptRequest,
    DecryptResult,
    Encrypting,
    EncryptRequest,
    EncryptResult,
    RewrapRequest,
    RotateKeyRequest,
    RotateKeyResult,
    SignRequest,
    SignResult,
    VerifySignatureRequest,
    VerifySignatureResult,
)
from strongroom.errors import (
    BackendError,
    InvalidNameError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    UnsupportedOperationError,
    ValueTooLargeError,
)
from strongroom.model import SecretName, SecretValue
from strongroom_vault.asking import AskingAdapter, bare
from strongroom_vault.faults import misplaced, refusal
from strongroom_vault.replies import Reply

MAX_REQUEST_BYTES: Final = 32 * 1024 * 1024
"""What a server takes as one request, unless it is configured otherwise."""
_ROOM: Final = 1024
"""What a request has besides the plaintext and the associated data, and a ciphertext more than its plaintext."""
_KEY_NAME: Final = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)
_PREFIX: Final = "vault:v"
_NO_SIGNATURE: Final = ("invalid signature", "supplied signature is invalid", "invalid base64 signature")


class Transit(Encrypting):
    """Uses the keys of a transit engine.

    Args:
        adapter: The way to the server; its requests may be sent twice.
        once: The same for what must not be sent twice.
        mount: Where the engine is; it may have slashes.
    """

    def __init__(self, adapter: AskingAdapter, once: AskingAdapter, mount: str) -> None:
        self._engine = adapter.client().secrets.transit
        self._once = once.client().secrets.transit
        self._mount = mount.strip("/")

    def encrypt(self, request: EncryptRequest) -> EncryptResult:
        """Encrypt a value; see ``Encrypting.encrypt``. A key that is not there is made if the token may create it."""
        key, plaintext, data = _checked(request.key), request.plaintext, request.associated_data
        _ensure_fits(key, len(plaintext), len(data))
        reply = _asked(
            lambda: self._engine.encrypt_data(
                key, plaintext=_sent(plaintext), mount_point=self._mount, associated_data=_sent_data(data)
            )
        )
        return _encrypted(reply, f"encrypting with the key {key}", key, len(plaintext))

    def decrypt(self, request: DecryptRequest) -> DecryptResult:
        """Decrypt a ciphertext; see ``Encrypting.decrypt``."""
        key, version = _checked(request.key), _version_of_ciphertext(request.ciphertext, request.key)
        reply = _asked(
            lambda: self._engine.decrypt_data(
                key,
                ciphertext=request.ciphertext,
                mount_point=self._mount,
                associated_data=_sent_data(request.associated_data),
            )
        )
        _expect(reply, f"decrypting with the key {key}", key, len(request.ciphertext))
        plaintext = _received(reply)
        if plaintext is None:
            raise _odd(f"decrypting with the key {key}", key)
        return DecryptResult(plaintext=plaintext, key_version=version, request_id=reply.request_id)

    def rewrap(self, request: RewrapRequest) -> EncryptResult:
        """Encrypt a ciphertext anew; see ``Encrypting.rewrap``."""
        key = _checked(request.key)
        _version_of_ciphertext(request.ciphertext, key)
        if request.associated_data:
            raise UnsupportedOperationError(
                "the transit engine takes no associated data for re-wrapping, so what needs some cannot be re-wrapped",
                name=key,
                hint="decrypt it, and encrypt it again with the same associated data",
            )
        reply = _asked(lambda: self._engine.rewrap_data(key, ciphertext=request.ciphertext, mount_point=self._mount))
        return _encrypted(reply, f"re-wrapping with the key {key}", key, len(request.ciphertext))

    def sign(self, request: SignRequest) -> SignResult:
        """Sign a message; see ``Encrypting.sign``. The key must be there."""
        key, message = _checked(request.key), request.message
        _ensure_fits(key, len(message), 0)
        reply = _asked(lambda: self._engine.sign_data(key, hash_input=_sent(message), mount_point=self._mount))
        what = f"signing with the key {key}"
        _expect(reply, what, key, len(message))
        signature = reply.data.get("signature")
        version = _version(signature)
        if version is None:
            raise _odd(what, key)
        return SignResult(signature=str(signature), key_version=version, request_id=reply.request_id)

    def verify_signature(self, request: VerifySignatureRequest) -> VerifySignatureResult:
        """Tell whether a signature is authentic; see ``Encrypting.verify_signature``."""
        key, message, version = _checked(request.key), request.message, _version(request.signature)
        if version is None:
            return VerifySignatureResult(valid=False)
        _ensure_fits(key, len(message), len(request.signature))
        reply = _asked(
            lambda: self._engine.verify_signed_data(
                key, hash_input=_sent(message), signature=request.signature, mount_point=self._mount
            )
        )
        # Only of a key that is there and can verify is the signature looked at.
        if reply.status == 400 and any(text in reply.errors for text in _NO_SIGNATURE):
            return VerifySignatureResult(valid=False, request_id=reply.request_id)
        _expect(reply, f"verifying with the key {key}", key, len(message))
        valid = reply.data.get("valid")
        if not isinstance(valid, bool):
            raise _odd(f"verifying with the key {key}", key)
        return VerifySignatureResult(valid=valid, key_version=version, request_id=reply.request_id)

    def data_key(self, request: DataKeyRequest) -> DataKeyResult:
        """Make a data key; see ``Encrypting.data_key``."""
        key = _checked(request.key)
        if request.size not in (16, 32, 64):
            raise InvalidValueError(
                f"the transit engine makes data keys of 16, 32 and 64 bytes, not {request.size}",
                name=key,
                hint="use 32",
            )
        reply = _asked(
            lambda: self._engine.generate_data_key(key, "plaintext", bits=request.size * 8, mount_point=self._mount)
        )
        what = f"making a data key with the key {key}"
        wrapped = _encrypted(reply, what, key, request.size)
        plaintext = _received(reply)
        if plaintext is None or len(plaintext) != request.size:
            raise _odd(what, key)
        return DataKeyResult(
            plaintext=plaintext,
            ciphertext=wrapped.ciphertext,
            key_version=wrapped.key_version,
            request_id=wrapped.request_id,
        )

    def rotate_key(self, request: RotateKeyRequest) -> RotateKeyResult:
        """Make a new version of a key; see ``Encrypting.rotate_key``. The key must be there."""
        key = _checked(request.key)
        reply = _asked(lambda: self._once.rotate_key(key, mount_point=self._mount))
        _expect(reply, f"rotating the key {key}", key, 0)
        version = reply.data.get("latest_version")
        return RotateKeyResult(key_version=None if version is None else str(version), request_id=reply.request_id)


def _checked(key: SecretName) -> SecretName:
    """Return the name of a key that the engine can have."""
    if not _KEY_NAME.fullmatch(key):
        raise InvalidNameError(
            f"the transit engine can have no key called {str(key)!a}",
            name=key,
            hint="use ASCII letters, digits and underscores, and between them hyphens and full stops, but no slash",
        )
    return key


def _ensure_fits(key: SecretName, size: int, further: int) -> None:
    """Refuse what is too large to be sent, or would be as a ciphertext to be sent back."""
    limit = (MAX_REQUEST_BYTES - _ROOM) // 4 * 3 - further
    if size > limit:
        raise ValueTooLargeError(
            f"there are {size} bytes for the key {key}, and a server takes at most {limit} in one request",
            size=size,
            limit=limit,
            name=key,
            hint="make a data key, and encrypt it yourself with that",
        )


def _sent(value: SecretValue) -> str:
    return base64.b64encode(value.reveal()).decode()


def _sent_data(data: bytes) -> str | None:
    return base64.b64encode(data).decode() if data else None


def _received(reply: Reply) -> SecretValue | None:
    """Return the plaintext of an answer; ``None`` if it has none."""
    try:
        return SecretValue(base64.b64decode(reply.data["plaintext"], validate=True))
    except (KeyError, TypeError, ValueError):
        return None


def _asked(call: Callable[[], Reply]) -> Reply:
    """Return the answer; an error comes without the frames in which a plaintext was."""
    try:
        return call()
    # Ctrl-C, too.
    except BaseException as error:  # noqa: BLE001  # raised again below
        failure = bare(error)
    raise failure


def _odd(what: str, key: SecretName) -> BackendError:
    return BackendError(
        f"the server's answer to {what} is not that of a transit engine", name=key, hint="check the setting transit"
    )


def _encrypted(reply: Reply, what: str, key: SecretName, size: int) -> EncryptResult:
    _expect(reply, what, key, size)
    ciphertext = reply.data.get("ciphertext")
    version = _version(ciphertext)
    if version is None:
        raise _odd(what, key)
    return EncryptResult(ciphertext=str(ciphertext), key_version=version, request_id=reply.request_id)


def _version_of_ciphertext(ciphertext: str, key: SecretName) -> str:
    """Return the version of the key that a ciphertext states.

    Raises:
        InvalidValueError: It is no ciphertext. The server is not asked: it takes more than one spelling of some,
            such as version 0 for version 1, and each change is to show.
        ValueTooLargeError: It cannot be sent.
    """
    version = _version(ciphertext)
    if version is None:
        raise InvalidValueError(
            f"what is to be decrypted with the key {key} is no ciphertext of the transit engine",
            name=key,
            hint="pass it exactly as it was returned",
        )
    if len(ciphertext) > MAX_REQUEST_BYTES - _ROOM // 2:
        raise ValueTooLargeError(
            f"the ciphertext for the key {key} is larger than what a server takes in one request",
            size=len(ciphertext),
            limit=MAX_REQUEST_BYTES - _ROOM // 2,
            name=key,
        )
    return version


def _version(text: object) -> str | None:
    """Return the version of the key that a ciphertext or a signature states; ``None`` if it is neither."""
    if not isinstance(text, str) or not text.isascii():
        return None
    head, _, content = text.rpartition(":")
    number = head.removeprefix(_PREFIX)
    if head != _PREFIX + number or not number.isdigit() or number.startswith("0"):
        return None
    try:
        usual = base64.b64encode(base64.b64decode(content, validate=True)).decode()
    except binascii.Error:
        return None
    return number if content == usual else None


def _expect(reply: Reply, what: str, key: SecretName, size: int) -> None:
    """Raise what an answer means that is not the one asked for."""
    if reply.status not in (200, 204):
        raise _failure(reply, what, key, size)


def _failure(reply: Reply, what: str, key: SecretName, size: int) -> StrongroomError:
    said = reply.errors if reply.status in (400, 500) else ""
    if "key not found" in said:
        return SecretNotFoundError(
            f"the transit engine has no key {key}", name=key, hint="make it there first, or check its spelling"
        )
    if "soft-deleted" in said:
        return SecretDeletedError(f"the key {key} is deleted, and can be restored in the transit engine", name=key)
    if "version is too new" in said or "disallowed by policy" in said:
        return SecretNotFoundError(
            f"the key {key} has no such version, or does not use it any more",
            code="version_not_found",
            name=key,
            hint="compare the key's min_decryption_version and its newest version",
        )
    if "message authentication failed" in said or "decryption error" in said:
        return TamperedError(
            f"the ciphertext is not authentic under the key {key}",
            name=key,
            hint="it was changed, or belongs to another key or to other associated data",
        )
    if "ciphertext" in said:
        return InvalidValueError(f"the server takes it for no ciphertext in {what}", name=key)
    if "message too long" in said:
        return ValueTooLargeError(
            f"{size} bytes are more than the RSA key {key} can encrypt", size=size, limit=max(size - 1, 0), name=key
        )
    if any(text in said for text in ("not support", "non-AEAD", "key derivation")):
        return UnsupportedOperationError(
            f"the key {key} is of a type that is not for {what.partition(' with')[0]}",
            name=key,
            hint="use a key of another type, without derivation; associated data needs an AES-GCM or ChaCha20 key",
        )
    misplacement = misplaced(reply, what, key)
    if misplacement is not None:
        misplacement.hint = "check `transit`, and that `namespace` is the one it is in"
        return misplacement
    return refusal(reply, what, name=key, size=size)
