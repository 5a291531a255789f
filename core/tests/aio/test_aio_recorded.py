"""Recorded actions on asyncio: the same events, and an outcome for every attempt, whoever is cancelled."""

from __future__ import annotations

import asyncio
import threading

from typing import Any

import pytest

from strongroom import AsyncRecordedAction, AsyncSecretManager
from strongroom.contracts import AuditWrite
from strongroom.errors import AuditError, ClosedError, ConfigurationError
from strongroom.testing.spans import Spans


def told(sink: Any) -> list[tuple[str, str, str | None]]:
    """Return what the trail says of each action."""
    return [(event.phase, event.result, event.detail) for event in sink.named("action")]


def test_an_action_is_recorded_before_and_after_it(open_manager: Any, sink: Any) -> None:
    async def main() -> None:
        async with AsyncSecretManager(open_manager()) as aio:
            async with aio.as_principal("other").recorded("deploy", detail="one") as action:
                assert told(sink) == [("attempt", "ok", "deploy: one")]
                action.note(result="half", detail="two")
            await aio.record_refused("deploy", "not_approved")

    asyncio.run(main())
    assert told(sink)[1:] == [("outcome", "half", "deploy: two"), ("outcome", "not_approved", "deploy")]
    assert [event.principal for event in sink.named("action")] == ["other", "other", "tester"]


def test_what_cannot_be_recorded_does_not_happen(open_manager: Any, sink: Any) -> None:
    async def main() -> None:
        async with AsyncSecretManager(open_manager()) as aio:
            sink.failing = True
            with pytest.raises(AuditError):
                async with aio.recorded("deploy"):
                    done.append("it")

    done: list[str] = []
    asyncio.run(main())
    assert done == []


def test_what_could_not_be_recorded_may_be_tried_again(open_manager: Any, sink: Any) -> None:
    async def main() -> None:
        async with AsyncSecretManager(open_manager()) as aio:
            action = aio.recorded("deploy")
            sink.failing = True
            with pytest.raises(AuditError):
                await action.__aenter__()
            sink.failing = False
            async with action:
                pass

    asyncio.run(main())
    assert told(sink)[-2:] == [("attempt", "ok", "deploy"), ("outcome", "ok", "deploy")]


def test_a_second_task_that_enters_by_mistake_does_not_end_what_the_first_one_does(
    open_manager: Any, sink: Any
) -> None:
    async def main() -> None:
        async with AsyncSecretManager(open_manager()) as aio, aio.recorded("deploy") as action:
            second = asyncio.create_task(action.__aenter__())
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(ConfigurationError, match="done once"):
                await second

    asyncio.run(main())
    assert told(sink) == [("attempt", "ok", "deploy"), ("outcome", "ok", "deploy")]


def test_a_task_that_is_cancelled_leaves_an_outcome(open_manager: Any, sink: Any) -> None:
    async def act(aio: AsyncSecretManager, begun: asyncio.Event) -> None:
        async with aio.recorded("deploy"):
            begun.set()
            await asyncio.Event().wait()

    async def main() -> None:
        async with AsyncSecretManager(open_manager()) as aio:
            begun = asyncio.Event()
            task = asyncio.create_task(act(aio, begun))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert told(sink) == [("attempt", "ok", "deploy"), ("outcome", "interrupted", "deploy")]


def test_a_task_that_is_cancelled_while_the_attempt_is_written_leaves_an_outcome_too(
    open_manager: Any, sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writing, go_on = sink.write, threading.Event(), threading.Event()

    def hold(request: AuditWrite) -> None:
        writing.set()
        assert go_on.wait(10)
        write(request)

    spans = Spans()

    async def act(action: AsyncRecordedAction) -> None:
        async with action:
            done.append("it")

    async def main() -> None:
        async with AsyncSecretManager(open_manager()) as aio:
            action = aio.recorded("deploy")
            monkeypatch.setattr(sink, "write", hold)
            with spans.provider.get_tracer("test").start_as_current_span("request"):
                task = asyncio.create_task(act(action))
            await asyncio.to_thread(writing.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go_on.set()
            # It would be done without an attempt.
            with pytest.raises(ConfigurationError, match="done once"):
                await act(action)

    done: list[str] = []
    asyncio.run(main())
    assert told(sink) == [("attempt", "ok", "deploy"), ("outcome", "interrupted", "deploy")]
    attempt, outcome = sink.named("action")
    assert attempt.trace_id is not None
    assert outcome.trace_id == attempt.trace_id
    assert done == []


def test_nothing_begins_once_the_manager_is_closed(open_manager: Any) -> None:
    async def main() -> None:
        aio = AsyncSecretManager(open_manager())
        await aio.aclose()
        with pytest.raises(ClosedError):
            async with aio.recorded("deploy"):
                pass
        with pytest.raises(ClosedError):
            await aio.record_refused("deploy", "not_approved")

    asyncio.run(main())
