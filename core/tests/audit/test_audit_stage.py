"""The audit stage by itself: its buffer, its sinks, what hangs, fails, interrupts and ends."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from strongroom.audit.buffer import NEVER
from strongroom.audit.sinks import GuardedSink
from strongroom.audit.stage import AuditStage
from strongroom.contracts import AuditSink, AuditWrite, HealthState, Hits, Reading
from strongroom.errors import AuditError, ClosedError, StrongroomError
from strongroom.model import Principal, PrincipalSource
from strongroom.telemetry import Telemetry
from strongroom.testing import MemorySink, in_forked_child, in_threads
from strongroom.testing.spans import Spans


def hit(stage: AuditStage, key: str = "k", *, now: float = 0.0) -> None:
    """Hand over a hit at some time."""
    principal = Principal(name="p", source=PrincipalSource.CONFIGURATION)
    assert stage.hit is not None
    stage.hit(Reading(principal, None, key, "b"), "1", now)


def stage_with(*sinks: AuditSink, required: bool = True, **options: Any) -> AuditStage:
    guarded = tuple(GuardedSink(sink, type="memory", required=required) for sink in sinks)
    return AuditStage(guarded, telemetry=Telemetry(), **options)


def without_thread(stage: AuditStage) -> AuditStage:
    """Have nothing written by itself."""
    stage.buffer._awake = True
    return stage


class Hanging(MemorySink):
    """A sink whose writes can be held up at a gate, and that says how often it was used by two at once."""

    def __init__(self, gate: Any) -> None:
        super().__init__()
        self.gate = gate
        self.hangs = True
        self.inside = self.clashes = 0

    def write(self, request: AuditWrite) -> None:
        self.clashes += self.inside
        self.inside += 1
        try:
            if self.hangs:
                self.gate.hold()
            super().write(request)
        finally:
            self.inside -= 1

    def close(self) -> None:
        self.clashes += self.inside
        super().close()


class TestStage:
    """The stage by itself."""

    def test_a_full_buffer_is_written_by_the_reader(self, sink: Any) -> None:
        stage = without_thread(stage_with(sink, buffer_events=10))
        for _ in range(11):
            hit(stage)
        assert len(sink.named("get")) == 10
        stage.close()
        assert len(sink.named("get")) == 11

    def test_a_buffer_that_cannot_be_written_stays_bounded(self, sink: Any) -> None:
        stage = stage_with(sink, buffer_events=10)
        sink.failing = True
        refused = 0
        for _ in range(1000):
            try:
                hit(stage)
            except AuditError:
                refused += 1
        assert len(stage.buffer.items) + stage.sinks[0].backlog <= 20
        sink.failing = False
        stage.close()
        assert len(sink.named("get")) == 1000 - refused

    def test_each_required_sink_gets_each_hit_once_although_one_failed(self) -> None:
        good, bad = MemorySink(), MemorySink()
        stage = stage_with(good, bad)
        stage.record(stage.event("x"))
        hit(stage)
        bad.failing = True
        with pytest.raises(AuditError):
            stage.flush()
        bad.failing = False
        stage.flush()
        stage.close()
        for sink in (good, bad):
            assert [event.event for event in sink.events] == ["opened", "x", "get", "closed"]

    def test_many_threads_lose_and_double_nothing(self, sink: Any) -> None:
        stage = stage_with(sink, buffer_events=50)

        def work(number: int) -> None:
            for turn in range(200):
                hit(stage, f"{number}/{turn}")
                if turn % 20 == 0:
                    stage.record(stage.event("set", key=f"{number}/{turn}"))

        in_threads(8, work)
        stage.close()
        keys = [event.key for event in sink.named("get")]
        assert len(keys) == len(set(keys)) == 1600
        for number in range(8):
            own = [event.key for event in sink.events if (event.key or "").startswith(f"{number}/")]
            turns = [int(key.partition("/")[2]) for key in own if key]
            assert turns == sorted(turns)

    def test_opened_and_closed_stand_at_the_ends(self, sink: Any) -> None:
        stage = stage_with(sink)
        stage.record(stage.event("x"))
        stage.close()
        stage.close()
        assert [event.event for event in sink.events] == ["opened", "x", "closed"]
        assert sink.closed

    @pytest.mark.parametrize(
        ("argument", "name"),
        [
            ("/srv/app/worker.py", "worker.py"),
            ("worker", "worker"),
            ("", "python"),
            ("-c", "python"),
            ("/x/\udce9.py", "\\udce9.py"),
        ],
    )
    def test_opened_names_the_program_and_nothing_else_of_its_command_line(
        self, argument: str, name: str, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.argv", [argument, "--password=s3cret"])
        stage = stage_with(sink)
        stage.record(stage.event("x"))
        stage.close()
        assert [(event.event, event.detail) for event in sink.events] == [
            ("opened", name),
            ("x", None),
            ("closed", None),
        ]

    def test_nothing_is_recorded_of_a_stage_that_was_not_used(self, sink: Any) -> None:
        stage_with(sink).close()
        assert sink.events == []

    def test_after_closing_nothing_is_recorded_and_no_hit_is_let_pass(self, sink: Any) -> None:
        stage = stage_with(sink)
        stage.record(stage.event("x"))
        stage.close()
        with pytest.raises(ClosedError):
            stage.record(stage.event("y"))
        with pytest.raises(ClosedError):
            hit(stage)
        assert sink.events[-1].event == "closed"

    def test_a_sink_that_hangs_makes_the_others_fail_instead_of_waiting(
        self, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.stage.LOCK_SECONDS", 0.05)
        stage = stage_with(Hanging(gate))
        thread = threading.Thread(target=lambda: stage.record(stage.event("x")))
        thread.start()
        gate.wait_for_arrival()
        with pytest.raises(AuditError, match="has not answered"):
            stage.record(stage.event("y"))
        gate.open()
        thread.join()

    def test_a_sink_s_own_exception_becomes_an_audit_error_with_its_cause(self) -> None:
        class Full(MemorySink):
            def write(self, request: AuditWrite) -> None:
                raise OSError(28, "No space left on device")

        with pytest.raises(AuditError, match="'memory' could not record: OSError") as caught:
            stage_with(Full()).record(AuditStage((), telemetry=Telemetry()).event("x"))
        assert isinstance(caught.value.__cause__, OSError)

    def test_a_sink_that_failed_is_down_until_it_works_again(self, sink: Any) -> None:
        stage = stage_with(sink)
        sink.failing = True
        with pytest.raises(AuditError):
            stage.record(stage.event("x"))
        assert [health.state for _, health in stage.health()] == [HealthState.DOWN]
        sink.failing = False
        stage.record(stage.event("y"))
        assert [health.state for _, health in stage.health()] == [HealthState.UP]
        stage.close()


class TestRows:
    """Hits stay rows all the way to the sinks."""

    def test_what_waited_comes_in_one_block_before_what_made_it_be_written(self, sink: Any) -> None:
        stage = without_thread(stage_with(sink))
        for key in "abc":
            hit(stage, key)
        stage.record(stage.event("x"), stage.event("y"))
        [request] = sink.writes
        assert [type(part) for part in request.events.parts] == [tuple, Hits, tuple]
        assert len(request.events.parts[1].rows) == 3
        assert [event.key or event.event for event in sink.events] == ["opened", "a", "b", "c", "x", "y"]
        stage.close()

    def test_portions_that_a_failing_sink_has_let_wait_come_together_and_in_their_order(self) -> None:
        good, bad = MemorySink(), MemorySink()
        stage = without_thread(stage_with(good, bad))
        bad.failing = True
        for key in "abc":
            stage.buffer.due = NEVER  # as long as it takes within the window
            hit(stage, key)
            with pytest.raises(AuditError):
                stage.flush()
        assert [sink.backlog for sink in stage.sinks] == [0, 3]
        bad.failing = False
        stage.flush()
        stage.close()
        first, second = ([event for event in sink.events if event.key] for sink in (good, bad))
        assert first == second
        assert [event.key for event in first] == ["a", "b", "c"]

    def test_every_kind_of_answer_has_its_facts_and_an_id_of_its_own(self, sink: Any) -> None:
        stage = without_thread(stage_with(sink, wall_clock=lambda: 1893456000 * 10**9, clock=lambda: 100.0))
        own, view = (Principal(name=name, source=PrincipalSource.CONFIGURATION) for name in ("app", "api"))
        assert stage.hit is not None
        for _ in range(2):
            stage.hit(Reading(own, None, "a", "local"), "1", 99.5)
            stage.other_hit(Reading(view, own, "b", "vault"), None, 99.75, "cache", "not_found")
            stage.other_hit(Reading(own, None, "a", "local"), "1", 100.0, "stale", "ok")
        stage.close()
        found = sink.named("get")
        assert len({event.id for event in found}) == 6
        assert [
            (event.key, event.principal, event.on_behalf_of, event.version, event.source, event.result, event.timestamp)
            for event in found[:3]
        ] == [
            ("a", "app", None, "1", "cache", "ok", "2029-12-31T23:59:59.500000+00:00"),
            ("b", "api", "app", None, "cache", "not_found", "2029-12-31T23:59:59.750000+00:00"),
            ("a", "app", None, "1", "stale", "ok", "2030-01-01T00:00:00.000000+00:00"),
        ]
        assert [event.replace(id="") for event in found[3:]] == [event.replace(id="") for event in found[:3]]
        assert all(event.cache_hit and event.event == "get" for event in found)

    def test_a_hit_says_which_trace_it_belongs_to(self, sink: Any) -> None:
        spans = Spans()
        stage = without_thread(stage_with(sink))
        hit(stage, "before")
        with spans.provider.get_tracer("test").start_as_current_span("work") as span:
            hit(stage, "within")
        hit(stage, "after")
        stage.close()
        traces = {event.key: event.trace_id for event in sink.named("get")}
        assert traces == {"before": None, "within": f"{span.get_span_context().trace_id:032x}", "after": None}

    def test_a_forked_child_s_hits_have_other_ids(self, sink: Any) -> None:
        stage = without_thread(stage_with(sink))
        hit(stage)
        stage.flush()

        def child() -> str:
            stage.after_fork_in_child()
            sink.events.clear()
            hit(without_thread(stage))
            stage.flush()
            return sink.named("get")[0].id

        first = sink.named("get")[0].id
        second = in_forked_child(child)
        assert len(second) == len(first)
        assert first[:-8] != second[:-8]
        stage.close()


class TestWindow:
    """No hit passes while an older one has waited for too long; what waits is tried again."""

    def test_while_a_sink_hangs_hits_pass_only_within_the_window(
        self, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.stage.LOCK_SECONDS", 0.05)
        sink = Hanging(gate)
        stage = stage_with(sink)
        hit(stage, now=0.0)
        gate.wait_for_arrival()
        hit(stage, now=0.049)
        for now in (0.051, 7.0, 0.052):
            with pytest.raises(AuditError, match="has not answered"):
                hit(stage, now=now)
        gate.open()
        stage.close()
        assert [event.event for event in sink.events] == ["opened", "get", "get", "closed"]

    def test_a_new_window_begins_when_the_old_one_was_written(self, sink: Any) -> None:
        stage = without_thread(stage_with(sink))
        stage.buffer._run_thread = stage.buffer.ring  # type: ignore[method-assign]  # nobody else writes
        for now in (0.0, 0.02, 0.04):
            stage.buffer._awake = False
            hit(stage, now=now)
        assert sink.named("get") == []
        hit(stage, now=0.06)
        assert len(sink.named("get")) == 3
        hit(stage, now=0.1)
        assert len(sink.named("get")) == 3
        hit(stage, now=0.12)
        assert len(sink.named("get")) == 5

    def test_what_failed_once_is_written_without_another_access(self) -> None:
        failed = threading.Event()

        class Once(WaitingMemorySink):
            def write(self, request: AuditWrite) -> None:
                if not failed.is_set():
                    failed.set()
                    raise OSError("full")
                super().write(request)

        sink = Once()
        stage = stage_with(sink)
        hit(stage)
        assert sink.recorded.wait(10)
        assert failed.is_set()
        stage.close()

    def test_what_had_to_wait_for_another_thread_s_write_is_written_without_another_access(
        self, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.stage.LOCK_SECONDS", 0.02)
        sink = Hanging(gate)
        stage = stage_with(sink)
        writing = threading.Thread(target=lambda: stage.record(stage.event("x")))
        writing.start()
        gate.wait_for_arrival()
        hit(stage)
        with pytest.raises(AuditError):
            stage.flush()
        gate.open()
        writing.join()
        wait_until(lambda: len(sink.events) == 3)
        stage.close()

    @pytest.mark.parametrize("again", [False, True])
    def test_without_a_thread_each_hit_is_written_at_once(
        self, again: bool, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        stage = stage_with(sink)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            hit(stage)
            assert len(sink.named("get")) == 1
        hit(stage)
        assert sink.wait_for(lambda events: len(events) == 3)
        stage.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.002)


class WaitingMemorySink(MemorySink):
    """Tells when it has recorded something."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded = threading.Event()

    def write(self, request: AuditWrite) -> None:
        super().write(request)
        self.recorded.set()


