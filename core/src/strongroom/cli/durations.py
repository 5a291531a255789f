"""Durations on the command line."""

from __future__ import annotations

from typing import Final

from strongroom.cli.command import UsageError

LONGEST: Final = 100 * 365 * 86400.0
"""Seconds: a century, since what is some times longer, no clock of the system can wait for."""


def duration(option: str, text: str, *, least: float = 0.0) -> float:
    """Return the seconds that an option asks for.

    Args:
        option: The option as it is written, for errors.
        text: What was given for it.
        least: The shortest that makes sense, in seconds.

    Raises:
        UsageError: It is no duration, or one that is too short or too long.
    """
    # Imported here: most calls leave such options out.
    from strongroom.config.units import parse_seconds

    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        raise UsageError(f"{option} takes {error}, not {text!r}") from error
    if seconds < least:
        raise UsageError(f"{option} is below {least:g}s", hint="give a longer time, or leave it out")
    if seconds > LONGEST:
        raise UsageError(f"{option} is above a hundred years", hint="give a shorter time, or leave it out")
    return seconds
