"""Rotators of secrets that nothing depends on but their readers."""

from __future__ import annotations

import json

from collections.abc import Callable
from typing import cast

from strongroom.builtin.rotator_settings import PasswordSettings, RandomSettings, UuidSettings
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
from strongroom.errors import InvalidValueError
from strongroom.generators import Encoding, random_password, random_uuid, random_value
from strongroom.model import SecretValue


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


class FieldRotator(ValueRotator):
    """Makes whole values, or one member of a JSON object.

    Args:
        field: Which member; ``None`` for the value as a whole.
        make: Makes what is new.
    """

    def __init__(self, field: str | None, make: Callable[[], SecretValue]) -> None:
        self._field = field
        self._make = make

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Return a new value, or the current one with one member replaced.

        Raises:
            InvalidValueError: A member is to be replaced, and the current value is no JSON object that has it.
        """
        made = self._make()
        if self._field is None:
            return GenerateResult(value=made)
        return GenerateResult(value=_with_member(request, self._field, made))


def _with_member(request: GenerateRequest, field: str, made: SecretValue) -> SecretValue:
    try:
        content = json.loads(request.current.reveal())
    # Its text would show the value.
    except ValueError:
        content = None
    if not isinstance(content, dict) or field not in content:
        del content
        raise InvalidValueError(
            f"{request.name} is no JSON object with the member {field!r}, so that cannot be replaced",
            name=request.name,
            hint="write such an object once by hand, or leave `field` out of its [rotation] table",
        )
    return SecretValue(json.dumps(content | {field: made.reveal_text()}, ensure_ascii=False))


def random_rotator(settings: RandomSettings) -> Rotator:
    """Return the rotator ``random``."""
    return FieldRotator(settings.field, lambda: random_value(settings.size, cast(Encoding, settings.encoding)))


def password_rotator(settings: PasswordSettings) -> Rotator:
    """Return the rotator ``password``."""
    return FieldRotator(settings.field, lambda: SecretValue(random_password(settings)))


def uuid_rotator(settings: UuidSettings) -> Rotator:
    """Return the rotator ``uuid``."""
    return FieldRotator(settings.field, lambda: SecretValue(random_uuid()))