def interrupted(action: Callable[[], object], number: int) -> bool:
    """Do something, and raise as Ctrl-C does where the stage, for the ``number``-th time, could be told of a signal.

    That is at the beginning of each function and after each call. Tell whether it came to that.
    """
    left = number

    def watch(frame: Any, event: str, _: object) -> None:
        nonlocal left
        if event in {"call", "return", "c_return"} and "/strongroom/audit" in frame.f_code.co_filename:
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return left <= 0


class TestInterrupts:
    """A signal may raise at any point; no hit that was returned is lost."""

    @pytest.mark.parametrize("kind", ["flush", "record", "close"])
    @pytest.mark.parametrize("required", [True, False])
    def test_wherever_a_write_is_interrupted_every_hit_is_recorded(self, kind: str, required: bool) -> None:
        for number in itertools.count(1):
            sink = MemorySink()
            stage = without_thread(stage_with(sink, required=required))
            for key in "abc":
                hit(stage, key)
            x = stage.event("x")
            action = {"flush": stage.flush, "record": partial(stage.record, x), "close": stage.close}
            ended = not interrupted(action[kind], number)
            if kind != "close":
                stage.record(stage.event("y"))
            stage.close()
            hits = {event.id: event.key for event in sink.events if event.event == "get"}
            assert list(hits.values()) == ["a", "b", "c"], f"interrupted at point {number}"
            assert sink.events[-1].event == "closed"
            assert sink.closed
            assert stage.lost == 0
            if ended:
                break
        assert number > 10

    def test_what_is_written_twice_has_the_same_id(self) -> None:
        class Unsure(MemorySink):
            def write(self, request: AuditWrite) -> None:
                super().write(request)
                if len(self.events) < 3:
                    raise OSError("recorded, but nobody knows")

        sink = Unsure()
        stage = without_thread(stage_with(sink))
        hit(stage)
        with pytest.raises(AuditError):
            stage.flush()
        stage.flush()
        hits = [event for event in sink.events if event.event == "get"]
        assert len(hits) == 2
        assert hits[0] == hits[1]

    def test_a_read_by_a_signal_s_handler_within_a_write_does_not_wait_for_its_own_thread(self) -> None:
        class Signalled(MemorySink):
            caught: StrongroomError | None = None

            def write(self, request: AuditWrite) -> None:
                if not self.events:
                    hit(stage, "by the handler")
                    try:
                        stage.record(stage.event("by the handler"))
                    except AuditError as error:
                        self.caught = error
                super().write(request)

        sink = Signalled()
        stage = without_thread(stage_with(sink))
        stage.record(stage.event("x"))
        stage.close()
        assert "a signal came while this thread was writing" in str(sink.caught)
        assert [event.event for event in sink.events] == ["opened", "x", "get", "closed"]


