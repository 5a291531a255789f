"""The threads of an asyncio manager: how many, for whom, and until when."""

from __future__ import annotations

import asyncio
import threading
import time

from contextvars import ContextVar
from typing import Any

import pytest

from strongroom.aio.threads import CHANGES, Threads
from strongroom.errors import BackendError, ClosedError, ConfigurationError


def started(prefix: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]


class TestStart:
    """Calls that a task waits for."""

    def test_a_call_runs_in_a_named_thread_and_its_result_comes_back(self) -> None:
        async def main() -> str:
            return await Threads().start(lambda: threading.current_thread().name)

        assert asyncio.run(main()).startswith("strongroom-read")

    def test_an_error_comes_back(self) -> None:
        def fail() -> None:
            raise BackendError("broken")

        async def main() -> None:
            with pytest.raises(BackendError, match="broken"):
                await Threads().start(fail)

        asyncio.run(main())

    def test_no_thread_is_started_before_one_is_needed(self) -> None:
        before = len(threading.enumerate())
        Threads()
        assert len(threading.enumerate()) == before

    def test_no_more_threads_than_that_work_at_a_time(self) -> None:
        working, most, lock = [], [], threading.Lock()

        def work() -> None:
            with lock:
                working.append(1)
                most.append(len(working))
            time.sleep(0.002)
            with lock:
                working.pop()

        async def main() -> None:
            threads = Threads(3)
            await asyncio.gather(*(threads.start(work) for _ in range(60)))

        asyncio.run(main())
        assert max(most) == 3

    def test_changes_have_threads_of_their_own(self, gate: Any) -> None:
        async def main() -> str:
            threads = Threads(1)
            held = threads.start(gate.hold)
            name = await threads.start(lambda: threading.current_thread().name, lane=CHANGES)
            gate.open()
            await held
            return name

        assert asyncio.run(main()).startswith("strongroom-change")

    def test_a_call_sees_the_callers_context_variables(self) -> None:
        variable: ContextVar[str] = ContextVar("variable", default="unset")

        async def main() -> str:
            variable.set("ours")
            return await Threads().start(variable.get)

        assert asyncio.run(main()) == "ours"

    def test_who_gives_up_does_not_stop_the_call(self, gate: Any) -> None:
        done = threading.Event()

        async def main() -> None:
            threads = Threads()
            waiting = threads.start(lambda: (gate.hold(), done.set()))
            waiting.cancel()
            gate.open()
            await asyncio.to_thread(done.wait, 10)

        asyncio.run(main())
        assert done.is_set()

    def test_a_loop_that_is_gone_is_no_failure(self, gate: Any) -> None:
        threads, finished = Threads(), threading.Event()

        async def main() -> None:
            threads.start(lambda: (gate.hold(), finished.set()))

        asyncio.run(main())
        gate.open()
        assert finished.wait(10)
        threads.drain(10)

    def test_without_a_thread_the_caller_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        async def main() -> None:
            threads = Threads()
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refuse)
                with pytest.raises(RuntimeError, match="thread"):
                    threads.start(lambda: None)
            # The call that was refused is not made after all.
            assert await threads.start(lambda: "next") == "next"

        asyncio.run(main())

    @pytest.mark.parametrize("most", [0, -1, True, 2.5, "8"])
    def test_the_number_is_a_whole_one_from_one(self, most: Any) -> None:
        with pytest.raises(ConfigurationError, match="max_threads"):
            Threads(most)


class TestOnce:
    """What several tasks want at the same time."""

    def test_it_is_done_once(self) -> None:
        calls: list[int] = []

        async def main() -> None:
            threads = Threads()
            await asyncio.gather(*(threads.once("it", lambda: calls.append(1)) for _ in range(100)))

        asyncio.run(main())
        assert calls == [1]

    def test_later_it_is_done_again(self) -> None:
        calls: list[int] = []

        async def main() -> None:
            threads = Threads()
            for _ in range(3):
                await threads.once("it", lambda: calls.append(1))

        asyncio.run(main())
        assert len(calls) == 3

    def test_each_task_gets_an_error_of_its_own(self) -> None:
        def fail() -> None:
            raise BackendError("broken")

        async def main() -> list[Any]:
            threads = Threads()
            return await asyncio.gather(*(threads.once("it", fail) for _ in range(5)), return_exceptions=True)

        errors = asyncio.run(main())
        assert {type(error) for error in errors} == {BackendError}
        assert len({id(error) for error in errors}) == 5

    def test_who_gives_up_does_not_stop_it_for_the_others(self, gate: Any) -> None:
        async def main() -> None:
            threads = Threads()
            tasks = [asyncio.create_task(threads.once("it", gate.hold)) for _ in range(3)]
            await asyncio.to_thread(gate.wait_for_arrival)
            tasks[0].cancel()
            gate.open()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError, type(None), type(None)]

        asyncio.run(main())

    def test_a_failure_that_nobody_waits_for_is_no_complaint_of_the_loop(self, gate: Any) -> None:
        complaints: list[Any] = []

        def fail() -> None:
            gate.hold()
            raise BackendError("broken")

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            threads = Threads()
            task = asyncio.create_task(threads.once("it", fail))
            await asyncio.to_thread(gate.wait_for_arrival)
            task.cancel()
            gate.open()
            await asyncio.to_thread(threads.drain, 10)
            await asyncio.sleep(0.01)

        asyncio.run(main())
        assert complaints == []


class TestEnd:
    """Draining and closing."""

    def test_draining_waits_for_what_is_under_way(self, gate: Any) -> None:
        async def main() -> tuple[float, float]:
            threads = Threads()
            held = threads.start(gate.hold)
            started_at = time.monotonic()
            await asyncio.to_thread(threads.drain, 0.05)
            limited = time.monotonic() - started_at
            gate.open()
            await asyncio.to_thread(threads.drain, 10)
            await held
            return limited, time.monotonic() - started_at

        limited, whole = asyncio.run(main())
        assert limited >= 0.05
        assert whole < 10

    def test_the_threads_end(self) -> None:
        async def main() -> list[threading.Thread]:
            threads = Threads()
            await threads.start(lambda: None)
            mine = list(threads._pools["read"]._threads)
            threads.close()
            threads.close()
            return mine

        for thread in asyncio.run(main()):
            thread.join(10)
            assert not thread.is_alive()

    def test_nothing_new_begins_afterwards(self) -> None:
        threads = Threads()
        threads.ensure_open()
        threads.close()
        with pytest.raises(ClosedError):
            threads.ensure_open()

    def test_a_forked_child_starts_with_new_threads(self) -> None:
        async def main() -> tuple[set[Any], set[Any]]:
            threads = Threads()
            await threads.start(lambda: None)
            before = set(threads._pools["read"]._threads)
            threads.after_fork_in_child()
            assert threads.under_way == {}
            await threads.start(lambda: None)
            return before, set(threads._pools["read"]._threads)

        before, after = asyncio.run(main())
        assert before.isdisjoint(after)
