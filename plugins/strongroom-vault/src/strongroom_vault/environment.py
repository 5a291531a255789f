"""The variables that users of Vault and OpenBao know, and how their programs read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from strongroom.errors import ConfigurationError

Value = TypeVar("Value")

PREFIXES: Final = ("BAO_", "VAULT_")

_TRUE: Final = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE: Final = {"0", "f", "F", "FALSE", "false", "False"}
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Variables:
    """Looks variables up under both prefixes. ``BAO_`` wins, even if it is set to the empty string.

    Args:
        environment: All variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def name(self, variable: str) -> str | None:
        """Return the full name under which a variable is set, whatever to; ``None`` if it is not.

        Args:
            variable: The name without prefix, such as ``ADDR``.
        """
        return next((prefix + variable for prefix in PREFIXES if prefix + variable in self._environment), None)

    def text(self, variable: str) -> str | None:
        """Return what a variable says; ``None`` if it is not set or empty."""
        name = self.name(variable)
        return (self._environment[name] or None) if name is not None else None

    def parsed(self, variable: str, parse: Callable[[str], Value]) -> Value | None:
        """Return what a variable says, as something else than text; ``None`` if it is not set or empty.

        Args:
            variable: The name without prefix.
            parse: Raises ``ValueError`` with what is expected.

        Raises:
            ConfigurationError: The text cannot be parsed. It is not shown.
        """
        text = self.text(variable)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as problem:
            expected = str(problem)
        raise ConfigurationError(f"the variable {self.name(variable)} must be {expected}", hint="correct or unset it")


def flag(text: str) -> bool:
    """Return a yes or no as Go programs read it.

    Raises:
        ValueError: It is another word.
    """
    if text not in _TRUE | _FALSE:
        raise ValueError("true or false")
    return text in _TRUE


def whole_number(text: str) -> int:
    """Return a number from 0 on.

    Raises:
        ValueError: It is none.
    """
    if not (text.isascii() and text.isdigit()):
        raise ValueError("a number from 0 on")
    return int(text)


def seconds(text: str) -> float:
    """Return a duration of more than 0 in seconds: a number of them, or a Go duration such as ``1m30s``.

    Raises:
        ValueError: It is neither.
    """
    try:
        found = float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else _go_duration(text)
    except ValueError:
        found = 0.0
    if not found > 0.0:
        raise ValueError('a number of seconds or a duration such as "1m30s", more than 0')
    return found


def rate(text: str) -> tuple[float, int]:
    """Return requests a second and how many may come at once, from ``rate`` or ``rate:burst``.

    Raises:
        ValueError: It is neither, or one of them is 0.
    """
    first, colon, second = text.partition(":")
    try:
        limit = float(first)
        burst = whole_number(second) if colon else max(1, int(limit))
    except (ValueError, OverflowError):
        limit, burst = 0.0, 0
    if not (0.0 < limit < float("inf") and burst > 0):
        raise ValueError('requests a second, or "rate:burst", both more than 0')
    return limit, burst


def _go_duration(text: str) -> float:
    total, number = 0.0, ""
    rest = text
    while rest:
        size = next((at for at, sign in enumerate(rest) if sign not in "0123456789."), len(rest))
        number, rest = rest[:size], rest[size:]
        unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if rest.startswith(unit)), None)
        if unit is None:
            raise ValueError("no unit")
        total += float(number) * _UNITS[unit]
        rest = rest[len(unit) :]
    return total
