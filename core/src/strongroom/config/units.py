"""Durations, sizes and points in time as people write them."""

from __future__ import annotations

import math
import re

from datetime import datetime
from typing import Final

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LAST_MOMENT: Final = 253402300799
"""9999-12-31T23:59:59Z: later ones, which an offset makes possible, cannot be written."""
_BYTES: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_seconds(value: object) -> float:
    """Return a duration in seconds.

    Args:
        value: A text such as ``300s``, ``1.5h`` or ``90d``, or the number 0.

    Raises:
        ValueError: It is anything else; the message says what was expected.
    """
    # A variable of the environment can only hold a text.
    if value in (0, "0") and not isinstance(value, bool):
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a duration such as "300s", "5m", "12h" or "90d"')
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not math.isfinite(seconds):
        raise ValueError("a shorter duration")
    return seconds


def parse_size(value: object) -> int:
    """Return a size in bytes.

    Args:
        value: A number of bytes, or a text such as ``64KiB`` or ``1MiB``.

    Raises:
        ValueError: It is anything else; the message says what was expected.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB|GiB|)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a size such as 65536, "64KiB" or "1MiB"')
    return int(match[1]) * _BYTES[match[2]]


def parse_moment(value: object) -> float:
    """Return a point in time in seconds since 1970 UTC.

    Args:
        value: A date and time as TOML has them, or the same as a text in ISO 8601;
            either with its offset from UTC.

    Raises:
        ValueError: It is anything else; the message says what was expected.
    """
    expected = "a date and time with its offset from UTC, such as 2030-12-31T00:00:00Z"
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(expected) from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(expected)
    seconds = value.timestamp()
    if not 0 <= seconds <= _LAST_MOMENT:
        raise ValueError("a date and time from 1970 to 9999 in UTC")
    return seconds
