"""The audit events of whatever uses the throw-away configuration, in this process or in another one."""

from __future__ import annotations

import fcntl
import json
import os

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from strongroom.contracts import AuditSink, AuditWrite
from strongroom.errors import AuditError
from strongroom.model import AuditEvent


class EventFile(AuditSink):
    """Appends events to a file, one a line.

    Args:
        path: The file; it must exist.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, request: AuditWrite) -> None:
        """Record all events of the request or none; processes wait for each other.

        Raises:
            AuditError: The file is gone, or its disk is full.
        """
        lines = "".join(json.dumps(event.as_dict()) + "\n" for event in request.events).encode()
        try:
            with _locked(self._path, os.O_WRONLY | os.O_APPEND, fcntl.LOCK_EX) as descriptor:
                _append(descriptor, lines)
        except OSError as error:
            raise AuditError(
                f"the events of the test cannot be written to {self._path}: {error.strerror}",
                hint="close each manager of the throw-away configuration before the test ends",
            ) from error


class EventLog(Sequence[AuditEvent]):
    """The events in a file, as they are whenever they are looked at.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return len(self._events())

    def __getitem__(self, index: Any) -> Any:
        return self._events()[index]

    def __iter__(self) -> Iterator[AuditEvent]:
        return iter(self._events())

    def __repr__(self) -> str:
        return repr(self._events())

    def _events(self) -> list[AuditEvent]:
        with (
            _locked(self._path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor,
            open(descriptor, "rb", closefd=False) as file,
        ):
            return [AuditEvent(**json.loads(line)) for line in file]


@contextmanager
def _locked(path: str | Path, flags: int, lock: int) -> Iterator[int]:
    # Opened anew each time: a lock belongs to what was opened, and a forked child has none of its parent's.
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, lock)
        yield descriptor
    finally:
        os.close(descriptor)


def _append(descriptor: int, content: bytes) -> None:
    """Write all of it or nothing."""
    before = os.fstat(descriptor).st_size
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, before)
        raise
