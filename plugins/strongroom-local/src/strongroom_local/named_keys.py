"""Encryption, signatures and data keys with named keys that never leave the store."""

from __future__ import annotations

import sqlite3

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

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
from strongroom.errors import InvalidValueError, ValueTooLargeError
from strongroom.model import SecretName, SecretValue
from strongroom_local import schema
from strongroom_local.encoding import random_bytes
from strongroom_local.keyrings import AlreadyMade, Keyring, absent, make, open_keyring, prove_absent, rotate
from strongroom_local.keys import StoreKeys
from strongroom_local.session import Session

if TYPE_CHECKING:
    from strongroom_local.messages import Marked

MAX_PLAINTEXT_BYTES: Final = 16 * 1024 * 1024
DATA_KEY_SIZES: Final = (16, 32, 64)
_MAX_OPENED: Final = 256
_ATTEMPTS: Final = 3

Act = Callable[[sqlite3.Cursor, StoreKeys, SecretName], tuple[Keyring, int]]


class Keyrings:
    """The named keys of an open store. Threads share it.

    A key that was used stays opened in memory until the store is closed. Each use
    reads its row again, by one statement, and opens it only if it has changed: so
    a version that another process made is used from then on.

    Args:
        session: The store.
        count: Told how often the store's own keys have been used, after each change.
    """

    def __init__(self, session: Session, count: Callable[[int], None]) -> None:
        self._session = session
        self._count = count
        self._opened: dict[str, Keyring] = {}
        self._has_table = False
        self._closed = False

    @property
    def store_id(self) -> bytes:
        """The store's id."""
        return self._session.keys.header.store_id

    def get(self, name: SecretName) -> Keyring:
        """Return a named key as it is now.

        Raises:
            SecretNotFoundError: There is none, which is proved.
            TamperedError: It is missing, or not authentic.
        """
        for _ in range(_ATTEMPTS):
            found = self._read(name)
            if found is not None:
                return found
            if self._session.snapshot(lambda cursor, keys: prove_absent(cursor, keys, name)):
                raise absent(name)
        raise self._unreadable(name)

    def get_or_make(self, name: SecretName) -> Keyring:
        """Return a named key as it is now; if there is none, make it durably.

        Raises:
            TamperedError: It is missing, or not authentic.
        """
        for _ in range(_ATTEMPTS):
            found = self._read(name)
            if found is not None:
                return found
            try:
                return self._change(make, name)
            except AlreadyMade:
                continue
        raise self._unreadable(name)

    def rotate(self, name: SecretName) -> Keyring:
        """Return a named key after giving it one version more.

        Raises:
            SecretNotFoundError: There is none, which is proved.
            TamperedError: A named key of the store is missing, or not authentic.
        """
        return self._change(rotate, name)

    def prove_whole(self, name: SecretName) -> None:
        """See to it that no version is missing: of this key, or of any.

        Raises:
            TamperedError: One is.
        """
        self._session.snapshot(lambda cursor, keys: prove_absent(cursor, keys, name))

    def secure(self, ring: Keyring) -> None:
        """See to it that a key is not lost before what is made with it from now on.

        Raises:
            StoreDamagedError: The store's file was replaced or removed, and the key may be gone with it.
            BackendError: The system failed to sync the log.
        """
        self._session.pool.check_in_place()
        if not ring.durable:
            # Who wrote the row may have been killed before syncing it; SQLite finds it in the log all the same.
            self._session.pool.sync_log()
            ring.durable = True

    def forget(self) -> None:
        """Wipe every key that is opened."""
        self._opened.clear()

    def close(self) -> None:
        """Wipe every key that is opened, and keep none from now on."""
        self._closed = True
        self.forget()

    def _unreadable(self, name: SecretName) -> Exception:
        return self._session.pool.damaged(f"it has a key named {name} and does not find it")

    def _read(self, name: SecretName) -> Keyring | None:
        if not self._has_table:
            _, _, rows = self._session.fetch(schema.HAS_KEYRINGS)
            if not rows[0][1]:
                return None
            self._has_table = True
        keys, lookup, rows = self._session.fetch(schema.READ_KEYRING, name, place=StoreKeys.find_keyring)
        sealed = rows[0][1]
        if sealed is None:
            return None
        opened = self._opened.get(name)
        if opened is not None and opened.sealed == sealed:
            return opened  # equal to what was opened, it is authentic for the same reason
        ring = open_keyring(keys, lookup, sealed)
        if opened is not None and ring.newest < opened.newest:
            # It was put back to an earlier state, unless another thread has rotated it after this read.
            self.prove_whole(name)
        return self._keep(ring)

    def _change(self, act: Act, name: SecretName) -> Keyring:
        ring, encryptions = self._session.transact(lambda cursor, keys: act(cursor, keys, name))
        ring.durable = True
        self._count(encryptions)
        return self._keep(ring)

    def _keep(self, ring: Keyring) -> Keyring:
        if len(self._opened) >= _MAX_OPENED:
            self._opened.clear()
        self._opened[ring.name] = ring
        if self._closed:
            self.forget()  # closed since this call began
        return ring


