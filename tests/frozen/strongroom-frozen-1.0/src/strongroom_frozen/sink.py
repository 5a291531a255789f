"""The audit sink, with a trail that can be read back."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os

from collections.abc import Iterator
from datetime import datetime

from strongroom.contracts import (
    AuditSink,
    AuditWrite,
    Block,
    Health,
    HealthState,
    Hits,
    Trail,
    TrailFinding,
    TrailHead,
    TrailQuery,
    TrailReport,
)
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom_frozen.settings import SinkSettings


class FrozenSink(AuditSink, Trail):
    """Writes a line of JSON for each event."""

    def __init__(self, settings: SinkSettings) -> None:
        self._path = settings.path

    def write(self, request: AuditWrite) -> None:
        """Record all events of the request or none."""
        parts = request.events.parts if isinstance(request.events, Block) else (request.events,)
        events = [event for part in parts for event in (_events(part) if isinstance(part, Hits) else part)]
        text = "".join(json.dumps(event.as_dict()) + "\n" for event in events)
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(text)
                file.flush()
                if request.durable:
                    os.fsync(file.fileno())
        except OSError as error:
            raise AuditError(f"{self._path} cannot be written: {error.strerror}", hint="look at its folder") from error

    def health(self) -> Health:
        """Say whether events can be recorded now."""
        if os.access(os.path.dirname(self._path), os.W_OK):
            return Health(state=HealthState.UP, facts=(("path", self._path),), figures=(("store_bytes", 1.0),))
        return Health(state=HealthState.DOWN, reason="its folder cannot be written", hint="look at its rights")

    def after_fork(self) -> None:
        """Do nothing: no handle is kept."""

    def close(self) -> None:
        """Do nothing: no handle is kept."""

    def _lines(self) -> list[str]:
        try:
            with open(self._path, encoding="utf-8") as file:
                return file.readlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AuditError(f"{self._path} cannot be read: {error.strerror}") from error

    def read(self, query: TrailQuery) -> Iterator[AuditEvent]:
        """Yield the matching events, oldest first."""
        events = [AuditEvent(**json.loads(line)) for line in self._lines()]
        events = [event for event in events if _matches(event, query)]
        yield from events if query.last is None else events[-query.last :]

    def head(self) -> TrailHead:
        """Return where the trail stands now."""
        lines = self._lines()
        return TrailHead(position=len(lines), digest=hashlib.sha256("".join(lines).encode()).hexdigest())

    def verify(self, head: TrailHead | None = None) -> TrailReport:
        """Check that an earlier head is part of the trail."""
        lines = self._lines()
        findings: tuple[TrailFinding, ...] = ()
        if head is not None:
            earlier = hashlib.sha256("".join(lines[: head.position]).encode()).hexdigest()
            if earlier != head.digest or head.position > len(lines):
                place = f"{self._path}:{head.position}"
                findings = (TrailFinding(kind="broken", place=place, detail="the head is not there"),)
        state = "broken" if findings else "sealed"
        return TrailReport(state=state, events=len(lines), files=(self._path,), head=self.head(), findings=findings)


def _events(hits: Hits) -> Iterator[AuditEvent]:
    """Yield the event of each hit, made from its row as a sink does that has to be quick."""
    for row in hits.rows:
        facts = hits.facts(row) | {"user": hits.origin[0], "host": hits.origin[1], "pid": hits.origin[2]}
        event = AuditEvent(**facts, id=f"{hits.run_id}{row[0]:08x}", timestamp="", trace_id=row[4])
        stamp = hits.event(row).timestamp
        assert abs(datetime.fromisoformat(stamp).timestamp() - (row[1] + hits.offset)) < 1.0
        yield event.replace(timestamp=stamp)


def _matches(event: AuditEvent, query: TrailQuery) -> bool:
    return (
        query.principal in {None, event.principal}
        and query.key in {None, event.key}
        and query.result in {None, event.result}
        and (query.since is None or event.timestamp >= query.since)
        and (query.until is None or event.timestamp < query.until)
        and not query.follow
    )
