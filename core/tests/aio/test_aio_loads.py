"""Loads that tasks share: one call to the backend, an answer and an audit event for each."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

import strongroom

from strongroom import AsyncSecretManager, Secret, SecretManager
from strongroom.errors import AuditError, BackendUnavailableError, ClosedError, SecretNotFoundError, StrongroomError

NAME = "db/password"
TASKS = 1000


@pytest.fixture
def manager(open_manager: Any, hooked: Any) -> SecretManager:
    return open_manager(backends={"memory": hooked})


async def eventually(condition: Callable[[], object]) -> None:
    """Let the loop go on until something is so."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def warm_up(manager: AsyncSecretManager) -> None:
    """Have the backend opened, and whatever else only the first read has to wait for."""
    await manager.get("db/user")


async def opened(manager: AsyncSecretManager) -> None:
    """Have the backend opened and the name admitted, so that no task has to go to a thread before it joins."""
    await manager.versions(NAME)


async def joined(manager: AsyncSecretManager, hooked: Any, gate: Any, count: int) -> list[asyncio.Task[Any]]:
    """Return tasks of which each has joined the load of the name, which is held at the gate; there is one thread."""
    before = type(gate)()
    hooked.on_read = lambda request: (gate if request.name == NAME else before).hold()
    await opened(manager)
    occupied = asyncio.ensure_future(manager.get("db/user"))
    await asyncio.to_thread(before.wait_for_arrival)
    # No thread is free, so the load cannot begin before all of them have joined it.
    waiting = [asyncio.create_task(manager.get(NAME)) for _ in range(count)]
    for _ in range(10):
        await asyncio.sleep(0)
    before.open()
    await occupied
    await asyncio.to_thread(gate.wait_for_arrival)
    return waiting


async def get_all(manager: AsyncSecretManager, name: str, count: int = TASKS) -> list[Any]:
    return await asyncio.gather(*(manager.get(name) for _ in range(count)), return_exceptions=True)


def busy(prefix: str = "strongroom-read") -> int:
    """Return how many threads for reads there are."""
    return sum(thread.name.startswith(prefix) for thread in threading.enumerate())


