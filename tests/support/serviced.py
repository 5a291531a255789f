"""A backend in memory whose service rotates some secrets, on a clock that a test moves on."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    ReadRequest,
    RotationStatusRequest,
    RotationStatusResult,
    Schedule,
    SchedulesRequest,
    SchedulesResult,
    ServiceRotation,
    TriggerRotationRequest,
    TriggerRotationResult,
    WriteRequest,
)
from strongroom.errors import SecretNotFoundError, VersionConflictError
from strongroom.model import SecretName, SecretValue


class ServicedBackend(MemoryBackend, ServiceRotation):
    """Rotates the names below ``managed``.

    Args:
        settings: What is there from the start.
        clock: Monotonic seconds.
        takes: How many seconds a rotation takes.

    Attributes:
        asked: The names of the operations that were called, in order.
        times: When each status was asked for.
        tokens: The tokens of the rotations that were triggered.
        before: Called with the operation's name before each call; it may raise.
        listed: The schedules.
        request_id: What each answer has.
    """

    def __init__(self, settings: MemorySettings, *, clock: Callable[[], float], takes: float = 25.0) -> None:
        super().__init__(settings)
        self.takes = takes
        self.asked: list[str] = []
        self.times: list[float] = []
        self.tokens: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self.listed: list[Schedule] = []
        self.request_id: str | None = "request-9"
        self._clock = clock
        self._ends: dict[SecretName, float] = {}

    def rotates(self, name: SecretName) -> bool:
        self._note("rotates")
        return name.is_below("managed")

    def trigger_rotation(self, request: TriggerRotationRequest) -> TriggerRotationResult:
        self._note("trigger_rotation")
        if request.name in self._ends:
            raise VersionConflictError(f"{request.name} is being rotated", expected="none", found="a rotation")
        current = self._current(request.name)
        if current is None:
            raise SecretNotFoundError(f"there is no secret {request.name}")
        self.tokens.append(request.token)
        self._ends[request.name] = self._clock() + self.takes
        return TriggerRotationResult(version=str(int(current) + 1), request_id=self.request_id)

    def rotation_status(self, request: RotationStatusRequest) -> RotationStatusResult:
        self._note("rotation_status")
        self.times.append(self._clock())
        self.progress(request.name)
        current = self._current(request.name)
        done = current is not None and request.version.isdigit() and int(current) >= int(request.version)
        return RotationStatusResult(done=done, current=current, request_id=self.request_id)

    def schedules(self, request: SchedulesRequest) -> SchedulesResult:
        self._note("schedules")
        found = tuple(one for one in self.listed if one.name.is_below(request.prefix))
        return SchedulesResult(schedules=found, request_id=self.request_id)

    def progress(self, name: SecretName) -> None:
        """Let a rotation end whose time has come."""
        if name in self._ends and self._clock() >= self._ends[name]:
            del self._ends[name]
            self.write(WriteRequest(name=name, value=SecretValue("made by the service")))

    def _current(self, name: SecretName) -> str | None:
        try:
            return super().read(ReadRequest(name=name)).version
        except SecretNotFoundError:
            return None

    def _note(self, operation: str) -> None:
        self.asked.append(operation)
        self.before(operation)
