"""Pools of SQLAlchemy and of psycopg at a real PostgreSQL, whose users a real server makes for a few seconds each."""

from __future__ import annotations

import asyncio
import threading
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import strongroom

from openbao import ROOT_TOKEN, Server, development_server
from postgres import Database, database, made_users, offer_credentials
from strongroom_sqlalchemy import create_engine
from strongroom_sqlalchemy.pool import connection_pool

CHANGES = 8
THREADS = 4
TIME_LIMIT = 60.0
WHO = "SELECT current_user"


@pytest.fixture
def postgres() -> Iterator[Database]:
    with database() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with development_server(tmp_path) as started:
        yield started


@pytest.fixture
def config(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("TOKEN_OF_THIS_TEST", ROOT_TOKEN)
    backend = {
        "type": "vault",
        "address": server.address,
        "auth": {"token": {"env": "TOKEN_OF_THIS_TEST"}},
        "proxy": "",
        "dynamic": ["database/creds/*"],
    }
    return {"audit": "none", "backend": "bao", "backends": {"bao": backend}}


def use(ask: Callable[[], str]) -> tuple[set[str], list[str]]:
    """Ask who one is in several threads, until there have been some users; return them, and what has failed."""
    users: set[str] = set()
    failures: list[str] = []
    end = time.monotonic() + TIME_LIMIT

    def work() -> None:
        while len(users) <= CHANGES and time.monotonic() < end:
            try:
                # It fails as soon as there is no such user any more.
                users.add(ask())
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
            time.sleep(0.002)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return users, failures


def test_an_engine_outlives_its_credentials_without_a_failed_query(
    server: Server, postgres: Database, config: dict[str, Any]
) -> None:
    path = offer_credentials(server, postgres, "app", ttl="2s", max_ttl="2s")
    with strongroom.open(config) as manager:
        url = f"postgresql+psycopg://127.0.0.1:{postgres.port}/postgres"
        engine = create_engine(url, manager=manager, secret=path, pool_size=THREADS)

        def ask() -> str:
            with engine.connect() as connection:
                return str(connection.scalar(sqlalchemy.text(WHO)))

        users, failures = use(ask)
        engine.dispose()
    assert failures == []
    assert len(users) > CHANGES


def test_a_pool_of_psycopg_outlives_its_credentials_without_a_failed_query(
    server: Server, postgres: Database, config: dict[str, Any]
) -> None:
    path = offer_credentials(server, postgres, "app", ttl="2s", max_ttl="2s")
    conninfo = f"host=127.0.0.1 port={postgres.port} dbname=postgres"
    with (
        strongroom.open(config) as manager,
        connection_pool(manager, path, conninfo, min_size=2, max_size=THREADS, open=True) as pool,
    ):

        def ask() -> str:
            with pool.connection() as connection:
                return str(connection.execute(WHO).fetchone()[0])

        users, failures = use(ask)
    assert failures == []
    assert len(users) > CHANGES


def test_an_engine_of_asyncio_gets_another_credential_when_its_user_is_gone(
    server: Server, postgres: Database, config: dict[str, Any]
) -> None:
    path = offer_credentials(server, postgres, "app")

    async def body() -> None:
        async with strongroom.open_async(config) as manager:
            url = f"postgresql+asyncpg://127.0.0.1:{postgres.port}/postgres"
            engine = create_engine(url, manager=manager, secret=path, connect_args={"ssl": False})

            async def ask() -> str:
                async with engine.connect() as connection:
                    return str(await connection.scalar(sqlalchemy.text(WHO)))

            first = await ask()
            assert made_users(postgres) == [first]
            await engine.dispose()
            postgres.query(f'DROP ROLE "{first}"')
            second = await ask()
            assert second != first
            assert made_users(postgres) == [second]
            await engine.dispose()

    asyncio.run(body())
