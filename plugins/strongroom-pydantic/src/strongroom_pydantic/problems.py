"""What pydantic refuses, said without what it has refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast, get_args

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from strongroom_pydantic.hidden import SHOWN
from strongroom_pydantic.reading import Reading

_OWN: Final = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
"""The types of problems whose messages are pydantic's own; those of all others are a validator's."""
_TELLING: Final = 4
"""So many characters of a value are not in a message of pydantic's own by chance."""
_LEAST: Final = 3
"""What is shorter is no secret, and in any message of a validator's."""
_PIECE: Final = 6
"""So many characters of a value in a row are a part of it that a validator's message is not to tell."""


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
    if kind not in _OWN:
        # Validators put into their messages what they have made of a value, or the part that they object to.
        return len(value) >= _LEAST and (_shares(message, value) or repr(value)[1:-1] in message)
    return len(value) >= _TELLING and (value in message or repr(value)[1:-1] in message)


def _shares(message: str, value: str) -> bool:
    """Tell whether a part of a value, in whatever case, is in a message."""
    message, value = message.casefold(), value.casefold()
    length = min(_PIECE, len(value))
    pieces = {message[start : start + length] for start in range(len(message) - length + 1)}
    return any(value[start : start + length] in pieces for start in range(len(value) - length + 1))
