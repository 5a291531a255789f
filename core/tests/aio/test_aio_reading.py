"""What runs on the event loop, and what must not: nothing that may have to wait."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from strongroom import AsyncSecretManager, Freshness, SecretManager, acting_as
from strongroom.aio.threads import Threads
from strongroom.audit.stage import BUFFER_EVENTS
from strongroom.contracts import AnomalyDetector, Decision, Repeats, Verdict
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    InvalidNameError,
    SecretNotFoundError,
    StrongroomError,
    SuspiciousActivityError,
)
from strongroom.testing import FakeClock

NAME = "db/password"
HITS = 1000
WATCHED = {"anomaly": [{"type": "watch", "action": "block"}]}
TTL = {"policy": "ttl", "ttl": "100s", "jitter": 0, "negative_ttl": "50s"}

BLOCKING = {
    "write",
    "fsync",
    "open",
    "flock",
    "lockf",
    "sleep",
    "send",
    "sendall",
    "connect",
    "start_new_thread",
    "join",
}
"""The functions of C that a hit has no business to call."""


@contextmanager
def watching(found: list[str]) -> Iterator[None]:
    """Note each call of a blocking function that this thread makes, and each lock that it waits for."""
    here = threading.get_ident()

    def note(frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call" or threading.get_ident() != here:
            return
        name, owner = function.__name__, getattr(function, "__self__", None)
        if name in BLOCKING and not isinstance(owner, str | Coroutine):
            found.append(f"{name} in {frame.f_code.co_qualname}")
        if name == "acquire" and frame.f_code.co_name == "wait":
            found.append(f"a wait in {frame.f_back.f_code.co_qualname if frame.f_back else '?'}")

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def at_once(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that must not suspend itself, and return what it returns."""
    try:
        call.send(None)
    except StopIteration as end:
        return end.value
    call.close()
    raise AssertionError("it went to a thread")


