"""Counters over time: how reads were served, who did what, and how fast the backends answered."""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import Final

from strongroom.contracts import Record
from strongroom.errors import (
    AccessDeniedError,
    SecretDeletedError,
    SecretNotFoundError,
    SuspiciousActivityError,
)
from strongroom_agent.rows import Row

STEPS: Final = {1: 60, 20: 24 * 60}
"""How many minutes a slot may have, and for how many minutes such slots are kept."""
MOST_PRINCIPALS: Final = 100
"""How many principals one slot tells apart."""
MOST_BACKENDS: Final = 16
"""How many backends one slot tells apart."""
OTHERS: Final = "(others)"
"""What those count as that are not told apart."""
DENIED: Final = frozenset(AccessDeniedError.codes + SuspiciousActivityError.codes)
"""The results of what was refused."""
MISSING: Final = frozenset(SecretNotFoundError.codes + SecretDeletedError.codes)
"""The results of what is not there, which is an answer and no failure."""
NOTICES: Final = frozenset({"alert", "opened", "closed", "head", "gap", "continued", "pruned"})
"""Events that are no operations of anybody."""

_FASTEST: Final = 50e-6
_STEPS: Final = 8
"""How many bounds of a histogram lie between a time and its double."""
_BOUNDS: Final = tuple(_FASTEST * 2 ** (step / _STEPS) for step in range(171))
_FIELDS: Final = ("reads", "hits", "denied", "failed", "operations", "alerts", "rotations")


class Latency:
    """How long something took, as a histogram whose size does not depend on how often it was done."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one time."""
        place = _place(seconds)
        self._counts[place] = self._counts.get(place, 0) + 1
        self.count += 1

    def merge(self, other: Latency) -> None:
        """Count all that another one has counted."""
        for place, count in other._counts.items():
            self._counts[place] = self._counts.get(place, 0) + count
        self.count += other.count

    def quantile(self, part: float) -> float | None:
        """Return within which time a part of all was done, in seconds, exact to a tenth of it.

        Args:
            part: The part, above 0.0 and up to 1.0.

        Returns:
            ``None`` if nothing has been counted.
        """
        wanted, passed = part * self.count, 0
        for place, count in sorted(self._counts.items()):
            if passed + count >= wanted:
                low = _BOUNDS[place - 1] if place else 0.0
                high = _BOUNDS[min(place, len(_BOUNDS) - 1)]
                return low + (high - low) * (wanted - passed) / count if high > low else high
            passed += count
        return None


def _place(seconds: float) -> int:
    """Return the first bound that a time is not above; beyond the last one if it is above all."""
    if not seconds > _FASTEST:  # a time that is none counts as the shortest
        return 0
    if seconds > _BOUNDS[-1]:
        return len(_BOUNDS)
    place = int(log(seconds / _FASTEST, 2) * _STEPS)
    return place if seconds <= _BOUNDS[place] else place + 1


class Tally:
    """What happened within some time.

    Attributes:
        counts: How many reads, hits of the cache, refusals, failures, operations, alerts and rotations there were.
        principals: By principal: how many operations, how many were denied, and how many failed.
        latencies: By backend: how long reads took that it has answered.
    """

    __slots__ = ("counts", "latencies", "principals")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_FIELDS, 0)
        self.principals: dict[str, list[int]] = {}
        self.latencies: dict[str, Latency] = {}

    def add(self, event: Row) -> None:
        """Count an event that is no attempt."""
        if event.event == "alert":
            self.counts["alerts"] += 1
        if event.principal is None or event.event in NOTICES:
            return
        denied, failed = event.result in DENIED, _has_failed(event.result)
        self.counts["operations"] += 1
        self.counts["denied"] += denied
        self.counts["failed"] += failed
        known = event.principal in self.principals or len(self.principals) < MOST_PRINCIPALS
        self._of(event.principal if known else OTHERS, (1, denied, failed))
        if event.event == "rotate" and event.result in {"ok", "queued"}:
            self.counts["rotations"] += 1
        if event.event == "get" and not denied:
            self._read(event)

    def _read(self, event: Row) -> None:
        self.counts["reads"] += 1
        self.counts["hits"] += event.source in {"cache", "stale"}
        if event.source == "backend" and event.duration is not None:
            backend = event.backend or ""
            known = backend in self.latencies or len(self.latencies) < MOST_BACKENDS
            self._latency(backend if known else OTHERS).add(event.duration)

    def _of(self, principal: str, counts: Iterable[int]) -> None:
        known = self.principals.setdefault(principal, [0, 0, 0])
        for place, count in enumerate(counts):
            known[place] += count

    def _latency(self, backend: str) -> Latency:
        return self.latencies.setdefault(backend, Latency())

    def merge(self, other: Tally) -> None:
        """Count all that another one has counted, and tell all apart that it has."""
        for field, count in other.counts.items():
            self.counts[field] += count
        for principal, counts in other.principals.items():
            self._of(principal, counts)
        for backend, latency in other.latencies.items():
            self._latency(backend).merge(latency)

    @property
    def hit_rate(self) -> float | None:
        """The part of the reads that the cache answered, from 0.0 to 1.0; ``None`` if there was no read."""
        reads = self.counts["reads"]
        return self.counts["hits"] / reads if reads else None


def _has_failed(result: str) -> bool:
    return result not in {"ok", "queued"} and result not in DENIED and result not in MISSING


class Series(Record):
    """Counters over a span of time, up to now."""

    start: int
    """When the first slot begins, in seconds since 1970 UTC."""
    step: int
    """How many seconds a slot has."""
    slots: tuple[Tally, ...]
    """Oldest first; the last one is still being filled."""
    total: Tally


class Figures:
    """The counters of the last hour, minute by minute, and of the last day. One thread at a time may use it."""

    def __init__(self) -> None:
        self._slots: dict[int, dict[int, Tally]] = {step: {} for step in STEPS}

    def add(self, event: Row, now: float) -> None:
        """Count an event that is no attempt.

        Args:
            event: The event; what is said to be in the future counts as now.
            now: The time now, in seconds since 1970 UTC.
        """
        when = min(event.time, now)
        for step, slots in self._slots.items():
            slot, first = int(when // (60 * step)), _first(now, step)
            if slot < first:
                continue
            if slot not in slots:
                for old in [one for one in slots if one < first]:
                    del slots[old]
                slots[slot] = Tally()
            slots[slot].add(event)

    def series(self, now: float, *, step: int) -> Series:
        """Return the counters up to now.

        Args:
            now: The time now, in seconds since 1970 UTC.
            step: How many minutes make up a slot: one of ``STEPS``, which says how many minutes they are of.
        """
        first, last, total = _first(now, step), int(now // (60 * step)), Tally()
        slots = [Tally() for _ in range(first, last + 1)]
        for number, tally in self._slots[step].items():
            if first <= number <= last:
                slots[number - first].merge(tally)
                total.merge(tally)
        return Series(start=first * 60 * step, step=60 * step, slots=tuple(slots), total=total)


def _first(now: float, step: int) -> int:
    """Return the first slot of the time that a step is for."""
    return int((now // 60 - STEPS[step] + 1) * 60 // (60 * step))
