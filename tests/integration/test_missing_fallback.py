"""A manager whose fallback store cannot be opened: what the backend can answer goes on, and health says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import strongroom

from heldkey import HeldKey
from strongroom import SecretManager
from strongroom.contracts import HealthState
from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom.testing import FakeClock
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings
from unreachable import Server


def opened(clock: FakeClock, server: Server, store: dict[str, object]) -> SecretManager:
    return strongroom.open(
        {
            "backend": "main",
            "fallback": "local",
            "audit": "none",
            "resilience": {"keep_copy": True},
            "cache": {"ttl": "0s"},
            "backends": {"local": {"type": "local"} | store},
        },
        clock=clock,
        backends={"main": server},
    )


@pytest.fixture(params=["no file", "a wrong key"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return the settings of a store that cannot be opened."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    if request.param != "no file":
        create_store(LocalSettings(path=str(folder / "secrets.db"), master_key=HeldKey()))
    monkeypatch.setenv("OTHER_KEY", HeldKey().text)
    return {"path": str(folder / "secrets.db"), "master_key": {"env": "OTHER_KEY"}}


def test_what_the_backend_can_answer_goes_on(store: dict[str, object]) -> None:
    server = Server()
    with opened(FakeClock(), server, store) as manager:
        manager.set("app/key", "1")
        assert manager.get("app/key").reveal() == b"1"
        health = manager.health()
    assert health.state is not HealthState.UP
    assert health.journal is not None
    assert health.journal.problem


def test_what_it_cannot_answer_says_both_reasons(store: dict[str, object]) -> None:
    server = Server()
    with opened(FakeClock(), server, store) as manager:
        server.down = "refused"
        with pytest.raises(BackendUnavailableError, match="could not be queued either"):
            manager.set("app/key", "1")
        with pytest.raises(BackendUnavailableError):
            manager.get("app/key")


def test_a_store_that_comes_back_is_used_a_second_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = HeldKey()
    monkeypatch.setenv("THE_KEY", key.text)
    (tmp_path / "store").mkdir(mode=0o700)
    path = str(tmp_path / "store" / "secrets.db")
    clock, server = FakeClock(), Server()
    with opened(clock, server, {"path": path, "master_key": {"env": "THE_KEY"}}) as manager:
        manager.set("app/key", "1")
        create_store(LocalSettings(path=path, master_key=key))
        clock.advance(1.5)
        server.down = "refused"
        assert manager.set("app/key", "2").queued


def test_a_backend_that_could_never_be_one_is_an_error() -> None:
    tables = {"backend": "main", "fallback": "env", "audit": "none", "backends": {"env": {"type": "env"}}}
    with (
        strongroom.open(tables, backends={"main": Server()}) as manager,
        pytest.raises(ConfigurationError, match="keeps no copies"),
    ):
        manager.get("app/key")
