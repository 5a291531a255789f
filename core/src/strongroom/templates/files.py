"""Reads templates, and what they include from their own folder; remembers what was read, to see changes."""

from __future__ import annotations

import codecs
import os

from collections.abc import Iterable

from strongroom._record import Record
from strongroom.errors import ConfigurationError
from strongroom.inputs import STANDARD, content_of, label_of, read_file, read_standard_input

Mark = tuple[int, int, int, int]
"""By what a file is told from the one that was there before."""


class Source(Record):
    """A template as it was read."""

    label: str
    """What errors call it: its path, or ``standard input``."""
    text: str
    folder: str | None = None
    """Where what it includes is looked for; ``None`` if nothing can be included."""


class Files:
    """Reads the templates of one rendering.

    Attributes:
        marks: What each file that was read, or was to be read, looked like; ``None`` for one that was not there.
    """

    def __init__(self) -> None:
        self.marks: dict[str, Mark | None] = {}

    def read(self, path: str) -> Source:
        """Return a template.

        Args:
            path: Its path, which may be a link; ``-`` for standard input.

        Raises:
            ConfigurationError: It cannot be read, or is not UTF-8 text.
            ValueTooLargeError: It has more than ``inputs.MOST_BYTES``.
        """
        if path == STANDARD:
            return Source(label=label_of(path), text=_decoded(read_standard_input().reveal(), label_of(path)))
        self.marks[path] = _mark(path)
        text = _decoded(read_file(path).reveal(), path)
        return Source(label=path, text=text, folder=os.path.dirname(os.path.abspath(path)))

    def included(self, folder: str, name: str) -> Source | None:
        """Return a template that another one includes; ``None`` if there is none in the folder, or below it.

        Neither a link nor ``..`` leads out of the folder; within it links are followed.

        Args:
            folder: The folder of the template that is rendered.
            name: The path of the other one from there, with slashes.

        Raises:
            ConfigurationError: It is not UTF-8 text.
        """
        if not _stays_below(name):
            return None
        path = os.path.join(folder, name)
        self.marks[path] = _mark(path)
        real, root = os.path.realpath(path), os.path.realpath(folder)
        if os.path.commonpath([real, root]) != root:
            return None
        # Its path has no link left in it.
        content = content_of(real)
        return None if content is None else Source(label=path, text=_decoded(content, path), folder=folder)

    def has_changed(self) -> bool:
        """Tell whether one of the files is another one by now, or has come or gone."""
        return any(_mark(path) != mark for path, mark in self.marks.items())


def _stays_below(name: str) -> bool:
    parts: Iterable[str] = name.split("/")
    return "\0" not in name and all(part not in {"", ".", ".."} for part in parts)


def _mark(path: str) -> Mark | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _decoded(content: bytes, label: str) -> str:
    # Some editors put a mark before the text; where it is included, it would stand in the middle of a file.
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise ConfigurationError(f"{label}, line {line} is not UTF-8", hint="a template is UTF-8 text")