class TestOneFlight:
    """Many tasks that want one name that is not cached."""

    def test_a_thousand_tasks_cause_one_call_in_one_thread(self, manager: Any, hooked: Any, sink: Any) -> None:
        async def main() -> tuple[list[Any], set[str]]:
            threads: set[str] = set()
            hooked.on_read = lambda _: threads.add(threading.current_thread().name)
            async with AsyncSecretManager(manager) as aio:
                return await get_all(aio, NAME), threads

        before = busy()
        secrets, threads = asyncio.run(main())
        assert {secret.reveal_text() for secret in secrets} == {"s3cret"}
        assert hooked.reads == [NAME]
        assert len(threads) == 1
        # One for the load, and one that may have begun to record the others before that one was free again.
        assert busy() - before <= 2

    def test_while_it_loads_one_thread_is_busy_however_many_tasks_wait(
        self, manager: Any, hooked: Any, gate: Any
    ) -> None:
        async def main() -> tuple[int, Any]:
            hooked.on_read = lambda request: request.name == NAME and gate.hold()
            async with AsyncSecretManager(manager, max_threads=2) as aio:
                await aio.get("db/user")
                waiting = asyncio.ensure_future(get_all(aio, NAME))
                await asyncio.to_thread(gate.wait_for_arrival)
                # With one more thread occupied, this would not come back.
                other = await asyncio.wait_for(aio.refresh("db/user"), 10)
                gate.open()
                return len(await waiting), other

        count, other = asyncio.run(main())
        assert (count, other.reveal_text()) == (TASKS, "app")
        assert hooked.reads.count(NAME) == 1

    def test_each_task_has_an_audit_event_of_its_own(self, manager: Any, hooked: Any, sink: Any, gate: Any) -> None:
        async def main() -> None:
            hooked.on_read = lambda request: request.name == "db/user" and gate.hold()
            async with AsyncSecretManager(manager, max_threads=1) as aio:
                await opened(aio)
                occupied = asyncio.ensure_future(aio.get("db/user"))
                await asyncio.to_thread(gate.wait_for_arrival)
                # No thread is free, so the load cannot begin before all of them have joined it.
                waiting = asyncio.ensure_future(get_all(aio, NAME, 50))
                for _ in range(10):
                    await asyncio.sleep(0)
                gate.open()
                await asyncio.gather(waiting, occupied)

        asyncio.run(main())
        events = [event for event in sink.named("get") if event.key == NAME]
        assert len(events) == 50
        assert len({event.id for event in events}) == 50
        assert Counter((event.result, event.source) for event in events) == {("ok", "backend"): 50}
        assert hooked.reads.count(NAME) == 1
        stats = manager.stats()
        # The read of the other name is one more of each.
        assert (stats.reads, stats.misses, stats.loads) == (50 + 1, 50 + 1, 1 + 1)

    def test_each_task_has_an_error_of_its_own(self, manager: Any, hooked: Any, sink: Any) -> None:
        def fail(_: Any) -> None:
            raise BackendUnavailableError("no answer")

        async def main() -> list[Any]:
            hooked.on_read = fail
            async with AsyncSecretManager(manager) as aio:
                return await get_all(aio, NAME, 20)

        errors = asyncio.run(main())
        assert {type(error) for error in errors} == {BackendUnavailableError}
        assert len({id(error) for error in errors}) == 20
        assert [event.result for event in sink.named("get")] == [errors[0].code] * 20

    def test_a_missing_secret_is_missing_for_each(self, manager: Any, hooked: Any) -> None:
        async def main() -> list[Any]:
            async with AsyncSecretManager(manager) as aio:
                return await get_all(aio, "absent", 20)

        assert {type(error) for error in asyncio.run(main())} == {SecretNotFoundError}
        assert hooked.reads == ["absent"]

    def test_versions_of_a_name_are_loads_of_their_own(self, manager: Any, hooked: Any) -> None:
        async def main() -> list[str]:
            async with AsyncSecretManager(manager) as aio:
                await aio.set(NAME, "next")
                found = await asyncio.gather(aio.get(NAME), aio.get(NAME, version="1"), aio.get(NAME, version="1"))
                return [secret.reveal_text() for secret in found]

        assert asyncio.run(main()) == ["next", "s3cret", "s3cret"]
        assert len(hooked.reads) == 2

    def test_a_backend_that_is_not_open_yet_is_opened_once(self, distributions: Any, hooked: Any, sink: Any) -> None:
        opened, may_open = slow_backend(distributions, hooked)

        async def main(manager: SecretManager) -> list[Any]:
            async with AsyncSecretManager(manager, max_threads=2) as aio:
                return await while_it_opens(get_all(aio, NAME, 100), may_open)

        found = asyncio.run(main(open_slow(sink)))
        assert {secret.reveal_text() for secret in found} == {"s3cret"}
        assert len(opened) == 1

    def test_a_backend_that_cannot_be_opened_refuses_each_task_and_is_tried_once(
        self, distributions: Any, sink: Any
    ) -> None:
        tries, may_open = slow_backend(distributions, None)

        async def main(manager: SecretManager) -> list[Any]:
            async with AsyncSecretManager(manager) as aio:
                return await while_it_opens(get_all(aio, NAME, 30), may_open)

        errors = asyncio.run(main(open_slow(sink)))
        assert {type(error) for error in errors} == {BackendUnavailableError}
        assert len(tries) == 1
        assert [(event.key, event.result) for event in sink.named("get")] == [(NAME, errors[0].code)] * 30


async def while_it_opens(reading: Coroutine[Any, Any, list[Any]], may_open: threading.Event) -> list[Any]:
    """Let tasks run until all of them wait, and only then the opening."""
    waiting = asyncio.ensure_future(reading)
    for _ in range(20):
        await asyncio.sleep(0.005)
    may_open.set()
    return await waiting


def open_slow(sink: Any) -> SecretManager:
    return strongroom.open({"backend": "slow", "audit": "none", "backends": {"slow": {"type": "slow"}}}, sinks=(sink,))