class Submissions:
    """Counts what is handed to threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        submit = Threads.submit

        def counted(threads: Threads, call: Callable[[], Any], **lane: str) -> Any:
            self.count += 1
            return submit(threads, call, **lane)

        monkeypatch.setattr(Threads, "submit", counted)


@pytest.fixture
def submissions(monkeypatch: pytest.MonkeyPatch) -> Submissions:
    return Submissions(monkeypatch)


@pytest.fixture
def threads_of(sink: Any, hooked: Any) -> set[int]:
    """Every thread in which the sink or the backend is called."""
    called: set[int] = set()
    write, read = sink.write, hooked.read

    def noting(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(request: Any) -> Any:
            called.add(threading.get_ident())
            return function(request)

        return call

    sink.write, hooked.read = noting(write), noting(read)
    hooked.write, hooked.delete, hooked.list = map(noting, (hooked.write, hooked.delete, hooked.list))
    return called


@pytest.fixture
def manager(open_manager: Any, hooked: Any) -> SecretManager:
    return open_manager(backends={"memory": hooked}, cache=TTL)


async def cached(aio: AsyncSecretManager) -> None:
    """Have the name in the cache, and all that a first read has to set up."""
    await aio.get(NAME)
    await aio.get(NAME)


class TestHits:
    """A read that the cache answers."""

    def test_a_thousand_hits_go_to_no_thread(self, manager: Any, submissions: Submissions) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                submissions.count = 0
                for _ in range(HITS):
                    assert at_once(aio.get(NAME)).freshness is Freshness.CACHED
                assert submissions.count == 0

        asyncio.run(main())
        assert manager.stats().hits == HITS + 1

    def test_a_hit_calls_nothing_that_blocks(self, manager: Any) -> None:
        found: list[str] = []

        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                with watching(found):
                    for _ in range(HITS):
                        at_once(aio.get(NAME))

        asyncio.run(main())
        assert found == []

    def test_the_watch_sees_what_blocks(self, tmp_path: Any) -> None:
        """Without this, a watch that sees nothing would pass the test above."""
        found: list[str] = []
        with watching(found):
            descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"x")
            os.fsync(descriptor)
            threading.Event().wait(0.001)
        os.close(descriptor)
        kinds = [one.partition(" in ")[0] for one in found]
        assert list(dict.fromkeys(kinds)) == ["open", "write", "fsync", "a wait"]

    def test_a_field_is_taken_from_a_hit(self, open_manager: Any) -> None:
        async def main(manager: SecretManager) -> list[str]:
            async with AsyncSecretManager(manager) as aio:
                first = await aio.get("db/json", field="user")
                return [first.reveal_text(), (await aio.get("db/json", field="user")).reveal_text()]

        assert asyncio.run(main(open_manager({"db/json": '{"user": "app"}'}))) == ["app", "app"]

    def test_each_hit_is_recorded(self, manager: Any, sink: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                for _ in range(98):
                    await aio.get(NAME)
                await aio.flush()

        asyncio.run(main())
        events = sink.named("get")
        assert [event.source for event in events] == ["backend"] + 99 * ["cache"]
        assert len({event.id for event in events}) == 100

    def test_names_that_are_all_cached_are_read_together_without_a_thread(
        self, manager: Any, submissions: Submissions
    ) -> None:
        async def main() -> Any:
            async with AsyncSecretManager(manager) as aio:
                await aio.get_many([NAME, "db/user"])
                await aio.get_many([NAME, "db/user"])
                submissions.count = 0
                return at_once(aio.get_many([NAME, "db/user"]))

        assert set(asyncio.run(main()).found) == {NAME, "db/user"}
        assert submissions.count == 1  # the end

    def test_without_a_sink_a_hit_needs_none(self, open_manager: Any, hooked: Any) -> None:
        async def main(manager: SecretManager) -> Any:
            async with AsyncSecretManager(manager) as aio:
                await aio.get(NAME)
                return at_once(aio.get(NAME))

        assert asyncio.run(main(open_manager(backends={"memory": hooked}, sinks=()))).reveal_text() == "s3cret"


class TestLateHits:
    """Hits that come while earlier ones wait for too long."""

    def test_they_wait_without_holding_up_the_loop(self, manager: Any, sink: Any, clock: FakeClock, gate: Any) -> None:
        async def main() -> list[Any]:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                write = sink.write
                sink.write = lambda request: (gate.hold(), write(request))
                await aio.get(NAME)
                await asyncio.to_thread(gate.wait_for_arrival)
                await aio.get(NAME)
                clock.advance(0.06)
                late = [asyncio.create_task(aio.get(NAME)) for _ in range(100)]
                ticks = 0
                while ticks < 50:
                    await asyncio.sleep(0)
                    ticks += 1
                assert not any(task.done() for task in late)
                gate.open()
                results = await asyncio.gather(*late)
                await aio.flush()
                return results

        assert len(asyncio.run(main())) == 100
        assert len(sink.named("get")) == 104

    @pytest.mark.parametrize("detectors", [{}, WATCHED], ids=["served at once", "each judged"])
    def test_more_hits_than_the_buffer_holds_are_slowed_down_by_a_slow_sink_and_no_one_fails(
        self, open_manager: Any, hooked: Any, watched: Any, sink: Any, detectors: Any, submissions: Submissions
    ) -> None:
        hits, write = 3 * BUFFER_EVENTS, sink.write
        sink.write = lambda request: (time.sleep(0.01), write(request))

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                submissions.count = 0
                await asyncio.gather(*(aio.get(NAME) for _ in range(hits)))
                assert submissions.count < 20
                await aio.flush()

        asyncio.run(main(open_manager(backends={"memory": hooked}, **detectors)))
        assert len({event.id for event in sink.named("get")}) == hits + 2

    def test_they_fail_if_the_earlier_ones_cannot_be_recorded(self, manager: Any, sink: Any, clock: Any) -> None:
        async def main() -> list[Any]:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                await aio.flush()
                sink.failing = True
                await aio.get(NAME)
                clock.advance(0.06)
                results = await asyncio.gather(*(aio.get(NAME) for _ in range(20)), return_exceptions=True)
                sink.failing = False
                return results

        errors = asyncio.run(main())
        assert {type(error) for error in errors} == {AuditError}
        assert len({id(error) for error in errors}) == 20
        assert manager.stats().errors == 20

    def test_they_are_each_recorded_once_recording_works_again(self, manager: Any, sink: Any, clock: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                sink.failing = True
                await aio.get(NAME)
                clock.advance(0.06)
                with pytest.raises(AuditError):
                    await aio.get(NAME)
                sink.failing = False
                await aio.get(NAME)
                await aio.flush()

        asyncio.run(main())
        assert [event.source for event in sink.named("get")] == ["backend", "cache", "cache", "cache"]

    def test_names_that_are_to_be_recorded_at_once_are(
        self, distributions: Any, open_manager: Any, hooked: Any, sink: Any, threads_of: set[int]
    ) -> None:
        distributions.add(
            "quick-plugin",
            {"strongroom.audit_sinks": {"quick": "quick_plugin"}},
            """
            from strongroom.contracts import Record, SinkSpec
            from strongroom.hookspecs import hookimpl
            from strongroom.testing import MemorySink

            class Settings(Record):
                pass

            @hookimpl
            def strongroom_audit_sinks():
                yield SinkSpec(name="quick", summary="Quick.", settings=Settings, open=lambda _: MemorySink())
            """,
        )

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                for count in range(1, 4):
                    await aio.get(NAME)
                    assert len(sink.named("get")) == count

        asyncio.run(main(open_manager(backends={"memory": hooked}, audit=[{"type": "quick", "immediate": ["db/*"]}])))
        assert threading.get_ident() not in threads_of


class TestRefusals:
    """What is refused is decided on the loop, and recorded by a thread before the error is raised."""

    @pytest.mark.parametrize(
        ("name", "error"), [("ci/token", AccessDeniedError), ("a//b", InvalidNameError), (7, InvalidNameError)]
    )
    def test_a_refusal_is_recorded_before_it_is_raised(
        self, open_manager: Any, hooked: Any, sink: Any, rule: Any, threads_of: set[int], name: Any, error: Any
    ) -> None:
        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                with pytest.raises(error):
                    await aio.get(name)
                assert [event.result for event in sink.named("get")] == [error("x").code]

        asyncio.run(main(open_manager(backends={"memory": hooked}, policies=[rule("tester", "read", names="db/**")])))
        assert threads_of
        assert threading.get_ident() not in threads_of

    def test_a_refusal_that_cannot_be_recorded_is_an_audit_error(self, manager: Any, sink: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                sink.failing = True
                with pytest.raises(AuditError):
                    await aio.get("a//b")
                sink.failing = False

        asyncio.run(main())

    def test_a_refusal_is_recorded_even_if_nobody_waits_for_it(self, manager: Any, sink: Any, gate: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                await aio.flush()
                write = sink.write
                sink.write = lambda request: (gate.hold(), write(request))
                task = asyncio.create_task(aio.get("a//b"))
                await asyncio.to_thread(gate.wait_for_arrival)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                gate.open()

        asyncio.run(main())
        assert "invalid_name" in [event.result for event in sink.named("get")]

    def test_an_interrupt_on_the_loop_loses_no_record(self, manager: Any, watched: Any, sink: Any) -> None:
        """As if somebody pressed the keys in the middle of a read that has been refused already."""
        reader = AsyncSecretManager(manager)._reader

        def interrupted() -> None:
            reader._gate.refused(reader_action(), NAME, InvalidNameError("odd"))
            raise KeyboardInterrupt

        async def main() -> None:
            with pytest.raises(KeyboardInterrupt):
                reader.attempt(interrupted)

        asyncio.run(main())
        assert sink.wait_for(lambda events: any(event.result == "invalid_name" for event in events))

    def test_what_is_called_back_meanwhile_records_as_ever(
        self, open_manager: Any, hooked: Any, watched: Any, sink: Any
    ) -> None:
        """What a read puts aside is its own; a callback that it has made waits for nobody to record it."""
        judge = watched.judge

        async def main(manager: SecretManager) -> None:
            def judge_and_call(access: Any) -> Any:
                if access.name == "db/user":
                    asyncio.get_running_loop().call_soon(manager.get, NAME)
                return judge(access)

            async with AsyncSecretManager(manager) as aio:
                await aio.get("db/user")
                watched.judge = judge_and_call
                await aio.get("db/user")
                await asyncio.sleep(0)

        asyncio.run(main(open_manager(backends={"memory": hooked}, **WATCHED)))
        assert [event.key for event in sink.named("get") if event.source == "backend"] == ["db/user", NAME]

    @pytest.mark.parametrize(
        "read",
        [
            lambda manager: manager.get(NAME),
            lambda manager: manager.get_many([NAME]),
            lambda manager: manager.refresh(NAME),
        ],
    )
    def test_what_is_read_within_a_read_is_recorded_before_it_is_returned(
        self, read: Callable[[Any], object], open_manager: Any, hooked: Any, watched: Any, sink: Any
    ) -> None:
        """By a signal's handler or a detector, which may come in the middle of what the loop does."""
        judge = watched.judge
        seen: list[list[str]] = []

        async def main(manager: SecretManager) -> None:
            def read_and_judge(access: Any) -> Any:
                if access.name == "db/user":
                    read(manager)
                    seen.append([event.key for event in sink.named("get")])
                return judge(access)

            async with AsyncSecretManager(manager) as aio:
                await aio.get("db/user")
                watched.judge = read_and_judge
                await aio.get("db/user")

        asyncio.run(main(open_manager(backends={"memory": hooked}, **WATCHED)))
        assert seen == [["db/user", NAME]]

    def test_a_refusal_is_recorded_although_there_is_no_thread_for_it(
        self, open_manager: Any, hooked: Any, rule: Any, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, policies=[rule("tester", "read", names="db/user")])

        def refuse(*_: Any, **__: Any) -> None:
            raise RuntimeError("can't start new thread")

        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await aio.get("db/user")
                with monkeypatch.context() as patch:
                    patch.setattr(aio._threads, "submit", refuse)
                    with pytest.raises(AccessDeniedError):
                        await aio.get(NAME)
                    with pytest.raises(InvalidNameError):
                        aio.on_update("db/**/", print)

        asyncio.run(main())
        assert [event.result for event in sink.named("get")] == ["ok", "denied", "invalid_name"]

    def test_a_sink_that_fails_just_before_a_hit_is_taken_does_not_hold_up_the_loop(
        self, manager: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                buffer, here = manager._parts.audit.buffer, threading.get_ident()
                looks, flush = buffer.takes_without_waiting, buffer._flush
                flushed_by: list[int] = []

                def look(now: float) -> bool:
                    takes = looks(now)
                    buffer.due = float("-inf")  # as another thread notes it
                    return takes

                def note() -> None:
                    flushed_by.append(threading.get_ident())
                    flush()

                monkeypatch.setattr(buffer, "takes_without_waiting", look)
                monkeypatch.setattr(buffer, "_flush", note)
                assert looks(aio._reader._clock())
                at_once(aio.get(NAME))
                assert here not in flushed_by

        asyncio.run(main())

    def test_a_name_that_is_not_there_is_answered_from_the_cache(
        self, manager: Any, hooked: Any, submissions: Submissions
    ) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                with pytest.raises(SecretNotFoundError):
                    await aio.get("absent")
                submissions.count = 0
                for _ in range(10):
                    with pytest.raises(SecretNotFoundError):
                        at_once(aio.get("absent"))
                assert submissions.count == 0

        asyncio.run(main())
        assert hooked.reads.count("absent") == 1
        assert manager.stats().negative_hits == 10


def reader_action() -> Any:
    from strongroom.policy import Action

    return Action.READ


class TestDetectors:
    """Detectors judge on the loop; what they raise the alarm about is recorded by a thread."""

    def test_each_access_is_judged_on_the_loop(
        self, open_manager: Any, hooked: Any, watched: Any, submissions: Submissions
    ) -> None:
        judged: list[int] = []
        judge = watched.judge
        watched.judge = lambda access: (judged.append(threading.get_ident()), judge(access))[1]

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                submissions.count = 0
                for _ in range(10):
                    at_once(aio.get(NAME))
                assert submissions.count == 0

        asyncio.run(main(open_manager(backends={"memory": hooked}, **WATCHED)))
        assert judged == [threading.get_ident()] * 12

    def test_a_hit_that_is_blocked_is_recorded_by_a_thread(
        self, open_manager: Any, hooked: Any, watched: Any, sink: Any, threads_of: set[int]
    ) -> None:
        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                watched.verdict = Verdict(decision=Decision.BLOCK, reason="too odd")
                with pytest.raises(SuspiciousActivityError, match="too odd"):
                    await aio.get(NAME)
                assert [event.result for event in sink.named("alert")] == ["blocked"]
                assert sink.named("get")[-1].result == "suspicious"

        asyncio.run(main(open_manager(backends={"memory": hooked}, **WATCHED)))
        assert threading.get_ident() not in threads_of

    def test_an_alert_is_recorded_before_the_value_is_returned(
        self, open_manager: Any, hooked: Any, watched: Any, sink: Any, threads_of: set[int]
    ) -> None:
        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                watched.verdict = Verdict(decision=Decision.ALERT, reason="odd")
                assert (await aio.get(NAME)).reveal_text() == "s3cret"
                assert len(sink.named("alert")) == 1
                sink.failing = True
                watched.verdict = Verdict(decision=Decision.ALERT, reason="odd", subject="another")
                with pytest.raises(AuditError):
                    await aio.get(NAME)
                sink.failing = False

        asyncio.run(main(open_manager(backends={"memory": hooked}, **WATCHED)))
        assert threading.get_ident() not in threads_of

    def test_repetitions_are_counted_once_each(self, open_manager: Any, hooked: Any, watched: Any) -> None:
        counted: list[int] = []

        def count() -> int:
            counted.append(1)
            return len(counted)

        watched.repeats = lambda access: Repeats(counters=((count, 5),))

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                watched.seen.clear()
                for _ in range(6):
                    at_once(aio.get(NAME))

        asyncio.run(main(open_manager(backends={"memory": hooked}, **WATCHED)))
        assert (len(counted), len(watched.seen)) == (6, 1)

    def test_their_state_is_restored_once_and_by_a_thread(self, open_manager: Any, hooked: Any, watched: Any) -> None:
        restored: list[int] = []

        class Memory:
            def restore(self) -> None:
                restored.append(threading.get_ident())

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                await asyncio.gather(*(aio.get(NAME) for _ in range(50)))

        manager = open_manager(backends={"memory": hooked}, **WATCHED)
        manager._parts.anomaly.memory = Memory()
        asyncio.run(main(manager))
        assert len(restored) == 1
        assert restored[0] != threading.get_ident()


class TestRefreshing:
    """Answers that are fetched anew in the background."""

    def test_a_stale_answer_is_served_at_once_and_fetched_by_a_thread(
        self, distributions: Any, open_manager: Any, hooked: Any, sink: Any, clock: FakeClock, threads_of: set[int]
    ) -> None:
        distributions.add(
            "early-plugin",
            {"strongroom.cache_policies": {"early": "early_plugin"}},
            """
            from strongroom.contracts import CachePolicy, CachePolicySpec, Lifetime, Record
            from strongroom.hookspecs import hookimpl

            class Settings(Record):
                pass

            class Early(CachePolicy):
                def lifetime(self, request):
                    return Lifetime(fresh_until=request.now + 100, refresh_at=request.now + 50)

            @hookimpl
            def strongroom_cache_policies():
                yield CachePolicySpec(name="early", summary="Early.", settings=Settings, open=lambda _: Early())
            """,
        )

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                await cached(aio)
                await aio.flush()
                clock.advance(60)
                for _ in range(20):
                    assert at_once(aio.get(NAME)).freshness is Freshness.CACHED
                async with asyncio.timeout(10):
                    while len(hooked.reads) < 2:
                        await asyncio.sleep(0.001)

        asyncio.run(main(open_manager(backends={"memory": hooked}, cache={"policy": "early"})))
        assert hooked.reads == [NAME, NAME]
        assert threading.get_ident() not in threads_of


class TestEverything:
    """All operations in disorder, in debug mode."""

    def test_neither_sink_nor_backend_is_ever_called_by_the_loop(
        self, open_manager: Any, hooked: Any, sink: Any, rule: Any, clock: FakeClock, threads_of: set[int]
    ) -> None:
        rules = [
            rule("tester", "read", "write", "list", "rotate", "delete", "impersonate", names=["db/**", "api"]),
            rule("api", "read", names="db/**"),
        ]

        async def work(aio: AsyncSecretManager, number: int) -> None:
            calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
                lambda: aio.get(NAME),
                lambda: aio.get("ci/token"),
                lambda: aio.get("db/absent"),
                lambda: aio.get_many([NAME, "db/user", "db/absent", "ci/x"]),
                lambda: aio.set(f"db/new-{number % 3}", "value"),
                lambda: aio.get(f"db/new-{number % 3}"),
                lambda: aio.list("db/"),
                lambda: aio.rotate("db/user"),
                lambda: aio.refresh(NAME),
                lambda: aio.invalidate(),
                lambda: aio.delete("db/new-1"),
                lambda: aio.prefetch("db/*"),
                lambda: aio.stats(),
                lambda: aio.flush(),
                lambda: aio.as_principal("api").get(NAME),
            ]
            for step in range(30):
                clock.advance(0.02)
                try:
                    with acting_as("api" if step % 3 else "tester"):
                        await calls[(7 * step + number) % len(calls)]()
                except StrongroomError:
                    continue

        async def main(manager: SecretManager) -> None:
            asyncio.get_running_loop().slow_callback_duration = 5
            async with AsyncSecretManager(manager, max_threads=4) as aio:
                await asyncio.gather(*(work(aio, number) for number in range(20)))

        asyncio.run(main(open_manager(backends={"memory": hooked}, policies=rules, cache=TTL)), debug=True)
        assert threads_of
        assert threading.get_ident() not in threads_of


def test_a_detector_without_wishes_is_what_the_tests_above_assume() -> None:
    """They rely on each hit being judged, which a detector can spare the stage."""
    assert AnomalyDetector.repeats(None, None) is None  # type: ignore[arg-type]  # the default looks at neither
