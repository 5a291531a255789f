"""The audit trail as commands read it: one configured sink, opened without anything else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from strongroom.cli.command import UsageError, note
from strongroom.config.load import Configuration, SinkTable
from strongroom.config.units import parse_seconds
from strongroom.contracts import Trail, TrailQuery
from strongroom.discovery import Catalogue
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.model import AuditEvent
from strongroom.opening import open_sink
from strongroom.trails import OpenTrail

Result = TypeVar("Result")

REACH: Final = 10_000
"""How many of the newest events are compared when following takes over from reading."""


def open_trail(configuration: Configuration, chosen: str | None = None) -> OpenTrail:
    """Open the one audit sink whose trail a command is to read.

    No backend is opened, nothing is recorded, and a sink that cannot be opened
    does not stand in the way of another one.

    Args:
        configuration: Names the sinks.
        chosen: A sink's type, or its number in the order of the configuration,
            from 1; it is needed only where several have a trail.

    Raises:
        UsageError: Several sinks have a trail, or none is the chosen one.
        ConfigurationError: No sink has a trail that can be read back.
        StrongroomError: The only sink that may have one cannot be opened.
    """
    found = open_trails(configuration, chosen)
    if len(found) > 1:
        for _, trail in found:
            trail.close()
        raise _several(found)
    return found[0][1]


def open_trails(configuration: Configuration, chosen: str | None = None) -> list[tuple[int, OpenTrail]]:
    """Open every audit sink whose trail can be read; else as :func:`open_trail`.

    Args:
        configuration: Names the sinks.
        chosen: A sink's type or number, if not all are wanted.

    Returns:
        Each sink's number and its trail; at least one.

    Raises:
        UsageError: None is the chosen one.
        ConfigurationError: No sink has a trail that can be read back.
        StrongroomError: The only sink that may have one cannot be opened.
    """
    found: list[tuple[int, OpenTrail]] = []
    failed: list[StrongroomError] = []
    catalogue = Catalogue()
    for number, table in _chosen(configuration.sinks, chosen):
        try:
            sink = open_sink(table, catalogue)
        except StrongroomError as error:
            failed.append(error)
            continue
        if isinstance(sink.wrapped, Trail):
            found.append((number, OpenTrail(sink)))
        else:
            sink.close()
    for failure in failed:
        if not found:
            raise failure
        note(f"strongroom: warning: {failure}")
    if not found:
        raise _none(configuration)
    return found


def _chosen(sinks: tuple[SinkTable, ...], chosen: str | None) -> list[tuple[int, SinkTable]]:
    numbered = list(enumerate(sinks, start=1))
    if chosen is None:
        return numbered
    matching = [(number, table) for number, table in numbered if chosen in {table.type, str(number)}]
    if not matching:
        known = ", ".join(f"{table.type} ({number})" for number, table in numbered) or "none"
        raise UsageError(f"no audit sink {chosen!r} is configured", hint=f"use the type or number of one: {known}")
    return matching


def _several(found: list[tuple[int, OpenTrail]]) -> UsageError:
    known = ", ".join(f"{trail.type} ({number})" for number, trail in found)
    return UsageError("several audit sinks have a trail", hint=f"choose one by type or number with --sink: {known}")


def _none(configuration: Configuration) -> ConfigurationError:
    types = ", ".join(table.type for table in configuration.sinks)
    what = f"no audit sink of {configuration.source} keeps a trail that can be read back ({types})"
    if not types:
        what = f"nothing is recorded: {configuration.source} has no audit sink"
    return ConfigurationError(what, hint='add an [[audit]] table with type = "jsonl" and a path')


def moment(text: str) -> str:
    """Return a point in time as an audit trail writes it.

    Args:
        text: ISO 8601, in UTC unless it has an offset; or a duration back from
            now, such as ``90s``, ``2h`` or ``7d``.

    Raises:
        ValueError: It is neither.
    """
    try:
        found = datetime.now(UTC) - timedelta(seconds=parse_seconds(text))
    except (ValueError, OverflowError):
        found = datetime.fromisoformat(text)
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found.astimezone(UTC).isoformat(timespec="microseconds")


def select(trail: OpenTrail, query: TrailQuery, keep: Callable[[AuditEvent], bool] | None) -> Iterator[AuditEvent]:
    """Yield the events that match a query and a condition that no query can express.

    Args:
        trail: The trail.
        query: The query; ``last`` counts the events that match the condition as well.
        keep: The condition; ``None`` for none.

    Raises:
        AuditError: The trail cannot be read.
    """
    if keep is None or query.last is None:
        yield from filter(keep or _anything, trail.read(query))
        return
    newest: deque[tuple[str, ...]] = deque(maxlen=REACH)
    past = _watched(trail.read(query.replace(last=None, follow=False)), newest)
    yield from deque(filter(keep, past), maxlen=query.last)
    if query.follow:
        # The sink cannot count for us, so what comes after is found as what was not there a moment ago.
        seen = set(newest)
        later = (event for event in trail.read(query.replace(last=REACH)) if _identity(event) not in seen)
        yield from filter(keep, later)


def _anything(_event: AuditEvent) -> bool:
    return True


def _watched(events: Iterable[AuditEvent], newest: deque[tuple[str, ...]]) -> Iterator[AuditEvent]:
    for event in events:
        newest.append(_identity(event))
        yield event


def _identity(event: AuditEvent) -> tuple[str, ...]:
    return (event.id, event.event, event.phase, event.timestamp)
