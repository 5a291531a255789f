"""Engines of asyncio that log in with what a secret says, at a real server."""

from __future__ import annotations

import asyncio
import contextlib

from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
import sqlalchemy

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from faultproxy import FaultProxy
from sqlaccess import NAME, Held, User
from strongroom import AsyncSecretManager, SecretManager
from strongroom.errors import ConfigurationError
from strongroom.testing import FakeClock
from strongroom_sqlalchemy import LoginOptions, connect_with, create_engine, is_refused

ARGUMENTS: dict[str, dict[str, Any]] = {
    "asyncpg": {"ssl": False},
    "psycopg": {"sslmode": "disable", "gssencmode": "disable"},
}
each_driver = pytest.mark.parametrize("driver", list(ARGUMENTS))


class Set:
    """What makes engines: the manager, the way to the server, the clock."""

    def __init__(self, manager: SecretManager, way: FaultProxy, clock: FakeClock) -> None:
        self._manager = manager
        self._way = way
        self._clock = clock

    @contextlib.asynccontextmanager
    async def engine(self, driver: str = "asyncpg", **options: Any) -> AsyncIterator[AsyncEngine]:
        async with AsyncSecretManager(self._manager) as manager:
            engine = create_engine(
                f"postgresql+{driver}://127.0.0.1:{self._way.port}/postgres",
                manager=manager,
                secret=NAME,
                settings=LoginOptions(clock=self._clock),
                connect_args=ARGUMENTS[driver],
                **options,
            )
            try:
                yield engine
            finally:
                await engine.dispose()


@pytest.fixture
def tools(manager: SecretManager, way: FaultProxy, clock: FakeClock) -> Set:
    return Set(manager, way, clock)


def run(body: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await body

    asyncio.run(limited())


async def asked(engine: AsyncEngine, text: str = "SELECT session_user") -> Any:
    async with engine.connect() as connection:
        return await connection.scalar(sqlalchemy.text(text))


PID = "SELECT pg_backend_pid()"


@each_driver
def test_a_refused_login_leads_to_one_refresh_and_one_more_login(
    tools: Set, driver: str, user: User, held: Held, way: FaultProxy
) -> None:
    async def body() -> None:
        async with tools.engine(driver, poolclass=NullPool) as engine:
            assert await asked(engine) == user.name
            user.change()
            held.put(NAME, user.login())
            reads, logins = len(held.reads), way.accepted
            assert await asked(engine) == user.name
            assert (len(held.reads) - reads, way.accepted - logins) == (1, 2)

    run(body())


@each_driver
def test_many_tasks_with_a_wrong_password_ask_the_server_once(
    tools: Set, driver: str, user: User, way: FaultProxy, held: Held
) -> None:
    async def body() -> None:
        async with tools.engine(driver, poolclass=NullPool) as engine:
            user.change()
            answers = await asyncio.gather(*(asked(engine) for _ in range(20)), return_exceptions=True)
            assert all(isinstance(answer, Exception) and is_refused(answer) for answer in answers)
            assert way.accepted == 1
            assert len(held.reads) == 2

    run(body())


@each_driver
def test_a_pooled_connection_of_another_version_is_replaced(
    tools: Set, driver: str, user: User, manager: SecretManager
) -> None:
    async def body() -> None:
        async with tools.engine(driver) as engine:
            first = await asked(engine, PID)
            assert await asked(engine, PID) == first
            # In a thread, as the subscriber runs on this loop.
            await asyncio.to_thread(manager.set, NAME, user.login(note="another version"))
            assert await asked(engine, PID) != first
            assert await asked(engine) == user.name

    run(body())


def test_a_task_that_is_cancelled_while_it_logs_in_gives_its_place_back(
    tools: Set, user: User, way: FaultProxy
) -> None:
    async def body() -> None:
        async with tools.engine(poolclass=NullPool) as engine:
            way.blackhole = True
            first = asyncio.create_task(asked(engine))
            while not way.accepted:
                await asyncio.sleep(0.01)
            others = [asyncio.create_task(asked(engine)) for _ in range(3)]
            await asyncio.sleep(0.05)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            way.heal()
            way.drop_live()
            answers = await asyncio.gather(*others, return_exceptions=True)
            assert user.name in answers

    run(body())


def test_changes_are_heard_on_each_loop_that_the_engine_is_used_on(
    manager: SecretManager, user: User, way: FaultProxy, clock: FakeClock
) -> None:
    shared = AsyncSecretManager(manager)
    engine = create_engine(
        f"postgresql+asyncpg://127.0.0.1:{way.port}/postgres",
        manager=shared,
        secret=NAME,
        settings=LoginOptions(clock=clock),
        connect_args=ARGUMENTS["asyncpg"],
    )

    async def body(note: str) -> None:
        first = await asked(engine, PID)
        await shared.set(NAME, user.login(note=note))
        assert await asked(engine, PID) != first
        await engine.dispose()

    for note in ("one", "two"):
        run(body(note))
    run(shared.aclose())


def test_an_engine_of_another_kind_than_the_manager_is_refused(manager: SecretManager) -> None:
    with pytest.raises(ConfigurationError, match="do not go together"):
        connect_with(sqlalchemy.create_engine("postgresql+psycopg://"), AsyncSecretManager(manager), NAME)
