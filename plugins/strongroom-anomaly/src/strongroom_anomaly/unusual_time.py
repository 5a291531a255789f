"""The detector ``unusual-time``: a principal is used at an hour at which it never is.

For each principal it is counted on how many days each hour of the day saw an
access, apart for working days and weekends; however many accesses there were, an
hour counts once. An hour is unusual if neither it nor its neighbours have been
seen. On a weekend, what is usual on working days is usual, too.

Whoever is often seen at hours of which nothing more is seen has no regular hours,
and is not judged: the share of such lone hours is about the chance that the next
hour is a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from strongroom.contracts import Access, Outcome, Repeats, Verdict
from strongroom_anomaly.counting import Age, Table
from strongroom_anomaly.detector import StatefulDetector
from strongroom_anomaly.facts import ALLOWED, DAY, HOUR, Finding, in_words, key_of, number_in_words, seconds_of, whom
from strongroom_anomaly.settings import UnusualTimeSettings
from strongroom_anomaly.stored import Row, key, number, whole

HOURS: Final = 24
ODD_WEIGHT: Final = 0.75
"""What an unusual hour counts: it is usual once it has been seen on two days."""
TOGETHER: Final = 2 * HOUR
"""Within which time principals that are up at unusual hours are so for the same reason."""
SEEN: Final = 1.1
"""From which count on hours are usual: one night on call makes none usual."""


class Habits:
    """When a principal is used."""

    __slots__ = ("age", "counts", "odd", "odd_slot", "slot", "taught", "weight")

    def __init__(self) -> None:
        self.counts = [0.0] * (2 * HOURS)
        """The hours of working days, and of weekends."""
        self.age = Age()
        self.slot: int | None = None
        """The present hour, counted from 1970."""
        self.odd = False
        self.odd_slot: int | None = None
        """The last hour that was unusual."""
        self.weight = 1.0
        """What the present hour counts."""
        self.taught = True

    def pool(self, slot: int) -> list[float]:
        """Return the hours with which an hour is compared."""
        working_days, weekends = self.counts[:HOURS], self.counts[HOURS:]
        if is_weekend(slot):
            return [sum(pair) for pair in zip(working_days, weekends, strict=True)]
        return working_days

    def enter(self, slot: int, half_life: float) -> None:
        """Begin another hour; with another day, earlier ones fade."""
        days = 0 if self.slot is None else max(slot // HOURS - self.slot // HOURS, 0)
        if days:
            factor = 0.5 ** min(days * DAY / half_life, 1.0)
            self.counts = [count * factor for count in self.counts]
        self.slot = slot

    def learn(self) -> None:
        """Count the present hour."""
        if self.slot is not None and not self.taught:
            self.counts[self.slot % HOURS + (HOURS if is_weekend(self.slot) else 0)] += self.weight
            self.taught = True


class UnusualTimeDetector(StatefulDetector):
    """Knows the hours of each principal.

    Args:
        settings: What is odd, and for whom.
    """

    def __init__(self, settings: UnusualTimeSettings) -> None:
        self._settings = settings
        super().__init__("unusual-time")

    def judge(self, access: Access) -> Verdict:
        """Say whether the hour is usual for whoever asks."""
        if not access.allowed:
            return ALLOWED  # what was refused says nothing about habits
        now, who = seconds_of(access), whom(access)
        with self._lock:
            habits = self._principals.use(key_of(who))
            begins = self._enter(habits, now)
            if habits.odd:
                habits.odd = self._is_alone(key_of(who), now)
            # It is reported once, but each access is stopped.
            return self._odd(habits, who) if habits.odd and (begins or self._settings.blocks) else ALLOWED

    def repeats(self, access: Access) -> Repeats:
        """Ignore repetitions until the hour is over."""
        return Repeats(until=(seconds_of(access) // HOUR + 1) * HOUR)

    def observe(self, outcome: Outcome) -> Verdict:
        """Learn an hour whose accesses were let through, though they should have been stopped."""
        if self._settings.blocks and outcome.result == "ok" and outcome.access.allowed:
            with self._lock:
                habits = self._principals.find(key_of(whom(outcome.access)))
                if habits is not None:
                    habits.learn()
        return ALLOWED

    def _enter(self, habits: Habits, now: float) -> bool:
        """Judge an hour when it begins, and tell whether it does; threads may be late by one."""
        slot, age = int(now // HOUR), habits.age.at(now)
        if habits.slot is not None and -1 <= slot - habits.slot <= 0:
            return False
        habits.enter(slot, self._settings.half_life)
        is_odd = age >= self._settings.learn_for and self._is_odd(habits.pool(slot), slot % HOURS)
        habits.weight, habits.taught = ODD_WEIGHT if is_odd else 1.0, False
        # Who stays for several hours is reported once; but what is stopped stays stopped.
        stays = habits.odd_slot is not None and abs(slot - habits.odd_slot) <= max(self._settings.tolerance, 1)
        habits.odd = is_odd and (self._settings.blocks or not stays)
        if is_odd:
            habits.odd_slot = slot
        if not (habits.odd and self._settings.blocks):
            habits.learn()
        return True

    def _is_alone(self, who: int, now: float) -> bool:
        """Tell whether few others are at work at unusual hours; one that was alone stays odd."""
        for other in [other for other, since in self._awake.items() if not 0 <= now - since < TOGETHER]:
            del self._awake[other]
        if len(self._awake) < self._settings.peers:
            self._awake.setdefault(who, now)
        return who in self._awake

    def _is_odd(self, pool: Sequence[float], hour: int) -> bool:
        settings = self._settings
        total = sum(pool)
        if total < settings.min_hours or self._near(pool, hour) >= SEEN:
            return False
        return (self._lone(pool) + 0.5) / total < settings.rare

    def _near(self, pool: Sequence[float], hour: int) -> float:
        """Return the count of an hour and its neighbours."""
        reach = self._settings.tolerance
        return sum(pool[(hour + step) % HOURS] for step in range(-reach, reach + 1))

    def _lone(self, pool: Sequence[float]) -> int:
        """Return how many hours were seen once at most, and nothing near them."""
        return sum(0.0 < pool[hour] <= 1.0 and self._near(pool, hour) <= pool[hour] for hour in range(HOURS))

    def _odd(self, habits: Habits, who: str) -> Verdict:
        slot = habits.slot or 0
        pool = habits.pool(slot)
        settings, hour = self._settings, f"{slot % HOURS:02}:00 UTC"
        day = "a weekend" if is_weekend(slot) else "a working day"
        usual = ", ".join(f"{start:02}-{end:02}" for start, end in _spans(pool))
        finding = Finding(
            reason=f"{who} is active at {hour} on {day}, when it never is",
            evidence=(
                f"an access in the hour from {hour} on {day}",
                f"usual: {usual or 'nothing'} UTC, in {number_in_words(sum(pool))} hours of activity",
                f"the limits are tolerance = {settings.tolerance}, min_hours = {settings.min_hours}, "
                f"rare = {settings.rare:g} and learn_for = {in_words(settings.learn_for)}",
            ),
            subject=who,
        )
        return finding.verdict(block=settings.blocks)

    def _forget(self) -> None:
        self._awake: dict[int, float] = {}
        """Who is at work at an unusual hour, and since when: as many as ``peers`` at most."""
        self._principals: Table[Habits] = Table(self._settings.max_tracked, Habits)

    def _rows(self) -> dict[str, list[Row]]:
        rows: list[Row] = [
            [known, habits.slot or 0, habits.age.dump(), *(round(count, 2) or 0 for count in habits.counts)]
            for known, habits in self._principals.items()
        ]
        return {"principals": rows}

    def _loaders(self) -> dict[str, Callable[[Row], None]]:
        return {"principals": self._load}

    def _load(self, row: Row) -> None:
        known, slot, age, *counts = row
        if len(counts) != 2 * HOURS:
            raise ValueError("the state has another number of hours")
        habits = self._principals.use(key(known))
        habits.slot = whole(slot)
        habits.age.load(age)
        habits.counts = [number(count, 0.0, 1e6) for count in counts]


def is_weekend(slot: int) -> bool:
    """Tell whether an hour, counted from 1970, is on a Saturday or a Sunday."""
    return (slot // HOURS + 3) % 7 >= 5  # the first day was a Thursday


def _spans(pool: Sequence[float]) -> list[tuple[int, int]]:
    """Return the usual hours as spans, each from its first hour to the end of its last."""
    spans: list[tuple[int, int]] = []
    for hour in range(HOURS):
        if pool[hour] < SEEN:
            continue
        if spans and spans[-1][1] == hour:
            spans[-1] = (spans[-1][0], hour + 1)
        else:
            spans.append((hour, hour + 1))
    return spans
