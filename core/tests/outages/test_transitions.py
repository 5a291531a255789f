"""What follows a change of a backend's state: events, warnings, callbacks, metrics, a note for the next process."""

from __future__ import annotations

import logging
import threading
import time

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import strongroom

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.memory_journal import MemoryJournal
from strongroom.contracts import (
    Backend,
    LoadStateRequest,
    LoadStateResult,
    ReadRequest,
    ReadResult,
    SaveStateRequest,
    StateStore,
)
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    SecretNotFoundError,
    StoreDamagedError,
    StrongroomError,
)
from strongroom.outages.known import known_outage
from strongroom.resilience.conditions import ConditionChanged, ConditionState
from strongroom.testing import FakeClock, FaultyBackend, assert_hidden, marker_value
from strongroom.testing.meters import Meters
from strongroom.testing.spans import Spans

OUT = BackendUnavailableError("it refuses", code="connection_refused")
STATES = ["degraded", "recovering", "healthy"]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


class Keeper(MemoryBackend, StateStore):
    """A fallback store that keeps states, and can fail at that."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, bytes] = {}
        self.error: StrongroomError | None = None

    def save_state(self, request: SaveStateRequest) -> None:
        if self.error is not None:
            raise self.error
        self.states[request.key] = request.state

    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        if self.error is not None:
            raise self.error
        return LoadStateResult(state=self.states.get(request.key))


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


@pytest.fixture
def manager(open_manager: Any, backend: FaultyBackend) -> SecretManager:
    made: SecretManager = open_manager(backends={"main": backend}, backend="main", cache={"negative_ttl": 0})
    made.get("db/password")
    return made


@pytest.fixture
def kept(open_manager: Any, backend: FaultyBackend, keeper: Keeper) -> SecretManager:
    made: SecretManager = open_manager(
        backends={"main": backend, "store": keeper}, backend="main", fallback="store", cache={"max_stale": "1h"}
    )
    made.get("db/password")
    return made


def fail(manager: SecretManager, backend: FaultyBackend) -> None:
    backend.error = OUT
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            manager.get("absent")


def come_back(manager: SecretManager, backend: FaultyBackend, clock: FakeClock) -> None:
    backend.error = None
    clock.advance(60)
    manager.refresh("db/password")


class TestAudit:
    def test_each_transition_is_an_event(
        self, manager: SecretManager, backend: FaultyBackend, clock: FakeClock, sink: Any
    ) -> None:
        fail(manager, backend)
        come_back(manager, backend, clock)
        events = sink.named(*STATES)
        assert [(one.event, one.backend, one.result) for one in events] == [
            ("degraded", "main", "connection_refused"),
            ("recovering", "main", "ok"),
            ("healthy", "main", "ok"),
        ]
        assert [one.detail for one in events] == [
            "it refuses; it was healthy for 0 s",
            "it answers again; it was degraded for 1 min 0 s",
            "it answers again; it was recovering for 0 s",
        ]
        assert {(one.principal, one.key, one.phase) for one in events} == {(None, None, "outcome")}

    def test_one_that_cannot_be_recorded_fails_nothing_that_its_own_record_does_not(
        self, manager: SecretManager, backend: FaultyBackend, clock: FakeClock, sink: Any
    ) -> None:
        heard: list[ConditionChanged] = []
        manager.on_condition(heard.append)
        fail(manager, backend)
        write, refused = sink.write, threading.Event()

        def refuse(request: Any) -> None:
            if any(event.event in STATES for event in request.events):
                refused.set()
                raise OSError("full")
            write(request)

        sink.write = refuse
        come_back(manager, backend, clock)
        assert refused.is_set()
        assert manager.get("db/password").reveal_text() == "s3cret"
        eventually(lambda: [change.state.value for change in heard] == STATES)

    def test_calls_that_the_breaker_refuses_have_no_span(self, open_manager: Any, backend: FaultyBackend) -> None:
        spans = Spans()
        manager = open_manager(backends={"main": backend}, backend="main", tracer_provider=spans.provider)
        fail(manager, backend)
        before = [span.name for span in spans.finished()].count("strongroom.read")
        with pytest.raises(BackendUnavailableError, match="it is tried again"):
            manager.get("absent")
        assert [span.name for span in spans.finished()].count("strongroom.read") == before == 3


class TestWarnings:
    def test_the_log_says_what_has_happened_at_a_measured_pace(
        self,
        manager: SecretManager,
        backend: FaultyBackend,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.WARNING, "strongroom")
        fail(manager, backend)
        come_back(manager, backend, clock)
        assert [record.getMessage() for record in caplog.records] == [
            "strongroom: main is out of reach: it refuses",
            "strongroom: main answers again, and what has waited is made: it was degraded for 1 min 0 s",
            "strongroom: main is well again: it was recovering for 0 s",
        ]
        caplog.clear()
        backend.error = OUT
        for _ in range(8):
            with pytest.raises(BackendUnavailableError):
                manager.refresh("db/password")
        manager._parts.backend("main").condition.probed(None)  # type: ignore[union-attr]  # it has got one
        with pytest.raises(BackendUnavailableError):
            manager.refresh("db/password")
        assert len([record for record in caplog.records if "is out of reach" in record.getMessage()]) == 1

    def test_no_value_is_in_the_log_or_in_an_event(
        self, open_manager: Any, make_backend: Any, clock: FakeClock, sink: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        marker = marker_value()
        backend = make_backend({"db/password": marker})
        manager = open_manager(backends={"main": backend}, backend="main")
        manager.get("db/password")
        fail(manager, backend)
        come_back(manager, backend, clock)
        assert_hidden(marker, caplog.text, "the log")
        assert_hidden(marker, repr(sink.events), "the trail")


class TestCallbacks:
    def test_one_hears_of_each_change_in_order_and_may_end_it(
        self, manager: SecretManager, backend: FaultyBackend, clock: FakeClock
    ) -> None:
        heard: list[ConditionChanged] = []
        end = manager.on_condition(heard.append)
        fail(manager, backend)
        come_back(manager, backend, clock)
        eventually(lambda: len(heard) == 3)
        assert [change.state.value for change in heard] == STATES
        assert [change.before for change in heard] == [
            ConditionState.HEALTHY,
            ConditionState.DEGRADED,
            ConditionState.RECOVERING,
        ]
        assert {change.backend for change in heard} == {"main"}
        end()
        end()
        fail(manager, backend)
        time.sleep(0.01)
        assert len(heard) == 3

    def test_one_that_raises_or_hangs_holds_up_nothing(
        self, manager: SecretManager, backend: FaultyBackend, clock: FakeClock
    ) -> None:
        release = threading.Event()
        heard: list[ConditionChanged] = []

        def odd(change: ConditionChanged) -> None:
            release.wait(10)
            raise RuntimeError("foreign")

        manager.on_condition(odd)
        manager.on_condition(heard.append)
        fail(manager, backend)
        come_back(manager, backend, clock)
        eventually(lambda: len(heard) == 3)
        release.set()


class TestMetrics:
    @pytest.fixture
    def meters(self) -> Iterator[Meters]:
        with Meters() as made:
            yield made

    def test_transitions_substitutes_and_what_waits_are_counted(
        self, kept: SecretManager, backend: FaultyBackend, clock: FakeClock, meters: Meters
    ) -> None:
        fail(kept, backend)
        clock.advance(400)
        assert kept.get("db/password").freshness.value == "stale"
        assert kept.set("a", "1").queued
        assert kept.set("b", "1").queued
        assert meters.value("breaker.transitions") == 1
        assert meters.value("breaker.transitions", backend="main", state="degraded") == 1
        assert meters.value("breaker.state", backend="main", state="degraded") == 1
        assert meters.value("reads.substituted", backend="main", source="stale") == 1
        assert meters.value("journal.length", backend="main") == 2
        backend.error = None
        clock.advance(60)
        kept._parts.continuity.attendant.run_due()
        told = [meters.value("breaker.transitions", state=state) for state in ("degraded", "recovering", "healthy")]
        assert told == [1, 1, 1]
        assert meters.value("breaker.state", backend="main", state="degraded") == 0
        assert meters.value("breaker.state", backend="main", state="healthy") == 1
        assert meters.value("journal.length", backend="main") == 0

    def test_what_another_process_has_left_waiting_is_counted_by_a_look_at_the_health(
        self, kept: SecretManager, backend: FaultyBackend, keeper: Keeper, open_manager: Any
    ) -> None:
        fail(kept, backend)
        assert kept.set("a", "1").queued
        fresh = open_manager(backends={"main": backend, "store": keeper}, backend="main", fallback="store")
        with Meters() as meters:
            fresh.health()
            assert meters.value("journal.length", backend="main") == 1

    def test_each_read_that_an_accepted_write_or_a_copy_answers_is_counted(
        self, open_manager: Any, backend: FaultyBackend, keeper: Keeper, clock: FakeClock, meters: Meters
    ) -> None:
        manager = open_manager(
            backends={"main": backend, "store": keeper},
            backend="main",
            fallback="store",
            resilience={"keep_copy": True},
            cache={"ttl": "10s", "negative_ttl": 0},
        )
        manager.get("db/password")
        clock.advance(20)
        backend.error = OUT
        assert manager.set("a", "1").queued
        assert [manager.get("a").freshness.value for _ in range(2)] == ["fallback"] * 2
        assert manager.delete("gone").queued
        with pytest.raises(SecretNotFoundError):
            manager.get("gone")
        manager.get("db/password")
        assert meters.value("reads.substituted", backend="main", source="fallback") == 4


class TestNextProcess:
    def known(self, manager: SecretManager) -> Any:
        return known_outage(manager._parts.backend("store"), "main")

    def test_it_can_tell_since_when_a_backend_has_been_out(
        self, kept: SecretManager, backend: FaultyBackend, clock: FakeClock, keeper: Keeper, open_manager: Any
    ) -> None:
        fail(kept, backend)
        since = clock.time()
        eventually(lambda: keeper.states)
        clock.advance(600)
        fresh = open_manager(backends={"main": backend, "store": keeper}, backend="main", fallback="store")
        backend.error = OUT
        (part, _store, _sink) = fresh.health().parts
        assert part.condition.state is ConditionState.HEALTHY
        assert (part.outage.since, part.outage.reason) == (pytest.approx(since), "it refuses")

    def test_the_end_of_an_outage_is_noted_too(
        self, kept: SecretManager, backend: FaultyBackend, clock: FakeClock, keeper: Keeper
    ) -> None:
        fail(kept, backend)
        eventually(lambda: self.known(kept) is not None)
        come_back(kept, backend, clock)
        kept._parts.continuity.attendant.run_due()
        eventually(lambda: self.known(kept) is None)

    def test_one_that_ended_while_nobody_looked_is_forgotten_by_who_looks(
        self, kept: SecretManager, backend: FaultyBackend, keeper: Keeper, open_manager: Any
    ) -> None:
        fail(kept, backend)
        eventually(lambda: keeper.states)
        backend.error = None
        fresh = open_manager(backends={"main": backend, "store": keeper}, backend="main", fallback="store")
        assert fresh.health().parts[0].outage is None
        assert self.known(fresh) is None

    def test_one_that_ended_while_nobody_looked_is_forgotten_by_who_is_answered(
        self, kept: SecretManager, backend: FaultyBackend, keeper: Keeper, clock: FakeClock, open_manager: Any
    ) -> None:
        fail(kept, backend)
        eventually(lambda: keeper.states)
        backend.error = None
        parts: dict[str, Any] = {"backends": {"main": backend, "store": keeper}, "backend": "main", "fallback": "store"}
        with open_manager(**parts) as fresh:
            fresh.get("db/password")
        assert self.known(kept) is None
        clock.advance(3600)
        later = open_manager(**parts)
        fail(later, backend)
        eventually(lambda: self.known(later) is not None)
        assert self.known(later).since == pytest.approx(clock.time())

    def test_a_program_that_needs_no_store_does_not_open_it_for_a_note(
        self,
    ) -> None:
        tables = {"main": {"type": "memory"}, "store": {"type": "memory"}}
        config: dict[str, Any] = {"backend": "main", "fallback": "store", "backends": tables, "audit": "none"}
        with strongroom.open(config) as manager:
            assert list(manager.list()) == []
            manager.flush()
            opened = [one.name for one in manager._parts._backends.values()]
        assert opened == ["main"]

    @pytest.mark.parametrize("answered_since", [False, True])
    def test_what_another_process_has_noted_of_the_same_outage_counts(
        self,
        kept: SecretManager,
        backend: FaultyBackend,
        keeper: Keeper,
        clock: FakeClock,
        open_manager: Any,
        answered_since: bool,
    ) -> None:
        other = open_manager(
            backends={"main": backend, "store": keeper}, backend="main", fallback="store", cache={"negative_ttl": 0}
        )
        other.get("db/password")
        fail(kept, backend)
        eventually(lambda: self.known(kept) is not None)
        since = clock.time()
        clock.advance(300)
        if answered_since:
            backend.error = None
            other.refresh("db/password")
            since = clock.time()
        fail(other, backend)
        eventually(lambda: other._parts.continuity.outages._newest == {})
        assert self.known(other).since == pytest.approx(since)

    @pytest.mark.parametrize("error", [OUT, StoreDamagedError("odd")])
    def test_a_store_that_cannot_note_it_fails_nothing(
        self, kept: SecretManager, backend: FaultyBackend, clock: FakeClock, keeper: Keeper, error: StrongroomError
    ) -> None:
        keeper.error = error
        fail(kept, backend)
        assert self.known(kept) is None
        come_back(kept, backend, clock)
        assert kept.get("db/password").reveal_text() == "s3cret"

    def test_a_store_that_keeps_no_states_knows_nothing(self, open_manager: Any, backend: FaultyBackend) -> None:
        class Plain(MemoryJournal, Backend):
            address = "plain"

            def read(self, request: ReadRequest) -> ReadResult:
                raise SecretNotFoundError("no such secret")

        manager = open_manager(backends={"main": backend, "store": Plain()}, backend="main", fallback="store")
        manager.get("db/password")
        fail(manager, backend)
        assert manager.health().parts[0].outage is None

    @pytest.mark.parametrize("state", [b"", b"[]", b"{}", b"no json", b'{"since": "x", "reason": 1}', b"null"])
    def test_a_note_that_is_none_is_no_outage(self, kept: SecretManager, keeper: Keeper, state: bytes) -> None:
        keeper.states["outage/main"] = state
        assert self.known(kept) is None


def test_an_audit_trail_that_is_required_still_denies_the_read(
    manager: SecretManager, backend: FaultyBackend, sink: Any
) -> None:
    sink.failing = True
    backend.error = OUT
    for _ in range(3):
        with pytest.raises((AuditError, BackendUnavailableError)):
            manager.get("absent")
    sink.failing = False
