"""Sealed records and heads: what is encrypted, and what is bound to it.

A record is one version of a secret. A head is what the store knows about a name:
which version is current, which are kept, and which name follows in the index.
"""

from __future__ import annotations

import struct

from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.contracts import ReadResult
from strongroom.errors import StoreDamagedError
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom_local.encoding import NONCE_SIZE, SEAL_SIZE, random_bytes
from strongroom_local.faults import tampered
from strongroom_local.keys import StoreKeys

LOOKUP_SIZE: Final = 32
ORIGIN: Final = bytes(LOOKUP_SIZE)
"""The look-up value of the head that starts and ends the chain of names."""

STARTS: Final = 0
LIVE: Final = 1
DELETED: Final = 2

STORED: Final = 1
"""The state of a record."""

VERSION_BITS: Final = 32
MAX_VERSION: Final = (1 << VERSION_BITS) - 1
MAX_NUMBER: Final = (1 << 31) - 1

TEXT: Final = 1
BINARY: Final = 2
_TYPES: Final = {TEXT: ValueType.TEXT, BINARY: ValueType.BINARY}

# number, version, first, generation, changed, state, next
_HEAD: Final = struct.Struct(">QQQQqB32s")
_HEAD_BRIEF: Final = struct.Struct(">QQ24xB")  # number, version, state
_HEAD_SIZE: Final = _HEAD.size

# The clear part of a record as it stands in the associated data, each with its
# length before it: version, key id, value type, created, state.
_CLEAR: Final = struct.Struct(">HQHIHBHqHB")
_CLEAR_BRIEF: Final = struct.Struct(">2xQ8xB2xq3x")  # version, value type, created
CLEAR_SIZE: Final = _CLEAR.size
_VALUE_AT: Final = CLEAR_SIZE + NONCE_SIZE
# Between the beginning of the associated data and the name: record id and the name's length.
_PLACE: Final = struct.Struct(">HQH")
_LOOKUP_LENGTH: Final = LOOKUP_SIZE.to_bytes(2, "big")


class Head:
    """What the store knows about a name.

    Attributes:
        name: The name; empty for the head that starts the chain.
        number: The name's own number, never used for another.
        version: The newest version, also after a deletion.
        first: The oldest version that is kept; above ``version`` if none is.
        generation: The store's change counter when this secret last changed.
        changed: When that was, in microseconds since 1970 UTC.
        state: ``STARTS``, ``LIVE`` or ``DELETED``.
        next: The look-up value of the next name in the index.
    """

    __slots__ = ("changed", "first", "generation", "name", "next", "number", "state", "version")

    def __init__(
        self,
        name: SecretName | str,
        number: int,
        version: int,
        first: int,
        generation: int,
        changed: int,
        state: int,
        following: bytes,
    ) -> None:
        self.name = name
        self.number = number
        self.version = version
        self.first = first
        self.generation = generation
        self.changed = changed
        self.state = state
        self.next = following

    @property
    def base(self) -> int:
        """The record id of a version is this plus the version."""
        return self.number << VERSION_BITS

    @property
    def current(self) -> int | None:
        """The record id of the current version; ``None`` if there is none."""
        return self.base + self.version if self.state == LIVE else None


def seal(cipher: AESGCM, content: bytes, associated: bytes) -> bytes:
    """Encrypt under a random nonce that comes before the result."""
    nonce = random_bytes(NONCE_SIZE)
    return nonce + cipher.encrypt(nonce, content, associated)


def unseal(cipher: AESGCM, sealed: bytes, start: int, associated: bytes) -> bytes | None:
    """Decrypt what ``seal`` made, or return ``None`` if it is not authentic.

    Args:
        cipher: The key's cipher.
        sealed: The bytes that hold it, to their end.
        start: Where in them the nonce begins.
        associated: What is bound to it.
    """
    if len(sealed) < start + SEAL_SIZE:
        return None
    middle = start + NONCE_SIZE
    try:
        return cipher.decrypt(sealed[start:middle], sealed[middle:], associated)
    except InvalidTag:
        return None


def seal_head(keys: StoreKeys, lookup: bytes, head: Head) -> bytes:
    """Return a head sealed for its place in the index.

    Args:
        keys: The store's keys.
        lookup: The look-up value of the head's name.
        head: What to seal.
    """
    fields = _HEAD.pack(head.number, head.version, head.first, head.generation, head.changed, head.state, head.next)
    return seal(keys.name, fields + head.name.encode(), _head_associated(keys, lookup))


def _head_associated(keys: StoreKeys, lookup: bytes) -> bytes:
    return keys.head_start + _LOOKUP_LENGTH + lookup


def open_head(keys: StoreKeys, lookup: object, current: object, sealed: object) -> Head:
    """Return a head from its row.

    Args:
        keys: The store's keys.
        lookup: The row's look-up value.
        current: The row's record id of the current version.
        sealed: The row's sealed content.

    Raises:
        TamperedError: The row is not authentic.
    """
    content = None
    if type(sealed) is bytes and type(lookup) is bytes and len(lookup) == LOOKUP_SIZE:
        content = unseal(keys.name, sealed, 0, _head_associated(keys, lookup))
    if content is None or len(content) < _HEAD_SIZE:
        raise tampered("an entry of the local store's index is not authentic")
    number, version, first, generation, changed, state, following = _HEAD.unpack_from(content)
    name = content[_HEAD_SIZE:].decode()
    expected = (number << VERSION_BITS) + version if state == LIVE else None
    if current != expected or type(current) is not type(expected):  # a damaged file may hold an equal float
        raise tampered(f"the index of the local store leads {name} to another record", name)
    return Head(name, number, version, first, generation, changed, state, following)