class TestDurable:
    """Flushing means that every record is on stable storage."""

    def test_what_was_written_without_a_sync_is_synced_by_a_flush(self, sink: Any) -> None:
        stage = stage_with(sink)
        stage.record(stage.event("x"))
        stage.flush()
        stage.flush(durable=True)
        stage.flush(durable=True)
        assert [(len(request.events), request.durable) for request in sink.writes] == [(2, False), (0, True)]
        stage.record(stage.event("y"), durable=True)
        stage.flush(durable=True)
        assert len(sink.writes) == 3
        stage.close()

    def test_a_sync_that_fails_is_tried_again(self, sink: Any) -> None:
        stage = stage_with(sink)
        stage.record(stage.event("x"))
        sink.failing = True
        with pytest.raises(AuditError):
            stage.flush(durable=True)
        sink.failing = False
        stage.flush(durable=True)
        assert sink.writes[-1] == AuditWrite(events=(), durable=True)
        stage.close()


class TestClosing:
    """The end waits for a sink that still recovers, and may be tried again."""

    def test_it_waits_for_a_write_under_way_and_does_not_close_the_sink_in_it(
        self, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.stage.LOCK_SECONDS", 0.02)
        sink = Hanging(gate)
        stage = stage_with(sink)
        hit(stage)
        gate.wait_for_arrival()
        closing = threading.Thread(target=stage.close)
        closing.start()
        wait_until(lambda: stage._closed)
        time.sleep(0.1)
        gate.open()
        closing.join()
        assert sink.closed
        assert [event.event for event in sink.events] == ["opened", "get", "closed"]
        assert sink.clashes == 0

    def test_after_a_failure_it_is_tried_again_by_the_next_call(
        self, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.stage.LOCK_SECONDS", 0.02)
        monkeypatch.setattr("strongroom.audit.stage.CLOSE_SECONDS", 0.02)
        sink, good = Hanging(gate), MemorySink()
        stage = stage_with(sink, good)
        hit(stage)
        gate.wait_for_arrival()
        for _ in range(2):
            with pytest.raises(AuditError, match="has not answered"):
                stage.close()
        assert not sink.closed
        with pytest.raises(ClosedError):
            stage.record(stage.event("x"))
        gate.open()
        wait_until(lambda: not sink.inside)
        stage.close()
        assert (sink.closed, sink.clashes) == (True, 0)
        for each in (sink, good):
            assert [event.event for event in each.events] == ["opened", "get", "closed"]

    def test_an_optional_sink_that_hangs_does_not_hold_up_the_end(
        self, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.sinks.LOCK_SECONDS", 0.02)
        sink = Hanging(gate)
        stage = stage_with(sink, required=False)
        hit(stage)
        gate.wait_for_arrival()
        stage.close()
        assert (sink.closed, stage.lost, sink.clashes) == (False, 2, 0)

    def test_what_was_lost_is_told_at_the_end_too(self, sink: Any) -> None:
        stage = stage_with(sink, required=False)
        sink.failing = True
        for _ in range(3):
            stage.record(stage.event("x"))
        sink.failing = False
        stage.close()
        assert [(event.event, event.count) for event in sink.events] == [("gap", 3), ("opened", None), ("closed", None)]


class TestReplacingTheProgram:
    """What happens at ``os.exec``, which has a hook before it and none after it has failed."""

    def test_the_run_ends_and_another_one_begins_if_the_program_goes_on(self, sink: Any) -> None:
        stage = without_thread(stage_with(sink))
        hit(stage)
        for _ in range(5):  # as execvp does for each folder of the path
            stage.before_exec()
        assert [event.event for event in sink.events] == ["opened", "get", "closed"]
        assert sink.writes[-1].durable
        stage.record(stage.event("x"))
        stage.close()
        assert [event.event for event in sink.events[3:]] == ["opened", "x", "closed"]
        first, second, third, fourth = (event.id for event in sink.named("opened", "closed"))
        assert (first, third) == (second, fourth)
        assert first != third

    def test_another_thread_s_hit_waits_and_is_then_written_at_once(
        self, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.stage.EXEC_SECONDS", 0.1)
        stage = without_thread(stage_with(sink))
        stage.record(stage.event("x"))
        stage.before_exec()
        in_threads(1, lambda _: hit(stage))
        assert [event.event for event in sink.events] == ["opened", "x", "closed", "opened", "get"]
        without_thread(stage)
        hit(stage)
        assert len(sink.named("get")) == 1  # buffered again
        stage.close()

    def test_what_cannot_be_recorded_stops_it_until_the_program_has_been_told(self, sink: Any) -> None:
        stage = without_thread(stage_with(sink))
        hit(stage)
        sink.failing = True
        for _ in range(2):
            with pytest.raises(AuditError):
                stage.before_exec()
            stage.exec_refused()
        with pytest.raises(AuditError):
            stage.close()
        stage.before_exec()
        sink.failing = False
        stage.close()
        assert [event.event for event in sink.events] == ["opened", "get", "closed"]


class TestOptional:
    """Open mode: a sink that is not required."""

    def test_what_it_loses_is_counted_warned_of_once_and_told_on_recovery(
        self, sink: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage = stage_with(sink, required=False)
        sink.failing = True
        with caplog.at_level(logging.WARNING, "strongroom"):
            for _ in range(100):
                stage.record(stage.event("x"))
        assert len(caplog.records) == 1
        assert stage.lost == 100
        sink.failing = False
        stage.record(stage.event("y"))
        assert [(event.event, event.result, event.count) for event in sink.events] == [
            ("gap", "events_lost", 100),
            ("opened", "ok", None),
            ("y", "ok", None),
        ]
        stage.record(stage.event("z"))
        assert [event.event for event in sink.events] == ["gap", "opened", "y", "z"]
        assert stage.lost == 100

    def test_it_lets_hits_pass(self, sink: Any) -> None:
        stage = stage_with(sink, required=False)
        sink.failing = True
        hit(stage)
        stage.flush()
        hit(stage)
        stage.flush()
        assert stage.lost == 2

    def test_a_sink_that_works_hears_of_the_end_although_another_one_never_worked(self, sink: Any) -> None:
        broken = MemorySink()
        broken.failing = True
        stage = AuditStage((GuardedSink(sink, type="a"), GuardedSink(broken, type="b")), telemetry=Telemetry())
        for event in ("x", "y"):
            with pytest.raises(AuditError):
                stage.record(stage.event(event))
        with pytest.raises(AuditError):
            stage.close()
        assert [event.event for event in sink.events] == ["opened", "x", "y", "closed"]

    def test_it_does_not_keep_a_required_one_from_recording(self, sink: Any) -> None:
        broken = MemorySink()
        broken.failing = True
        stage = AuditStage(
            (GuardedSink(broken, type="a", required=False), GuardedSink(sink, type="b")), telemetry=Telemetry()
        )
        stage.record(stage.event("x"))
        assert [event.event for event in sink.events] == ["opened", "x"]

    def test_a_logging_filter_that_fails_does_not_fail_what_goes_on(self, sink: Any) -> None:
        class Broken(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                raise ValueError

        stage = stage_with(sink, required=False)
        sink.failing = True
        broken, logger = Broken(), logging.getLogger("strongroom")
        logger.addFilter(broken)
        try:
            stage.record(stage.event("x"))
        finally:
            logger.removeFilter(broken)
        assert stage.lost == 1

    def test_one_that_hangs_neither_fails_an_operation_nor_blocks_a_required_one(
        self, gate: Any, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.audit.stage.LOCK_SECONDS", 0.02)
        hanging = Hanging(gate)
        stage = AuditStage(
            (GuardedSink(hanging, type="a", required=False), GuardedSink(sink, type="b")), telemetry=Telemetry()
        )
        first = threading.Thread(target=lambda: stage.record(stage.event("x")))
        first.start()
        gate.wait_for_arrival()
        for _ in range(3):
            stage.record(stage.event("y"))
            hit(stage)
            stage.flush()
        assert [event.event for event in sink.events] == ["opened", "x", *["y", "get"] * 3]
        assert stage.lost == 3
        gate.open()
        first.join()
        stage.close()
        assert [event.event for event in hanging.events] == ["opened", "x", "gap", *["get"] * 3, "closed"]
        assert hanging.clashes == 0

    def test_what_waits_for_one_that_hangs_stays_bounded(self, gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("strongroom.audit.stage.LOCK_SECONDS", 0.02)
        hanging = Hanging(gate)
        stage = stage_with(hanging, required=False, buffer_events=10)
        first = threading.Thread(target=lambda: stage.record(stage.event("x")))
        first.start()
        gate.wait_for_arrival()
        for _ in range(100):
            hit(stage)
        stage.flush()
        assert stage.sinks[0].backlog + len(stage.buffer.items) <= 20
        assert stage.lost >= 80
        gate.open()
        first.join()
        stage.close()
