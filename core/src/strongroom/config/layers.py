"""One file of the configuration, read into a layer."""

from __future__ import annotations

import os
import sys

from typing import Any, Final

from strongroom._record import Record
from strongroom.config.references import Folder
from strongroom.errors import ConfigurationError

INCLUDE: Final = "include"
"""The key that names files of policies; see :mod:`strongroom.config.includes`."""


class Layer(Record):
    """One source of settings."""

    path: str
    """The file's absolute path, or a name in angle brackets for what is not a file."""
    folder: str
    """What its relative paths are relative to: a :class:`~strongroom.config.references.Folder` if it is a file."""
    content: dict[str, Any]
    text: bool = False
    """Whether every value is text that may stand for a number or a truth value."""
    binding: bool = False
    """Whether what it locks is locked: so it is for the user's and the system's file."""
    included: tuple[Layer, ...] = ()
    """The files of policies that it includes; what they say counts as said by it."""


def refuse_foreign(path: str, trusted: set[int], hint: str) -> None:
    """Refuse a file that somebody else may have put there: he would decide where secrets are kept.

    Args:
        path: The file.
        trusted: The user ids, beside the process's own, to whom it may belong.
        hint: What to do if it is refused.

    Raises:
        ConfigurationError: It belongs to another user, or every user may write it.
    """
    if sys.platform == "win32":
        return
    status = os.stat(path)
    if {status.st_uid, os.lstat(path).st_uid} - trusted - {os.geteuid()}:
        raise ConfigurationError(f"{path} belongs to another user, so it is not used", hint=hint)
    if status.st_mode & 0o002:
        hint = f"run chmod o-w {path}, or {hint}"
        raise ConfigurationError(f"{path} can be written by every user, so it is not used", hint=hint)


def read(path: str, *, home: str = "") -> Layer:
    """Read one file.

    Args:
        path: Its path.
        home: What ``~`` stands for in it; the environment's home folder unless given.

    Raises:
        ConfigurationError: It cannot be read, or is not TOML; the message has
            the line that the parser complains about.
    """
    import tomllib

    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested without end
        known = {UnicodeDecodeError: "it is not UTF-8 text", RecursionError: "it is nested too deeply"}
        reason = known.get(type(error), str(error))
        raise ConfigurationError(f"{path} is not valid TOML: {reason}", hint="mend the file") from None
    return Layer(path=path, folder=Folder(os.path.dirname(path), home=home), content=content)
