"""A backend that is looked at by those who watch for what others change, and who hears of it."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable
from typing import Any

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    Backend,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.events.updates import SecretUpdated
from strongroom.model import SecretName

EVERY = 30.0
"""Seconds between two looks, at most."""


class Server(MemoryBackend):
    """A backend that notes which names it is asked for the versions of, and can answer something else.

    Attributes:
        looks: The names of each look.
        lagging: Versions that are said to be current.
        refusing: What is raised instead of an answer; by name what is said of it.
        on_look: Called with each look, after the answer has been made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[tuple[SecretName, ...]] = []
        self.reads = 0
        self.unwritable = False
        self.lagging: dict[str, str | None] = {}
        self.refusing: StrongroomError | None = None
        self.refused: dict[str, StrongroomError] = {}
        self.on_look: Callable[[], object] = lambda: None
        self.on_write: Callable[[], object] = lambda: None

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        self.looks.append(request.names)
        if self.refusing is not None:
            raise self.refusing
        found = super().current_versions(request)
        self.on_look()
        versions = {name: self.lagging.get(name, version) for name, version in found.versions.items()}
        errors = {name: self.refused[name] for name in request.names if name in self.refused}
        return CurrentVersionsResult(
            versions={name: version for name, version in versions.items() if name not in errors}, errors=errors
        )

    def read(self, request: ReadRequest) -> ReadResult:
        self.reads += 1
        if isinstance(self.refusing, BackendUnavailableError):
            raise self.refusing
        return super().read(request)

    def write(self, request: WriteRequest) -> WriteResult:
        if self.unwritable:
            raise BackendUnavailableError("it refuses", code="connection_refused")
        result = super().write(request)
        self.on_write()
        return result


class Plain(Backend):
    """A backend that can only be read."""

    address = "plain:"

    def __init__(self, wrapped: MemoryBackend) -> None:
        self.wrapped = wrapped
        self.read_manys = 0

    def read(self, request: ReadRequest) -> ReadResult:
        return self.wrapped.read(request)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        self.read_manys += 1
        return self.wrapped.read_many(request)


class Heard:
    """A subscriber; a test can wait for what it hears."""

    def __init__(self, manager: SecretManager | None = None) -> None:
        self.manager = manager
        self.events: list[SecretUpdated] = []
        self.read: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, event: SecretUpdated) -> None:
        read = self.manager.get(event.name).reveal_text() if self.manager is not None else None
        with self._changed:
            self.events.append(event)
            if read is not None:
                self.read.append(read)
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[tuple[str, str, str | None]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.events) >= count, 10.0), f"heard only {self.events}"
            return self.told()

    def told(self) -> list[tuple[str, str, str | None]]:
        return [(str(event.name), event.change, event.version) for event in self.events]


def look(manager: SecretManager) -> None:
    """Let an interval go by, and have done what is due then."""
    watch: Any = manager._parts.subscriptions.watch
    clock: Any = manager._parts.clock
    clock.advance(EVERY)
    watch.run_due()


def settle(manager: SecretManager) -> None:
    """Have everybody told who is told in the background, so that nothing more comes."""
    background, until = manager._parts.background, time.monotonic() + 10.0
    # Not by a task of its own: another thread may do that while the last subscriber is still being told.
    while background._keys:
        assert time.monotonic() < until, "somebody is still being told"
        time.sleep(0.005)
