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
    value = _spliced(request.current, field, made)
    # Raised here, where no local variable holds any content: a traceback may show them.
    if value is None:
        raise InvalidValueError(
            f"{request.name} is no JSON object with the member {field!r} once, so that cannot be replaced",
            name=request.name,
            hint="write such an object once by hand, or leave `field` out of its [rotation] table",
        )
    return value


def _spliced(current: SecretValue, field: str, made: SecretValue) -> SecretValue | None:
    """Return a JSON object with one member replaced and all the rest as it is; ``None`` if it has none such."""
    try:
        text = current.reveal().decode()
        if not isinstance(json.loads(text), dict):
            return None
        places = _places(text, field)
    # Their texts and frames would show the value.
    except (ValueError, RecursionError):
        return None
    if len(places) != 1:
        return None
    start, end = places[0]
    spliced = text[:start] + json.dumps(made.reveal_text(), ensure_ascii=False) + text[end:]
    return SecretValue.of_bytes(spliced.encode(), current.type)


def _places(text: str, field: str) -> list[tuple[int, int]]:
    """Return where in the text of an object the values of a member begin and end."""
    decoder, found = json.JSONDecoder(), []
    at = _after(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _after(text, _after(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        if key == field:
            found.append((start, end))
        at = _after(text, end)
        if text[at] == ",":
            at = _after(text, at + 1)
    return found


def _after(text: str, at: int) -> int:
    """Return where the blanks of JSON end that begin at a place."""
    return len(text) - len(text[at:].lstrip(" \t\n\r"))


def random_rotator(settings: RandomSettings) -> Rotator:
    """Return the rotator ``random``."""
    return FieldRotator(settings.field, lambda: random_value(settings.size, cast(Encoding, settings.encoding)))


def password_rotator(settings: PasswordSettings) -> Rotator:
    """Return the rotator ``password``."""
    return FieldRotator(settings.field, lambda: SecretValue(random_password(settings)))


def uuid_rotator(settings: UuidSettings) -> Rotator:
    """Return the rotator ``uuid``."""
    return FieldRotator(settings.field, lambda: SecretValue(random_uuid()))
