"""The trail's files, opened for reading, in the order of their lines."""

from __future__ import annotations

import os

from collections.abc import Iterator
from io import BufferedReader
from typing import IO, cast

from strongroom.errors import AuditError
from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.lines import Line, parse
from strongroom_audit_jsonl.siblings import is_named_as_rotated, sibling_paths

_SEARCHED = 1 << 16


class OpenFile:
    """One file of the trail, held open so that a rotator cannot take it away.

    Attributes:
        path: Where it was found.
        size: How many bytes it had then; ``None`` for a compressed one.
        first: The first line found in it that has the format.
    """

    def __init__(self, path: str, stream: BufferedReader, size: int | None) -> None:
        self.path = path
        self.size = size
        self._stream = stream
        self.first = self._find_line()

    def lines(self) -> Iterator[bytes]:
        """Yield each line with its line feed, up to the size; the last one may lack it.

        Raises:
            AuditError: The file cannot be read.
        """
        rest = self.size
        try:
            self._stream.seek(0)
            while rest is None or rest > 0:
                line = self._stream.readline(-1 if rest is None else rest)
                if not line:
                    return
                rest = None if rest is None else rest - len(line)
                yield line
        except (OSError, EOFError) as error:
            raise AuditError(f"the audit file {self.path} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _find_line(self) -> Line | None:
        try:
            content = self._stream.read(_SEARCHED)
        except (OSError, EOFError) as error:
            raise AuditError(f"the audit file {self.path} cannot be read: {error}") from error
        return next(filter(None, map(parse, content.split(b"\n"))), None)


def open_files(path: str) -> list[OpenFile]:
    """Open every file of the trail: the audit file and those that were rotated away beside it.

    Raises:
        AuditError: The folder or a file cannot be read.
    """
    found: list[OpenFile] = []
    try:
        siblings = sibling_paths(path) if os.path.isdir(os.path.dirname(path)) else []
        for name in [*siblings, path]:
            found += _open(name, expected=name == path or is_named_as_rotated(path, name))
    except OSError as error:
        raise AuditError(
            f"the audit trail {path} cannot be read: {error.strerror}", hint="check the permissions"
        ) from error
    found.sort(key=lambda file: file.first.seq if file.first else 0)
    return _without_copies(found)


def _open(path: str, *, expected: bool) -> list[OpenFile]:
    """Return a file in a list, or an empty list if it is missing, empty or of another kind."""
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return []
    size = os.fstat(descriptor).st_size
    stream: IO[bytes] = os.fdopen(descriptor, "rb")
    if path.endswith(".gz"):
        import gzip

        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=stream, mode="rb"))
    file = OpenFile(path, cast("BufferedReader", stream), None if path.endswith(".gz") else size)
    if size and (expected or file.first):
        return [file]
    file.close()
    return []


def _without_copies(files: list[OpenFile]) -> list[OpenFile]:
    """Leave out a file that only repeats the beginning of another one, such as a backup."""
    kept: list[OpenFile] = []
    for file in files:
        twin = next((other for other in kept if file.first and other.first == file.first), None)
        if twin is None:
            kept.append(file)
        elif _begins_with(file, twin):
            kept[kept.index(twin)] = file
        elif not _begins_with(twin, file):
            kept.append(file)
    return kept


def _begins_with(longer: OpenFile, shorter: OpenFile) -> bool:
    lines = longer.lines()
    return all(next(lines, b"").startswith(line) for line in shorter.lines())
