"""How a manager begins to watch for what others change, and ends it."""

from __future__ import annotations

import asyncio

from typing import Any

import pytest

import strongroom

from strongroom import SecretManager
from strongroom.errors import ClosedError, ConfigurationError, InvalidNameError
from strongroom.testing import FakeClock
from watched import EVERY, Server, look


def test_a_manager_watches_when_it_is_told_to_and_until_it_is_told_not_to(
    server: Server, others: SecretManager, open_manager: Any
) -> None:
    others.set("db/password", "first")
    manager = open_manager(backends={"memory": server})
    manager.get("db/password")
    end = manager.watch(EVERY)
    look(manager)
    assert len(server.looks) == 1
    end()
    end()
    assert manager._parts.subscriptions.watch is None


def test_to_watch_anew_replaces_what_was_before(manager: SecretManager, server: Server) -> None:
    manager.get("db/password")
    before: Any = manager._parts.subscriptions.watch
    manager.watch(EVERY, names=["db/user"])
    assert before.run_due() is None
    look(manager)
    assert server.looks == []


@pytest.mark.parametrize("every", [0, 0.5, -1, True, "30s", float("nan"), None])
def test_an_interval_that_is_none_is_refused(manager: SecretManager, every: Any) -> None:
    with pytest.raises(ConfigurationError):
        manager.watch(every)


def test_a_pattern_that_is_none_is_refused(manager: SecretManager) -> None:
    with pytest.raises(InvalidNameError):
        manager.watch(EVERY, names=["db/x*"])


def test_a_closed_manager_watches_no_more(manager: SecretManager, server: Server, clock: FakeClock) -> None:
    manager.get("db/password")
    watch: Any = manager._parts.subscriptions.watch
    manager.close()
    clock.advance(EVERY)
    assert watch.run_due() is None
    assert server.looks == []
    with pytest.raises(ClosedError):
        manager.watch(EVERY)


def test_an_asyncio_manager_hears_on_its_loop_of_what_others_change(server: Server, others: SecretManager) -> None:
    async def program() -> tuple[str, str | None, str]:
        others.set("db/password", "first")
        config = {"audit": "none", "cache": {"ttl": "1h"}}
        async with strongroom.open_async(config, backends={"memory": server}) as manager:
            end = manager.watch(1.0)
            told = asyncio.get_running_loop().create_future()
            await manager.get("db/password")
            manager.on_update("db/password", told.set_result)
            others.set("db/password", "second")
            event = await asyncio.wait_for(told, 10.0)
            end()
            return event.change, event.version, (await manager.get("db/password")).reveal_text()

    assert asyncio.run(program()) == ("seen", "2", "second")
