"""A backend in memory on a clock that a test moves on, and managers that rotate what it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    Backend,
    ListRequest,
    ListResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.contracts.backend import Capability
from strongroom.errors import StrongroomError
from strongroom.events.updates import Announcement
from strongroom.model import SecretName
from strongroom.testing import FakeClock, MemorySink


class DatedBackend(MemoryBackend):
    """Notes what is read, says when versions were made by the test's clock, and outlives managers.

    Args:
        clock: The clock.
        *names: What is there from the start.
        lacks: What it cannot do.

    Attributes:
        reads: The names whose current values were read, one by one or as several.
        asked: The names of all operations, in order.
        failing: Names for which every operation fails, and with what.
    """

    def __init__(self, clock: FakeClock, *names: str, lacks: Iterable[Capability] = ()) -> None:
        super().__init__()
        self.capabilities = frozenset(Capability) - frozenset(lacks)
        self.reads: list[str] = []
        self.asked: list[str] = []
        self.failing: dict[str, StrongroomError] = {}
        self._dates = clock
        self._made: dict[tuple[str, str], Any] = {}
        for name in names:
            self.write(WriteRequest(name=SecretName(name), value=strongroom.SecretValue("old")))
        self.asked.clear()

    def _note(self, operation: str, name: str) -> None:
        self.asked.append(operation)
        if name in self.failing:
            raise self.failing[name]

    def read(self, request: ReadRequest) -> ReadResult:
        self._note("read", request.name)
        self.reads.append(request.name)
        return super().read(request)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        self._note("read_many", "")
        self.reads.extend(request.names)
        return super().read_many(request)

    def write(self, request: WriteRequest) -> WriteResult:
        self._note("write", request.name)
        written = super().write(request)
        self._made[request.name, written.version] = self._dates.now()
        return written

    def versions(self, request: VersionsRequest) -> VersionsResult:
        self._note("versions", request.name)
        found = super().versions(request).versions
        dated = (one.replace(created=self._made[request.name, one.version]) for one in found)
        return VersionsResult(versions=tuple(dated))

    def list(self, request: ListRequest) -> ListResult:
        self._note("list", f"{request.prefix}/")
        return super().list(request)

    def close(self) -> None:
        return

    @property
    def values(self) -> list[str]:
        """The names of the secrets whose values were read, without strongroom's own records."""
        return [name for name in self.reads if not name.startswith(".strongroom/")]


def opened(
    clock: FakeClock,
    backend: Backend,
    rotation: dict[str, Any],
    *,
    sink: MemorySink | None = None,
    backends: dict[str, Backend] | None = None,
    **config: Any,
) -> strongroom.SecretManager:
    """Open a manager on a backend, by a test's clock; close it yourself."""
    return strongroom.open(
        {"audit": "none", "principal": "tester", "backend": "main", "rotation": rotation} | config,
        clock=clock,
        wall_clock=lambda: int(clock.time() * 1e9),
        sleep=clock.sleep,
        backends={"main": backend, **(backends or {})},
        sinks=() if sink is None else (sink,),
    )


def announcements(manager: strongroom.SecretManager, monkeypatch: Any) -> list[Announcement]:
    """Return a list to which each announcement of a manager's is added from now on."""
    heard: list[Announcement] = []
    monkeypatch.setattr(manager._parts, "announce", heard.append)  # whoever hears them is tested elsewhere
    return heard
