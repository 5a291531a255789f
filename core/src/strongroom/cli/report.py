"""The summary of an audit trail: who did what, by principal and by name."""

from __future__ import annotations

import sys

from typing import Any, Final

from strongroom.cli.command import table
from strongroom.cli.text import printable
from strongroom.errors import AccessDeniedError, SecretDeletedError, SecretNotFoundError, SuspiciousActivityError
from strongroom.model import AuditEvent

DENIED: Final = frozenset({*AccessDeniedError.codes, *SuspiciousActivityError.codes})
MISSING: Final = frozenset({*SecretNotFoundError.codes, *SecretDeletedError.codes})
CHANGES: Final = frozenset({"set", "delete", "rotate", "undelete", "destroy", "annotate", "rotate_key"})
FIGURES: Final = ("reads", "hits", "changes", "denials", "missing", "errors", "alerts")


class Tally:
    """Counts the events of one principal or one name.

    Attributes:
        counts: How many there were of each of ``FIGURES``. ``hits`` are those of the reads that the cache answered.
        last: The time of the newest that was counted, in ISO 8601.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(FIGURES, 0)
        self.last = ""

    def add(self, event: AuditEvent) -> None:
        """Count an event's outcome."""
        figure = figure_of(event)
        if figure is None:
            return
        self.counts[figure] += 1
        if figure == "reads" and event.cache_hit:
            self.counts["hits"] += 1
        self.last = max(self.last, event.timestamp)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for programs."""
        return {**self.counts, "last": self.last}


def figure_of(event: AuditEvent) -> str | None:
    """Return which of ``FIGURES`` an outcome counts as; ``None`` for what is not counted, such as ``opened``.

    Args:
        event: An event that is not an attempt.
    """
    if event.event == "alert":
        return "alerts"
    if event.principal is None:
        return None
    if event.result in DENIED:
        return "denials"
    if event.result in MISSING:
        return "missing"
    # What is accepted counts when that is done, not again as the `replay` that makes it.
    if event.event in CHANGES and event.result in {"ok", "queued"}:
        return "changes"
    if event.result != "ok":
        return "errors"
    return "reads" if event.event == "get" else None


class Report:
    """Gathers events and shows the summary.

    Attributes:
        events: How many events there were, of any kind.
    """

    def __init__(self) -> None:
        self.events = 0
        self._principals: dict[str, Tally] = {}
        self._names: dict[str, Tally] = {}
        self._open: dict[str, AuditEvent] = {}

    def add(self, event: AuditEvent) -> None:
        """Take up the next event, in the order of the trail."""
        self.events += 1
        if event.phase == "attempt":
            self._open[event.id] = event
            return
        self._open.pop(event.id, None)
        if event.principal is not None:
            self._principals.setdefault(event.principal, Tally()).add(event)
        if event.key:
            self._names.setdefault(event.key, Tally()).add(event)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for programs."""
        return {
            "events": self.events,
            "by_principal": {name: tally.as_dict() for name, tally in _counted(self._principals)},
            "by_name": {name: tally.as_dict() for name, tally in _counted(self._names)},
            "open_attempts": [event.as_dict() for event in self._open.values()],
        }

    def show(self) -> None:
        """Print the summary for people."""
        for heading, tallies in (("PRINCIPAL", self._principals), ("NAME", self._names)):
            rows = [
                (printable(name), *map(str, tally.counts.values()), printable(tally.last))
                for name, tally in _counted(tallies)
            ]
            table(rows, (heading, *map(str.upper, FIGURES), "LAST"))
            sys.stdout.write("\n")
        sys.stdout.write(f"{len(self._open)} attempts without an outcome\n")
        for event in self._open.values():
            where = f"process {event.pid} on {event.host}"
            columns = [event.timestamp, event.principal, event.event, event.key, where]
            columns += [event.detail] if event.detail else []
            sys.stdout.write("  ".join(printable(column or "-") for column in columns) + "\n")


def _counted(tallies: dict[str, Tally]) -> list[tuple[str, Tally]]:
    return sorted((name, tally) for name, tally in tallies.items() if tally.last)
