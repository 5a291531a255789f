"""Reads in an outage on an event loop: marked as they are in threads, and without a thread where nothing waits."""

from __future__ import annotations

import asyncio

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import strongroom

from strongroom import AsyncSecretManager, Freshness
from strongroom.aio.threads import Threads
from strongroom.errors import BackendUnavailableError, SecretDeletedError, SecretNotFoundError
from strongroom.testing import FakeClock

NAME = "db/password"
TTL = {"policy": "ttl", "ttl": "100s", "jitter": 0, "negative_ttl": "5s"}
WITH_STALE = TTL | {"max_stale": "1000s"}
OUTAGE = BackendUnavailableError("no answer", code="timeout")

Program = Callable[[AsyncSecretManager], Coroutine[Any, Any, None]]


@pytest.fixture
def on_a_loop(backend: Any, store: Any, clock: FakeClock, sink: Any) -> Callable[..., None]:
    """A function that runs something with a manager that has a fallback store, on a loop of its own."""

    def run(program: Program, cache: dict[str, Any] = TTL) -> None:
        async def main() -> None:
            async with await strongroom.open_async(
                {
                    "backend": "main",
                    "fallback": "store",
                    "audit": "none",
                    "cache": cache,
                    "resilience": {"keep_copy": True},
                },
                clock=clock,
                wall_clock=lambda: int(clock.time() * 1e9),
                backends={"main": backend, "store": store},
                sinks=(sink,),
            ) as manager:
                await program(manager)

        asyncio.run(main())

    return run


async def break_down(manager: AsyncSecretManager, backend: Any) -> None:
    backend.error = OUTAGE
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            await manager.get("no/copy")


@pytest.mark.parametrize(("cache", "freshness"), [(WITH_STALE, Freshness.STALE), (TTL, Freshness.FALLBACK)])
def test_a_known_outage_needs_no_thread(
    cache: dict[str, Any],
    freshness: Freshness,
    on_a_loop: Any,
    backend: Any,
    store: Any,
    clock: FakeClock,
    sink: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed: list[object] = []

    async def program(manager: AsyncSecretManager) -> None:
        await manager.get(NAME)
        await manager.flush()
        await break_down(manager, backend)
        clock.advance(100)
        # The first one looks whether a write waits, and fetches the copy.
        await manager.get(NAME)
        await manager.flush()
        backend.calls.clear()
        store.calls.clear()
        begin = Threads.submit
        monkeypatch.setattr(Threads, "submit", lambda self, task: (handed.append(task), begin(self, task))[1])
        found = [await manager.get(NAME) for _ in range(5)]
        monkeypatch.undo()
        assert {(one.freshness, one.age) for one in found} == {(freshness, 100.0)}
        assert (backend.calls, store.calls, handed) == ([], [], [])

    on_a_loop(program, cache)
    events = [event for event in sink.named("get") if event.key == NAME]
    assert [event.source for event in events] == ["backend"] + [freshness.value] * 6


def test_each_task_that_waits_for_one_load_is_told_that_it_is_a_copy(
    on_a_loop: Any, backend: Any, clock: FakeClock, sink: Any
) -> None:
    async def program(manager: AsyncSecretManager) -> None:
        await manager.get(NAME)
        await manager.flush()
        backend.error = OUTAGE
        clock.advance(150)
        found = await asyncio.gather(*(manager.get(NAME) for _ in range(10)))
        assert {(one.freshness, one.age) for one in found} == {(Freshness.FALLBACK, 150.0)}

    on_a_loop(program)
    events = [event for event in sink.named("get") if event.key == NAME][1:]
    assert {(one.source, one.cache_hit) for one in events} == {("fallback", True)}
    assert len(events) == 10


def test_writes_that_wait_are_read(on_a_loop: Any, backend: Any, clock: FakeClock) -> None:
    async def program(manager: AsyncSecretManager) -> None:
        await manager.get(NAME)
        await break_down(manager, backend)
        queued = await manager.set(NAME, "2")
        found = await manager.get(NAME)
        assert (found.reveal_text(), found.version) == ("2", queued.version)
        batch = await manager.get_many([NAME])
        assert batch.found[NAME].freshness is Freshness.FALLBACK
        await manager.delete(NAME)
        with pytest.raises(SecretDeletedError):
            await manager.get(NAME)

    on_a_loop(program, WITH_STALE)


def test_what_was_seen_gone_is_gone(on_a_loop: Any, backend: Any, store: Any, clock: FakeClock) -> None:
    async def program(manager: AsyncSecretManager) -> None:
        await manager.get(NAME)
        await manager.flush()
        store.broken = {"drop_copies"}
        backend.error = SecretNotFoundError("gone")
        clock.advance(150)
        with pytest.raises(SecretNotFoundError):
            await manager.get(NAME)
        backend.error = OUTAGE
        clock.advance(150)
        with pytest.raises(BackendUnavailableError):
            await manager.get(NAME)

    on_a_loop(program)


def test_refresh_never_returns_a_substitute(on_a_loop: Any, backend: Any, clock: FakeClock) -> None:
    async def program(manager: AsyncSecretManager) -> None:
        await manager.get(NAME)
        await manager.flush()
        backend.error = OUTAGE
        clock.advance(150)
        with pytest.raises(BackendUnavailableError):
            await manager.refresh(NAME)
        assert (await manager.get(NAME)).freshness is Freshness.STALE

    on_a_loop(program, WITH_STALE)
