"""The asyncio manager: the same results, errors and records as the other one."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import traceback
import weakref

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import strongroom

from strongroom import ABSENT, AsyncSecretManager, Secret, SecretManager, acting_as
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Decision, Verdict
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    BackendUnavailableError,
    BatchError,
    ClosedError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.model import SecretValue
from strongroom.testing import FakeClock, MemorySink

NAME = "db/password"
PLAIN = {"backend": "memory", "audit": "none", "backends": {"memory": {"type": "memory"}}}


@pytest.fixture
def manager(open_manager: Any, hooked: Any) -> SecretManager:
    return open_manager(backends={"memory": hooked})


class TestOperations:
    """Each operation, once."""

    def test_what_is_written_is_read(self, manager: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                written = await aio.set("a/b", "one", expect_version=ABSENT)
                secret = await aio.get("a/b")
                assert (secret.reveal_text(), secret.version) == ("one", written.version)
                with pytest.raises(VersionConflictError):
                    await aio.set("a/b", "two", expect_version=ABSENT)
                await aio.set("a/b", b"\x00\xff")
                assert (await aio.get("a/b")).reveal() == b"\x00\xff"
                assert (await aio.get("a/b", version=written.version)).reveal_text() == "one"
                rotated = await aio.rotate("a/b", size=20, encoding="hex")
                assert len((await aio.get("a/b")).reveal_text()) == 40
                assert len(await aio.versions("a/b")) == 3
                assert (await aio.refresh("a/b")).version == rotated.version
                assert (await aio.delete("a/b")).existed
                with pytest.raises(SecretNotFoundError):
                    await aio.get("a/b")

        asyncio.run(main())

    def test_names_are_listed_and_read_together(self, manager: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                assert await aio.list("db/") == [NAME, "db/user"]
                told: list[tuple[int, int, int]] = []
                batch = await aio.get_many(
                    [NAME, "db/absent"],
                    progress=lambda done, total: told.append((done, total, threading.get_ident())),
                )
                assert set(batch.found) == {NAME}
                assert type(batch.errors["db/absent"]) is SecretNotFoundError
                await asyncio.sleep(0)
                assert told[-1] == (2, 2, threading.get_ident())
                with pytest.raises(BatchError, match="db/absent"):
                    await aio.get_many([NAME, "db/absent"], strict=True)
                assert set((await aio.prefetch("db/*")).found) == {NAME, "db/user"}
                assert set((await aio.refresh_all()).found) == {NAME, "db/user"}

        asyncio.run(main())

    def test_what_would_be_refused_is_refused_without_writing(self, manager: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                assert await aio.check_set("a/b", SecretValue("x")) == "a/b"
                with pytest.raises(InvalidNameError):
                    await aio.check_set("a//b", SecretValue("x"))
                with pytest.raises(InvalidValueError):
                    await aio.set("a/b", 7)  # type: ignore[arg-type]  # that is what is refused
                assert await aio.list("a/") == []

        asyncio.run(main())

    def test_the_manager_tells_how_it_is(self, manager: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await aio.get(NAME)
                await aio.get(NAME)
                assert (await aio.stats()).hits == 1
                assert (await aio.health()).parts
                await aio.invalidate(NAME)
                await aio.get(NAME)
                await aio.invalidate()
                await aio.get(NAME)
                assert (await aio.stats()).misses == 3
                await aio.flush()
                await aio.reload()

        asyncio.run(main())
        assert manager.stats().misses == 3

    def test_a_value_is_in_no_traceback(self, manager: Any) -> None:
        """Whoever shows local variables with a traceback shows none of ours that holds it."""
        value = "shown-nowhere"

        async def main() -> list[str]:
            async with AsyncSecretManager(manager) as aio:
                with pytest.raises(InvalidNameError) as info:
                    await aio.set("a//b", value)
            frames = [frame for frame, _ in traceback.walk_tb(info.tb)]
            ours = [frame for frame in frames if frame.f_code.co_filename != __file__]
            return [repr(local) for frame in ours for local in frame.f_locals.values()]

        shown = asyncio.run(main())
        assert len(shown) > 10
        assert [text for text in shown if value in text] == []


class TestOpening:
    """Ways to come by one."""

    def test_opening_and_closing_happen_in_threads(self) -> None:
        class Noting(MemoryBackend):
            def close(self) -> None:
                closed_in.append(threading.get_ident())

        closed_in: list[int] = []

        async def main() -> None:
            backends = {"memory": Noting(MemorySettings(seed={NAME: SecretValue("v")}))}
            async with strongroom.open_async(PLAIN, backends=backends) as manager:
                assert isinstance(manager, AsyncSecretManager)
                assert (await manager.get(NAME)).reveal_text() == "v"

        asyncio.run(main())
        assert closed_in
        assert threading.get_ident() not in closed_in

    def test_it_can_be_awaited_and_closed_by_hand(self) -> None:
        async def main() -> None:
            manager = await strongroom.open_async(PLAIN)
            await manager.set(NAME, "v")
            await manager.close()
            await manager.aclose()
            with pytest.raises(ClosedError):
                await manager.get(NAME)

        asyncio.run(main())

    def test_a_configuration_that_is_not_usable_is_refused(self) -> None:
        async def main() -> None:
            with pytest.raises(ConfigurationError):
                async with strongroom.open_async({"backend": "absent"}):
                    raise AssertionError("it was opened")

        asyncio.run(main())
        with pytest.raises(ConfigurationError, match="max_threads"):
            strongroom.open_async(PLAIN, max_threads=0)

    def test_an_opening_that_is_given_up_is_closed(self, gate: Any) -> None:
        closed = threading.Event()

        class Slow(MemorySink):
            def close(self) -> None:
                closed.set()

        async def main() -> None:
            opening = asyncio.create_task(open_it(gate, Slow()))
            await asyncio.to_thread(gate.wait_for_arrival)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            gate.open()
            assert await asyncio.to_thread(closed.wait, 10)

        asyncio.run(main())

    def test_one_around_a_manager_leaves_it_open(self, manager: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await aio.get(NAME)
            with pytest.raises(ClosedError):
                await aio.get(NAME)

        asyncio.run(main())
        assert manager.get(NAME).reveal_text() == "s3cret"
        assert manager.stats().loads == 1

    def test_one_around_a_manager_that_was_closed_is_closed(self, manager: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await aio.get(NAME)
                await aio.get(NAME)
                manager.close()
                for call in (aio.get(NAME), aio.get_many([NAME]), aio.set(NAME, "x")):
                    with pytest.raises(ClosedError):
                        await call

        asyncio.run(main())


async def open_it(gate: Any, sink: MemorySink) -> AsyncSecretManager:
    def slowly() -> float:
        gate.hold()
        return 0.0

    # The clock is first asked while it opens.
    return await strongroom.open_async(PLAIN, sinks=(sink,), wall_clock=lambda: int(slowly()))


class TestClosing:
    """The end, while something is under way."""

    def test_it_waits_for_loads_and_refuses_what_comes_later(self, manager: Any, hooked: Any, gate: Any) -> None:
        async def main() -> list[Any]:
            hooked.on_read = lambda _: gate.hold()
            aio = AsyncSecretManager(manager)
            tasks = [asyncio.create_task(aio.get(NAME)) for _ in range(5)]
            await asyncio.to_thread(gate.wait_for_arrival)
            for _ in range(20):
                await asyncio.sleep(0.001)
            closing = asyncio.create_task(aio.aclose())
            await asyncio.sleep(0)
            for call in (aio.get(NAME), aio.get_many([NAME]), aio.list(), aio.set(NAME, "x"), aio.stats()):
                with pytest.raises(ClosedError):
                    await call
            with pytest.raises(ClosedError):
                aio.on_update(NAME, print)
            assert not closing.done()
            gate.open()
            await closing
            return await asyncio.gather(*tasks)

        assert [secret.reveal_text() for secret in asyncio.run(main())] == ["s3cret"] * 5

    def test_a_hanging_load_does_not_hold_it_up_for_ever(
        self, manager: Any, hooked: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("strongroom.aio.manager.CLOSE_SECONDS", 0.05)

        async def main() -> None:
            hooked.on_read = lambda _: gate.hold()
            aio = AsyncSecretManager(manager)
            task = asyncio.create_task(aio.get(NAME))
            await asyncio.to_thread(gate.wait_for_arrival)
            await asyncio.wait_for(aio.aclose(), 10)
            assert not task.done()
            gate.open()
            assert (await task).reveal_text() == "s3cret"

        asyncio.run(main())

    def test_an_end_that_cannot_be_recorded_may_be_tried_again(self) -> None:
        async def main() -> None:
            sink = MemorySink()
            manager = await strongroom.open_async(PLAIN, sinks=(sink,))
            await manager.set(NAME, "v")
            sink.failing = True
            with pytest.raises(AuditError):
                await manager.aclose()
            sink.failing = False
            await manager.aclose()
            assert sink.events[-1].event == "closed"

        asyncio.run(main())

    def test_closing_a_view_closes_nothing(self, manager: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                async with aio.as_principal("api") as view:
                    await view.get(NAME)
                await view.get(NAME)
                await aio.get(NAME)

        asyncio.run(main())

    def test_forgetting_it_loses_no_record(self, run_program: Any) -> None:
        done = run_program("""
            import asyncio, strongroom
            from strongroom.testing import MemorySink

            class Printing(MemorySink):
                def write(self, request):
                    for event in request.events:
                        print(event.event, event.source, flush=True)

            async def main():
                global manager
                manager = await strongroom.open_async(
                    {"backend": "m", "audit": "none", "backends": {"m": {"type": "memory"}}}, sinks=(Printing(),))
                await manager.set("a", "v")
                for _ in range(3):
                    await manager.get("a")

            asyncio.run(main())
        """)
        assert (done.returncode, done.stderr) == (0, "")
        kinds = [line.split()[0] for line in done.stdout.splitlines()]
        assert kinds == ["opened", "set", "set", "get", "get", "get", "closed"]


class TestPrincipals:
    """Who acts."""

    def test_a_view_has_its_own_rights(self, open_manager: Any, hooked: Any, rule: Any, sink: Any) -> None:
        rules = [rule("tester", "read"), rule("api", "read", names="db/user")]

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                view = aio.as_principal("api")
                assert (await view.get("db/user")).reveal_text() == "app"
                with pytest.raises(AccessDeniedError):
                    await view.get(NAME)
                with pytest.raises(ConfigurationError):
                    aio.as_principal("")

        asyncio.run(main(open_manager(backends={"memory": hooked}, policies=rules)))
        assert [(event.principal, event.on_behalf_of, event.result) for event in sink.named("get")] == [
            ("api", "tester", "ok"),
            ("api", "tester", "denied"),
        ]

    def test_each_task_acts_as_its_own_principal(self, open_manager: Any, hooked: Any, rule: Any, sink: Any) -> None:
        rules = [rule("tester", "read", "create", "update", "list"), rule("reader-*", "read"), rule("writer", "write")]
        rules = [*rules, *(rule(f"reader-{number}", "read") for number in range(10))]

        async def read(aio: AsyncSecretManager, number: int) -> str:
            with acting_as(f"reader-{number}"):
                await aio.get(NAME)
                await asyncio.sleep(0)
                return (await aio.get(NAME)).reveal_text()

        async def main(manager: SecretManager) -> None:
            async with AsyncSecretManager(manager) as aio:
                found = await asyncio.gather(*(read(aio, number) for number in range(10)))
                assert set(found) == {"s3cret"}
                with acting_as("writer"):
                    await aio.set("db/new", "v")
                with acting_as("nobody"), pytest.raises(AccessDeniedError):
                    await aio.get(NAME)
                await aio.flush()

        asyncio.run(main(open_manager(backends={"memory": hooked}, policies=rules)))
        read_by = [event.principal for event in sink.named("get") if event.result == "ok"]
        assert sorted(set(read_by)) == [f"reader-{number}" for number in range(10)]
        assert len(read_by) == 20
        assert {event.principal for event in sink.named("set")} == {"writer"}

    def test_context_variables_reach_the_backend(self, manager: Any, hooked: Any) -> None:
        request: ContextVar[str] = ContextVar("request", default="none")
        seen: list[str] = []
        hooked.on_read = lambda _: seen.append(request.get())

        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                request.set("request-7")
                await aio.get(NAME)
                await aio.refresh(NAME)

        asyncio.run(main())
        assert seen == ["request-7"] * 2


class TestUpdates:
    """Callbacks, on the loop that subscribed."""

    def test_functions_and_coroutine_functions_are_called_on_the_loop(self, manager: Any) -> None:
        told: list[tuple[str, int]] = []

        def plain(event: Any) -> None:
            told.append((f"plain {event.change}", threading.get_ident()))

        async def waiting(event: Any) -> None:
            await asyncio.sleep(0)
            told.append((f"coroutine {event.change}", threading.get_ident()))

        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                end = aio.on_update("db/**", plain)
                aio.on_update(NAME, waiting)
                assert (await aio.set(NAME, "next")).subscribers_failed == ()
                assert sorted(what for what, _ in told) == ["coroutine set", "plain set"]
                end()
                end()
                await aio.delete(NAME)

        asyncio.run(main())
        assert [what for what, _ in told][2:] == ["coroutine delete"]
        assert {thread for _, thread in told} == {threading.get_ident()}

    def test_changes_made_in_threads_are_told_on_the_loop(self, manager: Any) -> None:
        async def main() -> str:
            async with AsyncSecretManager(manager) as aio:
                changed = asyncio.Event()
                aio.on_update(NAME, lambda _: changed.set())
                await asyncio.to_thread(manager.set, NAME, "next")
                await asyncio.wait_for(changed.wait(), 10)
                return (await aio.get(NAME)).reveal_text()

        assert asyncio.run(main()) == "next"

    def test_one_that_raises_is_reported_by_name(self, manager: Any) -> None:
        async def broken(_: Any) -> None:
            raise ValueError("s3cret")

        async def main() -> tuple[str, ...]:
            async with AsyncSecretManager(manager) as aio:
                aio.on_update(NAME, broken)
                return (await aio.set(NAME, "next")).subscribers_failed

        (problem,) = asyncio.run(main())
        assert problem.endswith("broken raised ValueError")

    def test_many_changes_at_once_leave_subscribers_threads_to_read(self, manager: Any) -> None:
        async def main() -> list[tuple[str, ...]]:
            async with AsyncSecretManager(manager, max_threads=2) as aio:
                aio.on_update("n/*", lambda event: aio.refresh(event.name))

                async def reread(event: Any) -> None:
                    await aio.refresh(event.name)

                aio.on_update("n/*", reread)
                written = await asyncio.gather(*(aio.set(f"n/{number}", "v") for number in range(20)))
                return [one.subscribers_failed for one in written]

        assert asyncio.run(main()) == [()] * 20

    def test_with_the_end_of_the_loop_the_subscription_ends(self, manager: Any) -> None:
        async def main() -> None:
            AsyncSecretManager(manager).on_update(NAME, lambda _: None)

        asyncio.run(main())
        assert manager.set(NAME, "next").subscribers_failed == ()
        assert not manager._parts.subscriptions._entries

    def test_alerts_are_told_on_the_loop(self, open_manager: Any, hooked: Any, watched: Any) -> None:
        async def main(manager: SecretManager) -> tuple[str, int]:
            told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

            async def note(alert: Any) -> None:
                await told.put((alert.reason, threading.get_ident()))

            async with AsyncSecretManager(manager) as aio:
                end = aio.on_alert(note)
                watched.verdict = Verdict(decision=Decision.ALERT, reason="odd")
                await aio.get(NAME)
                found = await asyncio.wait_for(told.get(), 10)
                end()
                end()
                return found

        manager = open_manager(backends={"memory": hooked}, anomaly=[{"type": "watch", "action": "alert"}])
        assert asyncio.run(main(manager)) == ("odd", threading.get_ident())

    def test_changes_of_a_backend_s_state_are_told_on_the_loop(self, open_manager: Any, backend: Any) -> None:
        async def main(manager: Any) -> Any:
            told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

            async def note(change: Any) -> None:
                await told.put((change.state.value, threading.get_ident()))

            async with AsyncSecretManager(manager) as aio:
                end = aio.on_condition(note)
                backend.error = BackendUnavailableError("no answer")
                for _ in range(3):
                    with pytest.raises(BackendUnavailableError):
                        await aio.get(NAME)
                found = await asyncio.wait_for(told.get(), 10)
                end()
                end()
                return found

        manager = open_manager(backends={"memory": backend})
        assert asyncio.run(main(manager)) == ("degraded", threading.get_ident())

    def test_a_malformed_pattern_is_refused_and_recorded(self, manager: Any, sink: Any) -> None:
        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                with pytest.raises(InvalidNameError):
                    aio.on_update("a//b", print)

        asyncio.run(main())
        assert [event.result for event in sink.named("get")] == ["invalid_name"]


class TestProcesses:
    """Forks."""

    def test_a_forked_child_reads_with_threads_of_its_own(self, run_program: Any) -> None:
        done = run_program("""
            import asyncio, os, threading, strongroom

            manager = strongroom.open({"backend": "m", "audit": "none", "backends": {"m": {"type": "memory"}}})
            manager.set("a", "v")
            aio = strongroom.AsyncSecretManager(manager, max_threads=2)

            async def read():
                await aio.invalidate()
                secrets = await asyncio.gather(*(aio.get("a") for _ in range(20)))
                return {secret.reveal_text() for secret in secrets}

            assert asyncio.run(read()) == {"v"}
            child = os.fork()
            if child == 0:
                before = [thread.name for thread in threading.enumerate()]
                found = asyncio.run(asyncio.wait_for(read(), 10))
                os._exit(0 if found == {"v"} and len(before) == 1 else 1)
            _, status = os.waitpid(child, 0)
            assert asyncio.run(read()) == {"v"}
            print("child", os.waitstatus_to_exitcode(status))
        """)
        assert (done.returncode, done.stdout) == (0, "child 0\n"), done.stderr

    def test_importing_strongroom_imports_no_asyncio(self, run_program: Any) -> None:
        done = run_program("""
            import sys, strongroom
            with strongroom.open({"backend": "m", "audit": "none", "backends": {"m": {"type": "memory"}}}) as manager:
                manager.set("a", "v")
                manager.get("a")
            print("asyncio" in sys.modules, "concurrent.futures" in sys.modules)
        """)
        assert done.stdout == "False False\n", done.stderr


NAMES = st.sampled_from(["a", "db/x", "db/y", "hidden/z", "bad//name"])
VALUES = st.sampled_from(["", "one", "two", b"\x00\xff"])
VERSIONS = st.sampled_from([None, "1", "2", "9"])
STEPS = st.one_of(
    st.tuples(st.just("get"), NAMES),
    st.tuples(st.just("get"), NAMES),
    st.tuples(st.just("get_version"), NAMES, st.sampled_from(["1", "2", "9"])),
    st.tuples(st.just("get_many"), st.lists(NAMES, max_size=4)),
    st.tuples(st.just("set"), NAMES, VALUES, st.one_of(VERSIONS, st.just(ABSENT))),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("rotate"), NAMES),
    st.tuples(st.just("list"), st.sampled_from(["", "db/", "db", "no//thing"])),
    st.tuples(st.just("versions"), NAMES),
    st.tuples(st.just("invalidate"), st.one_of(st.none(), NAMES)),
    st.tuples(st.just("refresh"), NAMES),
    st.tuples(st.just("refresh_all")),
    st.tuples(st.just("prefetch"), st.sampled_from(["db/*", "a", "x//y"])),
    st.tuples(st.just("as_api"), NAMES),
    st.tuples(st.just("advance"), st.sampled_from([1.0, 6.0, 200.0])),
)
CALLS: dict[str, Callable[..., Any]] = {
    "get_version": lambda manager, name, version: manager.get(name, version=version),
    "set": lambda manager, name, value, expected: manager.set(name, value, expect_version=expected),
    "as_api": lambda manager, name: manager.as_principal("api").get(name),
}


def opened_for_comparison(clock: FakeClock, sink: MemorySink) -> SecretManager:
    config = PLAIN | {
        "principal": "tester",
        "cache": {"policy": "ttl", "ttl": "100s", "jitter": 0, "negative_ttl": "5s"},
        "policies": [
            {
                "principal": "tester",
                "effect": "allow",
                "actions": ["read", "write", "list", "delete", "rotate"],
                "names": ["a", "db/**"],
            },
            {"principal": "api", "effect": "allow", "actions": ["read"], "names": ["db/**"]},
        ],
    }
    return strongroom.open(config, clock=clock, wall_clock=lambda: int(clock.time() * 1e9), sinks=(sink,))


def shown(outcome: Any) -> Any:
    """Return what two managers must agree on; random values differ."""
    if isinstance(outcome, StrongroomError):
        return type(outcome), outcome.code, outcome.name, str(outcome)
    if isinstance(outcome, Secret):
        return outcome.name, outcome.version, outcome.freshness, len(outcome.reveal())
    if isinstance(outcome, tuple):
        return [(version.version, version.state) for version in outcome]
    if hasattr(outcome, "found"):
        return {k: shown(v) for k, v in outcome.found.items()}, {k: shown(v) for k, v in outcome.errors.items()}
    return outcome


def facts(sink: MemorySink) -> list[tuple[Any, ...]]:
    return [
        (
            event.event,
            event.phase,
            event.key,
            event.principal,
            event.result,
            event.source,
            event.version,
            event.cache_hit,
        )
        for event in sink.events
    ]


async def compare(steps: list[tuple[Any, ...]]) -> None:
    clocks, sinks = (FakeClock(), FakeClock()), (MemorySink(), MemorySink())
    plain, wrapped = (opened_for_comparison(*pair) for pair in zip(clocks, sinks, strict=True))
    async with AsyncSecretManager(wrapped, max_threads=2) as aio:
        for kind, *arguments in steps:
            if kind == "advance":
                plain.flush()
                await aio.flush()
                for clock in clocks:
                    clock.advance(*arguments)
                continue
            call = CALLS.get(kind) or (lambda manager, *given, kind=kind: getattr(manager, kind)(*given))
            try:
                expected = call(plain, *arguments)
            except StrongroomError as error:
                expected = error
            try:
                found = await call(aio, *arguments)
            except StrongroomError as error:
                found = error
            assert shown(found) == shown(expected), (kind, arguments)
    assert wrapped.stats().replace(ages={}, lives={}) == plain.stats().replace(ages={}, lives={})
    plain.close()
    wrapped.close()
    assert facts(sinks[1]) == facts(sinks[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_it_does_what_the_other_one_does(steps: list[tuple[Any, ...]]) -> None:
    """Results, errors, counts and audit events of any sequence of operations are the same."""
    asyncio.run(compare(steps))


def test_what_nobody_holds_any_more_is_collected(manager: Any) -> None:
    """Tasks, groups and threads keep no manager alive."""

    async def main() -> weakref.ref[Any]:
        aio = AsyncSecretManager(manager)
        await asyncio.gather(*(aio.get(NAME) for _ in range(10)))
        return weakref.ref(aio._threads)

    gone = asyncio.run(main())
    deadline = time.monotonic() + 10
    while gone() is not None:
        assert time.monotonic() < deadline, "somebody holds it"
        gc.collect()
        time.sleep(0.01)  # a thread that has just done its work may still be on its way back
