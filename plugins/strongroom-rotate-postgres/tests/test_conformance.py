"""The plugin and its rotators keep their contracts, the rotators against a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from openbao import free_port
from pgrotation import RefusingProxy, accepts, login, new_users
from postgres import PASSWORD, Database
from strongroom.contracts import GenerateRequest, GenerateResult, Rotator
from strongroom.model import SecretValue
from strongroom.testing import PluginContract, RotatorContract
from strongroom_rotate_postgres.rotators import AlternatingRotator, PostgresRotator, SingleRotator
from strongroom_rotate_postgres.settings import AlternatingSettings, PostgresSettings

ADMIN = SecretValue(login("postgres", PASSWORD))
MANY = 100


class TestPlugin(PluginContract):
    module = "strongroom_rotate_postgres.plugin"
    heavy = ("psycopg", "strongroom_rotate_postgres.server", "strongroom_rotate_postgres.rotators")


class Contract(RotatorContract):
    """What is the same for both rotators."""

    make: ClassVar[Callable[..., PostgresRotator]]

    @pytest.fixture
    def users(self, server: Database) -> list[str]:
        return new_users(server, 2)

    @pytest.fixture
    def proxy(self, server: Database) -> Iterator[RefusingProxy]:
        with RefusingProxy(server.port, 0) as proxy:
            yield proxy

    @pytest.fixture
    def rotator(self, proxy: RefusingProxy, users: list[str]) -> Rotator:
        return self.opened(proxy.port, users)

    def opened(self, port: int, users: list[str]) -> PostgresRotator:
        return type(self).make(
            users=tuple(users), host="127.0.0.1", port=port, sslmode="disable", admin_secret="ops/postgres"
        )

    @pytest.fixture
    def current(self, users: list[str]) -> SecretValue:
        return SecretValue(login(users[0]))

    @pytest.fixture
    def accepts(self, server: Database) -> Callable[[SecretValue], bool]:
        return lambda value: accepts(server, value.reveal())

    @pytest.fixture
    def read_secret(self) -> Callable[[str], SecretValue]:
        return lambda name: ADMIN

    @pytest.fixture
    def refuse(self, proxy: RefusingProxy) -> Callable[[], object]:
        return lambda: proxy.refuse(MANY)

    @pytest.fixture
    def unreachable(self, rotator: Rotator, users: list[str], monkeypatch: pytest.MonkeyPatch) -> Rotator:
        stopped = self.opened(free_port(), users)

        # It asks the server before it makes a candidate, so that has been done before the server stopped.
        def generate(request: GenerateRequest) -> GenerateResult:
            return rotator.generate(request)

        monkeypatch.setattr(stopped, "generate", generate)
        return stopped


def alternating(**settings: Any) -> PostgresRotator:
    return AlternatingRotator(AlternatingSettings(**settings))


def retiring(**settings: Any) -> PostgresRotator:
    return AlternatingRotator(AlternatingSettings(**settings, retire_former=True))


def single(**settings: Any) -> PostgresRotator:
    return SingleRotator(PostgresSettings(**settings))


class TestAlternating(Contract):
    make = staticmethod(alternating)


class TestRetiring(Contract):
    make = staticmethod(retiring)


class TestSingle(Contract):
    make = staticmethod(single)
    keeps_current = False
