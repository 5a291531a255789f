"""What is looked for: the forms of a value that are no mere escapes, and where they occur."""

from __future__ import annotations

import base64
import contextlib
import re
import sys

from collections.abc import Iterable, Iterator
from typing import Final

from strongroom.masking.views import View, fully_decoded

MIN_BYTES: Final = 4
"""A shorter value would be found in many texts that do not hold it."""
_MIN_LINE: Final = 8
_GROWTH: Final = 12
"""A form may be this many times as long as its value (two escaped halves of a surrogate pair: 12 for 4 bytes)."""
_ALLOWANCE: Final = 64
"""And this many bytes more: a short value may have a line break and an indentation in its midst."""
_GRAM: Final = 8
_MANY: Final = 500
"""So many searches take longer than noting all runs of 8 bytes that a text has."""

_BLANKS: Final = b" \t\r\n"
PLUS: Final = bytes.maketrans(b"+", b" ")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_LOWER: Final = bytes.maketrans(b"ABCDEF", b"abcdef")
FOLDS: Final = {
    "exact": (None, b""),
    "plus": (PLUS, b""),
    "base64": (_URL_SAFE, _BLANKS),
    "hex": (_LOWER, _BLANKS + b":-"),
}
"""What is made equal, and what is deleted, before forms of a kind are looked for."""
_DELETED: Final = {kind: re.compile(b"[" + re.escape(gone) + b"]+") for kind, (_, gone) in FOLDS.items() if gone}


