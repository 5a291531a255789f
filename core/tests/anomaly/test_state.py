"""Detectors remember: restored before the first judgement, saved from time to time and at the end."""

from __future__ import annotations

import logging
import threading

from typing import Any

import pytest

from strongroom.anomaly.state import DetectorMemory, state_key
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    MAX_STATE_BYTES,
    Access,
    AnomalyDetector,
    Capability,
    Decision,
    LoadStateRequest,
    SaveStateRequest,
    Verdict,
)
from strongroom.errors import BackendUnavailableError, TamperedError
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing import FakeClock, FaultyBackend, in_forked_child, in_threads

KEY = state_key(0, "count")


class Counter(AnomalyDetector):
    """Counts, and remembers how far."""

    def __init__(self) -> None:
        self.count = 0
        self.restored: list[bytes] = []
        self.fails: Exception | None = None
        self.dumped: Any = ...

    def judge(self, access: Access) -> Verdict:
        return Verdict(decision=Decision.ALLOW)

    def dump(self) -> bytes | None:
        if self.fails is not None:
            raise self.fails
        if self.dumped is not ...:
            return self.dumped  # type: ignore[no-any-return]  # whatever a test wants tried
        return b"%d" % self.count

    def restore(self, state: bytes) -> None:
        self.restored.append(state)
        if self.fails is not None:
            raise self.fails
        self.count = int(state)


@pytest.fixture
def store() -> FaultyBackend:
    return FaultyBackend(MemoryBackend())


@pytest.fixture
def detector() -> Counter:
    return Counter()


def guarded(store: FaultyBackend) -> GuardedBackend:
    return GuardedBackend(store, name="local", type="local", capabilities=frozenset(Capability))


@pytest.fixture
def memory(store: FaultyBackend, detector: Counter, clock: FakeClock) -> DetectorMemory:
    return DetectorMemory([(KEY, detector)], lambda: guarded(store), every=60.0, clock=clock)


def keep(store: FaultyBackend, state: bytes, key: str = KEY) -> None:
    store.save_state(SaveStateRequest(key=key, state=state))
    store.calls.clear()


def kept(store: FaultyBackend, key: str = KEY) -> bytes | None:
    return store.wrapped.load_state(LoadStateRequest(key=key)).state  # type: ignore[attr-defined]  # a MemoryBackend


def test_a_key_names_place_and_type() -> None:
    assert state_key(2, "first-use") == "anomaly/2-first-use"


def test_a_detector_goes_on_where_another_process_ended(store: FaultyBackend, clock: FakeClock) -> None:
    for expected in range(3):
        detector = Counter()
        memory = DetectorMemory([(KEY, detector)], lambda: guarded(store), clock=clock)
        memory.restore()
        assert detector.count == expected
        detector.count += 1
        memory.close()
    assert kept(store) == b"3"


def test_nothing_kept_is_no_failure(memory: DetectorMemory, detector: Counter) -> None:
    memory.restore()
    assert (detector.restored, memory.failures) == ([], 0)


def test_only_the_first_call_restores(memory: DetectorMemory, detector: Counter, store: FaultyBackend) -> None:
    keep(store, b"5")
    memory.restore()
    detector.count = 6
    memory.restore()
    assert detector.count == 6
    assert store.calls == ["load_state"]


def test_others_wait_until_the_states_are_restored(
    memory: DetectorMemory, detector: Counter, store: FaultyBackend
) -> None:
    """Nobody is judged by a detector that is about to be given its memory."""
    keep(store, b"5")
    entered, go_on = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        entered.set()
        go_on.wait(10)

    store.before = wait
    first = threading.Thread(target=memory.restore)
    first.start()
    entered.wait(10)
    seen: list[int] = []

    def later() -> None:
        memory.restore()
        seen.append(detector.count)

    second = threading.Thread(target=later)
    second.start()
    second.join(0.05)
    assert seen == []
    go_on.set()
    first.join(10)
    second.join(10)
    assert seen == [5]
    assert detector.restored == [b"5"]


def test_a_store_that_asks_for_a_restored_detector_does_not_wait_for_itself(
    store: FaultyBackend, detector: Counter
) -> None:
    """A signal's handler that reads a secret meanwhile is such a case."""
    memory = DetectorMemory([(KEY, detector)], lambda: guarded(store))
    store.before = lambda _: memory.restore()
    memory.restore()
    assert store.calls == ["load_state"]


