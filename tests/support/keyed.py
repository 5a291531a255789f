"""A backend in memory that has named keys, too: enough of a cipher that every change shows, and none for real use."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import threading

from strongroom.builtin.memory import MemoryBackend
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
from strongroom.model import SecretName, SecretValue

_NONCE = 16
_TAG = 32


class KeyedBackend(MemoryBackend, Encrypting):
    """Makes a key when it is first used for encrypting or signing.

    Attributes:
        asked: What was called, in order.
        error: What each call raises; ``None`` lets them through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.error: Exception | None = None
        self._keys: dict[str, list[bytes]] = {}
        self._guard = threading.Lock()

    def after_fork(self) -> None:
        super().after_fork()
        self._guard = threading.Lock()

    def encrypt(self, request: EncryptRequest) -> EncryptResult:
        self._note("encrypt")
        versions = self._made(request.key)
        ciphertext = self._sealed(versions, request.plaintext.reveal(), request.associated_data)
        return EncryptResult(ciphertext=ciphertext, key_version=str(len(versions)), request_id="request-1")

    def decrypt(self, request: DecryptRequest) -> DecryptResult:
        self._note("decrypt")
        version, content = self._opened(request.key, request.ciphertext, request.associated_data)
        return DecryptResult(plaintext=content, key_version=str(version), request_id="request-2")

    def rewrap(self, request: RewrapRequest) -> EncryptResult:
        self._note("rewrap")
        _, content = self._opened(request.key, request.ciphertext, request.associated_data)
        versions = self._found(request.key)
        ciphertext = self._sealed(versions, content.reveal(), request.associated_data)
        return EncryptResult(ciphertext=ciphertext, key_version=str(len(versions)), request_id="request-3")

    def sign(self, request: SignRequest) -> SignResult:
        self._note("sign")
        versions = self._made(request.key)
        signature = _spelled(len(versions), _tag(versions[-1], b"sign", request.message.reveal()))
        return SignResult(signature=signature, key_version=str(len(versions)), request_id="request-4")

    def verify_signature(self, request: VerifySignatureRequest) -> VerifySignatureResult:
        self._note("verify_signature")
        versions = self._found(request.key)
        try:
            version, tag = _parsed(request.signature)
            expected = _tag(versions[version - 1], b"sign", request.message.reveal())
        except (InvalidValueError, IndexError):
            return VerifySignatureResult(valid=False, request_id="request-5")
        valid = hmac.compare_digest(tag, expected)
        return VerifySignatureResult(valid=valid, key_version=str(version), request_id="request-5")

    def data_key(self, request: DataKeyRequest) -> DataKeyResult:
        self._note("data_key")
        if request.size not in {16, 32, 64}:
            raise InvalidValueError("no such size")
        versions = self._made(request.key)
        plaintext = SecretValue(secrets.token_bytes(request.size))
        ciphertext = self._sealed(versions, plaintext.reveal(), b"")
        return DataKeyResult(
            plaintext=plaintext, ciphertext=ciphertext, key_version=str(len(versions)), request_id="request-6"
        )

    def rotate_key(self, request: RotateKeyRequest) -> RotateKeyResult:
        self._note("rotate_key")
        self._found(request.key)
        with self._guard:
            self._keys[request.key] = [*self._keys[request.key], os.urandom(32)]
            return RotateKeyResult(key_version=str(len(self._keys[request.key])), request_id="request-7")

    def _note(self, operation: str) -> None:
        self.asked.append(operation)
        if self.error is not None:
            raise self.error

    def _made(self, key: SecretName) -> list[bytes]:
        with self._guard:
            return self._keys.setdefault(key, [os.urandom(32)])

    def _found(self, key: SecretName) -> list[bytes]:
        if key not in self._keys:
            raise SecretNotFoundError(f"there is no key {key}", name=key)
        return self._keys[key]

    def _sealed(self, versions: list[bytes], content: bytes, data: bytes) -> str:
        nonce, key = os.urandom(_NONCE), versions[-1]
        hidden = _mixed(key, nonce, content)
        return _spelled(len(versions), nonce + hidden + _tag(key, nonce + data, hidden))

    def _opened(self, key: SecretName, ciphertext: str, data: bytes) -> tuple[int, SecretValue]:
        versions = self._found(key)
        version, raw = _parsed(ciphertext)
        if len(raw) < _NONCE + _TAG:
            raise InvalidValueError("it is too short for a ciphertext")
        if version > len(versions):
            raise SecretNotFoundError(f"{key} has no version {version}", code="version_not_found")
        nonce, hidden, tag = raw[:_NONCE], raw[_NONCE:-_TAG], raw[-_TAG:]
        if not hmac.compare_digest(tag, _tag(versions[version - 1], nonce + data, hidden)):
            raise TamperedError(f"the ciphertext is not authentic under {key}")
        return version, SecretValue(_mixed(versions[version - 1], nonce, hidden))


def _tag(key: bytes, about: bytes, content: bytes) -> bytes:
    return hmac.digest(key, len(about).to_bytes(8, "big") + about + content, "sha256")


def _mixed(key: bytes, nonce: bytes, content: bytes) -> bytes:
    blocks = (hmac.digest(key, nonce + at.to_bytes(8, "big"), "sha512") for at in range(len(content) // 64 + 1))
    stream = b"".join(blocks)[: len(content)]
    return (int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(content), "big")


def _spelled(version: int, raw: bytes) -> str:
    return f"keyed:v{version}:{base64.b64encode(raw).decode()}"


def _parsed(text: str) -> tuple[int, bytes]:
    head, _, rest = text.rpartition(":")
    number = head.removeprefix("keyed:v")
    try:
        raw = base64.b64decode(rest, validate=True)
        if _spelled(int(number), raw) == text and int(number) > 0:
            return int(number), raw
    except (ValueError, binascii.Error):
        pass
    raise InvalidValueError("it is no ciphertext of this backend's")
