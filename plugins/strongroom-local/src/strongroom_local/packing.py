"""How places, values and times stand in what a copy or an entry of the journal holds."""

from __future__ import annotations

import struct

from datetime import UTC, datetime, timedelta
from typing import Final

from strongroom.contracts.journal import Place
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom_local.encoding import spelled, unspelled
from strongroom_local.sealing import BINARY, TEXT

_TIME: Final = struct.Struct(">d")
_MOMENT: Final = struct.Struct(">q")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TYPES: Final = {ValueType.TEXT: bytes([TEXT]), ValueType.BINARY: bytes([BINARY])}
_TYPES_FOUND: Final = {TEXT: ValueType.TEXT, BINARY: ValueType.BINARY}


def packed_place(place: Place) -> tuple[bytes, bytes, bytes]:
    """Return the three fields of a place."""
    return spelled(place.backend), spelled(place.target), spelled(place.name)


def unpacked_place(found: list[bytes | None]) -> Place:
    """Return the place that ``packed_place`` has written."""
    backend, target, name = (unspelled(one or b"") for one in found)
    return Place(backend=backend, target=target, name=SecretName(name))


def packed_value(value: SecretValue | None) -> bytes | None:
    """Return the field of a value: its type in one byte, and its bytes."""
    return None if value is None else _TYPES[value.type] + value.reveal()


def unpacked_value(found: bytes | None) -> SecretValue | None:
    """Return the value that ``packed_value`` has written."""
    return None if found is None else SecretValue.of_bytes(found[1:], _TYPES_FOUND[found[0]])


def packed_time(seconds: float) -> bytes:
    """Return the field of a time in seconds since 1970 UTC: IEEE 754, so that it comes back as it was."""
    return _TIME.pack(seconds)


def unpacked_time(found: bytes | None) -> float:
    """Return the time that ``packed_time`` has written."""
    seconds: float = _TIME.unpack(found or bytes(_TIME.size))[0]
    return seconds


def packed_moment(moment: datetime | None) -> bytes | None:
    """Return the field of a time that a backend gave: microseconds since 1970 UTC, signed."""
    return None if moment is None else _MOMENT.pack((moment - _EPOCH) // _MICROSECOND)


def unpacked_moment(found: bytes | None) -> datetime | None:
    """Return the time that ``packed_moment`` has written, in UTC."""
    return None if found is None else _EPOCH + int(_MOMENT.unpack(found)[0]) * _MICROSECOND
