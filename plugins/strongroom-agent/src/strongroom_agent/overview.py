"""What the page shows, as one JSON document. Names and figures are in it, and no value of a secret ever is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from strongroom.contracts import TrailFinding
from strongroom.contracts.service_rotation import Schedule
from strongroom_agent.figures import OTHERS, Latency, Series, Tally
from strongroom_agent.health import HealthReport
from strongroom_agent.looks import RotationLook, Verification
from strongroom_agent.rows import Row, cut
from strongroom_agent.window import View

SPANS: Final = {"1h": 1, "24h": 20}
"""The spans of time that can be looked at: how many minutes make up a slot of a chart."""
MOST_SCHEDULES: Final = 500
"""How many rotations are shown; those that are due first come first."""
MOST_ALERTS: Final = 50
"""How many alerts, rotations that were made and changes of backends are shown, each."""
MOST_TOLD_APART: Final = 20
"""How many principals and backends are told apart, each; the rest is counted together."""
_URGENT: Final = {"overdue": 0, "left": 1, "unknown": 2, "due": 3, "due soon": 4, "running": 5}
_CHARTED: Final = ("reads", "hits", "denied", "failed")


def moment(seconds: float | None) -> str | None:
    """Return a time as it is shown to programs: ISO 8601, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def described(row: Row) -> dict[str, Any]:
    """Return an event as the page gets it."""
    return row._asdict() | {"time": moment(row.time)}


def cache_part(stats: Any) -> dict[str, Any]:
    """Return how the cache has served since the manager was opened.

    Args:
        stats: What ``SecretManager.stats`` returns.
    """
    return dict(stats.as_dict()) | {"hit_rate": stats.hit_rate if stats.reads else None}


def health_part(report: HealthReport | None, conditions: Sequence[Row]) -> dict[str, Any] | None:
    """Return how backends, sinks and the journal are.

    Args:
        report: What was found out last; ``None`` if nothing is known.
        conditions: The changes of backends, newest first; they tell since when a backend is as it is.
    """
    if report is None:
        return None
    since: dict[str | None, Row] = {}
    for row in conditions:
        since.setdefault(row.backend, row)
    parts = []
    for part in report.parts:
        change = since.get(part.name) if part.breaker is not None else None
        known = change if change is not None and change.event == part.breaker else None
        parts.append(
            {
                "kind": part.kind,
                "name": cut(part.name),
                "state": part.state.value,
                "breaker": part.breaker,
                "since": moment(known.time) if known else None,
                "reason": cut(part.reason or (known.detail if known and known.event != "healthy" else "") or ""),
                "hint": cut(part.hint),
            }
        )
    journal = None
    if report.waiting is not None:
        journal = {"waiting": report.waiting, "set_aside": report.set_aside, "oldest": report.oldest}
    return {
        "state": report.word,
        "at": moment(report.at),
        "parts": parts,
        "journal": journal,
        "problem": cut(report.problem),
    }


def rotation_part(look: RotationLook | None, made: Sequence[Row]) -> dict[str, Any]:
    """Return what is rotated when, and what has been.

    Args:
        look: What was found out last; ``None`` if nothing has been yet.
        made: The rotations that were made, newest first.
    """
    schedules = sorted(look.schedules, key=_urgency) if look else []
    return {
        "at": moment(look.at) if look else None,
        "problem": cut(look.problem) if look else "",
        **{word: sum(one.state == word for one in schedules) for word in ("overdue", "due", "left")},
        "total": len(schedules),
        "schedules": [_schedule(one) for one in schedules[:MOST_SCHEDULES]],
        "made": [described(row) for row in made if row.result != "attempt"][:MOST_ALERTS],
    }


def _urgency(schedule: Schedule) -> tuple[int, float, str]:
    due = schedule.next if schedule.enabled else None
    return _URGENT.get(schedule.state, 9), due.timestamp() if due else float("inf"), schedule.name


def _schedule(schedule: Schedule) -> dict[str, Any]:
    times = {key: getattr(schedule, key) for key in ("last", "next", "due", "warn_from", "ends")}
    told = {key: moment(time.timestamp()) if time is not None else None for key, time in times.items()}
    texts = {key: cut(getattr(schedule, key)) for key in ("name", "rule", "by", "problem")}
    return schedule.as_dict() | told | texts


def trail_part(view: View, verifications: Sequence[Verification]) -> dict[str, Any]:
    """Return how far the audit trail has been read, and whether it verifies."""
    return {
        "sink": view.trail,
        "reading": view.is_reading,
        "problem": cut(view.problem),
        "read": view.read,
        "kept": view.kept,
        "oldest": moment(view.oldest),
        "events": view.events,
        "results": view.results,
        "verifications": [
            one.as_dict()
            | {
                "at": moment(one.at),
                "problem": cut(one.problem),
                "findings": [_finding(found) for found in one.findings],
            }
            for one in verifications
        ],
    }


def _finding(finding: TrailFinding) -> dict[str, str]:
    return {"kind": cut(finding.kind), "place": cut(finding.place), "detail": cut(finding.detail)}


def figures_part(series: Series) -> dict[str, Any]:
    """Return the counters of a span of time."""
    total = series.total
    return {
        "start": moment(series.start),
        "step": series.step,
        "charts": {field: [slot.counts[field] for slot in series.slots] for field in _CHARTED},
        "p99": [_together(slot.latencies.values()).quantile(0.99) for slot in series.slots],
        "total": total.counts,
        "hit_rate": total.hit_rate,
        "principals": _principals(total),
        "latencies": _latencies(total),
    }


def _principals(total: Tally) -> list[dict[str, Any]]:
    ranked = sorted(total.principals.items(), key=lambda one: (one[0] == OTHERS, -one[1][0], one[0]))
    shown, rest = ranked[:MOST_TOLD_APART], [counts for _, counts in ranked[MOST_TOLD_APART:]]
    if rest:
        shown.append((OTHERS, [sum(column) for column in zip(*rest, strict=True)]))
    return [
        {"principal": principal, "operations": counts[0], "denied": counts[1], "failed": counts[2]}
        for principal, counts in shown
    ]


def _latencies(total: Tally) -> list[dict[str, Any]]:
    ranked = sorted(total.latencies.items(), key=lambda one: (one[0] == OTHERS, -one[1].count, one[0]))
    shown, rest = sorted(ranked[:MOST_TOLD_APART], key=lambda one: one[0]), ranked[MOST_TOLD_APART:]
    if rest:
        shown.append((OTHERS, _together(one for _, one in rest)))
    return [
        {"backend": backend, "reads": one.count} | {f"p{part}": one.quantile(part / 100) for part in (50, 90, 99)}
        for backend, one in shown
    ]


def _together(latencies: Iterable[Latency]) -> Latency:
    together = Latency()
    for latency in latencies:
        together.merge(latency)
    return together
