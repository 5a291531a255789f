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
_LONG: Final = struct.Struct(">I")


def listed(*items: bytes) -> bytes:
    """Return items in one unambiguous string: before each its length in two bytes.

    Args:
        items: Each of at most 65,535 bytes.
    """
    return b"".join([LENGTH.pack(len(item)) + item for item in items])


def fields(*items: bytes | None) -> bytes:
    """Return items in one unambiguous string, any of which may be long or missing.

    Before each stands its length plus one in four bytes; four zero bytes stand for one that is missing.

    Args:
        items: Each of less than 4 GiB.
    """
    return b"".join([_LONG.pack(0) if item is None else _LONG.pack(len(item) + 1) + item for item in items])


def parted(content: bytes) -> list[bytes | None]:
    """Return the items that ``fields`` has put together."""
    found: list[bytes | None] = []
    at = 0
    while at < len(content):
        (size,) = _LONG.unpack_from(content, at)
        at += _LONG.size
        found.append(content[at : at + size - 1] if size else None)
        at += max(0, size - 1)
    return found


def spelled(text: str) -> bytes:
    """Return a text in UTF-8, also one that an operating system gave and that is not quite Unicode."""
    return text.encode("utf-8", "surrogatepass")


def unspelled(content: bytes) -> str:
    """Return the text that ``spelled`` has written."""
    return content.decode("utf-8", "surrogatepass")


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
