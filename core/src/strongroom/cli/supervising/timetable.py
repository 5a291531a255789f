"""When something is done about secrets that have changed: once for all that change together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from strongroom.pacing import spread

SETTLE_SECONDS: Final = 1.0
"""For how long nothing else has to change, so that what changes together is taken up together."""
LONGEST_SECONDS: Final = 10.0
"""After how long it is taken up although more changes."""
LONGEST_PAUSE: Final = 600.0
"""Seconds: how long to wait at most after values could not be read."""


class Timetable:
    """Knows what has changed, and when it is to be taken up.

    Args:
        every: Seconds: how long to wait at most after a first failure; each further one doubles it.
        splay: Seconds: how much later it may be, at random, so that not all programs of a fleet start at once.
        randomly: Returns a random number of seconds up to the one given.

    Attributes:
        due: When it is to be taken up, on the clock; ``None`` if there is nothing.
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
        self.due: float | None = None

    def changed(self, names: Iterable[str], now: float) -> None:
        """Note that secrets have changed.

        Args:
            names: Which.
            now: The clock.
        """
        self._names.update(names)
        if self.due is None or self._failures:
            # Whatever was in the way may be so no longer.
            self._failures = 0
            self._delay = self._randomly(self._splay) if self._splay else 0.0
            self._latest = now + LONGEST_SECONDS
        self.due = min(now + SETTLE_SECONDS, self._latest) + self._delay

    def is_due(self, now: float) -> bool:
        """Tell whether it is to be taken up now."""
        return self.due is not None and now >= self.due

    def begun(self) -> None:
        """Note that it is being taken up; what changes from now on is a matter of its own."""
        self._current |= self._names
        self._names = set()
        self.due = None

    def done(self) -> None:
        """Note that what was begun is done."""
        self._current = set()
        self._failures = 0

    def failed(self, now: float) -> None:
        """Note that what was begun could not be done, so that it is tried again later.

        Args:
            now: The clock.
        """
        self._names |= self._current
        pause = spread(min(self._every * 2.0**self._failures, LONGEST_PAUSE))
        self._failures = min(self._failures + 1, 30)
        self.due = now + pause if self.due is None else min(self.due, now + pause)

    def told(self) -> str:
        """Return in words what of that which was begun has changed."""
        first, *others = sorted(self._current)
        more = f" and {len(others)} more" if others else ""
        return f"{first}{more} {'have' if others else 'has'} changed"
