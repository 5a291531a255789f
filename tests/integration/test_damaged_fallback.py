"""A manager whose fallback store holds a row that is not authentic: whatever does not depend on it goes on."""

from __future__ import annotations

import sqlite3

from collections.abc import Iterator
from pathlib import Path

import pytest

import strongroom

from heldkey import HeldKey
from strongroom import SecretManager
from strongroom.model import Freshness
from strongroom.testing import FakeClock
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings
from unreachable import Server

NAMES = ("app/first", "app/second", "app/third")


@pytest.fixture
def settings(tmp_path: Path) -> LocalSettings:
    """Return those of an empty store."""
    folder = tmp_path / "store"
    folder.mkdir(mode=0o700)
    found = LocalSettings(path=str(folder / "secrets.db"), master_key=HeldKey())
    create_store(found)
    return found


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def manager(settings: LocalSettings, server: Server) -> Iterator[SecretManager]:
    """Return a manager of that server and that store; nothing is made by itself."""
    store = LocalBackend.open(settings)
    tables = {"resilience": {"keep_copy": True}, "cache": {"ttl": "0s"}, "audit": "none"}
    manager = strongroom.open(
        {"backend": "main", "fallback": "store"} | tables,
        backends={"main": server, "store": store},
        clock=FakeClock(),
    )
    yield manager
    manager.close()


def spoil(settings: LocalSettings, table: str, which: str = "TRUE") -> None:
    connection = sqlite3.connect(settings.path, isolation_level=None)
    connection.execute(f"UPDATE {table} SET sealed = zeroblob(length(sealed)) WHERE {which}")
    connection.close()


@pytest.fixture
def waiting(manager: SecretManager, server: Server) -> SecretManager:
    """Return the manager; of each name there are a copy and a write that waits, at positions 1 to 3."""
    for name in NAMES:
        manager.set(name, "old")
    server.down = "refused"
    for name in NAMES:
        manager.set(name, "new")
    return manager


def test_a_write_that_is_not_authentic_hides_no_copy_and_no_other_write(
    waiting: SecretManager, settings: LocalSettings
) -> None:
    spoil(settings, "journal", "position = 1")
    found = [waiting.get(name) for name in NAMES]
    assert [one.reveal_text() for one in found] == ["old", "new", "new"]
    assert found[0].freshness is Freshness.FALLBACK
    assert waiting.set("app/other", "new").queued
    assert waiting.set(NAMES[1], "newer").queued
    assert waiting.get(NAMES[1]).reveal_text() == "newer"


def test_what_waits_before_a_write_that_is_not_authentic_is_made_and_noted(
    waiting: SecretManager, settings: LocalSettings, server: Server
) -> None:
    waiting.set(NAMES[0], "newest")
    spoil(settings, "journal", "position = 4")
    server.down = ""
    replayed = waiting.journal.replay()
    assert "not authentic" in replayed.left
    assert replayed.waiting == 1
    assert [server.content(name) for name in NAMES] == ["new"] * 3


def test_copies_that_are_not_authentic_hold_up_no_write(
    waiting: SecretManager, settings: LocalSettings, server: Server
) -> None:
    spoil(settings, "copy")
    assert [waiting.get(name).reveal_text() for name in NAMES] == ["new"] * 3
    server.down = ""
    assert waiting.set(NAMES[0], "newest").queued, "it overtook the one that waits"
    assert waiting.journal.replay().made == 4
    assert [server.content(name) for name in NAMES] == ["newest", "new", "new"]
    server.down = "refused"
    assert [waiting.get(name).freshness for name in NAMES] == [Freshness.FALLBACK] * 3
