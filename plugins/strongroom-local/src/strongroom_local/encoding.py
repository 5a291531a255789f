"""How numbers and lists become bytes: the building blocks of format 1."""

from __future__ import annotations

import struct

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

FORMAT: Final = 1
FORMAT_BYTES: Final = FORMAT.to_bytes(2, "big")

NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
SEAL_SIZE: Final = NONCE_SIZE + TAG_SIZE

_random_source: list[Callable[[int], bytes]] = []
LENGTH: Final = struct.Struct(">H")


def listed(*items: bytes) -> bytes:
    """Return items in one unambiguous string: before each its length in two bytes.

    Args:
        items: Each of at most 65,535 bytes.
    """
    return b"".join([LENGTH.pack(len(item)) + item for item in items])


def u32(number: int) -> bytes:
    """Return a number in four bytes, the highest first."""
    return number.to_bytes(4, "big")


def u64(number: int) -> bytes:
    """Return a number in eight bytes, the highest first."""
    return number.to_bytes(8, "big")


def random_bytes(size: int) -> bytes:
    """Return bytes from the operating system's random source."""
    if not _random_source:
        # Imported here: a read needs no randomness, and the module costs milliseconds.
        from secrets import token_bytes

        _random_source.append(token_bytes)
    return _random_source[0](size)


def moment(microseconds: int) -> datetime:
    """Return a stored time, in microseconds since 1970, as a time in UTC."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)
