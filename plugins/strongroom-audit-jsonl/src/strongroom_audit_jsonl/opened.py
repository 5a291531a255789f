"""The trail's files, opened for reading, in the order of their lines."""

from __future__ import annotations

import gzip
import io
import os
import zlib

from collections.abc import Callable, Iterator

from strongroom.errors import AuditError
from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.lines import LONGEST, Line, parse
from strongroom_audit_jsonl.siblings import is_named_as_rotated, listing

_SEARCHED = 1 << 16
_ATTEMPTS = 20
_UNREADABLE = (OSError, EOFError, zlib.error)


class OpenFile:
    """One file of the trail, held open so that a rotator cannot take it away.

    Attributes:
        path: Where it was found.
        size: How many bytes it had then; what is added later does not count.
        inode: Which file it is, whatever its name.
        first: The first line found in it that has the format.
        shortened: Whether it turned out to be shorter than when it was opened.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.shortened = False
        self.is_compressed = path.endswith(".gz")
        self._raw = os.fdopen(descriptor, "rb")
        self._rest = 0
        try:
            status = os.fstat(descriptor)
            self.size, self.inode = status.st_size, status.st_ino
            self.first = self._find_line()
        except BaseException:
            self._raw.close()
            raise

    def lines(self) -> Iterator[bytes]:
        """Yield each line with its line feed, up to the size; the last one may lack it.

        Of a line that is longer than any of a trail only the beginning is yielded.

        Raises:
            AuditError: The file cannot be read.
        """
        try:
            yield from self._compressed_lines() if self.is_compressed else self._plain_lines()
        except _UNREADABLE as error:
            raise self._unreadable(error) from error

    def is_whole(self) -> bool:
        """Read the file to its end, and tell whether that is possible."""
        try:
            return all(True for _ in self.lines())
        except AuditError:
            return False

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _plain_lines(self) -> Iterator[bytes]:
        self._raw.seek(0)
        self._rest = self.size
        yield from _lines(self._read_line)
        self.shortened = self.shortened or self._rest > 0

    def _read_line(self, most: int) -> bytes:
        line = self._raw.readline(min(most, self._rest))
        self._rest -= len(line)
        return line

    def _compressed_lines(self) -> Iterator[bytes]:
        self._raw.seek(0)
        with gzip.GzipFile(fileobj=self._raw, mode="rb") as plain:
            yield from _lines(io.BufferedReader(plain).readline)

    def _find_line(self) -> Line | None:
        searched = 0
        try:
            for raw in self.lines():
                line = parse(raw[:-1]) if raw.endswith(b"\n") else None
                searched += len(raw)
                if line is not None or searched > _SEARCHED:
                    return line
        except AuditError:
            return None  # Whoever wants all of its lines is told.
        return None

    def _unreadable(self, error: BaseException) -> AuditError:
        return AuditError(f"the audit file {self.path} cannot be read: {error}", hint="check the file and its disk")


def _lines(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield lines; of one that is too long its beginning, before it is known where it ends."""
    while line := read(LONGEST):
        is_cut = len(line) == LONGEST and not line.endswith(b"\n")
        yield line + b"\n" if is_cut else line
        while is_cut and (line := read(LONGEST)):
            is_cut = not line.endswith(b"\n")


def open_files(path: str) -> list[OpenFile]:
    """Open every file of the trail: the audit file and those that were rotated away beside it.

    Little of each is read, because writers wait meanwhile: ``without_copies`` comes later.

    Raises:
        AuditError: The folder or a file cannot be read.
    """
    for _ in range(_ATTEMPTS):
        found = _open_once(path)
        if found is not None:
            # The file that is being written may have no whole line yet.
            found.sort(key=lambda file: (file.first is None and file.path == path, file.first.seq if file.first else 0))
            return found
    raise AuditError(f"the files of {path} are being renamed all the time", hint="stop the rotator, and try again")


def _open_once(path: str) -> list[OpenFile] | None:
    """Open the files; ``None`` if one of them was renamed or replaced meanwhile."""
    found: list[OpenFile] = []
    if not os.path.isdir(os.path.dirname(path)):
        return found
    try:
        names = listing(path)
        for name in names:
            found.append(OpenFile(name, open_private(name, os.O_RDONLY)))  # noqa: PERF401  # kept if one fails
        if listing(path) != names or [file.inode for file in found] != list(names.values()):
            close_all(found)
            return None
    except FileNotFoundError:
        close_all(found)
        return None
    except OSError as error:
        close_all(found)
        raise AuditError(
            f"the audit trail {path} cannot be read: {error.strerror}", hint="check the permissions"
        ) from error
    except BaseException:
        close_all(found)
        raise
    return _only_ours(path, found)


def _only_ours(path: str, files: list[OpenFile]) -> list[OpenFile]:
    """Leave out empty files, and those in which neither name nor content says that they are a part of the trail."""
    ours = []
    for file in files:
        if file.size and (file.first or file.path == path or is_named_as_rotated(path, file.path)):
            ours.append(file)
        else:
            file.close()
    return ours


def close_all(files: list[OpenFile]) -> None:
    """Close files."""
    for file in files:
        file.close()


def without_copies(files: list[OpenFile]) -> list[OpenFile]:
    """Close and leave out files that only repeat the beginning of another one, such as a backup.

    A compressed file that ends too early is left out while the plain one of its
    name is still there: it is being made.

    Raises:
        AuditError: A file cannot be read.
    """
    kept: list[OpenFile] = []
    names = {file.path for file in files}
    for file in files:
        if file.is_compressed and file.path.removesuffix(".gz") in names and not file.is_whole():
            file.close()
            continue
        twin = next((other for other in kept if file.first and other.first == file.first), None)
        if twin is None:
            kept.append(file)
        elif _begins_with(file, twin):
            kept[kept.index(twin)] = file
            twin.close()
        elif _begins_with(twin, file):
            file.close()
        else:
            kept.append(file)
    return kept


def _begins_with(longer: OpenFile, shorter: OpenFile) -> bool:
    lines = longer.lines()
    return all(next(lines, b"").startswith(line) for line in shorter.lines())
