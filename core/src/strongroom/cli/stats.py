"""``stats``: how reads have been served, as far as the audit trail tells."""

from __future__ import annotations

import argparse
import sys

from array import array
from typing import Any, Final

from strongroom.cli.audit import add_time
from strongroom.cli.command import Command, Session, add_json, note, print_json, table
from strongroom.cli.report import DENIED, MISSING
from strongroom.cli.text import printable, seconds
from strongroom.cli.trail import open_trail
from strongroom.contracts import TrailQuery
from strongroom.model import AuditEvent

FIGURES: Final = ("reads", "hits", "misses", "negative_hits", "stale_hits", "fallback_hits", "denied", "errors")


class Served:
    """Counts how the reads of one backend, or of all, were answered.

    Attributes:
        counts: How many reads there were, and how many of each kind; the kinds add up to ``reads``.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(FIGURES, 0)
        self._durations = array("d")

    def add(self, event: AuditEvent) -> None:
        """Count a read."""
        self.counts["reads"] += 1
        self.counts[_kind(event)] += 1
        if event.source == "backend" and event.duration is not None:
            self._durations.append(event.duration)

    @property
    def hit_rate(self) -> float:
        """The part of the reads that the cache answered, from 0.0 to 1.0; denied ones are left out."""
        asked = self.counts["reads"] - self.counts["denied"]
        served = self.counts["hits"] + self.counts["negative_hits"] + self.counts["stale_hits"]
        return served / asked if asked else 0.0

    @property
    def median(self) -> float | None:
        """How long the backend took in the middle case, in seconds; ``None`` if it was never asked."""
        durations = sorted(self._durations)
        middle = len(durations) // 2
        if not durations:
            return None
        return durations[middle] if len(durations) % 2 else (durations[middle - 1] + durations[middle]) / 2

    @property
    def slowest(self) -> float | None:
        """How long the backend took at most, in seconds; ``None`` if it was never asked."""
        return max(self._durations, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for programs."""
        return {
            **self.counts,
            "hit_rate": self.hit_rate,
            "median_seconds": self.median,
            "slowest_seconds": self.slowest,
        }


def _kind(event: AuditEvent) -> str:
    if event.result in DENIED:
        return "denied"
    if event.result == "ok":
        kinds = {"cache": "hits", "stale": "stale_hits", "fallback": "fallback_hits"}
        return kinds.get(event.source or "", "misses")
    if event.result in MISSING:
        return {"cache": "negative_hits", "fallback": "fallback_hits"}.get(event.source or "", "misses")
    return "errors"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_time(parser, "--since", "at or after it")
    parser.add_argument("--sink", metavar="TYPE", help="which audit sink, by type or number, if several have a trail")
    add_json(parser)


def _run(session: Session, options: argparse.Namespace) -> int:
    configuration = session.load()
    trail = open_trail(configuration, options.sink)
    total, backends = Served(), {name: Served() for name in configuration.backends}
    try:
        for event in trail.read(TrailQuery(since=options.since)):
            if event.event == "get" and event.phase == "outcome":
                total.add(event)
                if event.backend is not None:
                    backends.setdefault(event.backend, Served()).add(event)
    finally:
        trail.close()
    if options.json:
        shown = {name: served.as_dict() for name, served in backends.items()}
        print_json({"source": "audit trail", "since": options.since, "total": total.as_dict(), "backends": shown})
    else:
        _show(total, backends)
    return 0


def _show(total: Served, backends: dict[str, Served]) -> None:
    headings = ("BACKEND", *(figure.upper().replace("_", " ") for figure in FIGURES), "HIT RATE", "MEDIAN", "SLOWEST")
    table([_row(name, served) for name, served in (*backends.items(), ("(all)", total))], headings)
    sys.stdout.flush()
    note("from the audit trail of all processes; SecretManager.stats() tells what a running program's cache holds")


def _row(name: str, served: Served) -> tuple[str, ...]:
    times = ("-" if time is None else seconds(time) for time in (served.median, served.slowest))
    return (printable(name), *map(str, served.counts.values()), f"{served.hit_rate:.1%}", *times)


COMMANDS: Final = {
    "stats": Command(
        summary=(
            "Show how reads have been served: by the cache, by which backend, how fast. This command has a cache "
            "of its own that is empty, so the figures come from the audit trail, which all processes write."
        ),
        configure=_configure,
        run=_run,
        examples="""
            strongroom stats
            strongroom stats --since 24h --json
        """,
    ),
}
