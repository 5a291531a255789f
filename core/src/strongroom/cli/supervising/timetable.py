"""When something is done about secrets that have changed or are to end: once for all that change together."""

from __future__ import annotations

import math

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from strongroom.pacing import spread

SETTLE_SECONDS: Final = 1.0
"""For how long nothing else has to change, so that what changes together is taken up together."""
LONGEST_SECONDS: Final = 10.0
"""After how long it is taken up although more changes."""
LONGEST_PAUSE: Final = 600.0
"""Seconds: how long to wait at most after values could not be read."""
LONGEST_PAUSE_WITHOUT: Final = 60.0
"""Seconds: the same while a program has a credential that has ended."""
REPLACED_AT: Final = 2.0 / 3.0
"""After which part of its life a leased credential is replaced at the latest."""
REPLACED_EARLIER: Final = 0.1
"""By which part of its life that is earlier at most, so that not all programs of a fleet do it at once."""
MARKEDLY_LONGER: Final = 1.5
"""How many times as long as the one before has left, another one has to live so that it is worth a new start."""
SHORTEST_LIFE: Final = 1.0
"""Seconds: for how long a program has its credentials at least, however soon they end."""


class Timetable:
    """Knows what has changed or is to end, and when it is to be taken up.

    Args:
        every: Seconds: how long to wait at most after a first failure; each further one doubles it.
        splay: Seconds: how much later it may be, at random, so that not all programs of a fleet start at once.
        randomly: Returns a random number of seconds up to the one given.

    Attributes:
        is_replacing: Whether a leased credential is being replaced before its end.
    """

    def __init__(self, every: float, splay: float, randomly: Callable[[float], float]) -> None:
        self._every = every
        self._splay = splay
        self._randomly = randomly
        self._names: set[str] = set()
        self._current: set[str] = set()
        """What is just being taken up."""
        self._failures = 0
        self._latest = 0.0
        self._delay = 0.0
        self._changes_due: float | None = None
        self._first = ("", 0.0)
        """The leased credential that ends first, and when."""
        self._replacing_due: float | None = None
        self.is_replacing = False

    @property
    def has_changes(self) -> bool:
        """Whether secrets have changed, of what is just being taken up."""
        return bool(self._current)

    @property
    def due(self) -> float | None:
        """When it is to be taken up, on the clock; ``None`` if there is nothing."""
        due = [one for one in (self._changes_due, self._replacing_due) if one is not None]
        return min(due, default=None)

    def leased(self, seconds: Mapping[str, float], now: float) -> None:
        """Note which leased credentials a program has from now on, each of which is to be replaced before its end.

        Args:
            seconds: For how long each lives, by name.
            now: The clock.
        """
        self._replacing_due = None
        if seconds:
            life, name = min((life, name) for name, life in seconds.items())
            self._first = (name, now + life)
            after = REPLACED_AT * life - self._randomly(REPLACED_EARLIER * life)
            self._replacing_due = now + max(after, SHORTEST_LIFE)

    def is_worth_it(self, seconds: Mapping[str, float], now: float) -> bool:
        """Tell whether a program lives markedly longer with other leased credentials than with those it has.

        Some backends give the same one until it ends, or one with the same end: then each new start would be followed
        by the next one sooner and sooner.

        Args:
            seconds: For how long each of the others lives, by name.
            now: The clock.
        """
        return min(seconds.values(), default=math.inf) > MARKEDLY_LONGER * max(0.0, self._first[1] - now)

    def changed(self, names: Iterable[str], now: float) -> None:
        """Note that secrets have changed.

        Args:
            names: Which.
            now: The clock.
        """
        self._names.update(names)
        if self._changes_due is None or self._failures:
            # Whatever was in the way may be so no longer.
            self._failures = 0
            self._delay = self._randomly(self._splay) if self._splay else 0.0
            self._latest = now + LONGEST_SECONDS
        self._changes_due = min(now + SETTLE_SECONDS, self._latest) + self._delay

    def is_due(self, now: float) -> bool:
        """Tell whether it is to be taken up now."""
        return self.due is not None and now >= self.due

    def begun(self, now: float) -> None:
        """Note that it is being taken up; what changes from now on is a matter of its own.

        Args:
            now: The clock.
        """
        if self._replacing_due is not None and now >= self._replacing_due:
            self.is_replacing, self._replacing_due = True, None
        self._current |= self._names
        self._names = set()
        self._changes_due = None

    def done(self) -> None:
        """Note that what was begun is done."""
        self._current = set()
        self._failures = 0
        self.is_replacing = False

    def failed(self, now: float) -> None:
        """Note that what was begun could not be done, so that it is tried again later.

        Args:
            now: The clock.
        """
        self._names |= self._current
        pause = spread(min(self._every * 2.0**self._failures, LONGEST_PAUSE))
        self._failures = min(self._failures + 1, 30)
        if self._current:
            self._changes_due = min(now + pause, self._changes_due or now + pause)
        if self.is_replacing:
            self._replacing_due = now + min(pause, self._longest_pause(now))

    def _longest_pause(self, now: float) -> float:
        """Return for how long to wait at most with a credential that is to end: there are to be some more attempts."""
        left = self._first[1] - now
        return max(left / 4.0, 1.0) if left > 0.0 else LONGEST_PAUSE_WITHOUT

    def told(self) -> str:
        """Return in words why that is done which was begun."""
        reasons = []
        if self._current:
            first, *others = sorted(self._current)
            more = f" and {len(others)} more" if others else ""
            reasons.append(f"{first}{more} {'have' if others else 'has'} changed")
        if self.is_replacing:
            reasons.append(f"{self._first[0]} is to end")
        return ", and ".join(reasons)
