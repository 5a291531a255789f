"""What is known about one event of a trail, and about the detector that had something to say to it."""

from __future__ import annotations

import re

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from strongroom._record import Record
from strongroom.anomaly.replay import moment_of
from strongroom.cli.command import UsageError, note
from strongroom.cli.settings import DEFAULT, defaults_of, shown_origin
from strongroom.config.load import Configuration, DetectorTable
from strongroom.contracts import TrailQuery
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import StrongroomError, SuspiciousActivityError
from strongroom.model import AuditEvent
from strongroom.trails import OpenTrail

SHORTEST_PREFIX: Final = 8
LISTED: Final = 10
"""How many events are shown at most: of those that an id may mean, and of those before an alert."""
BEFORE: Final = timedelta(hours=1)
NEAR: Final = timedelta(minutes=1)
"""How far an alert lies from the access that it is about, at most: so long may a backend take to answer."""

_SUPPRESSED: Final = re.compile(r"(\d+) more alerts about this were not sent")


class EventNotFoundError(StrongroomError):
    """No trail holds the event."""

    codes = ("not_found",)
    exit_status = 3


class Found(Record):
    """An event, and where it was found."""

    event: AuditEvent
    trail: OpenTrail
    program: str
    """The name of the program that recorded it; empty if the trail does not say so."""


class Table(Record):
    """One ``[[anomaly]]`` table as it may be shown."""

    place: str
    settings: dict[str, tuple[Any, str]]
    """Each setting's value, and where it comes from."""


class Alert(Record):
    """What an alert event says."""

    event: AuditEvent
    reason: str
    evidence: tuple[str, ...]
    suppressed: int
    """How many alerts about the same were not sent before it."""
    tables: tuple[Table, ...]
    """Where its detector is configured now."""

    @property
    def blocked(self) -> bool:
        """Whether the access was refused."""
        return self.event.result == "blocked"


class Activity(Record):
    """What a principal did in the hour before."""

    counts: dict[str, int]
    """How many there were of each event and result, such as ``get ok``; the most frequent first."""
    names: int
    """How many different names were concerned."""
    last: tuple[AuditEvent, ...]


def find(trails: list[OpenTrail], wanted: str) -> Found:
    """Return the one event that is meant.

    Args:
        trails: Where to look; a trail that cannot be read does not stand in the way of another one.
        wanted: The event's id, or the beginning of it.

    Raises:
        UsageError: Several events' ids begin so, or the beginning is too short.
        EventNotFoundError: There is no such event.
        AuditError: No trail can be read.
    """
    matches: dict[str, Found] = {}
    failures: list[StrongroomError] = []
    for trail in trails:
        try:
            own = _matches(trail, wanted)
        except StrongroomError as error:
            failures.append(error)
            continue
        matches = own | matches
    for failure in failures:
        if len(failures) == len(trails):
            raise failure
        note(f"strongroom: warning: {failure}")
    if wanted in matches:
        return matches[wanted]
    return _only(list(matches.values()), wanted)


def _matches(trail: OpenTrail, wanted: str) -> dict[str, Found]:
    """Return the events whose ids begin so, one for each id: its alert or its outcome."""
    found: dict[str, Found] = {}
    programs: dict[tuple[str | None, int | None], str] = {}
    for event in trail.read(TrailQuery()):
        if event.event == "opened":
            programs[event.host, event.pid] = event.detail or ""
        if event.id.startswith(wanted) and (event.id == wanted or len(found) <= LISTED):
            found[event.id] = Found(event=event, trail=trail, program=programs.get((event.host, event.pid), ""))
    return found


def _only(matches: list[Found], wanted: str) -> Found:
    if matches and len(wanted) < SHORTEST_PREFIX:
        raise UsageError(
            f"{wanted!r} is too short", hint=f"give the whole id, or at least {SHORTEST_PREFIX} characters"
        )
    if not matches:
        raise EventNotFoundError(
            f"no event has the id {wanted!a}", hint="`strongroom audit tail --json` shows each event's id"
        )
    if len(matches) > 1:
        listed = ", ".join(f"{match.event.id} ({match.event.event})" for match in matches[:LISTED])
        more = " and more" if len(matches) > LISTED else ""
        raise UsageError(f"several events have ids that begin with {wanted!r}", hint=f"choose one: {listed}{more}")
    return matches[0]


def whom(event: AuditEvent) -> str | None:
    """Return for whom detectors count what an event records: who took on the principal, if somebody did."""
    return event.on_behalf_of or event.principal


