"""What pydantic refuses, said without what it has refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from strongroom_pydantic.hidden import SHOWN
from strongroom_pydantic.reading import Reading

_OF_VALIDATORS: Final = frozenset({"value_error", "assertion_error"})
_TELLING: Final = 4
"""So many characters of a value are not in a message of pydantic's own by chance."""
_LEAST: Final = 3
"""What is shorter is no secret, and in any message of a validator's."""


def without_values(error: ValidationError, current: Reading) -> ValidationError:
    """Return the same error without inputs, and without messages that hold a value.

    The type, the place and the message of each problem stay; what pydantic has kept beside them is left out.

    Args:
        error: The error.
        current: What was read for the settings.
    """
    lines = [_line(dict(details), current.values) for details in error.errors(include_url=False)]
    cleaned = ValidationError.from_exception_data(error.title, lines, hide_input=True)
    if current.missing:
        cleaned.add_note(f"strongroom: there is no secret {', '.join(sorted(current.missing))}")
    return cleaned


def _line(details: dict[str, Any], values: Iterable[str]) -> InitErrorDetails:
    kind, message = details["type"], details["msg"]
    if any(_holds(message, value, kind) for value in values):
        message = "The value is refused, with a message that holds a part of it"
    # The type checker wants a text that stands in the source; braces need no care, as there is nothing to fill in.
    made = cast("Any", PydanticCustomError)(kind, message)
    return InitErrorDetails(type=made, loc=details["loc"], input=SHOWN)


def _holds(message: str, value: str, kind: str) -> bool:
    if len(value) < (_LEAST if kind in _OF_VALIDATORS else _TELLING):
        return False
    return value in message or repr(value)[1:-1] in message
