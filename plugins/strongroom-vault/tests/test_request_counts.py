"""How many requests an operation takes, counted at the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import strongroom

from engines import delete, opened, read, write
from fakes import Answer, FakeVault, Sent
from logins import granted
from strongroom import SecretManager
from strongroom.contracts import VersionsRequest
from strongroom.errors import SecretNotFoundError, StrongroomError
from strongroom.model import SecretName
from strongroom.testing import in_threads

NAME = SecretName("app/key")
METADATA = {"data": {"current_version": 1, "versions": {"1": {"created_time": "2026-01-02T03:04:05Z"}}}}


class Secrets:
    """A server with any secret, behind a login."""

    def __init__(self, vault: FakeVault) -> None:
        self.vault = vault
        vault.answer("POST", "/v1/auth/approle/login", 200, granted("token-1"))
        vault.answer("POST", "/v1/auth/token/revoke-self", 204)
        vault.answer("POST", "/v1/secret/data/", 200, {"data": {"version": 2, "created_time": "2026-01-02T03:04:05Z"}})
        vault.answer("GET", "/v1/secret/metadata/", 200, METADATA)
        vault.answer("DELETE", "/v1/secret/data/", 204)
        vault.handle("GET", "/v1/secret/data/", self.read)

    def read(self, sent: Sent) -> Answer:
        name = sent.path.rpartition("/")[2]
        return Answer(200, {"data": {"data": {"value": name}, "metadata": {"version": 1}}, "request_id": f"of-{name}"})

    @property
    def told(self) -> list[str]:
        return [f"{sent.method} {sent.path.removeprefix('/v1/')}" for sent in self.vault.requests]


@pytest.fixture
def secrets(vault: FakeVault) -> Secrets:
    return Secrets(vault)


@pytest.fixture
def manager(secrets: Secrets) -> Iterator[SecretManager]:
    login = {"method": "approle", "role_id": "some-role", "secret_id": "some-secret"}
    backend = {"type": "vault", "address": secrets.vault.address, "auth": login, "proxy": ""}
    with strongroom.open({"backend": "vault", "audit": "none", "backends": {"vault": backend}}) as manager:
        yield manager


def test_a_cold_read_takes_one_request(secrets: Secrets, manager: SecretManager) -> None:
    manager.get("warm")
    before = len(secrets.told)
    assert manager.get("app/key").reveal_text() == "key"
    assert secrets.told[before:] == ["GET secret/data/app/key"]


def test_a_hundred_cold_reads_take_one_login_and_a_hundred_requests(secrets: Secrets, manager: SecretManager) -> None:
    for number in range(100):
        manager.get(f"app/{number}")
    assert secrets.told == ["POST auth/approle/login", *(f"GET secret/data/app/{number}" for number in range(100))]


def test_twenty_threads_that_start_together_log_in_once(secrets: Secrets, manager: SecretManager) -> None:
    in_threads(20, lambda number: manager.get(f"app/{number}").reveal_text())
    assert sorted(secrets.told) == sorted(
        ["POST auth/approle/login", *(f"GET secret/data/app/{number}" for number in range(20))]
    )


def test_a_second_read_takes_none(secrets: Secrets, manager: SecretManager) -> None:
    manager.get("app/key")
    before = len(secrets.told)
    manager.get("app/key")
    assert len(secrets.told) == before


def test_a_secret_that_is_not_there_takes_one_request(vault: FakeVault) -> None:
    with pytest.raises(SecretNotFoundError):
        read(opened(vault, "secret"), NAME)
    assert len(vault.requests) == 1


def test_what_each_operation_takes(secrets: Secrets) -> None:
    """A look at the metadata comes before what the server alone would do wrong."""
    backend = opened(secrets.vault, "secret")
    look = f"GET secret/metadata/{NAME}"
    for act, sent in (
        (lambda: read(backend, NAME), [f"GET secret/data/{NAME}"]),
        (lambda: read(backend, NAME, "1"), [f"GET secret/data/{NAME}?version=1"]),
        (lambda: write(backend, NAME, "x"), [f"POST secret/data/{NAME}"]),
        (lambda: write(backend, NAME, "x", strongroom.ABSENT), [f"POST secret/data/{NAME}"]),
        (lambda: write(backend, NAME, "x", "1"), [look, f"POST secret/data/{NAME}"]),
        (lambda: delete(backend, NAME), [look, f"DELETE secret/data/{NAME}"]),
        (lambda: backend.versions(VersionsRequest(name=NAME)), [look]),
    ):
        before = len(secrets.told)
        act()
        assert secrets.told[before:] == sent


def test_the_first_change_takes_a_look_at_what_it_would_be_made_to(secrets: Secrets) -> None:
    """Unless the engine has shown its version before: one of version 1 would lose another secret by it."""
    look = f"GET secret/data/{NAME}"
    for act, sent in (
        (lambda backend: write(backend, NAME, "x"), [look, f"POST secret/data/{NAME}"]),
        (lambda backend: write(backend, NAME, "x", strongroom.ABSENT), [look, f"POST secret/data/{NAME}"]),
        (lambda backend: write(backend, NAME, "x", "1"), [f"GET secret/metadata/{NAME}", f"POST secret/data/{NAME}"]),
    ):
        backend = opened(secrets.vault, "secret")
        before = len(secrets.told)
        act(backend)
        assert secrets.told[before:] == sent
        write(backend, NAME, "x")
        assert secrets.told[before:] == [*sent, f"POST secret/data/{NAME}"]


def test_who_may_only_write_does_not_have_to_look_again(secrets: Secrets) -> None:
    secrets.vault.answer("GET", "/", 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
    backend = opened(secrets.vault, "secret")
    for _ in range(3):
        write(backend, NAME, "x")
    assert secrets.told == [f"GET secret/data/{NAME}", *[f"POST secret/data/{NAME}"] * 3]


@pytest.mark.parametrize(("version", "status"), [(1, 400), (1, 404), (2, 400), (2, 403), (2, 404)])
def test_what_the_server_refuses_is_asked_once(vault: FakeVault, version: int, status: int) -> None:
    vault.answer(None, "/", status, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
    with pytest.raises(StrongroomError):
        read(opened(vault, "secret", kv_version=version), NAME)
    assert len(vault.requests) == 1
