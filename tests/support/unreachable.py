"""A server that is out of reach when told to, and a fallback store that counts what it is asked for, in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strongroom import SecretManager, SecretValue
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    DeleteRequest,
    DeleteResult,
    ReadRequest,
    ReadResult,
    RotationStatusRequest,
    RotationStatusResult,
    SchedulesRequest,
    SchedulesResult,
    ServiceRotation,
    TriggerRotationRequest,
    TriggerRotationResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.model import SecretName

NAME = "db/password"


class Server(MemoryBackend):
    """A backend in memory that is out of reach when told to, and keeps the tokens that it was sent.

    Attributes:
        down: What a call meets: ``""``, ``refused``, or ``lost`` for a change that is made although nobody hears of it.
        tokens: Of all writes, in their order.
        before: Called before each change.
        keeps_target: Whether it knows whose secrets they are.
    """

    keeps_target = True

    def __init__(self) -> None:
        super().__init__()
        self.down = ""
        self.tokens: list[str | None] = []
        self.calls: list[str] = []
        self.before: Callable[[], object] = lambda: None

    def target(self) -> str | None:
        return super().target() if self.keeps_target else None

    def read(self, request: ReadRequest) -> ReadResult:
        return self._answer("read", lambda: super(Server, self).read(request))

    def write(self, request: WriteRequest) -> WriteResult:
        self.tokens.append(request.token)
        self.before()
        return self._answer("write", lambda: super(Server, self).write(request))

    def delete(self, request: DeleteRequest) -> DeleteResult:
        self.before()
        return self._answer("delete", lambda: super(Server, self).delete(request))

    def _answer(self, operation: str, act: Callable[[], Any]) -> Any:
        self.calls.append(operation)
        if self.down == "refused":
            raise BackendUnavailableError("nobody answers", code="connection_refused")
        result = act()
        if self.down == "lost":
            raise BackendUnavailableError("the answer was lost", code="timeout")
        return result

    def put(self, content: str, name: str = NAME) -> None:
        """Write as somebody else does."""
        super().write(WriteRequest(name=SecretName(name), value=SecretValue(content)))

    def content(self, name: str = NAME) -> str:
        """Return what is there."""
        return super().read(ReadRequest(name=SecretName(name))).value.reveal_text()


class Store(MemoryBackend):
    """A fallback store that counts what it is asked for, and fails if told to.

    Attributes:
        asked: The methods, in their order.
        failing: The methods that raise, and what.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.failing: dict[str, StrongroomError] = {}

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in {"recall", "append", "keep_copies", "drop_copies", "journal_status", "entries", "settle"}:
            return found
        self.asked.append(name)
        if name in self.failing:
            error = self.failing[name]

            def fail(_: Any) -> Any:
                raise error

            return fail
        return found


class RotatingServer(Server, ServiceRotation):
    """A server that rotates each secret by itself, at once."""

    def rotates(self, name: SecretName) -> bool:
        return True

    def trigger_rotation(self, request: TriggerRotationRequest) -> TriggerRotationResult:
        if self.down:
            raise BackendUnavailableError("nobody answers", code="connection_refused")
        self.put("made by the service", request.name)
        return TriggerRotationResult(version="2")

    def rotation_status(self, request: RotationStatusRequest) -> RotationStatusResult:
        return RotationStatusResult(done=True, current="2")

    def schedules(self, request: SchedulesRequest) -> SchedulesResult:
        return SchedulesResult(schedules=())


def opener(open_manager: Any, server: Server, store: Store) -> Callable[..., SecretManager]:
    """Return a function that opens a manager of a server and a store; it takes the table ``[resilience]``."""

    def opening(resilience: dict[str, Any] | None = None, **config: Any) -> SecretManager:
        backends = config.pop("backends", {"main": server, "store": store})
        tables = {"backend": "main", "fallback": "store", "resilience": resilience or {}} | config
        manager: SecretManager = open_manager(backends=backends, **tables)
        return manager

    return opening


def entry(manager: SecretManager) -> Any:
    """Return the only write that waits or is set aside."""
    (only,) = manager.journal.list()
    return only
