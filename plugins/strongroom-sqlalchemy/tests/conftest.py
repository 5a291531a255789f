"""What the tests of this distribution share: a server and a way to it that counts, a user, a manager and its store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import strongroom

from faultproxy import FaultProxy
from postgres import Database, database
from sqlaccess import NAME, Held, User
from strongroom.testing import FakeClock


@pytest.fixture(scope="session")
def server() -> Iterator[Database]:
    """A real server for all tests of a process: make users of your own."""
    with database() as started:
        yield started


@pytest.fixture
def way(server: Database) -> Iterator[FaultProxy]:
    """Leads to the server; ``accepted`` counts the connections, so the logins."""
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def user(server: Database) -> User:
    return User(server)


@pytest.fixture
def held(user: User) -> Held:
    """A store in which ``db/app`` is the user's login."""
    backend = Held()
    backend.put(NAME, user.login())
    return backend


@pytest.fixture
def manager(held: Held, clock: FakeClock) -> Iterator[strongroom.SecretManager]:
    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": held}, clock=clock) as opened:
        yield opened
