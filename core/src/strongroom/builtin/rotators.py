"""Rotators of secrets that nothing depends on but their readers."""

from __future__ import annotations

from typing import cast

from strongroom.builtin.settings import RandomSettings
from strongroom.contracts.rotation import (
    ApplyRequest,
    ApplyResult,
    GenerateRequest,
    GenerateResult,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.generators import Encoding, random_value


class ValueRotator(Rotator):
    """Makes values that no dependent has to take."""

    def apply(self, request: ApplyRequest) -> ApplyResult:  # noqa: ARG002  # the contract's
        """Do nothing: there is no dependent."""
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:  # noqa: ARG002  # the contract's
        """Do nothing, as :meth:`apply`."""
        return VerifyCandidateResult()

    def undo(self, request: UndoRequest) -> UndoResult:  # noqa: ARG002  # the contract's
        """Do nothing, as :meth:`apply`."""
        return UndoResult()


class RandomRotator(ValueRotator):
    """Makes random bytes.

    Args:
        settings: How many, and how they are written down.
    """

    def __init__(self, settings: RandomSettings) -> None:
        self._settings = settings

    def generate(self, request: GenerateRequest) -> GenerateResult:  # noqa: ARG002  # the contract's
        """Return random bytes."""
        return GenerateResult(value=random_value(self._settings.size, cast(Encoding, self._settings.encoding)))
