"""The contract of a command that another distribution adds to ``strongroom``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from strongroom._record import Record

if TYPE_CHECKING:
    import argparse


class CommandCall(Record):
    """One call of a command."""

    options: Any
    """The parsed arguments: an ``argparse.Namespace``."""
    config: str | None
    """The configuration file that was asked for; ``None`` to search for one, as ``strongroom.open`` does."""
    principal: str | None
    """The principal that was asked for with ``--as``."""
    settings: Callable[[], Any]
    """Reads the configuration anew, and returns the settings that the command's specification names.

    It raises a ``ConfigurationError`` where something is wrong with it.
    """


class CommandSpec(Record):
    """Describes a command; what the hook ``strongroom_commands`` yields."""

    name: str
    """The word after ``strongroom``; the entry point's name."""
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds the command's own arguments."""
    run: Callable[[CommandCall], int]
    """Does it, and returns the exit status. An error of strongroom's family is shown as any command's is."""
    settings: type[Any] = Record
    """The class of the table ``[agent]`` or ``[mcp]``, for the command of that name; no other one has a table."""
    examples: str = ""
    """Lines for the end of ``--help``, each a command that works as it stands."""

    kind: ClassVar[str] = "command"