class Needle:
    """One form of a value.

    Args:
        core: The bytes to look for.
        limit: How many bytes of the original an occurrence may take at most.
        lead: How many bytes before the core belong to it, whatever they are.
        tail: How many bytes behind the core belong to it.
    """

    __slots__ = ("_period", "core", "gram", "lead", "limit", "tail")

    def __init__(self, core: bytes, limit: int, lead: int = 0, tail: int = 0) -> None:
        self.core, self.limit, self.lead, self.tail = core, limit, lead, tail
        self.gram = int.from_bytes(core[:_GRAM], sys.byteorder) if len(core) >= _GRAM else None
        self._period = 0

    def spans(self, view: View, before: int) -> Iterator[tuple[int, int]]:
        """Yield which parts of the original all occurrences take that begin before a place in it."""
        size = self.lead + len(self.core) + self.tail
        for first, last, step in self._runs(view.data):
            yield from self._originals(view, (first - self.lead, last - self.lead, step), size, before)

    def _runs(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """Yield all occurrences of the core as rows: where the first and the last begin, and the steps between.

        Occurrences that overlap are steps of the core's period apart. Going on behind the whole row keeps the work in
        proportion to the data: at least half a core lies between two searches.
        """
        size, stop = len(self.core), len(data) - self.tail
        at = data.find(self.core, self.lead, stop)
        while at >= 0:
            step = self._period = self._period or _period(self.core)
            last = at
            if 2 * step <= size:
                last += (_periodic_until(data, at + size, step, stop) - at - size) // step * step
            yield at, last, step
            at = data.find(self.core, last + (size - step + 1 if 2 * step <= size else step), stop)

    def _originals(self, view: View, row: tuple[int, int, int], size: int, before: int) -> Iterator[tuple[int, int]]:
        first, last, step = row
        start, end = view.start(first), view.end(last + size)
        if start >= before:
            return
        if end - start <= self.limit and view.start(last) < before:
            yield start, end
        elif first < last:
            middle = first + (last - first) // step // 2 * step
            yield from self._originals(view, (first, middle, step), size, before)
            yield from self._originals(view, (middle + step, last, step), size, before)


def present(needles: list[Needle], data: bytes) -> list[Needle]:
    """Return those of many needles that may occur in data: the beginning of each other one does not."""
    if len(needles) < _MANY:
        return needles
    grams: set[int] = set()
    for shift in range(_GRAM):
        end = len(data) - (len(data) - shift) % _GRAM
        grams.update(memoryview(data)[shift:end].cast("Q") if end > shift else ())
    return [needle for needle in needles if needle.gram is None or needle.gram in grams]


def folded(view: View, kind: str) -> View:
    """Return a view in which forms of a kind can be looked for as they are."""
    table, gone = FOLDS[kind]
    if table is None and not gone:
        return view
    return View(view.data.translate(table, gone), view, _DELETED.get(kind))


def needles_of(value: bytes) -> dict[str, list[Needle]]:
    """Return the forms of a value: of which kind, or in which view, and what to look for there."""
    value = _stripped(value)
    limit = _GROWTH * len(value) + _ALLOWANCE
    texts = [value, *_shell(value), *_lines(value), *_charsets(value)]
    found: dict[str, set[bytes]] = {
        "exact": set(texts),
        "plus": {text.translate(PLUS) for text in texts},
        "form": {text.translate(PLUS) for text in texts if b" " in text},
        # A backslash in the value itself may be gone there or not: that depends on what was escaped how.
        "any": {form.translate(PLUS) for text in texts for form in (text, fully_decoded(text))},
        "hex": {value.hex().encode()},
    }
    made = {
        kind: [Needle(core, limit) for core in sorted(cores) if len(core) >= MIN_BYTES] for kind, cores in found.items()
    }
    return made | {"base64": list(_in_base64(value, limit))}


def _stripped(value: bytes) -> bytes:
    """Return a value without the line breaks around it, which a program may or may not print."""
    stripped = value.strip(b"\r\n")
    return stripped if len(stripped) >= MIN_BYTES else value


def _shell(value: bytes) -> Iterable[bytes]:
    return (value.replace(b"'", b"'\\''"), value.replace(b"'", b"'\"'\"'")) if b"'" in value else ()


def _lines(value: bytes) -> Iterator[bytes]:
    lines = value.splitlines()
    if len(lines) > 1 and _is_text(value):
        yield b"\n".join(lines)
        yield b"\r\n".join(lines)
        # The frame of a PEM block is the same for all keys, and tells what kind of text was hidden.
        yield from (
            line for line in map(bytes.strip, lines) if len(line) >= _MIN_LINE and not line.startswith(b"-----")
        )


def _charsets(value: bytes) -> Iterator[bytes]:
    """Yield a text as UTF-16 of both byte orders, and as Latin-1, if it can be: elsewhere than in UTF-8."""
    if _is_text(value):
        yield from (value.decode().encode(charset) for charset in ("utf-16-le", "utf-16-be"))
        with contextlib.suppress(UnicodeEncodeError):
            yield value.decode().encode("latin-1")


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _in_base64(value: bytes, limit: int) -> Iterator[Needle]:
    """Yield what base64 makes of a value behind 0, 1 and 2 other bytes, in the standard alphabet.

    Characters that also depend on the bytes before or behind are not looked for, but belong to the occurrence.
    """
    for before in range(3):
        text = base64.b64encode(bytes(before) + value)
        first, last = -(-before * 8 // 6), (before + len(value)) * 8 // 6
        lead, tail = int(before > 0), int((before + len(value)) % 3 > 0)
        yield Needle(text[first:last], limit, lead, tail)


def _period(core: bytes) -> int:
    """Return the smallest distance at which a core matches itself; its size if it does not."""
    borders, border = [0] * len(core), 0
    for index in range(1, len(core)):
        while border and core[index] != core[border]:
            border = borders[border - 1]
        border += core[index] == core[border]
        borders[index] = border
    return len(core) - border


def _periodic_until(data: bytes, at: int, step: int, stop: int) -> int:
    """Return how far data goes on as it was ``step`` bytes before, from a place on."""
    block, growing = step, True
    while block:
        end = at + block
        if end <= stop and data[at:end] == data[at - step : end - step]:
            at = end
        else:
            growing = False
        block = 2 * block if growing else block // 2
    return at
