"""A dependent in memory, its rotator, and backends that stop at any call, for tests of rotations."""

from __future__ import annotations

import threading

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from staged import StagedBackend
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    ReadRequest,
    ReadResult,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
    VersionsRequest,
    VersionsResult,
)
from strongroom.errors import BackendUnavailableError, CandidateRefusedError, UndoRefusedError
from strongroom.model import SecretValue


class Killed(BaseException):
    """What stands for the end of a process: nothing handles it."""


class Trap:
    """Counts the points that a run passes, and may stop it at one of them.

    Attributes:
        points: What was passed, in order, such as ``before write`` and ``after apply``.
        at: The number of the point to stop at, from 0; ``None`` for none.
        error: What is raised there.
    """

    def __init__(self) -> None:
        self.points: list[str] = []
        self.at: int | None = None
        self.error: Callable[[], BaseException] = Killed
        self.on: Callable[[str], object] = lambda _: None

    def arm(self, at: int | None, error: Callable[[], BaseException] = Killed) -> None:
        """Begin to count anew, and stop at a point."""
        self.points.clear()
        self.at, self.error = at, error

    def passes(self, point: str) -> None:
        """Pass a point, or stop there."""
        self.points.append(point)
        self.on(point)
        if self.at is not None and len(self.points) - 1 == self.at:
            self.at = None
            raise self.error()

    def around(self, operation: str, act: Callable[[], Any]) -> Any:
        """Pass the points before and after something."""
        self.passes(f"before {operation}")
        result = act()
        self.passes(f"after {operation}")
        return result


def lost_answer() -> BaseException:
    """Return the error of an answer that got lost."""
    return BackendUnavailableError("the answer got lost", code="timeout")


class Dependent:
    """Something that accepts one value, or the last two.

    Args:
        accepted: What it accepts at first.
        keeps: How many values it accepts at the same time.
        renews: Whether it can take a value again that it was told to forget.

    Attributes:
        refusals: How many candidates it refuses from now on.
        changes: How often it was changed.
    """

    def __init__(self, accepted: str, *, keeps: int = 2, renews: bool = True) -> None:
        self.accepted = [accepted]
        self.keeps = keeps
        self.renews = renews
        self.refusals = 0
        self.changes = 0

    def accepts(self, value: str) -> bool:
        """Tell whether it accepts a value just now."""
        return value in self.accepted

    def take(self, value: str) -> None:
        """Accept a value from now on."""
        self.changes += 1
        self.accepted = [*(one for one in self.accepted if one != value), value][-self.keeps :]

    def only(self, value: str) -> None:
        """Accept one value and no other."""
        self.changes += 1
        self.accepted = [value]


class DependentRotator(Rotator):
    """Has a :class:`Dependent` take values.

    Args:
        dependent: The dependent.
        trap: Is passed before and after each step.
    """

    def __init__(self, dependent: Dependent, trap: Trap) -> None:
        self.dependent = dependent
        self.made: list[str] = []
        self._trap = trap

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Make a value that tells its number."""
        return self._trap.around("generate", lambda: GenerateResult(value=self._new()))  # type: ignore[no-any-return]  # of any step

    def _new(self) -> SecretValue:
        self.made.append(f"value {len(self.made) + 1}")
        return SecretValue(self.made[-1])

    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Have the dependent take the candidate, unless it refuses."""
        return self._trap.around("apply", lambda: self._apply(request))  # type: ignore[no-any-return]  # as above

    def _apply(self, request: ApplyRequest) -> ApplyResult:
        if self.dependent.refusals:
            self.dependent.refusals -= 1
            raise CandidateRefusedError("it is too plain")
        request.confirm()
        self.dependent.take(request.candidate.reveal_text())
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """See whether the dependent accepts the candidate."""
        return self._trap.around("verify", lambda: self._verify(request))  # type: ignore[no-any-return]  # as above

    def _verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        if not self.dependent.accepts(request.candidate.reveal_text()):
            raise CandidateRefusedError("it is not accepted")
        return VerifyCandidateResult()

    def finish(self, request: FinishRequest) -> FinishResult:
        """Have the dependent forget the former value."""
        return self._trap.around("finish", lambda: self._finish(request))  # type: ignore[no-any-return]  # as above

    def _finish(self, request: FinishRequest) -> FinishResult:
        request.confirm()
        self.dependent.only(request.current.reveal_text())
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Have the dependent accept the current value only."""
        return self._trap.around("undo", lambda: self._undo(request))  # type: ignore[no-any-return]  # as above

    def _undo(self, request: UndoRequest) -> UndoResult:
        is_gone = not self.dependent.accepts(request.current.reveal_text())
        if request.promoted and is_gone and not self.dependent.renews:
            raise UndoRefusedError("it takes nothing twice", hint="resume it")
        request.confirm()
        self.dependent.only(request.current.reveal_text())
        return UndoResult()


class TrappedMemory(MemoryBackend):
    """A backend in memory that outlives its managers, and may stop at each change.

    Args:
        trap: Is passed before and after each change.
    """

    def __init__(self, trap: Trap) -> None:
        super().__init__(MemorySettings())
        self._trap = trap

    def write(self, request: Any) -> Any:
        """Write, with the trap around it."""
        return self._trap.around("write", lambda: MemoryBackend.write(self, request))

    def close(self) -> None:
        """Stay open: the next manager goes on with it."""
        return


class TrappedStages(StagedBackend):
    """A backend with stages that outlives its managers, and may stop at each change.

    Args:
        trap: Is passed before and after each change.
    """

    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self._trap = trap
        self._created: dict[str, datetime] = {}

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Say when each version was seen first."""
        found = super().versions(request).versions
        now = datetime.now(UTC)
        dated = (one.replace(created=self._created.setdefault(one.version, now)) for one in found)
        return VersionsResult(versions=tuple(dated))

    def read(self, request: ReadRequest) -> ReadResult:
        """Say when the version was seen first."""
        found = super().read(request)
        return found.replace(created=self._created.setdefault(found.version, datetime.now(UTC)))

    def stage(self, request: Any) -> Any:
        """Stage, with the trap around it."""
        return self._trap.around("stage", lambda: StagedBackend.stage(self, request))

    def promote(self, request: Any) -> Any:
        """Promote, with the trap around it."""
        return self._trap.around("promote", lambda: StagedBackend.promote(self, request))

    def discard(self, request: Any) -> Any:
        """Discard, with the trap around it."""
        return self._trap.around("discard", lambda: StagedBackend.discard(self, request))


class Halt:
    """Holds the first that passes a point until somebody lets it go.

    Args:
        point: The point.
    """

    def __init__(self, point: str) -> None:
        self.point = point
        self.arrived = threading.Event()
        self._go = threading.Event()
        self._used = False

    def __call__(self, point: str) -> None:
        """Be passed."""
        if point == self.point and not self._used:
            self._used = True
            self.arrived.set()
            assert self._go.wait(20), "nobody has let it go"

    def release(self) -> None:
        """Let go whoever is held."""
        self._go.set()
