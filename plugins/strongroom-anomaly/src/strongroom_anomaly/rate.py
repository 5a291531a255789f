"""The detector ``rate``: far more accesses than usual, of a principal, or of one name by it on one machine.

What is usual is learned per window in which there was any access at all: the mean
and the spread of the logarithm of the count, and the busiest window of recent
weeks. What is beyond the limit counts as the limit, so that a burst does not teach
that bursts are usual; and a day raises the limit fourfold at most, so that nobody
can get it out of the way by asking for a little more in each window.
"""

from __future__ import annotations

import itertools
import math

from collections.abc import Callable
from functools import partial
from typing import Final

from strongroom.contracts import Access, Repeats, Verdict
from strongroom_anomaly.counting import Age, Fading, Table
from strongroom_anomaly.detector import StatefulDetector
from strongroom_anomaly.facts import ALLOWED, DAY, Finding, in_words, key_of, number_in_words, seconds_of, whom
from strongroom_anomaly.settings import RateSettings
from strongroom_anomaly.stored import Row, key, number, whole

FEWEST_WINDOWS: Final = 10
"""In how many windows something must have been used before it is judged."""
MOST_WINDOWS: Final = 2000.0
"""How many windows the mean is of, at most: what changes for good becomes usual within days."""
MOST_GROWTH: Final = 4
"""How many times as high a day can make a limit."""
NO_LIMIT: Final = 1 << 60


