"""What was found of the attacks on a fleet, how soon, and what was found although it was none."""

from __future__ import annotations

import math
import statistics

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from _attacks import ATTACKS, STRENGTHS
from _traffic import Traffic

GRACE: Final = 3600.0
"""Seconds after the end of an attack in which an alert still counts as having found it."""


class Alert(NamedTuple):
    """One alert, after the cool-down."""

    time: float
    principal: str
    detector: str
    cause: str
    """Of the access that it is about."""


@dataclass
class Score:
    """The result on some traffic; several add up."""

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    delays: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """Seconds to the first alert, by kind and strength, of the attacks that were found."""
    first: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Which detector found an attack first, by kind."""
    false: Counter[tuple[str, str]] = field(default_factory=Counter)
    """False alerts by detector and cause."""
    blocked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Accesses that are part of no attack and would have been blocked, by detector and cause."""
    days: int = 0
    accesses: int = 0
    worst: list[int] = field(default_factory=list)
    """False alerts of each run."""
    missed: list[str] = field(default_factory=list)

    def take(self, traffic: Traffic, alerts: Iterable[Alert], blocked: Iterable[tuple[str, str]] = ()) -> None:
        """Add one run."""
        by_principal: dict[str, list[Alert]] = {}
        for alert in alerts:
            by_principal.setdefault(alert.principal, []).append(alert)
        false = [alert for own in by_principal.values() for alert in own]
        for attack in traffic.attacks:
            own = by_principal.get(attack.principal, [])
            times = [alert.time for alert in own]
            found = own[bisect_left(times, attack.start) : bisect_right(times, attack.end + GRACE)]
            self.tried[attack.kind, attack.strength] += 1
            if found:
                self.delays.setdefault((attack.kind, attack.strength), []).append(found[0].time - attack.start)
                self.first[attack.kind, found[0].detector] += 1
                found_set = set(found)
                false = [alert for alert in false if alert not in found_set]
            else:
                self.missed.append(f"{traffic.seed}: {attack.kind} ({attack.strength}) by {attack.principal}")
        self.false.update((alert.detector, alert.cause) for alert in false)
        self.blocked.update(blocked)
        self.worst.append(len(false))
        self.days += traffic.days
        self.accesses += len(traffic.events)

    def add(self, other: Score) -> None:
        """Add the result on other traffic."""
        for own, more in (
            (self.tried, other.tried),
            (self.first, other.first),
            (self.false, other.false),
            (self.blocked, other.blocked),
        ):
            own.update(more)
        for key, delays in other.delays.items():
            self.delays.setdefault(key, []).extend(delays)
        self.days += other.days
        self.accesses += other.accesses
        self.worst += other.worst
        self.missed += other.missed

    def found(self, kind: str = "", strength: str = "") -> tuple[int, int]:
        """Return how many attacks were found, and how many there were."""
        keys = [key for key in self.tried if kind in {"", key[0]} and strength in {"", key[1]}]
        return sum(len(self.delays.get(key, ())) for key in keys), sum(self.tried[key] for key in keys)

    def share(self, kind: str = "", strength: str = "") -> float:
        """Return the share of attacks that were found."""
        found, tried = self.found(kind, strength)
        return found / tried if tried else 0.0

    def false_a_day(self) -> float:
        """Return how many false alerts there were a day over the fleet."""
        return sum(self.false.values()) / max(1, self.days)

    def delay(self, kind: str) -> tuple[float, float]:
        """Return the median and the 90th percentile of seconds to the first alert."""
        delays = sorted(delay for key, own in self.delays.items() if key[0] == kind for delay in own)
        if not delays:
            return float("nan"), float("nan")
        return statistics.median(delays), delays[min(len(delays) - 1, int(0.9 * len(delays)))]


def table(score: Score) -> str:
    """Return the result by kind of attack, as a table in Markdown."""
    lines = [
        "| attack | found | " + " | ".join(STRENGTHS) + " | after, median | 90 % |",
        "| --- | --- | " + "--- | " * len(STRENGTHS) + "--- | --- |",
    ]
    for kind in (*ATTACKS, ""):
        cells = ["{}/{} ({:.0%})".format(*score.found(kind), score.share(kind))]
        cells += [f"{score.share(kind, strength):.0%}" for strength in STRENGTHS]
        cells += [_duration(seconds) for seconds in score.delay(kind)] if kind else ["", ""]
        lines.append(f"| {kind or 'all'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def comparison(scores: dict[str, Score]) -> str:
    """Return several results side by side, as a table in Markdown."""
    lines = ["| | " + " | ".join(scores) + " |", "| --- |" + " --- |" * len(scores)]
    lines += [
        f"| {kind or 'all'} | " + " | ".join(f"{one.share(kind):.0%}" for one in scores.values()) + " |"
        for kind in (*ATTACKS, "")
    ]
    lines.append("| false alerts a day | " + " | ".join(f"{one.false_a_day():.2f}" for one in scores.values()) + " |")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
