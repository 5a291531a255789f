"""The header: how the master key opens the data key.

It has a fixed layout. The data key is wrapped with AES-256-GCM under a key that
the master key gives, and everything before the wrapped key is associated data.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from enum import Enum
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag

from strongroom.contracts import Record
from strongroom.errors import MasterKeyError, StoreDamagedError
from strongroom.model import SecretValue
from strongroom_local.encoding import FORMAT, NONCE_SIZE, random_bytes
from strongroom_local.faults import damaged, tampered
from strongroom_local.settings import MAX_ITERATIONS, MIN_ITERATIONS

if TYPE_CHECKING:
    from strongroom_local.keys import Wrapping

MAGIC: Final = b"STRGROOM"
PBKDF2_SHA256: Final = 1
SALT_SIZE: Final = 16
STORE_ID_SIZE: Final = 16
DATA_KEY_SIZE: Final = 32

# magic, format, store id, key kind, derivation, salt, iterations, key epoch, key id
_CLEAR: Final = struct.Struct(">8sH16sBB16sIQI")
_CHECK_SIZE: Final = 32
_ASSOCIATED: Final = _CLEAR.size + _CHECK_SIZE
_SUM_AT: Final = _ASSOCIATED + NONCE_SIZE + DATA_KEY_SIZE + 16
HEADER_SIZE: Final = _SUM_AT + hashlib.sha256().digest_size


class KeyKind(Enum):
    """What the master key is."""

    KEY = 1
    PASSPHRASE = 2

    @property
    def default_iterations(self) -> int:
        """How often PBKDF2 runs unless the settings say otherwise."""
        return 100_000 if self is KeyKind.KEY else 600_000


class Header(Record):
    """The clear fields of a header."""

    store_id: bytes
    kind: KeyKind
    salt: bytes
    iterations: int
    epoch: int
    key_id: int

    def packed(self) -> bytes:
        """Return the fields as they stand at the header's beginning."""
        return _CLEAR.pack(
            MAGIC,
            FORMAT,
            self.store_id,
            self.kind.value,
            PBKDF2_SHA256,
            self.salt,
            self.iterations,
            self.epoch,
            self.key_id,
        )


def parse_header(content: object, path: str) -> Header:
    """Read the clear fields of a header.

    Args:
        content: The header as it came from the database.
        path: The store's file, for messages.

    Raises:
        StoreDamagedError: It is not a header, or not one of this format.
    """
    if not isinstance(content, bytes) or len(content) < _CLEAR.size:
        raise damaged(path, "its header is not one")
    magic, version, store_id, kind, derivation, salt, iterations, epoch, key_id = _CLEAR.unpack_from(content)
    if magic == MAGIC and version != FORMAT:
        raise other_format(path, version)
    # A plain checksum tells an accident from a wrong key, which would look the same otherwise.
    intact = len(content) == HEADER_SIZE and hashlib.sha256(content[:_SUM_AT]).digest() == content[_SUM_AT:]
    if magic != MAGIC or not intact or kind not in (1, 2) or derivation != PBKDF2_SHA256:
        raise damaged(path, "its header is not intact")
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise damaged(path, f"its header asks for {iterations:,} iterations")
    return Header(store_id=store_id, kind=KeyKind(kind), salt=salt, iterations=iterations, epoch=epoch, key_id=key_id)


def other_format(path: str, version: int) -> StoreDamagedError:
    """Return the error for a store of another format."""
    return StoreDamagedError(
        f"{path} has format {version}, and this release reads format {FORMAT}; it was left as it is",
        hint="install the release of strongroom-local that wrote it",
    )


def seal_header(header: Header, wrapping: Wrapping, data_key: SecretValue) -> bytes:
    """Return a whole header with the data key wrapped in it.

    Args:
        header: The clear fields.
        wrapping: What the master key gives with the header's salt and iterations.
        data_key: The key to wrap, 32 bytes.
    """
    associated = header.packed() + wrapping.check
    nonce = random_bytes(NONCE_SIZE)
    content = associated + nonce + wrapping.cipher.encrypt(nonce, data_key.reveal(), associated)
    return content + hashlib.sha256(content).digest()


def open_header(content: bytes, wrapping: Wrapping, path: str) -> SecretValue:
    """Return the data key.

    Args:
        content: A header that ``parse_header`` accepted.
        wrapping: What the master key gives with the header's salt and iterations.
        path: The store's file, for messages.

    Raises:
        MasterKeyError: The master key is not the one that the store was locked with.
        TamperedError: The key is right and the header is not authentic.
    """
    if not hmac.compare_digest(content[_CLEAR.size : _ASSOCIATED], wrapping.check):
        raise MasterKeyError(
            f"the master key is not the one of {path}; nothing was read or written",
            hint="check which key the configuration names; after `rekey` it must name the new one",
        )
    nonce, wrapped = content[_ASSOCIATED : _ASSOCIATED + NONCE_SIZE], content[_ASSOCIATED + NONCE_SIZE : _SUM_AT]
    try:
        return SecretValue(wrapping.cipher.decrypt(nonce, wrapped, content[:_ASSOCIATED]))
    except InvalidTag as error:
        raise tampered(f"the header of {path} is not authentic") from error
