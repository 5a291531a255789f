"""Parameters: what the model may choose, and nothing beyond that."""

from __future__ import annotations

import contextlib
import re
import signal
import threading

from collections.abc import Iterator, Mapping
from typing import Any, Final

from strongroom_mcp.errors import RefusedError, invalid_parameters
from strongroom_mcp.settings import ParameterSettings

Value = str | int | bool

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What a parameter may be called."""
_PLACE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_MOST: Final = 2**63 - 1
"""The largest number, and the smallest one is its negative: beyond, programs read JSON differently."""
_MATCH_SECONDS: Final = 0.2
"""How much processor time matching a pattern may take."""
_KINDS: Final = {"string": str, "integer": int, "boolean": bool}


def place(text: str) -> str | None:
    """Return the name of the parameter that a text stands for as a whole; ``None`` if it is something else."""
    found = _PLACE.fullmatch(text)
    return found[1] if found else None


def places_within(text: str) -> list[str]:
    """Return the names of all parameters that a text seems to mention."""
    return _PLACE.findall(text)


def problems(settings: ParameterSettings) -> list[str]:
    """Return what is wrong with a parameter's settings."""
    found = []
    if settings.pattern is not None:
        try:
            re.compile(settings.pattern)
        except (re.error, OverflowError, RecursionError):
            found.append("pattern is not a regular expression")
    if settings.max_length < 1:
        found.append("max_length must be at least 1")
    if settings.type != "string" and (settings.pattern is not None or settings.choices or settings.lines):
        found.append("pattern, choices and lines are for texts")
    if settings.type != "integer" and not settings.minimum is settings.maximum is None:
        found.append("minimum and maximum are for whole numbers")
    if settings.type != "boolean" and settings.flag is not None:
        found.append("flag is for truth values")
    if not found and settings.default is not None:
        try:
            _checked("default", settings, settings.default)
        except RefusedError as error:
            found.append(str(error))
    return found


def schema(parameters: Mapping[str, ParameterSettings]) -> dict[str, Any]:
    """Return the JSON schema of the parameters, as clients are told it."""
    return {
        "type": "object",
        "properties": {name: _schema(one) for name, one in parameters.items()},
        "required": [name for name, one in parameters.items() if one.default is None],
        "additionalProperties": False,
    }


def _schema(one: ParameterSettings) -> dict[str, Any]:
    made: dict[str, Any] = {"type": one.type}
    if one.type == "string":
        made["maxLength"] = one.max_length
    told = {
        "description": one.description or None,
        # Theirs match anywhere in a text, and ours all of it.
        "pattern": f"^(?:{one.pattern})$" if one.pattern is not None else None,
        "enum": list(one.choices) or None,
        "minimum": one.minimum,
        "maximum": one.maximum,
        "default": one.default,
    }
    return made | {key: value for key, value in told.items() if value is not None}


def accept(parameters: Mapping[str, ParameterSettings], given: Mapping[str, Any] | None) -> dict[str, Value]:
    """Return the value of each parameter.

    Args:
        parameters: What is declared.
        given: What the model says.

    Raises:
        RefusedError: It is not what is declared.
    """
    given = given or {}
    if any(name not in parameters for name in given):
        raise invalid_parameters(f"there is an argument that is not one of: {', '.join(parameters) or 'none'}")
    values = {}
    for name, one in parameters.items():
        value = given.get(name, one.default)
        if value is None:
            raise invalid_parameters(f"{name} is missing")
        values[name] = _checked(name, one, value)
    return values


def _checked(name: str, settings: ParameterSettings, value: object) -> Value:
    kind = _KINDS[settings.type]
    # True is a whole number to Python.
    if type(value) is not kind and not (kind is str and isinstance(value, str)):
        raise invalid_parameters(f"{name} is not of the type {settings.type}")
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _number(name, settings, value)
    assert isinstance(value, str), "there is no fourth type"
    return _text(name, settings, value)


def _number(name: str, settings: ParameterSettings, value: int) -> int:
    least = -_MOST if settings.minimum is None else settings.minimum
    most = _MOST if settings.maximum is None else settings.maximum
    if not least <= value <= most:
        raise invalid_parameters(f"{name} is not between {least} and {most}")
    return value


def _text(name: str, settings: ParameterSettings, value: str) -> str:
    if len(value) > settings.max_length:
        raise invalid_parameters(f"{name} is longer than {settings.max_length} characters")
    if any(not _is_allowed(character, lines=settings.lines) for character in value):
        raise invalid_parameters(f"{name} has a character in it that it may not have")
    if settings.choices and value not in settings.choices:
        raise invalid_parameters(f"{name} is not one of its choices")
    if settings.pattern is not None and not _matches(settings.pattern, value):
        raise invalid_parameters(f"{name} does not match its pattern")
    return value


def _matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches; it does not if that takes too long."""
    try:
        with _hurried():
            return re.fullmatch(pattern, text) is not None
    except TimeoutError:
        return False


@contextlib.contextmanager
def _hurried() -> Iterator[None]:
    """Raise ``TimeoutError`` when the block has taken too long, if this is the thread that signals are handled in.

    A pattern with nested repetitions may take years, in which nothing else could happen, the kill switch included.
    Only a signal gets at :mod:`re` while it is searching.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _give_up)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, _MATCH_SECONDS)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _give_up(*_: object) -> None:
    raise TimeoutError


def _is_allowed(character: str, *, lines: bool) -> bool:
    """Tell whether a text may have a character: no control character, half of a pair, or other end of a line."""
    if character in "\n\t":
        return lines
    code = ord(character)
    return not (code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code in {0x2028, 0x2029})