def record_clear(keys: StoreKeys, version: int, value_type: ValueType, created: int) -> bytes:
    """Return the clear part of a record.

    Args:
        keys: The store's keys.
        version: The version's number.
        value_type: Whether the value is text.
        created: When it was written, in microseconds since 1970 UTC.
    """
    kind = TEXT if value_type is ValueType.TEXT else BINARY
    return _CLEAR.pack(8, version, 4, keys.header.key_id, 1, kind, 8, created, 1, STORED)


def _record_associated(keys: StoreKeys, number: int, name: str, clear: bytes) -> bytes:
    spelled = name.encode()
    return keys.record_start + _PLACE.pack(8, number, len(spelled)) + spelled + clear


def seal_record(keys: StoreKeys, number: int, name: str, clear: bytes, value: SecretValue) -> bytes:
    """Return a record's body: its clear part, then the sealed value.

    Args:
        keys: The store's keys.
        number: The record id.
        name: The secret's name.
        clear: What ``record_clear`` returned.
        value: The value.
    """
    return clear + seal(keys.record, value.reveal(), _record_associated(keys, number, name, clear))


def open_record(keys: StoreKeys, head: Head, version: int, body: object) -> tuple[SecretValue, int]:
    """Return a version's value and when it was written, in microseconds since 1970 UTC.

    Args:
        keys: The store's keys.
        head: The head of the secret's name.
        version: The version that the record must be.
        body: The record's body as it came from the database.

    Raises:
        TamperedError: The record is missing or not authentic.
    """
    if type(body) is not bytes or len(body) < CLEAR_SIZE + SEAL_SIZE:
        raise tampered(f"version {version} of {head.name} is missing from the local store", head.name)
    clear = body[:CLEAR_SIZE]
    _, found, _, _, _, kind, _, created, _, _ = _CLEAR.unpack(clear)
    value = _opened_value(keys, kind, body, _record_associated(keys, head.base + version, head.name, clear))
    if value is None or found != version:
        raise tampered(f"version {version} of {head.name} is not authentic", head.name)
    return value, created


def _opened_value(keys: StoreKeys, kind: int, body: bytes, associated: bytes) -> SecretValue | None:
    """Open a value in a frame of its own, which no traceback shows."""
    try:
        return SecretValue.of_bytes(
            keys.record.decrypt(body[CLEAR_SIZE:_VALUE_AT], body[_VALUE_AT:], associated), _TYPES[kind]
        )
    except (InvalidTag, KeyError):
        return None


def open_current(keys: StoreKeys, lookup: bytes, row: tuple[Any, ...]) -> ReadResult | None:
    """Open head and current record of one name at once: what nearly every read does.

    Args:
        keys: The store's keys.
        lookup: The name's look-up value.
        row: Key epoch, current, sealed and the record's body, as ``schema.READ`` returns them.

    Returns:
        The read's result; ``None`` if anything is unusual, which ``open_head``
        and ``open_record`` then find the words for.
    """
    _, current, sealed, body = row
    # Bytes only: a damaged file may hold any type in any column.
    if type(sealed) is not bytes or type(body) is not bytes or len(body) < CLEAR_SIZE + SEAL_SIZE:
        return None
    try:
        head = keys.name.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], keys.head_start + _LOOKUP_LENGTH + lookup)
        number, version, state = _HEAD_BRIEF.unpack_from(head)
        if state != LIVE or current != (number << VERSION_BITS) + version:
            return None
        clear, name = body[:CLEAR_SIZE], head[_HEAD_SIZE:]
        found, kind, created = _CLEAR_BRIEF.unpack(clear)
        associated = keys.record_start + _PLACE.pack(8, current, len(name)) + name + clear
        # The opened bytes get no name, so that no traceback can show them.
        value = SecretValue.of_bytes(
            keys.record.decrypt(body[CLEAR_SIZE:_VALUE_AT], body[_VALUE_AT:], associated), _TYPES[kind]
        )
    except (InvalidTag, KeyError, ValueError, struct.error):
        return None
    if found != version:
        return None
    return ReadResult(value=value, version=str(version), created=datetime.fromtimestamp(created / 1_000_000, UTC))


def check_link(lookup: bytes, before: bytes, head: Head) -> None:
    """Prove that a name is absent: the entry before its place must lead past it.

    Args:
        lookup: The look-up value that was not found.
        before: The look-up value of the entry before its place.
        head: That entry's authentic head.

    Raises:
        StoreDamagedError: The proof fails, so that the index cannot be trusted.
    """
    if not (before < lookup and (head.next > lookup or head.next == ORIGIN)):
        raise StoreDamagedError(
            "the index of the local store is damaged: an entry that it should hold cannot be found",
            hint="run `strongroom local verify`, and restore a backup",
        )
