"""A plugin with the rotator ``door``: its dependent is a file with the values that it accepts, in JSON."""

from __future__ import annotations

import json
import os

from pathlib import Path
from typing import Any

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
from strongroom.errors import CandidateRefusedError
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue


class DoorSettings(Record):
    """Settings of the rotator."""

    door: FilePath
    """The file of the dependent."""


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


def install(site: Path) -> None:
    """Let the plugin be found by programs that have this folder and that of this file on their path."""
    info = site / "rotation_door-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rotation-door\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[strongroom.rotators]\ndoor = doorplugin\n")