def slow_backend(distributions: Any, backend: Any) -> tuple[list[str], threading.Event]:
    """Install a type of backend, ``slow``; return where each opening is noted, and what lets it go on."""
    distributions.add(
        "slow-plugin",
        {"strongroom.backends": {"slow": "slow_plugin"}},
        """
        import threading

        from strongroom.contracts import BackendSpec, Capability, Record
        from strongroom.errors import BackendUnavailableError
        from strongroom.hookspecs import hookimpl

        ready, opened, may_open = [], [], threading.Event()

        class Settings(Record):
            pass

        def open_backend(settings):
            opened.append(threading.current_thread().name)
            assert may_open.wait(10)
            if ready[0] is None:
                raise BackendUnavailableError("it does not answer")
            return ready[0]

        @hookimpl
        def strongroom_backends():
            yield BackendSpec(name="slow", summary="Opens.", settings=Settings, open=open_backend,
                              capabilities=frozenset(Capability))
        """,
    )
    import slow_plugin

    slow_plugin.ready.append(backend)
    return slow_plugin.opened, slow_plugin.may_open


class TestCancellation:
    """A task that gives up stops waiting, and nothing else."""

    def test_the_load_goes_on_and_fills_the_cache(self, manager: Any, hooked: Any, gate: Any, sink: Any) -> None:
        async def main() -> tuple[Any, Any]:
            hooked.on_read = lambda _: gate.hold()
            async with AsyncSecretManager(manager) as aio:
                first = asyncio.create_task(aio.get(NAME))
                await asyncio.to_thread(gate.wait_for_arrival)
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
                gate.open()
                await eventually(lambda: sink.named("get"))
                return first, await aio.get(NAME)

        first, later = asyncio.run(main())
        assert first.cancelled()
        assert (later.reveal_text(), hooked.reads) == ("s3cret", [NAME])

    def test_others_who_wait_get_their_answer(self, manager: Any, hooked: Any, gate: Any, sink: Any) -> None:
        async def main() -> list[Any]:
            async with AsyncSecretManager(manager) as aio:
                await warm_up(aio)
                hooked.on_read = lambda _: gate.hold()
                tasks = [asyncio.create_task(aio.get(NAME)) for _ in range(6)]
                await asyncio.to_thread(gate.wait_for_arrival)
                for task in tasks[::2]:
                    task.cancel()
                await asyncio.sleep(0)
                gate.open()
                return await asyncio.gather(*tasks, return_exceptions=True)

        results = asyncio.run(main())
        assert [type(result).__name__ for result in results] == ["CancelledError", "Secret"] * 3
        assert hooked.reads.count(NAME) == 1
        # Those who gave up had asked, too.
        assert [event.key for event in sink.named("get")].count(NAME) == 6

    def test_a_time_limit_is_kept_although_the_backend_hangs(self, manager: Any, hooked: Any, gate: Any) -> None:
        async def main() -> str:
            hooked.on_read = lambda _: gate.hold()
            async with AsyncSecretManager(manager) as aio:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await aio.get(NAME)
                gate.open()
                return (await aio.get(NAME)).reveal_text()

        assert asyncio.run(main()) == "s3cret"
        assert hooked.reads == [NAME]

    def test_a_loop_that_ends_meanwhile_costs_no_record(self, manager: Any, hooked: Any, gate: Any, sink: Any) -> None:
        aio = AsyncSecretManager(manager, max_threads=1)

        async def main() -> None:
            waiting = await joined(aio, hooked, gate, 3)
            del waiting

        asyncio.run(main())
        gate.open()
        assert sink.wait_for(lambda events: sum(event.event == "get" and event.key == NAME for event in events) == 3)


