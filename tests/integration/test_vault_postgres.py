"""A program with a pool of connections to a real PostgreSQL, whose users a real server makes for a few seconds each."""

from __future__ import annotations

import contextlib
import queue
import threading
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import strongroom

from commandline import Cli
from openbao import ROOT_TOKEN, Server, development_server
from postgres import Database, database, made_users, offer_credentials

CHANGES = 20
THREADS = 3
TIME_LIMIT = 110.0
SOON = 10.0


@pytest.fixture
def postgres() -> Iterator[Database]:
    with database() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with development_server(tmp_path) as started:
        yield started


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


class Pool:
    """Connections that are opened with whatever credential there is now, and closed once that is another one."""

    def __init__(self, manager: Any, path: str, postgres: Database) -> None:
        self._manager = manager
        self._path = path
        self._postgres = postgres
        self._idle: queue.SimpleQueue[tuple[int, psycopg.Connection[Any]]] = queue.SimpleQueue()
        self._generation = 0
        self.users: set[str] = set()
        self.versions: list[str | None] = []
        self.changed = threading.Condition()

    def reconnect(self, event: Any) -> None:
        """Use no connection any more that was opened before now."""
        with self.changed:
            self._generation += 1
            self.versions.append(event.version)
            self.changed.notify_all()
        # Those that lie idle would otherwise outlive their user.
        for _ in range(self._idle.qsize()):
            self._give_back(*self._idle.get())

    @contextlib.contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        generation, connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(generation, connection)

    def _take(self) -> tuple[int, psycopg.Connection[Any]]:
        with contextlib.suppress(queue.Empty):
            while True:
                generation, connection = self._idle.get_nowait()
                if generation == self._generation:
                    return generation, connection
                connection.close()
        generation = self._generation
        credential = self._manager.get(self._path)
        user, password = (credential.field(part).reveal_text() for part in ("username", "password"))
        self.users.add(user)
        return generation, psycopg.connect(self._postgres.url(user, password), autocommit=True)

    def _give_back(self, generation: int, connection: psycopg.Connection[Any]) -> None:
        if generation == self._generation:
            self._idle.put((generation, connection))
        else:
            connection.close()

    def close(self) -> None:
        self._generation += 1
        while not self._idle.empty():
            self._idle.get()[1].close()


class Worker(threading.Thread):
    """Asks the database who it is, all the time."""

    def __init__(self, pool: Pool, end: threading.Event) -> None:
        super().__init__(daemon=True)
        self._pool = pool
        self._end = end
        self.queries = 0
        self.failures: list[str] = []

    def run(self) -> None:
        while not self._end.is_set():
            try:
                with self._pool.connection() as connection:
                    # It fails as soon as there is no such user any more.
                    connection.execute("SELECT current_user").fetchone()
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self.queries += 1
            time.sleep(0.002)


def test_a_pool_outlives_twenty_credentials_without_a_failed_query(
    server: Server, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_THIS_TEST", ROOT_TOKEN)
    path = offer_credentials(server, postgres, "app", ttl="2s", max_ttl="2s")
    config = {
        "audit": "none",
        "backend": "bao",
        "backends": {
            "bao": {
                "type": "vault",
                "address": server.address,
                "auth": {"token": {"env": "TOKEN_OF_THIS_TEST"}},
                "proxy": "",
                "dynamic": ["database/creds/*"],
            }
        },
    }
    end = threading.Event()
    with strongroom.open(config) as manager:
        pool = Pool(manager, path, postgres)
        manager.on_update(path, pool.reconnect)
        workers = [Worker(pool, end) for _ in range(THREADS)]
        for worker in workers:
            worker.start()
        with pool.changed:
            done = pool.changed.wait_for(lambda: len(pool.versions) > CHANGES, TIME_LIMIT)
        end.set()
        for worker in workers:
            worker.join()
        held = manager.leases()
        pool.close()
    assert done, f"there were only {len(pool.versions)} changes"
    assert [failure for worker in workers for failure in worker.failures] == []
    assert len(set(pool.versions)) == len(pool.versions)
    assert len(pool.users) > CHANGES
    assert min(worker.queries for worker in workers) > CHANGES
    assert [one.state for one in held].count("live") == 1
    # The manager took them back, or left those to the server that were about to end.
    eventually(lambda: made_users(postgres) == [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "database/creds/app", "--field", "username"),
        ("export", "database/creds/app#username", "--format", "shell"),
        ("run", "--secret", "WHO=database/creds/app#username", "--", "sh", "-c", 'echo "$WHO"'),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_leaves_its_credential_to_whoever_called_it(
    server: Server, postgres: Database, cli_in: Callable[[Path], Cli], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """Neither the lease is revoked at its end nor the login's token, with which the lease would end, too."""
    offer_credentials(server, postgres, "app")
    server.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    server.policy("reads-creds", 'path "database/creds/*" { capabilities = ["read"] }')
    server.ok("POST", "auth/userpass/users/me", {"password": "my-own", "token_policies": ["reads-creds"]})
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "strongroom.toml").write_text(
        f"""
        audit = "none"
        backend = "bao"
        [backends.bao]
        type = "vault"
        address = "{server.address}"
        proxy = ""
        dynamic = ["database/creds/*"]
        auth = {{ method = "userpass", username = "me", password = {{ env = "MY_PASSWORD" }} }}
        """
    )
    done = cli_in(folder)(*arguments, env={"MY_PASSWORD": "my-own"})
    assert done.status == 0, done.stderr
    (user,) = made_users(postgres)
    assert user in done.stdout
