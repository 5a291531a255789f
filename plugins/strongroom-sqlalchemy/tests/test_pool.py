"""Pools of psycopg whose connections log in with what a secret says."""

from __future__ import annotations

import asyncio

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import psycopg_pool
import pytest

from faultproxy import FaultProxy
from sqlaccess import NAME, Held, User
from strongroom import AsyncSecretManager, SecretManager
from strongroom.errors import ConfigurationError
from strongroom.testing import FakeClock
from strongroom_sqlalchemy import LoginOptions
from strongroom_sqlalchemy.pool import async_connection_pool, connection_pool

PID = "SELECT pg_backend_pid()"


@pytest.fixture
def conninfo(way: FaultProxy) -> str:
    return f"host=127.0.0.1 port={way.port} dbname=postgres sslmode=disable gssencmode=disable"


@pytest.fixture
def pool_of(
    manager: SecretManager, conninfo: str, clock: FakeClock
) -> Iterator[Callable[..., psycopg_pool.ConnectionPool[Any]]]:
    made: list[psycopg_pool.ConnectionPool[Any]] = []

    def make(**options: Any) -> psycopg_pool.ConnectionPool[Any]:
        options = {"min_size": 1, "open": True, "settings": LoginOptions(clock=clock), "timeout": 10.0} | options
        made.append(connection_pool(manager, NAME, conninfo, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def asked(pool: psycopg_pool.ConnectionPool[Any], text: str = "SELECT session_user") -> Any:
    with pool.connection() as connection:
        return connection.execute(text).fetchone()[0]


def test_the_login_is_what_the_secret_says(
    pool_of: Callable[..., psycopg_pool.ConnectionPool[Any]], user: User
) -> None:
    assert asked(pool_of()) == user.name


def test_a_refused_login_leads_to_one_refresh_and_one_more_login(
    pool_of: Callable[..., psycopg_pool.ConnectionPool[Any]],
    user: User,
    held: Held,
    way: FaultProxy,
    manager: SecretManager,
) -> None:
    manager.get(NAME)
    user.change()
    held.put(NAME, user.login())
    assert asked(pool_of()) == user.name
    assert way.accepted == 2
    assert len(held.reads) == 2


def test_connections_of_another_version_are_replaced(
    pool_of: Callable[..., psycopg_pool.ConnectionPool[Any]], user: User, manager: SecretManager
) -> None:
    pool = pool_of(min_size=4)
    pool.wait()
    before = {asked(pool, PID) for _ in range(8)}
    with pool.connection() as out:
        session = out.execute(PID).fetchone()[0]
        manager.set(NAME, user.login(note="another version"))
        # One that is in use goes on.
        assert out.execute(PID).fetchone()[0] == session
    after = {asked(pool, PID) for _ in range(8)}
    assert before & after == set()
    assert asked(pool) == user.name


def test_a_pool_that_cannot_log_in_does_so_once_the_secret_is_corrected(
    pool_of: Callable[..., psycopg_pool.ConnectionPool[Any]],
    user: User,
    manager: SecretManager,
    way: FaultProxy,
) -> None:
    user.change()
    pool = pool_of(min_size=4)
    with pytest.raises(psycopg_pool.PoolTimeout):
        pool.getconn(timeout=0.5)
    assert way.accepted == 1
    manager.set(NAME, user.login())
    assert asked(pool) == user.name


def test_a_class_of_connections_and_its_arguments_are_kept(
    pool_of: Callable[..., psycopg_pool.ConnectionPool[Any]],
) -> None:
    class Own(psycopg.Connection[Any]):
        pass

    pool = pool_of(connection_class=Own, kwargs={"application_name": "the-shop", "autocommit": True})
    with pool.connection() as connection:
        assert isinstance(connection, Own)
        assert connection.autocommit
        assert connection.execute("SHOW application_name").fetchone() == ("the-shop",)


def test_unusable_settings_are_refused_before_anything_is_opened(
    pool_of: Callable[..., psycopg_pool.ConnectionPool[Any]],
) -> None:
    with pytest.raises(ConfigurationError):
        pool_of(settings=LoginOptions(cool_down=0))


def test_the_same_for_asyncio(
    manager: SecretManager, user: User, held: Held, conninfo: str, clock: FakeClock, way: FaultProxy
) -> None:
    async def asked_of(pool: psycopg_pool.AsyncConnectionPool[Any], text: str = "SELECT session_user") -> Any:
        async with pool.connection() as connection:
            return (await (await connection.execute(text)).fetchone())[0]

    async def body() -> None:
        settings = LoginOptions(clock=clock)
        async with (
            asyncio.timeout(30),
            AsyncSecretManager(manager) as secrets,
            async_connection_pool(secrets, NAME, conninfo, settings=settings, min_size=1) as pool,
        ):
            assert await asked_of(pool) == user.name
            first = await asked_of(pool, PID)
            await secrets.set(NAME, user.login(note="another version"))
            while await asked_of(pool, PID) == first:
                await asyncio.sleep(0.01)
            user.change()
            held.put(NAME, user.login())
            logins = way.accepted
            await pool.drain()
            assert await asked_of(pool) == user.name
            assert way.accepted - logins == 2

    asyncio.run(body())
