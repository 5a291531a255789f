"""A process that rotates one secret and may kill itself at any point of that.

rotationworker.py CONFIG MODE [POINT]

MODE is ``rotate``, ``resume``, ``undo``, ``show`` or ``race``, which rotates again
and again. POINT is the number of the point, from 0, at which it kills itself: each
change in the backend and each step of the rotator has one before and one after.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from collections.abc import Callable
from typing import Any

import strongroom

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FilePath,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Record,
    Rotator,
    RotatorSpec,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import CandidateRefusedError, StrongroomError
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue
from strongroom.resilience import GuardedBackend

NAME = "db/app"
RACES = 25


class Passed:
    """The points that were passed."""

    count = 0
    kill_at: int | None = None

    @classmethod
    def one(cls) -> None:
        """Pass a point, or die there."""
        if cls.count == cls.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        cls.count += 1


def counted(act: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with a point before and after it."""

    def around(*arguments: Any, **named: Any) -> Any:
        Passed.one()
        result = act(*arguments, **named)
        Passed.one()
        return result

    return around


class DoorSettings(Record):
    """Settings of the rotator."""

    door: FilePath
    """The file of the dependent: a list of the values that it accepts, in JSON."""


class DoorRotator(Rotator):
    """Has a dependent in a file take values; it accepts two at the most.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: DoorSettings) -> None:
        self._path = settings.door

    def _accepted(self) -> list[str]:
        with open(self._path, encoding="utf-8") as file:
            accepted: list[str] = json.load(file)
        return accepted

    def _write(self, accepted: list[str]) -> None:
        draft = f"{self._path}.{os.getpid()}"
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(accepted, file)
        os.replace(draft, self._path)

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Make a value that was never there."""
        return GenerateResult(value=SecretValue(f"v-{os.urandom(8).hex()}"))

    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Accept the candidate besides the current value."""
        request.confirm()
        self._write([request.current.reveal_text(), request.candidate.reveal_text()])
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """See whether it is accepted."""
        if request.candidate.reveal_text() not in self._accepted():
            raise CandidateRefusedError("it is not accepted")
        return VerifyCandidateResult()

    def finish(self, request: FinishRequest) -> FinishResult:
        """Accept the current value only."""
        request.confirm()
        self._write([request.current.reveal_text()])
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Accept the current value only."""
        request.confirm()
        self._write([request.current.reveal_text()])
        return UndoResult()


@hookimpl
def strongroom_rotators() -> Any:
    """Offer the rotator."""
    yield RotatorSpec(name="door", summary="A test's own.", settings=DoorSettings, open=DoorRotator)


def arm(kill_at: int | None) -> None:
    """Put the points in place."""
    Passed.kill_at = kill_at
    for operation in ("write", "stage", "promote", "discard", "destroy"):
        setattr(GuardedBackend, operation, counted(getattr(GuardedBackend, operation)))
    # The plugin is this file under another name, imported by its entry point.
    import rotationworker

    rotationworker.Passed = Passed  # type: ignore[misc]  # one count for both
    for step in ("generate", "apply", "verify", "finish", "undo"):
        setattr(rotationworker.DoorRotator, step, counted(getattr(rotationworker.DoorRotator, step)))


def race(manager: strongroom.SecretManager) -> list[str]:
    """Rotate again and again, and return how each ended."""
    codes = []
    for _ in range(RACES):
        try:
            manager.rotate(NAME)
        except StrongroomError as error:
            codes.append(error.code)
        else:
            codes.append("ok")
    return codes


def main(config: str, mode: str, kill_at: int | None) -> None:
    """Do what is asked for, and print how it stands then."""
    with strongroom.open(config) as manager:
        if mode == "race":
            print(json.dumps(race(manager)))
            return
        arm(kill_at)
        if mode == "rotate":
            manager.rotate(NAME)
        (status,) = manager.rotation.status()
        if mode in {"resume", "undo"} and status.state != "idle":
            # Stages do not tell whether whoever began it is still there.
            (manager.rotation.resume if mode == "resume" else manager.rotation.undo)(NAME, force=True)
            (status,) = manager.rotation.status()
        print(json.dumps({"current": manager.get(NAME).reveal_text(), "state": status.state, "points": Passed.count}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
