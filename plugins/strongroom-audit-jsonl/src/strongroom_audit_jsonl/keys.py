"""The key that seals blocks: where it lies, how it is made, what it computes."""

from __future__ import annotations

import binascii
import hmac
import os

from collections.abc import Callable
from typing import Final

from strongroom.contracts import KeySource
from strongroom.errors import AuditError, ConfigurationError
from strongroom_audit_jsonl.access import check_private, open_private, sync_folder, write_all

KEY_BYTES: Final = 32
_MAKE_ONE: Final = "make one with: head -c 32 /dev/urandom | base64"


class SealKey:
    """Computes seals; it does not show itself.

    Args:
        secret: At least 32 random bytes.
    """

    __slots__ = ("_secret", "id")

    id: str
    """Tells keys apart without helping anybody who looks for them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.id = self._mac("key id", b"")[:16]

    def seal(self, digest: bytes) -> str:
        """Return the seal of a block whose last line has this chain value."""
        return self._mac("seal", digest)

    def sign_head(self, text: bytes) -> str:
        """Return the authentication code of a note in the head file."""
        return self._mac("head", text)

    def _mac(self, purpose: str, content: bytes) -> str:
        # The purpose keeps one use of the key from answering for another.
        return hmac.digest(self._secret, f"strongroom audit {purpose} 1\0".encode() + content, "sha256").hex()

    def __repr__(self) -> str:
        return f"<SealKey {self.id}>"


def configured_key(source: KeySource) -> SealKey:
    """Return the key that the configuration points at.

    Raises:
        AuditError: It is not there, or is not base64 of at least 32 bytes.
    """
    try:
        content = source.read().reveal()
    except ConfigurationError as error:
        raise AuditError(f"the audit key cannot be read: {error.what}", hint=error.hint) from error
    return SealKey(_decoded(content, source.describe()))


def key_from_file(path: str) -> SealKey | None:
    """Return the key in the trail's own key file, or ``None`` if there is no such file.

    Raises:
        AuditError: Others may read the file, it is another user's, or it holds no key.
    """
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AuditError(
            f"the audit key {path} cannot be read: {error.strerror}", hint="bring the key file back, or its permissions"
        ) from error
    try:
        check_private(descriptor, path)
        content = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    return SealKey(_decoded(content, path))


def make_key_file(path: str, before: Callable[[SealKey], None]) -> SealKey:
    """Make a key in a new file with mode 0600, on stable storage when this returns.

    The caller holds the trail's lock, so nobody else makes one at the same time.

    Args:
        path: The key file.
        before: Called with the key just before the file has its name.

    Raises:
        OSError: The file cannot be written; no key file is left then.
    """
    secret = os.urandom(KEY_BYTES)
    # A key is whole or not there: a crash leaves at most a file of this name, which the next attempt replaces.
    draft = f"{path}.new"
    if os.path.lexists(draft):
        os.unlink(draft)
    descriptor = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(descriptor, binascii.b2a_base64(secret))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    key = SealKey(secret)
    before(key)
    os.rename(draft, path)
    sync_folder(path)
    return key


def _decoded(content: bytes, origin: str) -> bytes:
    try:
        secret = binascii.a2b_base64(content.strip(), strict_mode=True)
    except binascii.Error:
        secret = b""
    # Raised outside the handler: what failed to decode may be most of a key.
    if len(secret) < KEY_BYTES:
        raise AuditError(f"the audit key from {origin} is not base64 of at least {KEY_BYTES} bytes", hint=_MAKE_ONE)
    return secret
