"""The hook: what this distribution offers."""

from __future__ import annotations

import sys

from collections.abc import Iterator

from strongroom.contracts import Rotator, RotatorSpec
from strongroom.errors import ConfigurationError
from strongroom.hookspecs import hookimpl
from strongroom_rotate_command.settings import CommandSettings


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer the rotator that runs a program."""
    yield RotatorSpec(
        name="command",
        summary="Any program, which gets the values by file descriptor.",
        settings=CommandSettings,
        open=_open,
    )


def _open(settings: CommandSettings) -> Rotator:
    if sys.platform == "win32":
        raise ConfigurationError(
            "the rotator command hands values over by file descriptor, which Windows has not",
            hint="rotate on a POSIX system",
        )
    from strongroom_rotate_command.rotator import CommandRotator  # loads subprocess only now

    return CommandRotator(settings)
