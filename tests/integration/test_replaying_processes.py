"""Several processes make at the same time what waits in one journal."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import time

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom.contracts import KeySource, VersionsRequest
from strongroom.errors import BackendUnavailableError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import in_forked_child
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings

WRITES = 60


class Key(KeySource):
    """A key that the test holds."""

    def __init__(self) -> None:
        self._text = base64.b64encode(secrets.token_bytes(32)).decode()

    def read(self) -> SecretValue:
        return SecretValue(self._text)

    def describe(self) -> str:
        return "the test's key"


class Stores:
    """A backend and a fallback store, both in files, and managers over them in any process."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o700)
        self._settings = [LocalSettings(path=str(folder / name), master_key=Key()) for name in ("main.db", "store.db")]
        for settings in self._settings:
            create_store(settings)

    def manager(self, *, down: bool = False, wait: float = 0.0) -> Any:
        main, store = map(LocalBackend.open, self._settings)
        write = main.write

        def refuse_or_write(request: Any) -> Any:
            if down:
                error = BackendUnavailableError("refused", code="connection_refused")
                error.unsent = True
                raise error
            result = write(request)
            time.sleep(wait)
            return result

        main.write = refuse_or_write  # type: ignore[method-assign]  # it has no outage of its own
        return strongroom.open(
            {"backend": "main", "fallback": "store", "audit": "none"}, backends={"main": main, "store": store}
        )

    def queue(self) -> None:
        with self.manager(down=True) as manager:
            for number in range(WRITES):
                assert manager.set(f"n{number % 20}", f"value {number}").queued

    def replay(self) -> str:
        """Make what waits, together with others, until nothing does; return how many that were."""
        made, end = 0, time.monotonic() + 40
        with self.manager() as manager:
            while True:
                result = manager.journal.replay()
                made += result.made
                assert result.set_aside == 0
                if not result.waiting:
                    return str(made)
                assert time.monotonic() < end, result.left

    def check(self) -> None:
        with self.manager() as manager:
            assert manager.journal.list() == ()
            for number in range(20):
                assert manager.get(f"n{number}").reveal_text() == f"value {number + 40}"
        main = LocalBackend.open(self._settings[0])
        for number in range(20):
            assert len(main.versions(VersionsRequest(name=SecretName(f"n{number}"))).versions) == 3
        main.close()


def forked(act: Callable[[], object]) -> int:
    """Do something in another process that ends with status 0 if that goes well; return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        act()
        status = 0
    finally:
        os._exit(status)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(tmp_path)


def test_processes_that_replay_at_once_make_each_write_once_and_in_order(stores: Stores) -> None:
    stores.queue()
    others = [forked(stores.replay) for _ in range(2)]
    answer = in_forked_child(stores.replay)
    for other in others:
        assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
    assert answer.isdigit(), answer
    stores.check()


@pytest.mark.parametrize("after", [0.05, 0.3, 0.6])
def test_whoever_is_killed_meanwhile_leaves_the_rest_to_the_others(stores: Stores, after: float) -> None:
    stores.queue()
    victim = forked(lambda: stores.manager(wait=0.02).journal.replay())
    time.sleep(after)
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    answer = in_forked_child(stores.replay)
    assert answer.isdigit(), answer
    stores.check()
