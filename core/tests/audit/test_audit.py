"""Recording: before and after a change, before a fetched value is returned, hits through the buffer."""

from __future__ import annotations

import os

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.contracts import HealthState, WriteRequest
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    BatchError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FakeClock, FaultyBackend, in_threads

NAME = "db/password"


class TestChanges:
    """An attempt before, an outcome after, under one id."""

    @pytest.mark.parametrize("change", ["set", "delete", "rotate"])
    def test_attempt_and_outcome_share_an_id_and_surround_the_call(
        self, change: str, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        at_the_call: list[str] = []
        backend.before = lambda operation: (
            at_the_call.extend(event.phase for event in sink.named(change))
            if operation in {"write", "delete"}
            else None
        )
        manager.set(NAME, "new") if change == "set" else getattr(manager, change)(NAME)
        attempt, outcome = sink.named(change)
        assert at_the_call == ["attempt"]
        assert (attempt.phase, outcome.phase, attempt.id) == ("attempt", "outcome", outcome.id)
        assert {(event.key, event.principal, event.backend, event.pid) for event in (attempt, outcome)} == {
            (NAME, "tester", "memory", os.getpid())
        }
        assert (outcome.result, outcome.version) == ("ok", None if change == "delete" else "2")
        assert [request.durable for request in sink.writes[-2:]] == [True, True]

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ("set", BackendUnavailableError("no answer", code="timeout")),
            ("delete", BackendUnavailableError("no answer", code="timeout")),
            ("set", VersionConflictError("somebody else", expected="1", found="2")),
            ("delete", ZeroDivisionError()),
        ],
        ids=str,
    )
    def test_a_failed_change_has_an_outcome_too(
        self, change: str, error: Exception, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        backend.error = error
        with pytest.raises(StrongroomError) as caught:
            manager.set(NAME, "new") if change == "set" else manager.delete(NAME)
        attempt, outcome = sink.named(change)
        assert (attempt.id, attempt.phase, outcome.phase) == (outcome.id, "attempt", "outcome")
        assert outcome.result == caught.value.code != "ok"

    def test_rotating_a_missing_secret_is_recorded(self, open_manager: Any, sink: Any) -> None:
        with pytest.raises(SecretNotFoundError):
            open_manager().rotate("absent")
        assert [event.result for event in sink.named("rotate")] == ["not_found"]

    def test_deleting_what_is_absent_is_no_error_and_recorded_as_such(self, open_manager: Any, sink: Any) -> None:
        assert not open_manager().delete("absent").existed
        assert [event.result for event in sink.named("delete")] == ["ok", "not_found"]

    @pytest.mark.parametrize("change", ["set", "delete", "rotate"])
    def test_what_cannot_be_announced_does_not_happen(
        self, change: str, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        sink.failing = True
        with pytest.raises(AuditError) as caught:
            manager.set(NAME, "new") if change == "set" else getattr(manager, change)(NAME)
        assert not caught.value.applied
        assert not {"write", "delete"} & set(backend.calls)
        sink.failing = False
        assert manager.get(NAME).version == "1"

    @pytest.mark.parametrize("change", ["set", "delete", "rotate"])
    def test_if_only_the_outcome_cannot_be_recorded_the_error_says_that_it_was_applied(
        self, change: str, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        manager.get(NAME)
        backend.before = lambda operation: setattr(sink, "failing", operation in {"write", "delete"})
        with pytest.raises(AuditError, match="was made, but") as caught:
            manager.set(NAME, "new") if change == "set" else getattr(manager, change)(NAME)
        assert caught.value.applied
        backend.before, sink.failing = None, False
        if change == "delete":
            assert manager.list() == []
        else:
            assert manager.get(NAME).version == "2"

    def test_if_neither_change_nor_outcome_succeed_the_change_s_error_is_raised(
        self, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        backend.error = BackendUnavailableError("no answer")
        backend.before = lambda _: setattr(sink, "failing", True)
        with pytest.raises(BackendUnavailableError) as caught:
            manager.set(NAME, "new")
        assert any("could not be recorded" in note for note in caught.value.__notes__)


class TestReads:
    """A miss is recorded before its value is cached or returned."""

    def test_a_value_that_cannot_be_recorded_is_neither_returned_nor_cached(
        self, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        sink.failing = True
        with pytest.raises(AuditError):
            manager.get(NAME)
        assert manager.stats().size == 0
        assert (manager.stats().errors, manager.stats().reads) == (1, 1)
        sink.failing = False
        assert manager.get(NAME).freshness.value == "fresh"

    def test_a_miss_is_recorded_when_the_read_returns(self, open_manager: Any, sink: Any) -> None:
        open_manager({NAME: "v"}).get(NAME)
        [event] = sink.named("get")
        assert (event.source, event.cache_hit, event.version, event.result) == ("backend", False, "1", "ok")
        assert event.duration is not None

    def test_every_follower_of_a_load_is_recorded(self, open_manager: Any, hooked: Any, sink: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        in_threads(10, lambda _: manager.get(NAME))
        manager.flush()
        assert len(sink.named("get")) == 10

    def test_a_failed_batch_records_each_name(self, open_manager: Any, backend: FaultyBackend, sink: Any) -> None:
        manager = open_manager(backends={"memory": backend})
        backend.error = BackendUnavailableError("no answer")
        assert set(manager.get_many(["a", "b"]).errors) == {"a", "b"}
        assert [(event.key, event.result) for event in sink.named("get")] == [
            ("a", "unavailable"),
            ("b", "unavailable"),
        ]

    @pytest.mark.parametrize("operation", ["list", "versions"])
    def test_looking_at_names_and_versions_is_recorded_also_if_it_fails(
        self, operation: str, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        look: Callable[[], object] = manager.list if operation == "list" else lambda: manager.versions(NAME)
        look()
        backend.error = BackendUnavailableError("no answer")
        with pytest.raises(BackendUnavailableError):
            look()
        assert [(event.result, event.count) for event in sink.named(operation)] == [("ok", 1), ("unavailable", None)]


class TestHits:
    """Hits wait in a bounded buffer for at most a moment."""

    def test_hits_are_written_by_themselves_within_the_window(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager({NAME: "v"})
        for _ in range(5):
            manager.get(NAME)
        assert sink.wait_for(lambda events: len([event for event in events if event.event == "get"]) == 5)
        assert [event.cache_hit for event in sink.named("get")] == [False, True, True, True, True]
        manager.get(NAME)
        assert sink.wait_for(lambda events: len([event for event in events if event.event == "get"]) == 6)

    def test_a_hit_shows_when_it_happened_and_not_when_it_was_written(
        self, open_manager: Any, sink: Any, clock: FakeClock
    ) -> None:
        manager = open_manager({NAME: "v"})
        manager.get(NAME)
        before = clock.now()
        sink._changed.acquire()  # the writer cannot write now
        manager.get(NAME)
        clock.advance(60)
        sink._changed.release()
        manager.flush()
        assert sink.named("get")[-1].timestamp == before.isoformat(timespec="microseconds")

    def test_hits_stay_before_what_comes_after_them(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.get(NAME)
        manager.get(NAME)
        manager.set(NAME, "w")
        manager.get(NAME)
        assert [event.event for event in sink.events] == ["opened", "get", "get", "set", "set", "get"]

    def test_a_negative_hit_is_recorded_as_not_found(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager()
        for _ in range(2):
            with pytest.raises(SecretNotFoundError):
                manager.get("absent")
        manager.flush()
        assert [(event.result, event.cache_hit) for event in sink.named("get")] == [
            ("not_found", False),
            ("not_found", True),
        ]

    def test_hits_that_cannot_be_written_make_the_next_ones_fail_and_come_later_once(
        self, open_manager: Any, sink: Any
    ) -> None:
        manager = open_manager({NAME: "v"})
        manager.get(NAME)
        sink.failing = True
        manager.get(NAME)
        with pytest.raises(AuditError):
            manager.flush()
        for _ in range(3):
            with pytest.raises(AuditError):
                manager.get(NAME)
        sink.failing = False
        assert manager.get(NAME).reveal_text() == "v"
        manager.flush()
        assert [(event.cache_hit, event.result) for event in sink.named("get")] == [
            (False, "ok"),
            (True, "ok"),
            (True, "ok"),
        ]
        assert manager.stats().errors == 3

    def test_an_immediate_name_has_no_window(self, open_manager: Any, distributions: Any) -> None:
        distributions.add("quick-sink", {"strongroom.audit_sinks": {"quick": "quick_sink"}}, SINK_PLUGIN)
        import quick_sink

        manager = open_manager({"db/a": "v", "x": "v"}, sinks=(), audit=[{"type": "quick", "immediate": ["db/*"]}])
        for _ in range(2):
            manager.get("db/a")
        assert [event.cache_hit for event in quick_sink.events if event.key == "db/a"] == [False, True]


DISK_PLUGIN = """
import errno

from strongroom.contracts import Record, SinkSpec
from strongroom.hookspecs import hookimpl
from strongroom.testing import MemorySink

class Settings(Record):
    pass

class Disk(MemorySink):
    full = False

    def write(self, request):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(request)

disk = Disk()

@hookimpl
def strongroom_audit_sinks():
    yield SinkSpec(name="disk", summary="It may be full.", settings=Settings, open=lambda _: disk)
"""

OPERATIONS: dict[str, Callable[[Any], object]] = {
    "get": lambda manager: manager.get("db/user"),
    "get of what is cached": lambda manager: manager.get(NAME),
    "get of what is cached as missing": lambda manager: manager.get("absent"),
    "get of a version": lambda manager: manager.get(NAME, version="1"),
    "get_many": lambda manager: manager.get_many([NAME, "db/user"], strict=True),
    "refresh": lambda manager: manager.refresh(NAME),
    "set": lambda manager: manager.set(NAME, "new"),
    "rotate": lambda manager: manager.rotate(NAME),
    "delete": lambda manager: manager.delete(NAME),
    "list": lambda manager: manager.list(),
    "flush": lambda manager: manager.flush(),
}


class TestFullDisk:
    """What a sink without space stops, and what it does not."""

    @pytest.fixture
    def disk(self, distributions: Any) -> Any:
        distributions.add("disk-plugin", {"strongroom.audit_sinks": {"disk": "disk_plugin"}}, DISK_PLUGIN)
        import disk_plugin

        return disk_plugin.disk

    def warmed(self, open_manager: Any, backend: FaultyBackend, **table: Any) -> Any:
        manager = open_manager(backends={"memory": backend}, sinks=(), audit=[{"type": "disk"} | table])
        for _ in range(3):
            manager.get(NAME)
        with pytest.raises(SecretNotFoundError):
            manager.get("absent")
        manager.flush()
        return manager

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_required_one_stops_everything_until_there_is_space(
        self, operation: str, disk: Any, open_manager: Any, backend: FaultyBackend
    ) -> None:
        backend.wrapped.write(WriteRequest(name=SecretName("db/user"), value=SecretValue("app")))
        manager = self.warmed(open_manager, backend)
        before = list(disk.events)
        disk.full = True
        manager.get(NAME)  # it waits in the buffer, and for the window nobody knows that it cannot be recorded
        with pytest.raises(AuditError):
            manager.flush()
        for _ in range(3):
            with pytest.raises((AuditError, BatchError)) as caught:
                OPERATIONS[operation](manager)
            errors = caught.value.errors.values() if isinstance(caught.value, BatchError) else [caught.value]
            assert {type(error) for error in errors} == {AuditError}
        assert not {"write", "delete"} & set(backend.calls)
        assert disk.events == before
        assert manager.health().state is HealthState.DOWN
        [sink] = [part for part in manager.health().parts if part.kind == "audit"]
        assert sink.health.state is HealthState.DOWN
        assert "1 events wait" in sink.health.reason
        disk.full = False
        manager.flush()
        assert [(event.event, event.key, event.result) for event in disk.events[len(before) :]] == [("get", NAME, "ok")]
        assert manager.health().state is HealthState.UP
        assert manager.get(NAME).version == "1"

    def test_an_optional_one_stops_nothing_and_is_told_how_much_it_lacks(
        self, disk: Any, open_manager: Any, backend: FaultyBackend
    ) -> None:
        backend.wrapped.write(WriteRequest(name=SecretName("db/user"), value=SecretValue("app")))
        manager = self.warmed(open_manager, backend, required=False)
        disk.full = True
        manager.get("db/user")
        for _ in range(7):
            manager.get(NAME)
        manager.set(NAME, "new")
        lost = manager._parts.audit.lost
        assert lost == 1 + 7 + 2
        disk.full = False
        recorded = len(disk.events)
        assert manager.get(NAME).reveal_text() == "new"
        gap, read = disk.events[recorded:]
        assert (gap.event, gap.result, gap.count) == ("gap", "events_lost", lost)
        assert (read.event, read.key) == ("get", NAME)
        assert len({event.id for event in disk.events}) == len(disk.events)


SINK_PLUGIN = """
from strongroom.contracts import AuditSink, Record, SinkSpec
from strongroom.hookspecs import hookimpl

events = []

class Settings(Record):
    pass

class Sink(AuditSink):
    def write(self, request):
        events.extend(request.events)

@hookimpl
def strongroom_audit_sinks():
    yield SinkSpec(name="quick", summary="In a list.", settings=Settings, open=lambda _: Sink())
"""