class Count:
    """The accesses of the present window, and what is usual.

    Args:
        settings: The detector's.
        window: How many seconds a window has.
        at_least: Fewer are never odd.
    """

    __slots__ = (
        "_age",
        "_at_least",
        "_busiest",
        "_day",
        "_highest",
        "_mean",
        "_settings",
        "_spread",
        "_windows",
        "limit",
        "next",
        "start",
        "window",
    )

    def __init__(self, settings: RateSettings, window: float, at_least: int) -> None:
        self._settings = settings
        self._at_least = at_least
        self.window = window
        self._age = Age()
        self._busiest = Fading(settings.half_life)
        self._mean = self._spread = self._windows = 0.0
        self._day = 0
        self._highest = NO_LIMIT
        self.start: float | None = None
        self.limit = NO_LIMIT
        self.next: Callable[[], int] = itertools.count(1).__next__

    @property
    def usual(self) -> float:
        """How many accesses a busy window usually has: 98 of 100 have fewer."""
        return math.exp(min(self._mean + 2.0 * math.sqrt(self._spread), 50.0)) - 1.0

    @property
    def learned(self) -> bool:
        """Whether enough has been seen to judge."""
        return self._windows >= FEWEST_WINDOWS and self._age.total >= self._settings.learn_for

    def enter(self, now: float, whole: Count | None = None) -> float:
        """Begin another window if it is time, and return the end of the present one.

        A step back by less than a minute, or less than a window, is none: threads
        come out of order.

        Args:
            now: In seconds since 1970.
            whole: What this is a part of, which gives the limit until enough is known.
        """
        width = self.window
        if self.start is None or not -max(width, 60.0) <= now - self.start < width:
            if self.start is not None:
                self._learn(self.next() - 1, now)
            # Counts of threads that still hold the old function are lost with it: a few at most.
            self.next = itertools.count(1).__next__
            self.start = now // width * width
            self._age.at(now)
            self.limit = self._limit(now, whole)
        return self.start + width

    def evidence(self, count: int, what: str, setting: str) -> tuple[str, ...]:
        """Return what was seen, what is usual, and which settings decide."""
        settings = self._settings
        window = in_words(self.window)
        return (
            f"{count} accesses {what} within {window}",
            f"usual in a busy window: up to {number_in_words(self.usual)}",
            f"the limit is {self.limit}, from {setting} = {self._at_least}, times_usual = {settings.times_usual:g} "
            f"and times_busiest = {settings.times_busiest:g}",
        )

    def _limit(self, now: float, whole: Count | None) -> int:
        settings = self._settings
        if self.learned:
            learned = max(settings.times_usual * self.usual, settings.times_busiest * self._busiest.at(now))
            return self._growing(int(max(self._at_least, learned)), int(now // DAY))
        if whole is not None and whole.learned:
            # No name that is new is used more than all others together.
            others = settings.times_usual * whole.usual * self.window / whole.window
            return int(max(self._at_least, others))
        return NO_LIMIT

    def _growing(self, limit: int, day: int) -> int:
        """Return the limit, or what it can have grown to on this day since the last one."""
        if day != self._day:
            self._day = day
            self._highest = min(MOST_GROWTH * min(limit, self._highest), NO_LIMIT)
        return min(limit, self._highest)

    def _learn(self, count: int, now: float) -> None:
        """Take in a window's count; an empty window says nothing about busy ones."""
        if count <= 0:
            return
        count = min(count, self.limit)
        value = math.log1p(count)
        self._windows = min(self._windows + 1.0, MOST_WINDOWS)
        gain = 1.0 / self._windows
        step = value - self._mean
        self._mean += step * gain
        self._spread = (1.0 - gain) * (self._spread + gain * step * step)
        self._busiest.raise_to(now, float(count))

    def dump(self) -> Row:
        """Return what ``load`` takes."""
        return [
            round(self._mean, 3),
            round(self._spread, 3),
            round(self._windows),
            self._age.dump(),
            self._busiest.dump(),
            self._day,
            self._highest,
        ]

    def load(self, row: Row) -> None:
        """Take up what was dumped.

        Raises:
            ValueError: It is no such thing.
        """
        mean, spread, windows, age, busiest, day, highest = row
        self._mean, self._spread = number(mean, 0.0, 50.0), number(spread, 0.0, 1000.0)
        self._windows = number(windows, 0.0, MOST_WINDOWS)
        self._age.load(age)
        self._busiest.load(busiest)
        self._day, self._highest = whole(day), whole(highest, 1, NO_LIMIT)


class RateDetector(StatefulDetector):
    """Finds bursts. Repetitions are counted where they happen, without a lock.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: RateSettings) -> None:
        self._settings = settings
        super().__init__(f"rate {settings.window:g} {settings.name_window:g}")

    def judge(self, access: Access) -> Verdict:
        """Count an access, and compare with what is usual."""
        now = seconds_of(access)
        who = whom(access)
        with self._lock:
            by_principal, by_name = self._counts(who, access)
            by_principal.enter(now)
            by_name.enter(now, by_principal)
            number_of_all, number_of_name = by_principal.next(), by_name.next()
        if number_of_all > by_principal.limit:
            what, setting = f"by {who}", "at_least"
            return self._odd(by_principal, number_of_all, what, setting, who)
        if number_of_name > by_name.limit:
            place = f" from {access.host}" if access.host else ""
            what, setting = f"by {who} to {access.name}{place}", "at_least_per_name"
            return self._odd(by_name, number_of_name, what, setting, f"{who} {access.name}")
        return ALLOWED

    def repeats(self, access: Access) -> Repeats:
        """Count repetitions for the principal and for the name, until the window ends."""
        now = seconds_of(access)
        with self._lock:
            counts = self._counts(whom(access), access)
            until = min(counts[0].enter(now), counts[1].enter(now, counts[0]))
            return Repeats(until=until, counters=tuple((count.next, count.limit) for count in counts))

    def _odd(self, count: Count, seen: int, what: str, setting: str, subject: str) -> Verdict:
        finding = Finding(
            reason=f"{seen} accesses {what} within {in_words(count.window)}, "
            f"where up to {number_in_words(count.usual)} are usual",
            evidence=count.evidence(seen, what, setting),
            subject=subject,
        )
        return finding.verdict(block=seen > count.limit * self._settings.block_at)

    def _counts(self, who: str, access: Access) -> tuple[Count, Count]:
        # A name is counted apart for each machine: in an outage, all machines of a service try again.
        return self._principals.use(key_of(who)), self._names.use(key_of(who, access.name, access.host))

    def _forget(self) -> None:
        settings = self._settings
        self._principals: Table[Count] = Table(
            settings.max_tracked, lambda: Count(settings, settings.window, settings.at_least)
        )
        self._names: Table[Count] = Table(
            settings.max_tracked, lambda: Count(settings, settings.name_window, settings.at_least_per_name)
        )

    def _rows(self) -> dict[str, list[Row]]:
        return {
            part: [[known, *count.dump()] for known, count in table.items()] for part, table in self._tables().items()
        }

    def _loaders(self) -> dict[str, Callable[[Row], None]]:
        return {part: partial(_load, table) for part, table in self._tables().items()}

    def _tables(self) -> dict[str, Table[Count]]:
        return {"principals": self._principals, "names": self._names}


def _load(table: Table[Count], row: Row) -> None:
    table.use(key(row[0])).load(row[1:])
