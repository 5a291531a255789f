"""Sinks hold the heads of each other's trails, so that whoever rewrites one would have to rewrite all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from strongroom.audit.sinks import GuardedSink
from strongroom.audit.stage import AuditStage
from strongroom.contracts import Trail, TrailHead, TrailQuery, TrailReport
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom.telemetry import Telemetry
from strongroom.testing import MemorySink


class Chained(MemorySink, Trail):
    """A sink in memory that says where its trail stands, unless it is told not to."""

    readable = True

    def head(self) -> TrailHead:
        if not self.readable:
            raise AuditError("the trail cannot be read")
        return TrailHead(position=len(self.events), digest="ab" * 32)

    def read(self, query: TrailQuery) -> Iterator[AuditEvent]:
        return iter(self.events)

    def verify(self, head: TrailHead | None = None) -> TrailReport:
        return TrailReport(state="sealed", events=len(self.events), files=(), head=self.head())


def stage_of(*sinks: MemorySink) -> AuditStage:
    guarded = tuple(GuardedSink(sink, type=type(sink).__name__.lower()) for sink in sinks)
    return AuditStage(guarded, telemetry=Telemetry())


def heads(sink: MemorySink) -> list[str | None]:
    return [event.detail for event in sink.events if event.event == "head"]


def test_the_other_sinks_are_told_a_head_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    trail, other, now = Chained(), MemorySink(), [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stage = stage_of(trail, other)
    for seconds in (0, 1, 58, 2):
        now[0] += seconds
        stage.record(stage.event("x"))
    # After the first event, and after the fourth, a minute later: two lines of the trail, then five.
    assert heads(other) == [f"chained 2:{'ab' * 32}", f"chained 5:{'ab' * 32}"]
    assert heads(trail) == []


def test_two_trails_tell_each_other() -> None:
    one, other = Chained(), Chained()
    stage = stage_of(one, other)
    stage.record(stage.event("x"))
    assert (len(heads(one)), len(heads(other))) == (1, 1)


def test_a_head_that_cannot_be_had_or_recorded_stops_nothing() -> None:
    trail, other = Chained(), MemorySink()
    trail.readable = False
    stage = stage_of(trail, other)
    stage.record(stage.event("x"))
    assert [event.event for event in other.events] == ["opened", "x"]


def test_a_single_sink_is_told_nothing() -> None:
    trail = Chained()
    stage = stage_of(trail)
    stage.record(stage.event("x"))
    assert heads(trail) == []
