"""Finds what pytest makes of values in the report of a failure: it shortens them, and breaks them at their lines."""

from __future__ import annotations

import re

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

PIECE: Final = 10
"""So many characters in a row are a part of a value; comparisons show that many before the first difference."""
END: Final = 4
"""So many characters of a value before or after an ellipsis are what was left of it."""
_LONGEST: Final = 130
"""No more than this is left of a value at one side of an ellipsis."""
_ELLIPSIS: Final = "..."
_MARGIN: Final = r"\n[E|+\-? \t]*"
"""What stands between two lines of a value: the end of one, and what reports and comparisons begin their lines with."""
_MASK: Final = "[masked]"


class Fragments:
    """Masks parts of values. They are too uncertain to fail a test for, but it has failed already.

    Args:
        values: The values.
    """

    def __init__(self, values: Iterable[str]) -> None:
        known = set(values)
        self._forms = sorted({form for value in known for form in (value, repr(value)[1:-1]) if len(form) >= END})
        self._pieces = {form[start : start + PIECE] for form in self._forms for start in range(len(form) - PIECE + 1)}
        ends = [end for form in self._forms for end in (form[:_LONGEST], form[-_LONGEST:])]
        self._near = {end[start : start + END] for end in ends for start in range(len(end) - END + 1)}
        self._lines = [_lines(value) for value in known if "\n" in value.strip("\n")]

    def mask(self, text: str) -> str:
        """Return a text without the parts of values.

        Args:
            text: The report of a failure.
        """
        hidden = bytearray(len(text))
        for start, end in self._found(text):
            hidden[start:end] = b"\1" * (end - start)
        if not any(hidden):
            return text
        runs = groupby(range(len(text)), hidden.__getitem__)
        return "".join(_MASK if is_hidden else "".join(map(text.__getitem__, run)) for is_hidden, run in runs)

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        for lines in self._lines:
            yield from (match.span() for match in lines.finditer(text))
        for start in range(len(text) - PIECE + 1):
            if text[start : start + PIECE] in self._pieces:
                yield start, start + PIECE
        at = text.find(_ELLIPSIS)
        while at >= 0:
            after = at + len(_ELLIPSIS)
            # Nearly all ellipses are about something else, and there may be many.
            if text[max(0, at - END) : at] in self._near or text[after : after + END] in self._near:
                start, after = self._ends(text, at, after)
                yield start, after
            at = text.find(_ELLIPSIS, after)

    def _ends(self, text: str, at: int, after: int) -> tuple[int, int]:
        """Return where the ends of a shortened value begin and end; the ellipsis itself is between them."""
        head = tail = 0
        for form in self._forms:
            for length in range(min(len(form), _LONGEST), END - 1, -1):
                if length > head and text.startswith(form[:length], max(0, at - length), at):
                    head = length
                if length > tail and text.startswith(form[-length:], after):
                    tail = length
        return (at - head, after + tail) if head or tail else (after, after)


def _lines(value: str) -> re.Pattern[str]:
    return re.compile(_MARGIN.join(map(re.escape, value.strip("\n").split("\n"))))
