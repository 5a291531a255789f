"""Threads that change the same names while their backend fails at random and its queue is replayed."""

from __future__ import annotations

import random
import threading
import time

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import strongroom

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    Capability,
    DeleteRequest,
    DeleteResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.contracts.journal import EntryState
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, VersionConflictError
from strongroom.model import SecretName
from strongroom.testing import FakeClock, in_threads

NAMES = ("db/one", "db/two")
WRITERS = 6
WRITES = 15


class Unreliable(MemoryBackend):
    """Refuses some calls, and makes some of which the answer is lost; the tokens and values of all that is made stay.

    Args:
        seed: Of what it does.
        conditional: Whether it writes over an expected version.
    """

    def __init__(self, seed: int, *, conditional: bool) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._guard = threading.Lock()
        self.unreliable = True
        self.made: list[tuple[str, str]] = []
        """Name and value of each write, in their order."""
        if not conditional:
            self.capabilities = frozenset(Capability) - {Capability.CHECK_AND_SET}

    def read(self, request: ReadRequest) -> ReadResult:
        return self._maybe(lambda: super(Unreliable, self).read(request))

    def write(self, request: WriteRequest) -> WriteResult:
        def act() -> WriteResult:
            with self._guard:
                result = super(Unreliable, self).write(request)
                self.made.append((request.name, request.value.reveal_text()))
                return result

        return self._maybe(act)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        return self._maybe(lambda: super(Unreliable, self).delete(request))

    def _maybe(self, act: Callable[[], Any]) -> Any:
        chance = self._random.random() if self.unreliable else 1.0
        # So that others come between a look and a write.
        time.sleep(0.0005)
        if chance < 0.2:
            raise BackendUnavailableError("nobody answers", code="connection_refused")
        result = act()
        if chance < 0.4:
            raise BackendUnavailableError("the answer was lost", code="timeout")
        return result


class Told(NamedTuple):
    """What a writer was told."""

    name: str
    value: str
    began: int
    """Number of the moment at which it was begun."""
    ended: int


class Moments:
    """Numbers that grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


def opened(server: Unreliable, store: MemoryBackend) -> SecretManager:
    config = {"audit": "none", "backend": "main", "fallback": "store", "resilience": {"failures": 3}}
    # Its clock stands still: nothing is probed or made by itself, only by the thread that replays below.
    return strongroom.open(config, clock=FakeClock(), backends={"main": server, "store": store})


def replay_until(manager: SecretManager, done: threading.Event) -> None:
    while not done.wait(0.002):
        manager.journal.replay()


@pytest.mark.parametrize("conditional", [True, False], ids=["check-and-set", "without"])
@pytest.mark.parametrize("seed", range(6))
def test_what_was_accepted_is_made_once_and_in_its_order(seed: int, conditional: bool) -> None:
    server, moments, told, lock = Unreliable(seed, conditional=conditional), Moments(), [], threading.Lock()
    done = threading.Event()
    with opened(server, MemoryBackend()) as manager:

        def write(number: int) -> None:
            if number == WRITERS:
                replay_until(manager, done)
                return
            for turn in range(WRITES):
                name, value = NAMES[(number + turn) % 2], f"{number}.{turn}"
                began = moments.next()
                manager.set(name, value)
                one = Told(name, value, began, moments.next())
                with lock:
                    told.append(one)
                    if len(told) == WRITERS * WRITES:
                        done.set()

        in_threads(WRITERS + 1, write)
        server.unreliable = False
        assert manager.journal.replay().left == ""
        # Nobody else writes, so whoever was in the way of another would be one of us.
        assert manager.journal.list() == ()
        made = {value for _, value in server.made}
        for one in told:
            assert one.value in made, f"{one} was accepted, and is lost"
        assert len(server.made) == len(made), "a write was made twice"
        for name in NAMES:
            check_order(name, [one for one in told if one.name == name], server, manager)


def check_order(name: str, told: list[Told], server: Unreliable, manager: SecretManager) -> None:
    """Of two writes, the one that was begun after the other had returned was made after it."""
    made = [value for written, value in server.made if written == name]
    manager.invalidate(name)
    assert manager.get(name).reveal_text() == made[-1]
    for first in told:
        for second in told:
            if second.began > first.ended:
                assert made.index(first.value) < made.index(second.value), f"{second} has overtaken {first}"


@pytest.mark.parametrize("seed", range(4))
def test_increments_over_what_was_read_add_up_or_are_conflicts(seed: int) -> None:
    server = Unreliable(seed, conditional=True)
    done = threading.Event()
    left = [WRITERS]
    with opened(server, MemoryBackend()) as manager:
        server.unreliable = False
        manager.set(NAMES[0], "0")
        server.unreliable = True

        def add(number: int) -> int:
            if number == WRITERS:
                replay_until(manager, done)
                return 0
            added = 0
            for turn in range(WRITES):
                try:
                    secret = manager.get(NAMES[0])
                    count = int(secret.reveal_text().partition(" ")[0]) + 1
                    # Of two that count to the same number, the value is to tell which one was made.
                    manager.set(NAMES[0], f"{count} {number}.{turn}", expect_version=secret.version)
                except (VersionConflictError, BackendUnavailableError):
                    continue
                added += 1
            left[0] -= 1
            if not left[0]:
                done.set()
            return added

        added = sum(in_threads(WRITERS + 1, add))
        server.unreliable = False
        manager.journal.replay()
        manager.invalidate()
        aside = len(manager.journal.list())
        found = int(manager.get(NAMES[0]).reveal_text().partition(" ")[0])
        assert added
        assert added - aside <= found <= added


@pytest.mark.parametrize("seed", range(4))
def test_what_was_deleted_last_is_gone(seed: int) -> None:
    server, done = Unreliable(seed, conditional=True), threading.Event()
    with opened(server, MemoryBackend()) as manager:

        def change(number: int) -> None:
            if number == 1:
                replay_until(manager, done)
                return
            for turn in range(WRITES):
                manager.set(NAMES[0], str(turn))
                manager.delete(NAMES[0])
            done.set()

        in_threads(2, change)
        server.unreliable = False
        manager.journal.replay()
        # Of a new value after a delete nobody can tell, at times, whether it has been made and deleted.
        assert {one.state for one in manager.journal.list()} <= {EntryState.CONFLICT}
        manager.invalidate()
        with pytest.raises(SecretNotFoundError):
            manager.get(NAMES[0])
        with pytest.raises(SecretNotFoundError):
            server.read(ReadRequest(name=SecretName(NAMES[0])))
