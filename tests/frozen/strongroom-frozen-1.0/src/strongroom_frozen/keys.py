"""Named keys. The cipher is made of HMAC-SHA256 alone: enough for a test, and for nothing else."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import struct

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
from strongroom.errors import InvalidValueError, SecretNotFoundError, TamperedError
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom_frozen.document import Document


class FrozenKeys(Encrypting):
    """The part of the backend that encrypts and signs."""

    _document: Document

    def encrypt(self, request: EncryptRequest) -> EncryptResult:
        """Encrypt a value under the newest version of a key, which is made if there is none."""
        version, key = self._newest(request.key, make=True)
        ciphertext = _sealed(version, key, request.plaintext.reveal(), request.associated_data)
        return EncryptResult(ciphertext=ciphertext, key_version=str(version), request_id="encrypted")

    def decrypt(self, request: DecryptRequest) -> DecryptResult:
        """Decrypt what was encrypted."""
        version, plaintext = self._opened(request.key, request.ciphertext, request.associated_data)
        value = SecretValue.of_bytes(plaintext, ValueType.BINARY)
        return DecryptResult(plaintext=value, key_version=str(version), request_id="decrypted")

    def rewrap(self, request: RewrapRequest) -> EncryptResult:
        """Encrypt a ciphertext anew under the newest version of its key."""
        _, plaintext = self._opened(request.key, request.ciphertext, request.associated_data)
        version, key = self._newest(request.key)
        ciphertext = _sealed(version, key, plaintext, request.associated_data)
        return EncryptResult(ciphertext=ciphertext, key_version=str(version), request_id="rewrapped")

    def sign(self, request: SignRequest) -> SignResult:
        """Sign a message with the newest version of a key, which is made if there is none."""
        version, key = self._newest(request.key, make=True)
        signature = _text(version, hmac.digest(key, b"sign" + request.message.reveal(), "sha256"))
        return SignResult(signature=signature, key_version=str(version), request_id="signed")

    def verify_signature(self, request: VerifySignatureRequest) -> VerifySignatureResult:
        """Tell whether a signature is authentic."""
        keys = self._all(request.key)
        version, given = _parts(request.signature)
        if not 1 <= version <= len(keys):
            return VerifySignatureResult(valid=False)
        wanted = hmac.digest(keys[version - 1], b"sign" + request.message.reveal(), "sha256")
        valid = hmac.compare_digest(wanted, given)
        return VerifySignatureResult(valid=valid, key_version=str(version), request_id="verified")

    def data_key(self, request: DataKeyRequest) -> DataKeyResult:
        """Make a random key."""
        if request.size not in {16, 32, 64}:
            raise InvalidValueError(f"no data key has {request.size} bytes", hint="ask for 16, 32 or 64")
        version, key = self._newest(request.key, make=True)
        plaintext = SecretValue(os.urandom(request.size))
        ciphertext = _sealed(version, key, plaintext.reveal(), b"")
        return DataKeyResult(plaintext=plaintext, ciphertext=ciphertext, key_version=str(version), request_id="made")

    def rotate_key(self, request: RotateKeyRequest) -> RotateKeyResult:
        """Make a new version of a key."""
        with self._document.changing() as content:
            keys = content.get("keys", {}).get(request.key)
            if keys is None:
                raise _missing(request.key)
            keys.append(os.urandom(32).hex())
        return RotateKeyResult(key_version=str(len(keys)), request_id="rotated")

    def _all(self, name: SecretName) -> list[bytes]:
        keys = self._document.read().get("keys", {}).get(name)
        if keys is None:
            raise _missing(name)
        return [bytes.fromhex(key) for key in keys]

    def _newest(self, name: SecretName, *, make: bool = False) -> tuple[int, bytes]:
        if make and name not in self._document.read().get("keys", {}):
            with self._document.changing() as content:
                content.setdefault("keys", {}).setdefault(name, [os.urandom(32).hex()])
        keys = self._all(name)
        return len(keys), keys[-1]

    def _opened(self, name: SecretName, ciphertext: str, associated_data: bytes) -> tuple[int, bytes]:
        keys = self._all(name)
        version, raw = _parts(ciphertext)
        if version < 1 or len(raw) < 48:
            raise InvalidValueError("that is no ciphertext of this backend", hint="pass it as it was given")
        if version > len(keys):
            raise SecretNotFoundError(f"{name} has no version {version}", code="version_not_found", name=name)
        key, nonce, tag, body = keys[version - 1], raw[:16], raw[16:48], raw[48:]
        if not hmac.compare_digest(tag, _tag(key, nonce, body, associated_data)):
            raise TamperedError("the ciphertext is not authentic", name=name)
        return version, _crypted(key, nonce, body)


def _missing(name: SecretName) -> SecretNotFoundError:
    return SecretNotFoundError(f"there is no key {name}", name=name, hint="encrypt something with it first")


def _text(version: int, raw: bytes) -> str:
    return f"frozen:{version}:{base64.b64encode(raw).decode()}"


def _parts(text: str) -> tuple[int, bytes]:
    """Return the version and the bytes; version 0 if the text is none of ours."""
    word, _, rest = text.partition(":")
    version, _, encoded = rest.partition(":")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return 0, b""
    canonical = word == "frozen" and version.isascii() and version.isdigit() and len(version) < 9
    return (int(version), raw) if canonical and _text(int(version), raw) == text else (0, b"")


def _crypted(key: bytes, nonce: bytes, data: bytes) -> bytes:
    blocks = (hmac.digest(key, nonce + struct.pack(">Q", at), "sha256") for at in range(len(data) // 32 + 1))
    return bytes(left ^ right for left, right in zip(data, b"".join(blocks), strict=False))


def _tag(key: bytes, nonce: bytes, body: bytes, associated_data: bytes) -> bytes:
    return hmac.digest(key, b"tag" + struct.pack(">Q", len(associated_data)) + associated_data + nonce + body, "sha256")


def _sealed(version: int, key: bytes, plaintext: bytes, associated_data: bytes) -> str:
    nonce = os.urandom(16)
    body = _crypted(key, nonce, plaintext)
    return _text(version, nonce + _tag(key, nonce, body, associated_data) + body)
