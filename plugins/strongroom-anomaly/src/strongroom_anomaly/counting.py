"""Counts and estimates of a few numbers each, which any clock may drive.

Times are seconds since 1970 and may stand still, go back, or be nonsense once:
a small step back counts as now, and a large step forward as a limited one.
"""

from __future__ import annotations

import math

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from strongroom_anomaly.facts import DAY, HOUR
from strongroom_anomaly.stored import Row, number, whole

State = TypeVar("State")

LONGEST_STEP: Final = 8 * DAY
"""What one step of the clock adds to an age at most: a weekly job is seen, and a wrong clock counts as a week."""
MOST_LATE: Final = 60.0
"""How many seconds a thread may come after another one whose time is later; more is a clock that was set back."""


class Table(Generic[State]):
    """What is remembered of the most recent keys.

    Args:
        most: How many; beyond it, the key that was used least recently is forgotten.
        make: Makes the state of a new key.
        dropped: Told what was forgotten, if given.
    """

    def __init__(self, most: int, make: Callable[[], State], dropped: Callable[[State], object] | None = None) -> None:
        self._entries: OrderedDict[int, State] = OrderedDict()
        self._most = most
        self._make = make
        self._dropped = dropped

    def use(self, key: int) -> State:
        """Return a key's state, new if there is none; it is the most recent one now."""
        state = self._entries.get(key)
        if state is None:
            state = self._make()
            self.put(key, state)
        else:
            self._entries.move_to_end(key)
        return state

    def find(self, key: int) -> State | None:
        """Return a key's state, if there is one."""
        return self._entries.get(key)

    def put(self, key: int, state: State) -> None:
        """Remember a key that is not there."""
        while len(self._entries) >= self._most:
            self.drop_oldest()
        self._entries[key] = state

    def drop_oldest(self) -> None:
        """Forget the key that was used least recently."""
        _, state = self._entries.popitem(last=False)
        if self._dropped is not None:
            self._dropped(state)

    def items(self) -> Iterator[tuple[int, State]]:
        """Return keys and states, the least recent first."""
        return iter(self._entries.items())

    def __len__(self) -> int:
        return len(self._entries)


