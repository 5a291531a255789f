"""Times of the week at which something may begin: ``Sun 02:00-04:00``, in UTC whatever the machine's zone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

DAY: Final = 86400
WEEK: Final = 7 * DAY
_MONDAY: Final = 4 * DAY
"""Seconds since 1970 UTC: the first Monday."""
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EXPECTED: Final = 'expected "Sun 02:00-04:00", "Mon-Fri 22:00-02:00" or "02:00-04:00", several separated by commas'

Span = tuple[int, int]
"""Seconds since Monday 00:00 UTC: when it begins, and when it is over."""


class Windows:
    """Times of the week, each from its first moment to just before its last one.

    All arithmetic is on seconds since 1970 UTC, in which each week has as many as any other: no zone, and no
    daylight-saving change, moves anything.

    Args:
        spans: At least one; each begins within the week, and is at most a week long. They may overlap.

    Attributes:
        always: Whether there is no moment outside.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        # A window that touches the next one, also over the end of the week, is one with it.
        weeks = sorted((week + begin, week + end) for begin, end in spans for week in (0, WEEK, 2 * WEEK))
        merged: list[Span] = []
        for begin, end in weeks:
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        self.always = any(end - begin >= WEEK for begin, end in merged)
        self._spans = [(begin - WEEK, end - WEEK) for begin, end in merged if WEEK <= begin < 2 * WEEK]

    def span(self, at: float) -> tuple[float, float]:
        """Return when the window begins and ends that is open at a moment, else the next one.

        Args:
            at: Seconds since 1970 UTC.

        Returns:
            The same, of the window; without limits if it is never closed.
        """
        if self.always:
            return float("-inf"), float("inf")
        week = (at - _MONDAY) // WEEK * WEEK + _MONDAY
        weeks = (week - WEEK, week, week + WEEK)
        return next(
            (begin, end) for one in weeks for begin, end in ((one + a, one + b) for a, b in self._spans) if at < end
        )

    def opening(self, at: float) -> float:
        """Return the first moment from the given one on that is inside a window, in seconds since 1970 UTC."""
        return max(at, self.span(at)[0])

    def contains(self, at: float) -> bool:
        """Tell whether a moment, in seconds since 1970 UTC, is inside a window."""
        return self.span(at)[0] <= at


@lru_cache(maxsize=256)
def parse_windows(text: str) -> Windows:
    """Return the windows that a text says.

    Args:
        text: ``Sun 02:00-04:00``, ``Mon-Fri 22:00-02:00``, which is over on the next day, or ``02:00-04:00`` for
            every day; several are separated by commas.

    Raises:
        ValueError: It is anything else; the message says what is wrong with which part.
    """
    return Windows(span for part in text.split(",") for span in _spans(part.strip()))


def _spans(part: str) -> list[Span]:
    words = part.split()
    if not 1 <= len(words) <= 2:
        raise ValueError(f"{part!r} is no window: {_EXPECTED}")
    days = _days(words[0], part) if len(words) == 2 else range(len(_DAYS))
    begin, end = (_clock(text, part) for text in _two(words[-1], part))
    if begin == DAY:
        raise ValueError(f"{part!r} begins at 24:00: 00:00 of the next day is meant")
    if begin == end:
        raise ValueError(f"{part!r} is over when it begins: for a whole day write 00:00-24:00")
    length = end - begin if begin < end else end - begin + DAY
    return [(day * DAY + begin, day * DAY + begin + length) for day in days]


def _two(word: str, part: str) -> tuple[str, str]:
    begin, dash, end = word.partition("-")
    if not dash:
        raise ValueError(f"{part!r} has no end: {_EXPECTED}")
    return begin, end


def _days(word: str, part: str) -> list[int]:
    first, dash, last = word.lower().partition("-")
    if first not in _DAYS or (dash and last not in _DAYS):
        raise ValueError(f"{part!r} has a day that is none of Mon, Tue, Wed, Thu, Fri, Sat and Sun")
    begin = _DAYS.index(first)
    number = (_DAYS.index(last) - begin) % len(_DAYS) if dash else 0
    return [(begin + step) % len(_DAYS) for step in range(number + 1)]


def _clock(text: str, part: str) -> int:
    """Return a time of day in seconds."""
    hours, _, minutes = text.partition(":")
    if len(text) != len("00:00") or not (hours + minutes).isdigit() or not text.isascii() or len(hours) != len(minutes):
        raise ValueError(f"{part!r} has a time of day that is none, such as 02:00 or 24:00")
    seconds = int(hours) * 3600 + int(minutes) * 60
    if int(minutes) > 59 or seconds > DAY:
        raise ValueError(f"{part!r} has a time of day that there is not: they go from 00:00 to 24:00")
    return seconds
