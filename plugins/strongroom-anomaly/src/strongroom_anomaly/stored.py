"""How a detector's state is written down, and read with distrust."""

from __future__ import annotations

import base64
import json
import math
import struct

from collections.abc import Iterable, Mapping
from typing import Any, Final

FORMAT: Final = 1
MOST_BYTES: Final = 1 << 20
"""What the core takes."""

Row = list[Any]
"""Numbers, texts and lists of them, as JSON has them."""


def pack(kind: str, sections: Mapping[str, Iterable[Row]]) -> bytes:
    """Write down a detector's state in a megabyte at most.

    Args:
        kind: The detector's name and whatever makes a state useless for another one.
        sections: Rows by what they are about, the least recent first. They share
            the room; where it does not do, the least recent rows are left out.
    """
    room = (MOST_BYTES - 1024) // len(sections)
    parts = [f"{json.dumps(name)}:[{','.join(_recent(rows, room))}]" for name, rows in sections.items()]
    return f'{{"format":{FORMAT},"kind":{json.dumps(kind)},{",".join(parts)}}}'.encode()


def unpack(kind: str, names: Iterable[str], state: bytes) -> dict[str, list[Row]]:
    """Read what ``pack`` wrote.

    Args:
        kind: As given to ``pack``.
        names: The names of the sections.
        state: What was stored.

    Returns:
        The rows by section, the least recent first.

    Raises:
        ValueError: It is of another kind, of another format, or nothing of ours.
    """
    if len(state) > MOST_BYTES:
        raise ValueError("the state is too large to be a detector's")
    try:
        content = json.loads(state)
    except (ValueError, RecursionError) as error:
        raise ValueError("the state is not JSON") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("kind") != kind:
        raise ValueError(f"the state is not one of {kind} in format {FORMAT}")
    return {name: _rows(content.get(name)) for name in names}


def pack_keys(keys: Iterable[int]) -> str:
    """Write down keys in 11 letters each."""
    numbers = list(keys)
    return base64.b64encode(struct.pack(f"<{len(numbers)}Q", *numbers)).decode()


def unpack_keys(text: object) -> tuple[int, ...]:
    """Read what ``pack_keys`` wrote.

    Raises:
        ValueError: It is no such text.
    """
    if not isinstance(text, str):
        raise ValueError("the state has something else where keys belong")
    content = base64.b64decode(text, validate=True)
    if len(content) % 8:
        raise ValueError("the state has half a key")
    return struct.unpack(f"<{len(content) // 8}Q", content)


def number(value: object, least: float = -1e15, most: float = 1e15) -> float:
    """Return a number that must be one.

    Raises:
        ValueError: It is none, or beyond the limits.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("the state has something else where a number belongs")
    if not least <= value <= most:
        raise ValueError("the state has a number that cannot be")
    return float(value)


def whole(value: object, least: int = -(10**15), most: int = 10**15) -> int:
    """Return a whole number that must be one.

    Raises:
        ValueError: It is none, or beyond the limits.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("the state has something else where a whole number belongs")
    if not least <= value <= most:
        raise ValueError("the state has a number that cannot be")
    return value


def key(value: object) -> int:
    """Return a key that must be one.

    Raises:
        ValueError: It is none.
    """
    return whole(value, 0, 2**64 - 1)


def _recent(rows: Iterable[Row], room: int) -> list[str]:
    """Return the most recent rows that fit, in the same order."""
    texts: list[str] = []
    for row in reversed(list(rows)):
        text = json.dumps(row, separators=(",", ":"))
        room -= len(text) + 1
        if room < 0:
            break
        texts.append(text)
    return texts[::-1]


def _rows(value: object) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ValueError("the state has something else where rows belong")
    return value
