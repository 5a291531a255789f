"""What the detectors are compared with: two fixed limits, and river's half-space trees."""

from __future__ import annotations

import math

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from _fleet import MINUTE, Event
from _scoring import Alert, Score
from _traffic import Traffic

COOL_DOWN: Final = 600.0
"""Seconds; the default of the core for its own detectors."""
RATES: Final = (10, 15, 20, 30, 40, 60, 80, 120, 200, 400)
SPREADS: Final = (8, 10, 12, 15, 20, 25, 30, 40, 60, 100, 200)
WINDOW: Final = 10 * MINUTE


class Level(NamedTuple):
    """How high one access reaches."""

    time: float
    principal: str
    rate: int
    """Accesses of the principal in the last minute."""
    spread: int
    """Different names of the last ten minutes."""
    cause: str


def levels(traffic: Traffic) -> Iterator[Level]:
    """Yield each access that reaches the lowest limit of one kind or the other."""
    minutes: dict[str, deque[float]] = {}
    names: dict[str, tuple[deque[tuple[float, str]], Counter[str]]] = {}
    for event in traffic.events:
        times = minutes.setdefault(event.principal, deque())
        times.append(event.time)
        while times[0] < event.time - MINUTE:
            times.popleft()
        recent, counts = names.setdefault(event.principal, (deque(), Counter()))
        recent.append((event.time, event.name))
        counts[event.name] += 1
        while recent[0][0] < event.time - 10 * MINUTE:
            _, old = recent.popleft()
            counts[old] -= 1
            if not counts[old]:
                del counts[old]
        if len(times) >= RATES[0] or len(counts) >= SPREADS[0]:
            yield Level(event.time, event.principal, len(times), len(counts), event.cause)


def over(reached: list[Level], rate: float, spread: float) -> Iterator[Alert]:
    """Yield an alert for each access above one of the limits, with a cool-down for each principal."""
    quiet: dict[str, float] = {}
    for level in reached:
        if (level.rate >= rate or level.spread >= spread) and level.time >= quiet.get(level.principal, 0.0):
            quiet[level.principal] = level.time + COOL_DOWN
            yield Alert(level.time, level.principal, "limits", level.cause)


def tuned_limits(runs: list[tuple[Traffic, list[Level]]]) -> tuple[float, float]:
    """Return the limits that find most with less than one false alert a day, or else with the fewest of them."""
    best: tuple[tuple[bool, float], tuple[float, float]] = ((False, -math.inf), (math.inf, math.inf))
    for rate in (*RATES, math.inf):
        for spread in (*SPREADS, math.inf):
            score = Score()
            for traffic, reached in runs:
                score.take(traffic, over(reached, rate, spread))
            fits = score.false_a_day() < 1
            best = max(best, ((fits, score.share() if fits else -score.false_a_day()), (rate, spread)))
    return best[1]


class Window(NamedTuple):
    """Ten minutes of one principal, with how odd the trees find them."""

    score: float
    time: float
    """Its end: when the verdict is known."""
    principal: str
    cause: str


class Trees:
    """Half-space trees over windows of ten minutes: one model for the fleet, with what is usual for each principal.

    Args:
        seed: Of the trees.
    """

    def __init__(self, seed: int) -> None:
        from river.anomaly import HalfSpaceTrees

        self.model: Any = HalfSpaceTrees(n_trees=25, height=8, window_size=1000, seed=seed)
        self._usual: dict[str, list[float]] = {}
        self._names: dict[str, set[str]] = {}
        self._hosts: dict[str, set[str]] = {}
        self._hours: dict[str, Counter[int]] = {}

    def windows(self, traffic: Traffic) -> Iterator[Window]:
        """Yield the score of each window in which a principal did anything."""
        open_windows: dict[str, list[Event]] = {}
        edge = traffic.start + WINDOW
        for event in traffic.events:
            while event.time >= edge:
                for principal, events in open_windows.items():
                    yield self._scored(principal, events, edge)
                open_windows.clear()
                edge += WINDOW
            open_windows.setdefault(event.principal, []).append(event)

    def _scored(self, principal: str, events: list[Event], edge: float) -> Window:
        features = self._features(principal, events)
        score = self.model.score_one(features)
        self.model.learn_one(features)
        attacks = [event.cause for event in events if event.cause.startswith("attack")]
        return Window(score, edge, principal, (attacks or [events[-1].cause])[0])

    def _features(self, principal: str, events: list[Event]) -> dict[str, float]:
        """Return numbers from 0 to 1, as the trees want them."""
        names, hosts = {event.name for event in events}, {event.host for event in events}
        known_names = self._names.setdefault(principal, set())
        known_hosts = self._hosts.setdefault(principal, set())
        hours = self._hours.setdefault(principal, Counter())
        usual = self._usual.setdefault(principal, [float(len(events)), float(len(names))])
        hour = int(events[0].time // 3600 % 24)
        refused = sum(event.result == "denied" for event in events)
        missing = sum(event.result == "not_found" for event in events)
        features = {
            "accesses": _share(len(events) / usual[0]),
            "names": _share(len(names) / usual[1]),
            "new names": _share(len(names - known_names)),
            "new hosts": _share(len(hosts - known_hosts)),
            "refused": _share(refused),
            "missing": _share(missing),
            "seldom": 1 - hours[hour] / max(1, max(hours.values(), default=0)),
        }
        for place, seen in enumerate((len(events), len(names))):
            usual[place] += (seen - usual[place]) * 0.02
        known_names |= names
        known_hosts |= hosts
        hours[hour] += 1
        return features


def _share(number: float) -> float:
    """Bring a number from 0 to infinity between 0 and 1, with 5 in the middle."""
    return number / (number + 5)


def above(windows: list[Window], limit: float) -> Iterator[Alert]:
    """Yield an alert for each window above a score, with a cool-down for each principal."""
    quiet: dict[str, float] = {}
    for window in windows:
        if window.score >= limit and window.time >= quiet.get(window.principal, 0.0):
            quiet[window.principal] = window.time + COOL_DOWN
            yield Alert(window.time, window.principal, "trees", window.cause)


def tuned_score(runs: list[tuple[Traffic, list[Window]]]) -> float:
    """Return the lowest score with less than one false alert a day."""
    scores = sorted({round(window.score, 4) for _, windows in runs for window in windows}, reverse=True)
    low, high = 0, len(scores) - 1
    while low < high:
        middle = (low + high + 1) // 2
        score = Score()
        for traffic, windows in runs:
            score.take(traffic, above(windows, scores[middle]))
        low, high = (middle, high) if score.false_a_day() < 1 else (low, middle - 1)
    return scores[low]
