"""Reading events back, and following them as they come."""

from __future__ import annotations

import os
import time

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final

from strongroom.contracts import TrailHead, TrailQuery
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.ends import furthest_tail
from strongroom_audit_jsonl.lines import Head, Line, parse
from strongroom_audit_jsonl.notes import note_content, parse_note
from strongroom_audit_jsonl.opened import close_all, open_files, without_copies
from strongroom_audit_jsonl.tail import read_tail

POLL: Final = 0.2
"""How many seconds ``follow`` waits between two looks."""

Stillness = Callable[[], AbstractContextManager[object]]

_NAMES: Final = frozenset(AuditEvent._fields)


def read_head(path: str) -> TrailHead:
    """Return where a trail stands.

    Raises:
        AuditError: The trail cannot be read.
    """
    try:
        head = _head_of_file(path) or _head_elsewhere(path)
    except OSError as error:
        raise AuditError(f"the audit trail {path} cannot be read: {error.strerror}") from error
    return TrailHead(position=head.seq, digest=head.digest.hex())


def _head_of_file(path: str) -> Head | None:
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        tail = read_tail(descriptor, os.fstat(descriptor).st_size, lenient=True)
    finally:
        os.close(descriptor)
    return tail.head if tail else None


def _head_elsewhere(path: str) -> Head:
    """Look beside an audit file that is empty or missing."""
    note = parse_note(note_content(f"{path}.head"), None)
    found = furthest_tail(path) if os.path.isdir(os.path.dirname(path)) else None
    heads = [Head(), note.head if note else Head(), (found[1].head if found else None) or Head()]
    return max(heads, key=lambda head: head.seq)


def read_events(path: str, query: TrailQuery, stillness: Stillness) -> Iterator[AuditEvent]:
    """Yield the events of a trail that match a query, oldest first.

    Args:
        path: The audit file.
        query: Which events.
        stillness: Keeps writers out while the files are opened.

    Raises:
        AuditError: The trail cannot be read, or a time of the query is not ISO 8601.
    """
    reader = _Reader(path, stillness, follow=query.follow)
    return _matching(reader, query, _time(query.since), _time(query.until))


def _matching(
    reader: _Reader, query: TrailQuery, since: datetime | None, until: datetime | None
) -> Iterator[AuditEvent]:
    def fits(event: AuditEvent) -> bool:
        return _has_fields(event, query) and _is_between(event, since, until)

    try:
        past: Iterable[AuditEvent] = filter(fits, reader.rescan())
        yield from past if query.last is None else deque(past, maxlen=max(0, query.last))
        while query.follow:
            time.sleep(POLL)
            yield from filter(fits, reader.news())
    finally:
        reader.close()


def _has_fields(event: AuditEvent, query: TrailQuery) -> bool:
    return (
        query.principal in {None, event.principal}
        and query.key in {None, event.key}
        and query.result in {None, event.result}
    )


def _is_between(event: AuditEvent, since: datetime | None, until: datetime | None) -> bool:
    if since is None and until is None:
        return True
    try:
        moment = _time(event.timestamp)
    except AuditError:
        return False
    return moment is not None and (since is None or moment >= since) and (until is None or moment < until)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise AuditError(f"{text!a} is not a time", hint="write it as 2030-12-31T23:59:59+00:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _Reader:
    """Reads a trail once, and then what is added, whatever a rotator does meanwhile.

    While it follows, it hands on sealed blocks only: what has no seal yet may
    still be taken back by its writer.
    """

    def __init__(self, path: str, stillness: Stillness, *, follow: bool) -> None:
        self._path = path
        self._stillness = stillness
        self._follow = follow
        self._seq = 0
        self._descriptor: int | None = None
        self._offset = 0
        # What stood before the offset: a file that was emptied may have grown beyond it since.
        self._ending = b""

    def rescan(self) -> Iterator[AuditEvent]:
        """Yield what is new in any of the files."""
        with self._stillness():
            if self._follow:
                self._attach()
            files = open_files(self._path)
        try:
            for file in without_copies(files):
                yield from self._events(file.lines())
        finally:
            close_all(files)

    def news(self) -> Iterator[AuditEvent]:
        """Yield what has been added since the last look."""
        if self._descriptor is not None and self._is_as_left(self._descriptor):
            yield from self._events(self._drain(self._descriptor))
        if self._has_moved():
            yield from self.rescan()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _attach(self) -> None:
        self.close()
        self._offset, self._ending = 0, b""
        try:
            self._descriptor = open_private(self._path, os.O_RDONLY)
        except OSError:
            self._descriptor = None  # There is none yet, or the listing will say what is wrong.

    def _has_moved(self) -> bool:
        try:
            status = os.lstat(self._path)
        except OSError:
            return False
        if self._descriptor is None:
            return True
        is_same = os.path.samestat(status, os.fstat(self._descriptor))
        return not is_same or not self._is_as_left(self._descriptor)

    def _is_as_left(self, descriptor: int) -> bool:
        return os.pread(descriptor, len(self._ending), self._offset - len(self._ending)) == self._ending

    def _drain(self, descriptor: int) -> Iterator[bytes]:
        """Yield the lines up to the last sealed one, and remember where it ends."""
        size = os.fstat(descriptor).st_size
        content = os.pread(descriptor, max(0, size - self._offset), self._offset)
        lines = content.splitlines(keepends=True)
        while lines and not _is_sealed(lines[-1]):
            lines.pop()
        self._offset += sum(map(len, lines))
        self._ending = lines[-1] if lines else self._ending
        yield from lines

    def _events(self, lines: Iterator[bytes]) -> Iterator[AuditEvent]:
        waiting: list[Line] = []
        for raw in lines:
            line = parse(raw[:-1]) if raw.endswith(b"\n") else None
            if line is None or line.seq <= self._seq:
                continue
            waiting.append(line)
            if line.seal or not self._follow:
                self._seq = line.seq
                yield from filter(None, map(_event, waiting))
                waiting.clear()


def _is_sealed(raw: bytes) -> bool:
    line = parse(raw[:-1]) if raw.endswith(b"\n") else None
    return line is not None and line.seal is not None


def _event(line: Line) -> AuditEvent | None:
    """Return a line's event; what a later version has added to it is left out."""
    known = {name: value for name, value in line.fields.items() if name in _NAMES}
    try:
        return AuditEvent(**known)
    except TypeError:
        return None