class Window:
    """Counts what happened lately, in steps of a tenth of the window or of an hour.

    Args:
        seconds: How long the window is.
        steps: Of how many steps.
    """

    __slots__ = ("_counts", "_last", "_late", "_width", "total")

    def __init__(self, seconds: float, steps: int = 10) -> None:
        self._width = seconds / steps
        self._late = max(1, round(MOST_LATE / self._width))
        self._counts = [0] * steps
        self._last = 0
        self.total = 0

    def add(self, now: float, most: int | None = None) -> None:
        """Count one, unless this step has counted ``most`` already."""
        self.at(now)
        position = self._last % len(self._counts)
        if most is None or self._counts[position] < most:
            self._counts[position] += 1
            self.total += 1

    def at(self, now: float) -> int:
        """Return the count of the window that ends now."""
        index = int(now // self._width)
        forward = index - self._last
        size = len(self._counts)
        if forward >= size or forward <= -size:
            self._counts = [0] * size
            self.total = 0
        elif -self._late <= forward <= 0:
            return self.total
        else:
            # A step back clears nothing: the clock was ahead, and counting goes on from here.
            for step in range(self._last + 1, index + 1):
                self.total -= self._counts[step % size]
                self._counts[step % size] = 0
        self._last = index
        return self.total

    def dump(self) -> Row:
        """Return what ``load`` takes; nothing if the window is empty."""
        return [self._last, *self._counts] if self.total else []

    def load(self, row: Row) -> None:
        """Take up what was dumped by a window of the same size; one of another size is dropped.

        Raises:
            ValueError: It is no such thing.
        """
        counts = [whole(part, 0, 1_000_000) for part in row[1:]]
        if not row or len(counts) != len(self._counts):
            return
        self._last, self._counts, self.total = whole(row[0]), counts, sum(counts)


def day_window() -> Window:
    """Return a window of 24 hours, an hour a step."""
    return Window(DAY, round(DAY / HOUR))


class Told:
    """What was told already of something that grows: it is news again when it has doubled."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def is_news(self, count: int, limit: float) -> bool:
        """Tell whether a count is to be told; below the limit, what was told is forgotten."""
        if count < max(limit, 2):
            self._count = 0  # the first of a window, or not many any more
        if count < limit or count < 2 * self._count:
            return False
        self._count = count
        return True

    def dump(self) -> int:
        """Return what ``load`` takes."""
        return self._count

    def load(self, count: object) -> None:
        """Take up what was dumped.

        Raises:
            ValueError: It is no such thing.
        """
        self._count = whole(count, 0, 1_000_000)


class Age:
    """How long something has been watched."""

    __slots__ = ("last", "total")

    def __init__(self) -> None:
        self.last: float | None = None
        self.total = 0.0

    def at(self, now: float) -> float:
        """Return the age in seconds."""
        step = 0.0 if self.last is None else now - self.last
        if step > 0:
            self.total += min(step, LONGEST_STEP)
        if self.last is None or step > 0 or step < -LONGEST_STEP:
            self.last = now
        return self.total

    def dump(self) -> Row:
        """Return what ``load`` takes."""
        return [round(self.last or 0.0), round(self.total)]

    def load(self, row: Row) -> None:
        """Take up what was dumped.

        Raises:
            ValueError: It is no such thing.
        """
        last, total = row
        self.last, self.total = number(last), number(total, 0.0)


class Fading:
    """A sum in which what was added long ago counts less.

    Args:
        half_life: After how many seconds it counts half.
    """

    __slots__ = ("_half_life", "_last", "_value")

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._last = -math.inf
        self._value = 0.0

    def at(self, now: float) -> float:
        """Return the sum now."""
        step = min(max(now - self._last, 0.0), self._half_life)
        if self._value:
            self._value *= 0.5 ** (step / self._half_life)
        self._last = now
        return self._value

    def add(self, now: float, amount: float = 1.0) -> None:
        """Add to the sum."""
        self._value = self.at(now) + amount

    def raise_to(self, now: float, amount: float) -> None:
        """Make the sum an amount, if it is less."""
        self._value = max(self.at(now), amount)

    def dump(self) -> Row:
        """Return what ``load`` takes; nothing if the sum is 0."""
        return [round(self._last), round(self._value, 2)] if self._value else []

    def load(self, row: Row) -> None:
        """Take up what was dumped.

        Raises:
            ValueError: It is no such thing.
        """
        if row:
            last, value = row
            self._last, self._value = number(last), number(value, 0.0)


class Changes:
    """On how many days lately something was new.

    Args:
        half_life: After how many seconds a day counts half.
    """

    __slots__ = ("_day", "_days")

    def __init__(self, half_life: float) -> None:
        self._days = Fading(half_life)
        self._day = 0

    def at(self, now: float) -> float:
        """Return the number of days, earlier ones counting less, without this one."""
        days = self._days.at(now)
        return max(days - 1.0, 0.0) if int(now // DAY) == self._day else days

    def add(self, now: float) -> None:
        """Note that something was new."""
        day = int(now // DAY)
        if day != self._day:
            self._days.add(now)
            self._day = day

    def dump(self) -> Row:
        """Return what ``load`` takes."""
        return [self._day, *self._days.dump()]

    def load(self, row: Row) -> None:
        """Take up what was dumped.

        Raises:
            ValueError: It is no such thing.
        """
        self._day = whole(row[0])
        self._days.load(row[1:])


class PerDay:
    """How much is usual a day: the mean of the days before, recent ones counting more."""

    __slots__ = ("_day", "_today", "usual")

    GAIN: Final = 0.1
    """How much of the usual number one day changes: it takes a week to halve."""

    def __init__(self) -> None:
        self._day = 0
        self._today = 0
        self.usual = 0.0

    def add(self, now: float, count: int, most: float) -> None:
        """Count; no day counts as more than ``most``, so that no attack teaches that it is usual."""
        day = int(now // DAY)
        if day != self._day:
            empty = min(max(day - self._day - 1, 0), 30)
            self.usual += (min(self._today, most) - self.usual) * self.GAIN
            self.usual *= (1.0 - self.GAIN) ** empty
            self._day, self._today = day, 0
        self._today += count

    def dump(self) -> Row:
        """Return what ``load`` takes; nothing if nothing was counted."""
        return [self._day, self._today, round(self.usual, 2)] if self._today or self.usual else []

    def load(self, row: Row) -> None:
        """Take up what was dumped.

        Raises:
            ValueError: It is no such thing.
        """
        if row:
            day, today, usual = row
            self._day, self._today, self.usual = whole(day), whole(today, 0, 10**12), number(usual, 0.0, 1e12)
