"""Counting without a lock: the cache's statistics."""

from __future__ import annotations

import itertools
import threading

from collections.abc import Callable
from typing import Final


class Tally:
    """Counts in steps that no other thread can cut in two; much cheaper than a lock.

    Attributes:
        step: Counts one, and returns a number that no other step returns.
    """

    def __init__(self) -> None:
        # Both are functions of C, which the interpreter does not leave in between.
        self.step: Callable[[], int] = itertools.count().__next__
        self._looks: Callable[[], int] = itertools.count().__next__
        self._from = 0

    def value(self) -> int:
        """Return how many steps there were since it was made or reset; looking is a step, which is taken off."""
        looks = self._looks()
        return self.step() - looks - self._from

    def reset(self) -> None:
        """Count from 0 again; numbers are not repeated."""
        self._from += self.value()


_COUNTS: Final = (
    *("answered_refreshes", "errors", "failed_refreshes", "fallback", "hits", "loads", "misses", "negative"),
    *("refreshes", "stale"),
)


class Cell:
    """Counts of one thread; only that thread adds to them."""

    __slots__ = (*_COUNTS, "owner")

    def __init__(self) -> None:
        self.owner = threading.current_thread()
        self.hits = self.misses = self.negative = self.stale = self.errors = self.loads = 0
        self.fallback = self.refreshes = self.answered_refreshes = self.failed_refreshes = 0

    def add(self, other: Cell) -> None:
        """Take over what another one has counted."""
        for kind in _COUNTS:
            setattr(self, kind, getattr(self, kind) + getattr(other, kind))


class Counters(threading.local):
    """Counts by thread, so that counting takes no lock and loses nothing."""

    def __init__(self, cells: list[Cell]) -> None:
        self.cell = Cell()
        cells.append(self.cell)
