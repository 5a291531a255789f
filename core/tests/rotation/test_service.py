"""Rotations that a backend's service makes: triggered, watched, recorded, and seen by the next read."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import uuid

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

import strongroom

from serviced import ServicedBackend
from strongroom import SecretManager
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Decision, Leasing, ReadRequest, ReadResult, Verdict
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    BackendUnavailableError,
    ClosedError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    SuspiciousActivityError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.rotation import service as rotating
from strongroom.testing import FakeClock, MemorySink
from strongroom.testing.processes import in_forked_child
from strongroom.testing.spans import Spans

NAME = "managed/password"
OWN = "own/password"


@pytest.fixture
def service(clock: FakeClock) -> ServicedBackend:
    return ServicedBackend(holding(NAME, OWN), clock=clock)


def holding(*names: str) -> MemorySettings:
    """Return settings of a backend in memory that holds these from the start."""
    return MemorySettings(seed={name: SecretValue("old") for name in names})


def opened(service: Any, clock: FakeClock, sink: MemorySink, **config: Any) -> SecretManager:
    return strongroom.open(
        {"audit": "none", "principal": "tester"} | config,
        clock=clock,
        wall_clock=lambda: int(clock.time() * 1e9),
        sleep=clock.sleep,
        backends={"memory": service},
        sinks=(sink,),
    )


@pytest.fixture
def manager(service: ServicedBackend, clock: FakeClock, sink: MemorySink) -> Any:
    with opened(service, clock, sink) as manager:
        yield manager


class TestTheService:
    """What the service does, and what strongroom leaves to it."""

    def test_it_makes_the_value_and_its_version_is_returned(
        self, manager: SecretManager, service: ServicedBackend
    ) -> None:
        rotated = manager.rotate(NAME)
        assert (rotated.name, rotated.version, rotated.subscribers_failed) == (NAME, "2", ())
        assert manager.get(NAME).reveal_text() == "made by the service"
        assert service.asked[:2] == ["rotates", "trigger_rotation"]

    def test_a_rotation_has_a_uuid_of_its_own(
        self, manager: SecretManager, service: ServicedBackend, clock: FakeClock
    ) -> None:
        for _ in range(20):
            manager.rotate(NAME)
        assert len(set(service.tokens)) == 20
        assert {(uuid.UUID(token).version, str(uuid.UUID(token)) == token) for token in service.tokens} == {(4, True)}

    def test_what_it_does_not_rotate_is_rotated_as_ever(self, manager: SecretManager, service: ServicedBackend) -> None:
        manager.rotate(OWN, size=20, encoding="hex")
        assert len(manager.get(OWN).reveal()) == 40
        assert service.asked == ["rotates"]

    def test_a_secret_that_is_not_there_is_not_found(self, manager: SecretManager, sink: Any) -> None:
        with pytest.raises(SecretNotFoundError):
            manager.rotate("managed/absent")
        assert [event.result for event in sink.named("rotate")][-1] == "not_found"

    def test_one_that_is_under_way_is_a_conflict(
        self, manager: SecretManager, service: ServicedBackend, sink: Any
    ) -> None:
        with pytest.raises(BackendUnavailableError):
            manager.rotate(NAME, wait=5)
        with pytest.raises(VersionConflictError, match="is being rotated"):
            manager.rotate(NAME)
        assert [event.result for event in sink.named("rotate") if event.phase == "outcome"] == ["timeout", "conflict"]

    @pytest.mark.parametrize("options", [{"size": 32}, {"encoding": "raw"}, {"size": 20, "encoding": "hex"}])
    def test_how_the_value_is_made_cannot_be_chosen(
        self, options: Any, manager: SecretManager, service: ServicedBackend, sink: Any
    ) -> None:
        with pytest.raises(UnsupportedOperationError, match=r"so no (size|encoding|size or encoding) can be chosen"):
            manager.rotate(NAME, **options)
        assert service.asked == ["rotates"]
        assert [(event.phase, event.result) for event in sink.named("rotate")] == [("outcome", "unsupported")]

    def test_the_expected_version_must_be_the_current_one(
        self, manager: SecretManager, service: ServicedBackend
    ) -> None:
        assert manager.rotate(NAME, expect_version="1").version == "2"
        with pytest.raises(VersionConflictError) as caught:
            manager.rotate(NAME, expect_version="1")
        assert (caught.value.expected, caught.value.found, caught.value.name) == ("1", "2", NAME)
        assert len(service.tokens) == 1

    def test_a_conflict_drops_the_cached_copy(self, manager: SecretManager, service: ServicedBackend) -> None:
        manager.get(NAME)
        with pytest.raises(VersionConflictError):
            manager.rotate(NAME, expect_version="7")
        assert manager.get(NAME).freshness.value == "fresh"

    def test_a_leased_name_is_refused_before_anything_is_asked(self, clock: FakeClock, sink: MemorySink) -> None:
        class Mixed(ServicedBackend, Leasing):
            def is_leased(self, name: SecretName) -> bool:
                return True

            def renew_lease(self, request: Any) -> Any:
                raise AssertionError("nothing was leased")

            revoke_lease = release_lease = renew_lease

        mixed = Mixed(holding(NAME), clock=clock)
        with opened(mixed, clock, sink) as manager, pytest.raises(UnsupportedOperationError):
            manager.rotate(NAME)
        assert mixed.asked == []


class TestTheWait:
    """Looking again and again, but not too often, and not for ever."""

    def test_looks_grow_rarer_and_are_never_at_the_same_beat(
        self, manager: SecretManager, service: ServicedBackend, clock: FakeClock
    ) -> None:
        service.takes = 250.0
        beats = []
        for _ in range(2):
            begun = len(service.times)
            start = clock()
            manager.rotate(NAME)
            times = [start, *service.times[begun:]]
            beats.append([later - earlier for earlier, later in pairwise(times)])
        for beat in beats:
            assert beat[0] <= 1.5
            assert all(1.0 <= one <= 10.0 for one in beat)
            assert len(beat) < 50
            assert max(beat[:3]) < 3.5 < 6.0 < min(beat[8:])
        assert beats[0] != beats[1]

    def test_after_the_time_it_says_that_the_service_goes_on(
        self, manager: SecretManager, service: ServicedBackend, clock: FakeClock
    ) -> None:
        service.takes = 400.0
        start = clock()
        with pytest.raises(BackendUnavailableError) as caught:
            manager.rotate(NAME)
        assert clock() - start == pytest.approx(300.0)
        assert (caught.value.code, caught.value.name, caught.value.backend) == ("timeout", NAME, "memory")
        assert "to version 2 within 300 s" in caught.value.what
        assert "it goes on; `strongroom schedule`" in caught.value.hint

    @pytest.mark.parametrize("wait", [26, 26.0])
    def test_the_limit_is_looked_at_once_more(self, wait: float, manager: SecretManager) -> None:
        assert manager.rotate(NAME, wait=wait).version == "2"

    def test_nobody_need_wait(self, manager: SecretManager, service: ServicedBackend, clock: FakeClock) -> None:
        start = clock()
        with pytest.raises(BackendUnavailableError, match="within 0 s"):
            manager.rotate(NAME, wait=0)
        assert clock() == start
        assert service.asked == ["rotates", "trigger_rotation"]

    @pytest.mark.parametrize("wait", [-1, float("nan"), True, "5m", None], ids=repr)
    @pytest.mark.parametrize("name", [NAME, OWN])
    def test_a_wait_is_a_number_of_seconds(
        self, wait: Any, name: str, manager: SecretManager, service: ServicedBackend, sink: Any
    ) -> None:
        with pytest.raises(ConfigurationError, match="wait is a number of seconds"):
            manager.rotate(name, wait=wait)
        assert service.asked == []
        assert [(event.phase, event.result) for event in sink.named("rotate")] == [("outcome", "configuration")]

    @pytest.mark.parametrize("wait", [float("inf"), 10**400], ids=["inf", "whole"])
    def test_a_wait_may_be_without_an_end(self, wait: float, manager: SecretManager, service: ServicedBackend) -> None:
        service.takes = 1e6
        assert manager.rotate(NAME, wait=wait).version == "2"

    def test_an_outage_meanwhile_is_waited_out(self, manager: SecretManager, service: ServicedBackend) -> None:
        def fail_twice(operation: str) -> None:
            if operation == "rotation_status" and service.asked.count(operation) < 3:
                raise BackendUnavailableError("no answer", code="connection_refused")

        service.before = fail_twice
        assert manager.rotate(NAME).version == "2"

    def test_an_outage_to_the_end_is_the_cause(self, manager: SecretManager, service: ServicedBackend) -> None:
        gone = BackendUnavailableError("no answer", code="connection_refused")

        def fail(operation: str) -> None:
            if operation == "rotation_status":
                raise gone

        service.before = fail
        with pytest.raises(BackendUnavailableError) as caught:
            manager.rotate(NAME)
        assert caught.value.code == "timeout"
        # After some failures in a row the backend is not even asked any more.
        assert isinstance(caught.value.__cause__, BackendUnavailableError)
        assert caught.value.__cause__.code == "connection_refused"
        assert "no answer" in caught.value.__cause__.what

    def test_any_other_error_ends_it_with_a_word_of_the_rotation(
        self, manager: SecretManager, service: ServicedBackend, sink: Any
    ) -> None:
        def deny(operation: str) -> None:
            if operation == "rotation_status":
                raise AccessDeniedError("not for you")

        service.before = deny
        with pytest.raises(AccessDeniedError) as caught:
            manager.rotate(NAME)
        assert caught.value.__notes__ == [f"the service goes on with the rotation of {NAME} to version 2"]
        assert [event.result for event in sink.named("rotate")] == ["ok", "denied"]

    def test_a_manager_that_is_closed_meanwhile_waits_no_longer(
        self, service: ServicedBackend, clock: FakeClock, sink: MemorySink
    ) -> None:
        manager = opened(service, clock, sink)

        def close(_: str) -> None:
            if service.asked.count("rotation_status") == 2:
                manager.close()

        service.before = close
        with pytest.raises(ClosedError):
            manager.rotate(NAME)
        assert service.asked.count("rotation_status") == 2


class TestAnEndBefore:
    """A wait that Ctrl-C or the manager's end cuts short: the trail has its outcome, and nobody waits for it."""

    def test_ctrl_c_is_an_outcome_too(
        self, manager: SecretManager, service: ServicedBackend, sink: Any, clock: FakeClock
    ) -> None:
        manager.get(NAME)

        def interrupt(operation: str) -> None:
            if operation == "rotation_status":
                raise KeyboardInterrupt

        service.before = interrupt
        with pytest.raises(KeyboardInterrupt):
            manager.rotate(NAME)
        attempt, outcome = sink.named("rotate")
        assert (outcome.id, outcome.phase, outcome.result) == (attempt.id, "outcome", "interrupted")
        assert (outcome.version, outcome.request_id) == ("2", "request-9")
        service.before = lambda _: None
        assert manager.get(NAME).freshness.value == "fresh"

    def test_that_it_cannot_be_recorded_does_not_hide_ctrl_c(
        self, manager: SecretManager, service: ServicedBackend, sink: Any
    ) -> None:
        def interrupt(operation: str) -> None:
            if operation == "rotation_status":
                sink.failing = True
                raise KeyboardInterrupt

        service.before = interrupt
        with pytest.raises(KeyboardInterrupt) as caught:
            manager.rotate(NAME)
        sink.failing = False
        assert "its outcome could not be recorded either" in caught.value.__notes__[0]

    def test_what_has_not_ended_in_time_is_recorded_with_its_version(self, manager: SecretManager, sink: Any) -> None:
        with pytest.raises(BackendUnavailableError):
            manager.rotate(NAME, wait=5)
        outcome = sink.named("rotate")[-1]
        assert (outcome.result, outcome.version, outcome.request_id) == ("timeout", "2", "request-9")

    @pytest.mark.parametrize("operation", ["trigger_rotation", "rotation_status"])
    def test_that_the_manager_was_closed_is_recorded_once(
        self, operation: str, service: ServicedBackend, clock: FakeClock, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "close", lambda: None)
        manager = opened(service, clock, sink)
        service.before = lambda called: manager.close() if called == operation else None
        with pytest.raises(ClosedError):
            manager.rotate(NAME)
        attempt, outcome = sink.named("rotate")
        assert (outcome.id, outcome.phase, outcome.result) == (attempt.id, "outcome", "closed")
        assert outcome.version == ("2" if operation == "rotation_status" else None)
        assert sink.named("closed")

    def test_what_was_done_as_the_manager_was_closed_says_so(
        self, service: ServicedBackend, clock: FakeClock, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The trail has the end as the outcome, so nobody may take it that all is recorded."""
        monkeypatch.setattr(service, "close", lambda: None)
        service.takes = 0.0
        manager = opened(service, clock, sink)
        service.before = lambda called: manager.close() if called == "rotation_status" else None
        with pytest.raises(AuditError) as caught:
            manager.rotate(NAME)
        assert (caught.value.applied, "was closed before" in caught.value.what) == (True, True)
        assert [event.result for event in sink.named("rotate")] == ["ok", "closed"]

    def test_a_close_wakes_whoever_waits(self, sink: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rotating, "FIRST_SECONDS", 60.0)
        service = ServicedBackend(holding(NAME), clock=time.monotonic, takes=1e6)
        manager = strongroom.open({"audit": "none"}, backends={"memory": service}, sinks=(sink,))
        with ThreadPoolExecutor(1) as pool:
            rotation = pool.submit(manager.rotate, NAME)
            while not service.tokens:
                time.sleep(0.001)
            manager.close()
            # Long before the first pause is over.
            assert isinstance(rotation.exception(10), ClosedError)
        assert [event.result for event in sink.named("rotate")] == ["ok", "closed"]

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="only POSIX has timers that send a signal")
    def test_a_signal_s_handler_may_close(self, sink: Any) -> None:
        service = ServicedBackend(holding(NAME), clock=time.monotonic, takes=1e6)
        manager = strongroom.open({"audit": "none"}, backends={"memory": service}, sinks=(sink,))
        before = signal.signal(signal.SIGALRM, lambda *_: manager.close())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(ClosedError):
                manager.rotate(NAME)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert [event.result for event in sink.named("rotate")] == ["ok", "closed"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes can fork")
    def test_the_end_of_a_forked_child_says_nothing_of_the_parent_s_wait(
        self, service: ServicedBackend, clock: FakeClock, sink: Any
    ) -> None:
        manager = opened(service, clock, sink)
        counts = []

        def fork(operation: str) -> None:
            if operation == "rotation_status" and not counts:

                def child() -> int:
                    manager.close()
                    return len(sink.named("rotate"))

                counts.append(in_forked_child(child))

        service.before = fork
        manager.rotate(NAME)
        manager.close()
        assert counts == ["1"]
        assert [event.result for event in sink.named("rotate")] == ["ok", "ok"]


class TestTheCachedCopy:
    """The old value is not served once it has been replaced."""

    def test_after_a_rotation_the_new_value_is_read(self, manager: SecretManager, service: ServicedBackend) -> None:
        manager.get(NAME)
        manager.rotate(NAME)
        assert manager.get(NAME).reveal_text() == "made by the service"

    def test_what_was_cached_during_the_wait_is_dropped_too(
        self, manager: SecretManager, service: ServicedBackend
    ) -> None:
        def read(operation: str) -> None:
            if operation == "rotation_status":
                manager.get(NAME)

        service.before = read
        manager.rotate(NAME)
        assert manager.get(NAME).reveal_text() == "made by the service"

    def test_after_the_time_nothing_is_cached(
        self, manager: SecretManager, service: ServicedBackend, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        with pytest.raises(BackendUnavailableError):
            manager.rotate(NAME, wait=10)
        clock.advance(20)
        service.progress(SecretName(NAME))
        assert manager.get(NAME).reveal_text() == "made by the service"


class TestTheStages:
    """Policy, detectors, trail, event: as for any other rotation."""

    def test_attempt_and_outcome_are_recorded(self, manager: SecretManager, sink: Any, clock: FakeClock) -> None:
        manager.rotate(NAME)
        attempt, outcome = sink.named("rotate")
        assert (attempt.phase, attempt.detail, attempt.key) == ("attempt", "by the service", NAME)
        assert (outcome.phase, outcome.detail, outcome.result) == ("outcome", "by the service", "ok")
        assert (outcome.version, outcome.request_id, outcome.id) == ("2", "request-9", attempt.id)
        assert outcome.duration >= 25.0

    def test_nothing_is_triggered_that_cannot_be_recorded(
        self, manager: SecretManager, service: ServicedBackend, sink: Any
    ) -> None:
        sink.failing = True
        with pytest.raises(AuditError):
            manager.rotate(NAME)
        sink.failing = False
        assert service.asked == ["rotates"]

    def test_an_outcome_that_cannot_be_recorded_says_that_it_was_made(
        self, manager: SecretManager, service: ServicedBackend, sink: Any
    ) -> None:
        service.before = lambda operation: setattr(sink, "failing", operation == "rotation_status")
        with pytest.raises(AuditError) as caught:
            manager.rotate(NAME)
        sink.failing = False
        assert caught.value.applied

    def test_subscribers_are_told_once_it_is_done(
        self, manager: SecretManager, service: ServicedBackend, clock: FakeClock
    ) -> None:
        told: list[Any] = []
        manager.on_update(NAME, told.append)
        with pytest.raises(BackendUnavailableError):
            manager.rotate(NAME, wait=1)
        assert told == []
        clock.advance(service.takes)
        service.progress(SecretName(NAME))
        manager.rotate(NAME)
        assert [(event.change, event.version) for event in told] == [("rotate", "3")]

    def test_the_right_to_rotate_is_needed_before_anything_is_asked(
        self, service: ServicedBackend, clock: FakeClock, sink: MemorySink, rule: Any
    ) -> None:
        rules = [rule("tester", "read", "update")]
        with opened(service, clock, sink, policies=rules) as manager, pytest.raises(AccessDeniedError):
            manager.rotate(NAME)
        assert service.asked == []

    def test_a_detector_may_block_it(
        self, service: ServicedBackend, clock: FakeClock, sink: MemorySink, watched: Any
    ) -> None:
        watched.verdict = Verdict(decision=Decision.BLOCK, reason="at night")
        detectors = [{"type": "watch", "action": "block"}]
        with opened(service, clock, sink, anomaly=detectors) as manager, pytest.raises(SuspiciousActivityError):
            manager.rotate(NAME)
        assert service.asked == []

    def test_each_call_has_its_span(self, service: ServicedBackend, clock: FakeClock, sink: MemorySink) -> None:
        spans = Spans()
        service.takes = 0.0
        with strongroom.open(
            {"audit": "none"},
            clock=clock,
            sleep=clock.sleep,
            backends={"memory": service},
            sinks=(sink,),
            tracer_provider=spans.provider,
        ) as manager:
            manager.rotate(NAME)
        names = [span.name for span in spans.finished() if span.name != "strongroom.audit"]
        assert [name for name in names if "rotat" in name] == [
            "strongroom.rotates",
            "strongroom.trigger_rotation",
            "strongroom.rotation_status",
        ]


class TestOnALoop:
    """The asyncio manager does the same, in a thread of its own."""

    def test_it_waits_without_holding_up_the_loop_or_other_changes(
        self, service: ServicedBackend, clock: FakeClock, sink: Any
    ) -> None:
        async def main() -> None:
            released = asyncio.Event()
            loop = asyncio.get_running_loop()

            def sleep(seconds: float) -> None:
                asyncio.run_coroutine_threadsafe(released.wait(), loop).result(10)
                clock.sleep(seconds)

            async with strongroom.open_async(
                {"audit": "none", "principal": "tester"},
                max_threads=1,
                clock=clock,
                sleep=sleep,
                backends={"memory": service},
                sinks=(sink,),
            ) as aio:
                assert (await aio.get(NAME)).reveal_text() == "old"
                rotation = asyncio.ensure_future(aio.rotate(NAME, wait=60))
                # The only thread for changes is free all the same.
                await asyncio.wait_for(aio.set(OWN, "new"), 10)
                assert not rotation.done()
                released.set()
                assert (await rotation).version == "2"
                assert (await aio.get(NAME)).reveal_text() == "made by the service"

        asyncio.run(main())
        assert [event.phase for event in sink.named("rotate")] == ["attempt", "outcome"]

    def test_what_is_cancelled_before_its_turn_is_not_rotated(self, clock: FakeClock, sink: Any) -> None:
        """What has begun goes on, and its outcome is recorded."""
        service = ServicedBackend(holding("managed/a", "managed/b", "managed/c"), clock=clock)

        async def main() -> None:
            released, waits = threading.Event(), threading.Event()

            def sleep(seconds: float) -> None:
                waits.set()
                released.wait(10)
                clock.sleep(seconds)

            async with strongroom.open_async(
                {"audit": "none"},
                max_threads=1,
                clock=clock,
                sleep=sleep,
                backends={"memory": service},
                sinks=(sink,),
            ) as aio:
                first, second, third = [asyncio.ensure_future(aio.rotate(f"managed/{name}")) for name in "abc"]
                while not waits.is_set():
                    await asyncio.sleep(0.001)
                first.cancel()
                second.cancel()
                await asyncio.wait([first, second])
                released.set()
                assert (await third).version == "2"

        asyncio.run(main())
        assert [(event.key, event.phase, event.result) for event in sink.named("rotate")] == [
            (f"managed/{name}", phase, "ok") for name in "ac" for phase in ("attempt", "outcome")
        ]

    def test_it_raises_the_same(self, manager: SecretManager) -> None:
        aio = strongroom.AsyncSecretManager(manager)

        async def refused(**options: Any) -> str:
            with pytest.raises(StrongroomError) as caught:
                await aio.rotate(NAME, **options)
            return caught.value.code

        async def main() -> list[str]:
            codes = [await refused(size=20), await refused(wait=-1), await refused(expect_version="7")]
            codes.append(await refused(wait=3))
            await aio.aclose()
            return codes

        assert asyncio.run(main()) == ["unsupported", "configuration", "conflict", "timeout"]


def test_a_read_that_is_under_way_does_not_bring_the_old_value_back(
    manager: SecretManager, service: ServicedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is from before the rotation's end: who asked gets it, and nobody else."""
    read = service.read
    rotated = []

    def slow(request: ReadRequest) -> ReadResult:
        answer = read(request)
        if not rotated:
            rotated.append(True)
            manager.rotate(NAME)
        return answer

    monkeypatch.setattr(service, "read", slow)
    assert manager.get(NAME).reveal_text() == "old"
    assert manager.get(NAME).reveal_text() == "made by the service"