class TestFreshness:
    """No task gets an answer that is older than its question."""

    def test_who_asks_after_a_write_does_not_join_a_load_from_before_it(
        self, manager: Any, hooked: Any, gate: Any
    ) -> None:
        held = [True]

        def hold_the_first(_: Any) -> None:
            if held.pop() if held else False:
                gate.hold()

        async def main() -> list[str]:
            hooked.on_read = hold_the_first
            async with AsyncSecretManager(manager) as aio:
                early = [asyncio.create_task(aio.get(NAME)) for _ in range(2)]
                await asyncio.to_thread(gate.wait_for_arrival)
                # The other one may be slower to come to the load.
                await eventually(
                    lambda: [len(getattr(one, "joined", ())) for one in aio._threads.under_way.values()] == [1]
                )
                await aio.set(NAME, "next")
                late = await asyncio.wait_for(aio.get(NAME), 10)
                gate.open()
                before = [(await task).reveal_text() for task in early]
                return [late.reveal_text(), (await aio.get(NAME)).reveal_text(), *before]

        assert asyncio.run(main()) == ["next", "next", "s3cret", "s3cret"]

    def test_whoever_waits_for_a_load_that_was_interrupted_has_it_done_again(
        self, manager: Any, hooked: Any, gate: Any
    ) -> None:
        def interrupted(_: Any) -> None:
            hooked.on_read = None
            gate.hold()
            raise asyncio.CancelledError  # what is no error of anybody's, as an interrupt

        async def main() -> list[Any]:
            async with AsyncSecretManager(manager) as aio:
                await warm_up(aio)
                hooked.on_read = interrupted
                tasks = [asyncio.create_task(aio.get(NAME)) for _ in range(4)]
                await asyncio.to_thread(gate.wait_for_arrival)
                gate.open()
                return await asyncio.gather(*tasks, return_exceptions=True)

        results = sorted(asyncio.run(main()), key=lambda result: isinstance(result, BaseException))
        assert [secret.reveal_text() for secret in results[:3]] == ["s3cret"] * 3
        assert isinstance(results[3], asyncio.CancelledError)
        assert hooked.reads.count(NAME) == 2

    def test_a_load_of_another_thread_is_joined(self, manager: Any, hooked: Any, gate: Any) -> None:
        async def main() -> list[Any]:
            hooked.on_read = lambda _: gate.hold()
            thread = threading.Thread(target=manager.get, args=(NAME,))
            thread.start()
            gate.wait_for_arrival()
            async with AsyncSecretManager(manager) as aio:
                waiting = asyncio.ensure_future(get_all(aio, NAME, 10))
                await asyncio.sleep(0.01)
                gate.open()
                thread.join()
                return await waiting

        assert [secret.reveal_text() for secret in asyncio.run(main())] == ["s3cret"] * 10
        assert hooked.reads == [NAME]


class TestRecords:
    """What cannot be recorded is not returned."""

    def test_without_a_record_no_task_gets_the_value(self, manager: Any, sink: Any) -> None:
        async def main() -> list[Any]:
            sink.failing = True
            async with AsyncSecretManager(manager) as aio:
                return await get_all(aio, NAME, 10)

        results = asyncio.run(main())
        assert {type(result) for result in results} == {AuditError}

    def test_a_follower_whose_record_fails_gets_an_error_and_the_leader_its_value(
        self, manager: Any, hooked: Any, sink: Any, gate: Any
    ) -> None:
        async def main() -> list[Any]:
            async with AsyncSecretManager(manager) as aio:
                await warm_up(aio)
                hooked.on_read = lambda _: gate.hold()
                tasks = [asyncio.create_task(aio.get(NAME)) for _ in range(3)]
                await asyncio.to_thread(gate.wait_for_arrival)
                write = sink.write

                def only_once(request: Any) -> None:
                    write(request)
                    sink.failing = True

                sink.write = only_once
                gate.open()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                sink.write, sink.failing = write, False
                return results

        results = asyncio.run(main())
        assert Counter(type(result) for result in results) == {Secret: 1, AuditError: 2}


class TestContexts:
    """A thread that works for a task sees the task's context variables."""

    def test_each_event_is_recorded_in_its_own_tasks_context(
        self, manager: Any, hooked: Any, sink: Any, gate: Any
    ) -> None:
        request_id: ContextVar[str] = ContextVar("request_id", default="none")
        seen: list[str] = []
        write = sink.write
        sink.write = lambda request: (seen.append(request_id.get()), write(request))

        async def read(aio: AsyncSecretManager, number: int) -> None:
            request_id.set(f"request-{number}")
            await aio.get(NAME)

        async def main() -> None:
            async with AsyncSecretManager(manager) as aio:
                await warm_up(aio)
                hooked.on_read = lambda _: gate.hold()
                reading = asyncio.gather(*(read(aio, number) for number in range(5)))
                await asyncio.to_thread(gate.wait_for_arrival)
                gate.open()
                await reading

        asyncio.run(main())
        assert set(seen) >= {f"request-{number}" for number in range(5)}


