"""What others change is noticed within one interval, whatever keeps the secrets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import moto_server
import strongroom

from openbao import Server, development_server
from strongroom import SecretManager
from strongroom.errors import SecretNotFoundError
from strongroom.events.updates import SecretUpdated
from tables import aws_table, local_table, vault_table

EVERY: Final = 1.0
BUSY: Final = 10.0
"""Seconds that a busy machine may take beyond the interval."""
CACHE: Final = {"ttl": "1h", "negative_ttl": "1h"}


class Heard:
    """Notes what a subscriber is told, and what he reads then."""

    def __init__(self, manager: SecretManager) -> None:
        self._manager = manager
        self._changed = threading.Condition()
        self.told: list[tuple[str, str | None, str | None]] = []

    def __call__(self, event: SecretUpdated) -> None:
        try:
            read = self._manager.get(event.name).reveal_text()
        except SecretNotFoundError:
            read = None
        with self._changed:
            self.told.append((event.change, event.version, read))
            self._changed.notify_all()

    def wait(self, count: int) -> tuple[str, str | None, str | None]:
        """Return what was told in its turn, or fail if that was not within the interval."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= count, EVERY + BUSY), self.told
            return self.told[count - 1]


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("bao")) as started:
        yield started


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[moto_server.Emulator]:
    with moto_server.emulator(tmp_path_factory.mktemp("moto")) as started:
        yield started


@pytest.fixture(params=["local", "vault, KV version 2", "vault, KV version 1", "aws"])
def table(request: pytest.FixtureRequest, store: Path) -> dict[str, Any]:
    """The table of a backend, with a place of the test's own."""
    if request.param == "local":
        return local_table(store)
    if request.param == "aws":
        return aws_table(request.getfixturevalue("aws"))
    return vault_table(request.getfixturevalue("bao"), int(request.param[-1]))


def opened(table: dict[str, Any], **more: Any) -> SecretManager:
    return strongroom.open({"audit": "none", "cache": CACHE, "backends": {"main": table}} | more)


def test_what_another_manager_does_is_noticed_within_one_interval(table: dict[str, Any]) -> None:
    with opened(table) as theirs, opened(table, watch={"every": f"{EVERY}s"}) as ours:
        theirs.set("db/password", "first")
        heard = Heard(ours)
        assert ours.get("db/password").reveal_text() == "first"
        with pytest.raises(SecretNotFoundError):
            ours.get("db/new")
        ours.on_update("db/*", heard)
        theirs.rotate("db/password", encoding="hex")
        change, version, read = heard.wait(1)
        assert (change, read) == ("seen", theirs.refresh("db/password").reveal_text())
        assert version == ours.get("db/password").version
        theirs.set("db/new", "there")
        assert heard.wait(2)[2] == "there"
        theirs.delete("db/password")
        assert heard.wait(3) == ("seen", None, None)
        with pytest.raises(SecretNotFoundError):
            ours.get("db/password")
        time.sleep(2 * EVERY)
        assert len(heard.told) == 3, "a change was told twice"


def test_own_changes_are_not_taken_for_those_of_others(table: dict[str, Any]) -> None:
    with opened(table, watch={"every": f"{EVERY}s"}) as ours:
        ours.set("db/password", "first")
        heard = Heard(ours)
        ours.on_update("db/password", heard)
        ours.get("db/password")
        for number in range(5):
            ours.set("db/password", str(number))
            time.sleep(EVERY / 2)
        time.sleep(2 * EVERY)
        assert [change for change, *_ in heard.told] == ["set"] * 5


WRITER: Final = """
import sys
import strongroom

with strongroom.open(sys.argv[1]) as manager:
    for number in range(int(sys.argv[2])):
        manager.set("count", str(number))
"""


def test_no_value_goes_back_while_another_process_writes(store: Path) -> None:
    """A local store, several readers, and a look as often as may be."""
    configuration = str(store / "strongroom.toml")
    seen: list[list[int]] = [[] for _ in range(3)]
    ending = threading.Event()
    with strongroom.open(configuration) as manager:
        manager.set("count", "-1")
        manager.watch(EVERY)
        watch: Any = manager._parts.subscriptions.watch

        def read(place: int) -> None:
            while not ending.is_set():
                number = int(manager.get("count").reveal_text())
                if not seen[place] or seen[place][-1] != number:
                    seen[place].append(number)

        def look() -> None:
            while not ending.is_set():
                watch._due = 0.0
                watch.run_due()
                time.sleep(0.001)

        crew = [threading.Thread(target=read, args=(place,)) for place in range(3)]
        crew.append(threading.Thread(target=look))
        for thread in crew:
            thread.start()
        subprocess.run([sys.executable, "-c", WRITER, configuration, "60"], check=True, env=os.environ, timeout=60)
        end = time.monotonic() + BUSY
        while time.monotonic() < end and not all(numbers[-1] == 59 for numbers in seen):
            time.sleep(0.01)
        ending.set()
        for thread in crew:
            thread.join()
    assert all(numbers == sorted(set(numbers)) for numbers in seen)
    assert [numbers[-1] for numbers in seen] == [59] * 3
    assert max(map(len, seen)) > 2, "the changes in between were not noticed"