def test_it_is_saved_when_due_and_not_before(
    memory: DetectorMemory, detector: Counter, store: FaultyBackend, clock: FakeClock
) -> None:
    memory.restore()
    detector.count = 1
    clock.advance(59)
    assert memory.save_due() is False
    assert kept(store) is None
    clock.advance(1)
    assert memory.save_due(clock()) is True
    assert kept(store) == b"1"
    detector.count = 2
    assert memory.save_due(clock()) is False
    clock.advance(60)
    assert memory.save_due() is True
    assert kept(store) == b"2"
    assert memory.saved == 2


def test_what_has_not_changed_is_not_written_again(
    memory: DetectorMemory, detector: Counter, store: FaultyBackend
) -> None:
    keep(store, b"7")
    memory.restore()
    memory.save()
    memory.save()
    assert store.calls == ["load_state"]
    detector.count = 8
    memory.save()
    memory.save()
    assert store.calls == ["load_state", "save_state"]


def test_nothing_is_saved_before_it_was_restored(
    memory: DetectorMemory, store: FaultyBackend, clock: FakeClock
) -> None:
    """A detector that knows nothing yet must not replace what one has learned."""
    keep(store, b"100")
    clock.advance(1000)
    assert memory.save_due() is False
    memory.save()
    memory.close()
    assert kept(store) == b"100"
    assert store.calls == []


def test_a_process_that_asks_for_nothing_opens_no_store(detector: Counter) -> None:
    def unwanted() -> GuardedBackend:
        raise AssertionError("opened")

    memory = DetectorMemory([(KEY, detector)], unwanted)
    memory.close()
    assert memory.failures == 0


def test_a_detector_with_nothing_to_keep_keeps_what_is_there(
    memory: DetectorMemory, detector: Counter, store: FaultyBackend
) -> None:
    keep(store, b"5")
    detector.dumped = None
    memory.restore()
    memory.close()
    assert kept(store) == b"5"
    assert memory.failures == 0


def test_closing_saves_once_and_then_no_more(memory: DetectorMemory, detector: Counter, store: FaultyBackend) -> None:
    memory.restore()
    detector.count = 3
    memory.close()
    detector.count = 4
    memory.close()
    memory.save()
    assert kept(store) == b"3"


