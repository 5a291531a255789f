"""Where variables come from: the process, and files."""

from __future__ import annotations

import os
import time

from collections.abc import Mapping
from io import StringIO
from typing import Final, Protocol

from strongroom.contracts import Record
from strongroom.errors import BackendUnavailableError, ConfigurationError, StrongroomError

SETTLED_SECONDS: Final = 2.0
"""How long ago a file must have been written so that its stamp can be relied on."""


class Variables(Record):
    """The variables of one source at one moment."""

    values: Mapping[str, str]
    stamp: str = ""
    """Changes whenever the source is written, if it can tell."""

    def __repr__(self) -> str:
        return f"<{len(self.values)} variables>"


class Source(Protocol):
    """Somewhere to read variables from."""

    @property
    def place(self) -> str:
        """Where that is, for people."""

    def read(self) -> Variables:
        """Return all variables as they are now."""

    def stamp(self) -> str | None:
        """Return the stamp that :meth:`read` would, without reading; ``None`` if there is no way but to read."""


class Environment:
    """The variables of this process."""

    place = "environment"

    def read(self) -> Variables:
        """Return the variables of the process as they are now."""
        return Variables(values=os.environ)

    def stamp(self) -> str | None:
        """Return ``None``: nobody is told when a variable changes."""
        return None


class DotenvFile:
    """A file of lines like ``NAME=value``. It is read anew each time, so a change is seen at once.

    Args:
        path: Where the file is.
        optional: Whether it may be missing.
        interpolate: Whether ``${NAME}`` stands for another variable.
    """

    def __init__(self, path: str, *, optional: bool, interpolate: bool) -> None:
        self.place = os.path.abspath(path)
        self._optional = optional
        self._interpolate = interpolate

    def read(self) -> Variables:
        """Return the file's variables as they are now.

        Raises:
            BackendUnavailableError: The file cannot be read; it may be about to be replaced.
            ConfigurationError: The file is not a .env file; file and line are named.
        """
        try:
            variables, problem = self._load()
        except FileNotFoundError as error:
            if self._optional:
                return Variables(values={})
            raise BackendUnavailableError(f"{self.place} is missing", hint="restore the file") from error
        except OSError as error:
            raise BackendUnavailableError(
                f"{self.place} cannot be read: {error.strerror}", hint="check its permissions"
            ) from error
        if problem:
            raise ConfigurationError(f"{self.place}{problem}", hint="write NAME=value, and UTF-8 throughout")
        return variables

    def stamp(self) -> str | None:
        """Return the stamp that :meth:`read` would; ``None`` if only reading can tell.

        What stands for other variables depends on those, too. And a file that was written a moment ago may be written
        again without another stamp: that is as fine as the file system's clock, so it is read for a while.
        """
        if self._interpolate:
            return None
        try:
            status = os.stat(self.place)
        except OSError:
            return None
        return _stamp(status) if abs(time.time() - status.st_mtime) > SETTLED_SECONDS else None

    def check(self) -> None:
        """Make sure that the file is there and can be read.

        Raises:
            ConfigurationError: It is not.
        """
        try:
            self.read()
        except BackendUnavailableError as error:
            raise ConfigurationError(error.what, hint=f"{error.hint}, or name it in optional_files") from error

    def _load(self) -> tuple[Variables, str]:
        """Return the variables, and what is wrong if anything is.

        The error is raised by the caller: this frame's local variables hold the
        whole file, and error trackers report those.
        """
        with open(self.place, "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return Variables(values={}), " is not UTF-8 text"
        stamp = _stamp(status)
        line = _faulty_line(text)
        if line:
            return Variables(values={}), f", line {line}, is not an assignment"
        return Variables(values=_parsed(text, interpolate=self._interpolate), stamp=stamp), ""


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_ino} {status.st_mtime_ns} {status.st_size}"


def _faulty_line(text: str) -> int:
    """Return the first line that python-dotenv would log and leave out; 0 if there is none."""
    from dotenv.parser import parse_stream

    return next((binding.original.line for binding in parse_stream(StringIO(text)) if binding.error), 0)


def _parsed(text: str, *, interpolate: bool) -> dict[str, str]:
    from dotenv import dotenv_values

    content = dotenv_values(stream=StringIO(text, newline=""), interpolate=interpolate)
    # A name without "=" assigns nothing; an empty text after it is a value.
    return {name: value for name, value in content.items() if value is not None}


def problem_of(source: Source) -> StrongroomError | None:
    """Return why a source cannot be read now, if so."""
    try:
        source.read()
    except StrongroomError as error:
        return error
    return None
