"""The rotator."""

from __future__ import annotations

import json
import os

from datetime import UTC, datetime, timedelta

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Life,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import BackendUnavailableError, CandidateRefusedError, InvalidValueError
from strongroom.model import SecretValue
from strongroom.pacing import time_left
from strongroom_frozen.settings import RotatorSettings


class FrozenRotator(Rotator):
    """Has a door in a file take values; it accepts two at the most."""

    def __init__(self, settings: RotatorSettings) -> None:
        self._settings = settings

    def _accepted(self) -> list[str]:
        if time_left() == 0.0:
            raise BackendUnavailableError("the door was not asked in time", code="timeout", hint="try again")
        try:
            with open(self._settings.door, encoding="utf-8") as file:
                accepted: list[str] = json.load(file)
        except OSError as error:
            raise BackendUnavailableError("the door does not answer", hint="look at its file") from error
        return accepted

    def _accept(self, *values: SecretValue) -> None:
        self._accepted()
        draft = f"{self._settings.door}.{os.getpid()}"
        with open(draft, "w", encoding="utf-8") as file:
            json.dump([value.reveal_text() for value in values], file)
        os.replace(draft, self._settings.door)

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Make a candidate."""
        if not request.current.reveal().startswith(b"door-"):
            raise InvalidValueError("the current value opens no door", name=request.name)
        if self._settings.admin is not None:
            request.read_secret(self._settings.admin)
        return GenerateResult(value=SecretValue(f"door-{request.attempt}-{os.urandom(8).hex()}"))

    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Have the door take the candidate besides the current value."""
        if self._settings.admin is not None:
            request.read_secret(self._settings.admin)
        if request.candidate.reveal_text() in self._accepted():
            return ApplyResult()
        request.confirm()
        self._accept(request.current, request.candidate)
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """See whether the door accepts the candidate."""
        if request.candidate.reveal_text() not in self._accepted():
            raise CandidateRefusedError("the door does not accept it", name=request.name)
        return VerifyCandidateResult()

    def finish(self, request: FinishRequest) -> FinishResult:
        """Have the door accept the current value only."""
        request.confirm()
        if request.former != request.current:
            self._accept(request.current)
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Have the door accept the current value only."""
        request.confirm()
        self._accept(request.current)
        return UndoResult()

    def life(self, value: SecretValue) -> Life | None:
        """Return a year for values that say so."""
        if not value.reveal().startswith(b"door-y"):
            return None
        begins = datetime(2026, 1, 1, tzinfo=UTC)
        return Life(begins=begins, ends=begins + timedelta(days=365))

    def close(self) -> None:
        """Release nothing."""