class TestFailures:
    def test_a_store_out_of_reach_fails_nothing_and_loses_nothing(
        self, memory: DetectorMemory, detector: Counter, store: FaultyBackend
    ) -> None:
        """What could not be loaded is not overwritten by somebody who does not know it."""
        keep(store, b"100")
        store.error = BackendUnavailableError("no answer")
        memory.restore()
        assert (detector.count, memory.failures) == (0, 1)
        store.error = None
        detector.count = 1
        memory.close()
        assert kept(store) == b"100"

    def test_a_store_that_cannot_be_opened_fails_nothing(self, detector: Counter) -> None:
        def broken() -> GuardedBackend:
            raise ZeroDivisionError

        memory = DetectorMemory([(KEY, detector)], broken)
        memory.restore()
        memory.close()
        assert memory.failures == 1

    def test_a_backend_that_keeps_no_states_is_a_counted_failure(self, detector: Counter) -> None:
        from strongroom.contracts import Backend, ReadRequest, ReadResult

        class Plain(Backend):
            address = "plain:"

            def read(self, request: ReadRequest) -> ReadResult:
                raise AssertionError("nobody asked")

        guard = GuardedBackend(Plain(), name="plain", type="plain", capabilities=frozenset())
        memory = DetectorMemory([(KEY, detector)], lambda: guard)
        memory.restore()
        memory.close()
        assert memory.failures == 1

    def test_a_save_that_fails_is_tried_again(
        self, memory: DetectorMemory, detector: Counter, store: FaultyBackend
    ) -> None:
        memory.restore()
        detector.count = 1
        store.error = BackendUnavailableError("no answer")
        memory.save()
        assert (kept(store), memory.failures) == (None, 1)
        store.error = None
        memory.save()
        assert kept(store) == b"1"

    def test_a_state_that_a_detector_refuses_is_replaced(
        self, memory: DetectorMemory, detector: Counter, store: FaultyBackend
    ) -> None:
        keep(store, b"not a number")
        memory.restore()
        assert memory.failures == 1
        detector.count = 1
        memory.save()
        assert kept(store) == b"1"

    def test_one_detector_that_fails_does_not_cost_another_its_memory(
        self, store: FaultyBackend, detector: Counter
    ) -> None:
        broken, other = Counter(), Counter()
        broken.fails = ZeroDivisionError("secret detail")
        keep(store, b"1", "anomaly/0-broken")
        keep(store, b"2", "anomaly/1-other")
        detectors = [("anomaly/0-broken", broken), ("anomaly/1-other", other)]
        memory = DetectorMemory(detectors, lambda: guarded(store))
        memory.restore()
        assert other.count == 2
        other.count = 3
        memory.close()
        assert kept(store, "anomaly/1-other") == b"3"
        assert memory.failures == 2

    @pytest.mark.parametrize("dumped", ["text", 5, bytes(MAX_STATE_BYTES + 1)], ids=["text", "number", "too large"])
    def test_a_dump_that_is_none_is_a_counted_failure(
        self, memory: DetectorMemory, detector: Counter, store: FaultyBackend, dumped: object
    ) -> None:
        memory.restore()
        detector.dumped = dumped
        memory.save()
        assert (kept(store), memory.failures) == (None, 1)

    def test_a_handler_of_the_log_that_fails_is_no_reason_to_fail(
        self, memory: DetectorMemory, store: FaultyBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(_handler: logging.Handler, _record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

        monkeypatch.setattr(logging.Handler, "handle", broken)
        store.error = BackendUnavailableError("no answer")
        memory.restore()
        assert memory.failures == 1

    def test_it_is_warned_of_once_a_minute_without_the_text_of_foreign_errors(
        self,
        memory: DetectorMemory,
        detector: Counter,
        store: FaultyBackend,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.WARNING, "strongroom")
        memory.restore()
        detector.fails = ZeroDivisionError("s3cret")
        for _ in range(3):
            memory.save()
            clock.advance(25)
        assert [record.getMessage() for record in caplog.records] == [
            f"the state {KEY} could not be saved: ZeroDivisionError"
        ]
        detector.fails = TamperedError("it is not authentic")
        memory.save()
        assert caplog.records[-1].getMessage() == f"the state {KEY} could not be saved: it is not authentic"
        assert memory.failures == 4


class TestThreadsAndForks:
    def test_only_one_thread_saves_when_it_is_due(
        self, memory: DetectorMemory, detector: Counter, store: FaultyBackend, clock: FakeClock
    ) -> None:
        memory.restore()
        detector.count = 1
        clock.advance(60)
        assert sum(in_threads(8, lambda _: memory.save_due())) == 1
        assert store.calls == ["load_state", "save_state"]

    def test_a_child_of_a_fork_in_the_middle_of_restoring_restores_by_itself(
        self, memory: DetectorMemory, detector: Counter, store: FaultyBackend
    ) -> None:
        keep(store, b"5")
        entered, go_on = threading.Event(), threading.Event()

        def wait(_: str) -> None:
            entered.set()
            go_on.wait(10)

        store.before = wait
        thread = threading.Thread(target=memory.restore)
        thread.start()
        entered.wait(10)

        def child() -> int:
            store.before = None
            memory.after_fork()
            memory.restore()
            return detector.count

        try:
            assert in_forked_child(child) == "5"
        finally:
            go_on.set()
            thread.join(10)
        assert detector.count == 5

    def test_a_child_saves_what_it_has_learned_with_its_own_lock(
        self, memory: DetectorMemory, detector: Counter, store: FaultyBackend
    ) -> None:
        memory.restore()
        entered, go_on = threading.Event(), threading.Event()

        def wait(_: str) -> None:
            entered.set()
            go_on.wait(10)

        detector.count = 1
        store.before = wait
        thread = threading.Thread(target=memory.save)
        thread.start()
        entered.wait(10)

        def child() -> bytes | None:
            store.before = None
            memory.after_fork()
            detector.count = 2
            memory.save()
            return kept(store)

        try:
            assert in_forked_child(child) == "b'2'"
        finally:
            go_on.set()
            thread.join(10)
