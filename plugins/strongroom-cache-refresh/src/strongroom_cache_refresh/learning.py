"""Learns for each name how long its answers hold, from the versions that its backend gives."""

from __future__ import annotations

import math

from typing import Final, NamedTuple

NAMES: Final = 10_000
"""Of how many names something is remembered; the one that was longest not fetched is forgotten first."""


class _Known(NamedTuple):
    version: str
    since: float
    """When this version was first seen."""
    ttl: float


class Learner:
    """Learns times to live, in constant time and space for each name.

    An answer that turns out unchanged doubles its name's time, but never beyond
    the time for which this version has been known. A changed one moves it halfway,
    by ratio, towards half of the time between the two versions' first sightings:
    so a change is noticed, on average, well within the time that versions last.

    There is no lock, so that a forked child or a signal's handler cannot find it
    held: each step on the table is atomic, and threads that fetch the same name at
    once lose at most what one of them saw.

    Args:
        start: The time of a name of which nothing is known, in seconds.
        least: The shortest time.
        most: The longest time.
        names: Of how many names something is remembered.
    """

    def __init__(self, *, start: float, least: float, most: float, names: int = NAMES) -> None:
        self._start = start
        self._least = least
        self._most = most
        self._names = names
        self._known: dict[str, _Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def ttl(self, name: str) -> float:
        """Return a name's time as it has been learned so far, in seconds."""
        known = self._known.get(name)
        return known.ttl if known is not None else self._start

    def observe(self, name: str, version: str, now: float) -> float:
        """Take note of a version that has just been fetched.

        Args:
            name: The secret's name.
            version: The version that the backend gave.
            now: Seconds on a clock that never goes back.

        Returns:
            How long this answer may serve, in seconds.
        """
        old = self._known.pop(name, None)
        if old is None:
            new = _Known(version, now, self._start)
        elif old.version == version:
            new = _Known(version, old.since, self._within(max(old.ttl, min(2.0 * old.ttl, now - old.since))))
        else:
            aim = max(self._least, (now - old.since) / 2.0)
            new = _Known(version, now, self._within(min(old.ttl, math.sqrt(old.ttl * aim))))
        # Put in anew, so that the table's order is that of the last fetches.
        self._known[name] = new
        while len(self._known) > self._names:
            self._forget_oldest()
        return new.ttl

    def _within(self, seconds: float) -> float:
        return min(self._most, max(self._least, seconds))

    def _forget_oldest(self) -> None:
        try:
            self._known.pop(next(iter(self._known)), None)
        except (RuntimeError, StopIteration):
            # Another thread has changed the table between the two steps: it forgets, too.
            pass