def alert_about(found: Found, configuration: Configuration, catalogue: Catalogue) -> Alert | None:
    """Return what the alert says that an event is, or that is near it; ``None`` if there is none.

    Args:
        found: The event.
        configuration: Says how detectors are configured.
        catalogue: Where they are found.

    Raises:
        AuditError: The trail cannot be read.
    """
    event = found.event if found.event.event == "alert" else _nearest_alert(found, configuration)
    if event is None:
        return None
    reason, *evidence = (event.detail or "").split("; ")
    suppressed = _SUPPRESSED.fullmatch(evidence[-1]) if evidence else None
    return Alert(
        event=event,
        reason=reason,
        evidence=tuple(evidence[:-1] if suppressed else evidence),
        suppressed=int(suppressed[1]) if suppressed else 0,
        tables=tuple(
            _table(table, configuration, catalogue) for table in configuration.detectors if table.name == event.rule
        ),
    )


def _nearest_alert(found: Found, configuration: Configuration) -> AuditEvent | None:
    event, when = found.event, moment_of(found.event)
    if whom(event) is None or when is None:
        return None
    reach = NEAR
    if event.result in SuspiciousActivityError.codes:
        # Alerts about the same are not repeated for a while.
        pauses = [table.cool_down for table in configuration.detectors if table.name == event.rule]
        reach += timedelta(seconds=min(max(pauses, default=600.0), 7 * 86_400.0))
    candidates = _between(found.trail, when - reach, when + NEAR)
    alerts = [one for one in candidates if one.event == "alert" and _may_be_about(one, event)]
    return min(alerts, key=lambda one: (one.key != event.key, _distance(one, when)), default=None)


def _may_be_about(alert: AuditEvent, event: AuditEvent) -> bool:
    if whom(alert) != whom(event):
        return False
    if event.result in SuspiciousActivityError.codes:
        return alert.rule == event.rule
    return alert.key == event.key


def _distance(event: AuditEvent, when: datetime) -> timedelta:
    return abs((moment_of(event) or when) - when)


def _between(trail: OpenTrail, since: datetime, until: datetime) -> Iterator[AuditEvent]:
    return trail.read(TrailQuery(since=_text(since), until=_text(until)))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def activity(found: Found) -> Activity:
    """Return what was done for the same principal in the hour before an event.

    Args:
        found: The event.

    Raises:
        AuditError: The trail cannot be read.
    """
    when, who = moment_of(found.event), whom(found.event)
    if when is None or who is None:
        return Activity(counts={}, names=0, last=())
    counts: Counter[str] = Counter()
    names: set[str] = set()
    last: deque[AuditEvent] = deque(maxlen=LISTED)
    for event in _operations(one for one in _between(found.trail, when - BEFORE, when) if whom(one) == who):
        if event.id == found.event.id:
            continue
        counts[f"{event.event} {result_of(event)}"] += 1
        if event.key:
            names.add(event.key)
        last.append(event)
    return Activity(counts=dict(counts.most_common()), names=len(names), last=tuple(last))


def _operations(events: Iterable[AuditEvent]) -> Iterator[AuditEvent]:
    """Yield the outcome of each operation, and at the end the attempts that have none."""
    attempts: dict[str, AuditEvent] = {}
    for event in events:
        if event.phase == "attempt":
            attempts[event.id] = event
        else:
            attempts.pop(event.id, None)
            yield event
    yield from attempts.values()


def result_of(event: AuditEvent) -> str:
    """Return an event's result; an attempt has none yet, whatever the field says."""
    return "attempt" if event.phase == "attempt" else event.result


def _table(table: DetectorTable, configuration: Configuration, catalogue: Catalogue) -> Table:
    """Return a detector's table as it may be shown."""
    effective = {
        "action": "block" if table.block else "alert",
        "required": table.required,
        "cool_down": f"{table.cool_down:g}s",
    }
    settings = {name: (value, DEFAULT) for name, value in effective.items()}
    try:
        settings |= {
            name: (value, DEFAULT) for name, value in defaults_of(table, Kind.ANOMALY_DETECTOR, catalogue).items()
        }
    except StrongroomError as error:
        note(f"strongroom: warning: {error}")
    for origin in configuration.origins:
        is_own = origin.setting == f"{table.place.table}.{origin.key}" and origin.source.startswith(table.place.file)
        if is_own and origin.key != "type":
            settings[origin.key] = (shown_origin(origin, catalogue), origin.source)
    return Table(place=f"{table.place.table} in {table.place.file}", settings=settings)