class NamedKeys(Encrypting):
    """The part of the backend that encrypts and signs; ``docs/local-store-format.md`` describes what it writes."""

    _keyrings: Keyrings

    def encrypt(self, request: EncryptRequest) -> EncryptResult:
        """Encrypt a value under the newest version of a key; a key that is absent is made."""
        size = len(request.plaintext)
        if size > MAX_PLAINTEXT_BYTES:
            raise ValueTooLargeError(
                f"what is to be encrypted with {request.key} has {size:,} bytes, more than {MAX_PLAINTEXT_BYTES:,}",
                size=size,
                limit=MAX_PLAINTEXT_BYTES,
                name=request.key,
                hint="encrypt it yourself with a data key",
            )
        return self._encrypted(self._keyrings.get_or_make(request.key), request.plaintext, request.associated_data)

    def decrypt(self, request: DecryptRequest) -> DecryptResult:
        """Decrypt what ``encrypt`` or ``data_key`` gave: the bytes, whether they were text or not."""
        _, ciphertext, plaintext = self._decrypted(request)
        return DecryptResult(plaintext=plaintext, key_version=str(ciphertext.version))

    def rewrap(self, request: RewrapRequest) -> EncryptResult:
        """Encrypt a ciphertext anew under the newest version of its key."""
        ring, _, plaintext = self._decrypted(request)
        return self._encrypted(ring, plaintext, request.associated_data)

    def sign(self, request: SignRequest) -> SignResult:
        """Sign a message with the newest version of a key; a key that is absent is made."""
        from strongroom_local.messages import sign

        ring = self._keyrings.get_or_make(request.key)
        self._keyrings.secure(ring)
        return SignResult(signature=sign(ring, request.message), key_version=str(ring.newest))

    def verify_signature(self, request: VerifySignatureRequest) -> VerifySignatureResult:
        """Tell whether a signature is one of any version of the key."""
        from strongroom_local.messages import is_signature, parse_signature

        ring = self._keyrings.get(request.key)
        signature = parse_signature(request.signature)
        if signature is None:
            return VerifySignatureResult(valid=False)
        if signature.version > ring.newest:
            # Either nobody has made that version, or the file has lost it, which is no answer but an error.
            self._keyrings.prove_whole(request.key)
            return VerifySignatureResult(valid=False)
        valid = is_signature(ring, request.message, signature)
        return VerifySignatureResult(valid=valid, key_version=str(signature.version) if valid else None)

    def data_key(self, request: DataKeyRequest) -> DataKeyResult:
        """Make a random key of 16, 32 or 64 bytes; a named key that is absent is made."""
        if request.size not in DATA_KEY_SIZES:
            raise InvalidValueError(
                f"a data key has 16, 32 or 64 bytes, not {request.size}", name=request.key, hint="ask for 32"
            )
        plaintext = SecretValue(random_bytes(request.size))
        made = self._encrypted(self._keyrings.get_or_make(request.key), plaintext, b"")
        return DataKeyResult(plaintext=plaintext, ciphertext=made.ciphertext, key_version=made.key_version)

    def rotate_key(self, request: RotateKeyRequest) -> RotateKeyResult:
        """Make a new version of a key, durably; older ones stay for what was made with them."""
        return RotateKeyResult(key_version=str(self._keyrings.rotate(request.key).newest))

    def _encrypted(self, ring: Keyring, plaintext: SecretValue, associated_data: bytes) -> EncryptResult:
        from strongroom_local.messages import encrypt

        self._keyrings.secure(ring)
        ciphertext = encrypt(ring, self._keyrings.store_id, plaintext, associated_data)
        return EncryptResult(ciphertext=ciphertext, key_version=str(ring.newest))

    def _decrypted(self, request: DecryptRequest | RewrapRequest) -> tuple[Keyring, Marked, SecretValue]:
        from strongroom_local.messages import decrypt, missing_version, no_ciphertext, parse_ciphertext

        ciphertext = parse_ciphertext(request.ciphertext, MAX_PLAINTEXT_BYTES)
        if ciphertext is None:
            raise no_ciphertext(request.key)
        ring = self._keyrings.get(request.key)
        if ciphertext.version > ring.newest:
            self._keyrings.prove_whole(request.key)
            raise missing_version(request.key, ciphertext.version, ring.newest)
        return ring, ciphertext, decrypt(ring, self._keyrings.store_id, ciphertext, request.associated_data)