class TestSeveralLoops:
    """One manager, used by loops in several threads."""

    @pytest.mark.parametrize("shared", [True, False], ids=["one", "one each"])
    def test_loops_share_loads_and_cache(self, manager: Any, hooked: Any, gate: Any, shared: bool) -> None:
        hooked.on_read = lambda _: gate.hold()
        common = AsyncSecretManager(manager)
        results: list[list[Any]] = []

        async def main() -> None:
            aio = common if shared else AsyncSecretManager(manager)
            results.append(await get_all(aio, NAME, 50))

        threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)]
        for thread in threads:
            thread.start()
        gate.wait_for_arrival()
        gate.open()
        for thread in threads:
            thread.join(10)
        assert [len(found) for found in results] == [50, 50]
        assert not [error for found in results for error in found if isinstance(error, StrongroomError)]
        assert hooked.reads == [NAME]


class TestLoopsThatEnd:
    """What was asked for on a loop that has been closed since."""

    def test_one_that_is_closed_before_it_hears_of_the_answer_costs_no_record(
        self, manager: Any, hooked: Any, gate: Any, sink: Any
    ) -> None:
        aio = AsyncSecretManager(manager, max_threads=1)
        landed = threading.Event()
        loop = asyncio.new_event_loop()

        async def main() -> None:
            waiting = await joined(aio, hooked, gate, 3)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

        loop.run_until_complete(main())
        post = loop.call_soon_threadsafe

        def note(*call: Any) -> Any:
            try:
                return post(*call)
            finally:
                landed.set()

        loop.call_soon_threadsafe = note  # type: ignore[method-assign]
        gate.open()
        assert landed.wait(10)
        loop.close()
        assert sink.wait_for(lambda events: sum(event.event == "get" and event.key == NAME for event in events) == 3)
        asyncio.run(aio.aclose())
        assert not aio._threads._jobs

    def test_one_that_is_closed_meanwhile_is_not_held(self, manager: Any, hooked: Any, gate: Any, sink: Any) -> None:
        hooked.on_read = lambda _: gate.hold()
        aio = AsyncSecretManager(manager)

        async def main() -> weakref.ref[Any]:
            asyncio.create_task(aio.get(NAME))  # noqa: RUF006  # it is given up with the loop
            await asyncio.to_thread(gate.wait_for_arrival)
            return weakref.ref(asyncio.get_running_loop())

        loop = asyncio.run(main())
        gate.open()
        asyncio.run(aio.aclose())
        gc.collect()
        assert loop() is None

    def test_what_only_its_tasks_wanted_once_is_forgotten_with_it(self, manager: Any, gate: Any) -> None:
        aio = AsyncSecretManager(manager)

        async def give_up() -> None:
            asyncio.create_task(aio._threads.once("this", gate.hold))  # noqa: RUF006  # as above
            await asyncio.to_thread(gate.wait_for_arrival)

        asyncio.run(give_up())
        gate.open()
        asyncio.run(aio._threads.once("that", lambda: None))
        assert not aio._threads.under_way


class TestWithoutAThread:
    """Where no thread can be had for a load."""

    def test_the_task_is_told_and_the_loop_has_no_complaint(
        self, manager: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        complaints: list[Any] = []

        def refuse(*_: Any, **__: Any) -> None:
            raise RuntimeError("can't start new thread")

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            aio = AsyncSecretManager(manager)
            await warm_up(aio)
            await aio.get("db/user")  # a hit, so that nothing else needs a thread now
            with monkeypatch.context() as patch:
                patch.setattr(aio._threads, "submit", refuse)
                for _ in range(3):
                    with pytest.raises(RuntimeError, match="new thread"):
                        await aio.get(NAME)
            gc.collect()
            await asyncio.sleep(0)
            assert (await aio.get(NAME)).reveal_text() == "s3cret"
            await aio.aclose()

        asyncio.run(main())
        assert complaints == []

    def test_those_who_wait_are_told_at_the_end_of_the_interpreter(
        self, manager: Any, hooked: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise ClosedError("the interpreter is about to end")

        async def main() -> list[Any]:
            aio = AsyncSecretManager(manager)
            await warm_up(aio)
            hooked.on_read = lambda _: gate.hold()
            waiting = asyncio.ensure_future(get_all(aio, NAME, 3))
            await asyncio.to_thread(gate.wait_for_arrival)
            with monkeypatch.context() as patch:
                patch.setattr(aio._threads, "submit", refuse)
                gate.open()
                return await asyncio.wait_for(waiting, 10)

        answers = asyncio.run(main())
        assert [type(answer) for answer in answers] == [Secret, ClosedError, ClosedError]
        assert answers[1] is not answers[2]
