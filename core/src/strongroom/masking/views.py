"""Data as a decoder reads it, with the way back to the bytes it was read from."""

from __future__ import annotations

import re

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

HEX: Final = rb"[0-9a-fA-F]"
_HIGH, _LOW = rb"[dD][89abAB]" + HEX * 2, rb"[dD][c-fC-F]" + HEX * 2
_NUMBERED: Final = (
    rb"u(" + HEX + rb"{4})|u\{(" + HEX + rb"{1,6})\}|U(" + HEX + rb"{8})|x(" + HEX + rb"{2})|([0-3][0-7]{2})"
)
_ENTITY: Final = rb"(?:#([0-9]{1,7})|#[xX](" + HEX + rb"{1,6})|(amp|lt|gt|quot|apos));"

_PERCENT: Final = re.compile(rb"%(" + HEX + rb"{2})")
_BACKSLASH: Final = re.compile(
    rb"\\(?:u(" + _HIGH + rb")\\u(" + _LOW + rb")|" + _NUMBERED + rb"|([\\\"'/abfnrtv0]))",
)
_AMPERSAND: Final = re.compile(rb"&" + _ENTITY)
_ANY_SLASHES: Final = rb"\\{1,16}"
_ANY: Final = re.compile(
    rb"%(?:25){0,3}(" + HEX + rb"{2})"
    rb"|" + _ANY_SLASHES + rb"(?:u(" + _HIGH + rb")" + _ANY_SLASHES + rb"u(" + _LOW + rb")|" + _NUMBERED +
    rb"|([\"'/abfnrtv0]))?"
    rb"|&(?:amp;){0,3}" + _ENTITY
)  # fmt: skip
LONGEST_ESCAPE: Final = 48
"""No escape of any kind has more bytes."""

_CONTROL: Final = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
    b"0": b"\0",
}
_ENTITIES: Final = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}


class View:
    """Data that was made from other data by replacing or deleting pieces of it.

    Args:
        data: What came out.
        parent: What it was made from; ``None`` for the original.
        pattern: Matches each piece of the parent that was replaced.
        decode: Returns what a piece was replaced with.
    """

    __slots__ = ("_at", "_decode", "_ends", "_parent", "_pattern", "_sizes", "_starts", "data")

    def __init__(
        self,
        data: bytes,
        parent: View | None = None,
        pattern: re.Pattern[bytes] | None = None,
        decode: Callable[[re.Match[bytes]], bytes] | None = None,
    ) -> None:
        self.data = data
        self._parent, self._pattern, self._decode = parent, pattern, decode
        self._at: list[int] | None = None

    def start(self, index: int) -> int:
        """Return where in the original the piece begins that a byte was read from."""
        if self._parent is None:
            return index
        piece, beyond = self._piece(index)
        return self._parent.start(self._starts[piece] if beyond < 0 else self._ends[piece] + beyond)

    def end(self, index: int) -> int:
        """Return where in the original the piece ends that the byte before ``index`` was read from."""
        if self._parent is None:
            return index
        piece, beyond = self._piece(index - 1)
        return self._parent.end(self._ends[piece] if beyond < 0 else self._ends[piece] + beyond + 1)

    def _piece(self, index: int) -> tuple[int, int]:
        """Return the last replaced piece that begins at or before a byte, and how far behind it the byte stands."""
        # Most data holds no value, so that the way back is worked out only when it is asked for.
        at = self._mapped() if self._at is None else self._at
        piece = bisect_right(at, index) - 1
        return piece, index - at[piece] - self._sizes[piece]

    def _mapped(self) -> list[int]:
        # A piece of no length at the beginning spares each search a special case.
        at, self._sizes, self._starts, self._ends = [0], [0], [0], [0]
        shift = 0
        if self._parent is not None and self._pattern is not None:
            for match in self._pattern.finditer(self._parent.data):
                size = len(self._decode(match)) if self._decode else 0
                start, end = match.span()
                at.append(start + shift)
                self._sizes.append(size)
                self._starts.append(start)
                self._ends.append(end)
                shift += size - (end - start)
        self._at = at
        return at


def views_of(original: View) -> list[tuple[str, View]]:
    """Return the data itself and each way to read it that makes a difference, with a name for the way."""
    found = [("plain", original)]
    kinds = (
        # A form field may have a blank, written as a plus, and nothing else to be encoded.
        ("percent", (b"%", b"+"), _PERCENT, _percent),
        ("backslash", (b"\\",), _BACKSLASH, _backslash),
        ("entity", (b"&",), _AMPERSAND, _entity),
    )
    for name, marks, pattern, decode in kinds:
        if any(mark in original.data for mark in marks):
            found.append((name, _read(original, pattern, decode)))
    if _has_escapes(original.data):
        found.append(("any", _read(original, _ANY, _any)))
    return found


def fully_decoded(data: bytes) -> bytes:
    """Return data with the escapes of all kinds undone, as the view ``any`` shows it."""
    return _ANY.sub(_any, data)


def unescaped(data: bytes, index: int) -> int:
    """Return the last place at or before ``index`` that is inside no escape, if ``data`` begins outside of one.

    Data that is cut there reads the same in all views as before.
    """
    if not _has_escapes(data):
        return index
    for match in _ANY.finditer(data):
        if match.end() > index:
            return min(index, match.start())
    return index


def _has_escapes(data: bytes) -> bool:
    return any(mark in data for mark in (b"%", b"\\", b"&"))


def _read(original: View, pattern: re.Pattern[bytes], decode: Callable[[re.Match[bytes]], bytes]) -> View:
    return View(pattern.sub(decode, original.data), original, pattern, decode)


def _percent(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode())


def _backslash(match: re.Match[bytes]) -> bytes:
    if match[8]:
        return _CONTROL.get(match[8], match[8])
    return _numbered(match, 0, lenient=False)


def _entity(match: re.Match[bytes]) -> bytes:
    return _named(match, 0)


def _any(match: re.Match[bytes]) -> bytes:
    first = match[0][:1]
    if first == b"%":
        return _percent(match)
    if first == b"&":
        return _named(match, 9)
    # However many backslashes stand there, they are gone: each round of escaping doubles them.
    if match[9]:
        return _CONTROL.get(match[9], match[9])
    return _numbered(match, 1, lenient=True) if match.lastindex else b""


def _numbered(match: re.Match[bytes], before: int, *, lenient: bool) -> bytes:
    high, low, four, braces, eight, two, octal = match.groups()[before : before + 7]
    if high:
        return _character(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF), match)
    if octal:
        return bytes((int(octal, 8),))
    if two:
        # A byte in the repr of bytes and in C, a character in JavaScript and in the repr of text.
        return _character(int(two, 16), match) if lenient else bytes((int(two, 16),))
    return _character(int(four or braces or eight, 16), match)


def _named(match: re.Match[bytes], before: int) -> bytes:
    decimal, number, name = match.groups()[before : before + 3]
    return _ENTITIES[name] if name else _character(int(decimal) if decimal else int(number, 16), match)


def _character(number: int, match: re.Match[bytes]) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass") if number <= 0x10FFFF else match[0]
