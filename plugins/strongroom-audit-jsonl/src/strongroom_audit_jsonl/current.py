"""The file that is being written: found again, mended, continued and rotated.

Everything here runs under the trail's lock.
"""

from __future__ import annotations

import os

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import AuditError
from strongroom_audit_jsonl.access import check_unwritable, open_private, sync_file, sync_folder, write_all
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head, Start
from strongroom_audit_jsonl.marks import Loss, compare, continued, gap, pruned, without_pages
from strongroom_audit_jsonl.notes import HeadFile, Note
from strongroom_audit_jsonl.tail import Tail, read_tail

if TYPE_CHECKING:
    from strongroom_audit_jsonl.settings import JsonlSettings

# More than the chain value and the seal of a line.
_COMPARED: Final = 160

_UNVOUCHED: Final = "the head file was missing or not genuine, so lines may be gone from the end without a trace"

# Without the file's times, which nothing here depends on, one journal commit less.
_sync = getattr(os, "fdatasync", os.fsync)


class CurrentFile:
    """Knows where the audit file ends, and appends to it.

    Args:
        settings: The sink's settings.
    """

    def __init__(self, settings: JsonlSettings) -> None:
        self._path = settings.path
        self._settings = settings
        self._note = HeadFile(f"{settings.path}.head")
        self._descriptor: int | None = None
        self._end: int | None = None
        self._ending = b""
        self._head = Head()
        # What this process has seen written. It outlives failures, forks and the file itself.
        self._known = Head()
        # Up to which line everything is on stable storage, and whether this process wrote any that is not.
        self._synced = 0
        self._owes_sync = False
        # Whether it has been told what a power failure before this process left: there is none after its start.
        self._is_searched = False
        self._loss = Loss()
        # Torn lines that were cut off, but whose record has not been written yet.
        self._cuts: tuple[str, ...] = ()
        self._pruned: tuple[dict[str, Any], ...] = ()
        self._excess: tuple[str, ...] = ()

    @property
    def is_synced(self) -> bool:
        """Whether all that this process wrote is on stable storage."""
        return not self._owes_sync

    @property
    def is_noted(self) -> bool:
        """Whether the head file could be written the last time."""
        return self._note.is_kept

    def begin(self, key: SealKey) -> None:
        """Make the head file of a trail without lines, so that from now on it is never missing by itself.

        Raises:
            OSError: It cannot be made.
        """
        self._note.is_as_left()
        self._note.make(Note(head=Head()), key)

    def start(self, key: SealKey) -> Start:
        """Bring everything up to date with what others did, and return where the next block begins.

        Raises:
            AuditError: What lies at the path is not an audit file, or others may write to it.
            OSError: The file cannot be opened, read or mended.
        """
        size = self._open()
        # The head file as well: else whoever cuts off what others wrote could have this process fill the place.
        is_noted = self._note.is_as_left()
        if not is_noted or not self._is_as_left(size):
            self._catch_up(size, key)
        limit = self._settings.max_bytes
        if limit is not None and self._end is not None and self._end >= limit:
            self._rotate(key)
        return Start(head=self._head, new_file=self._end == 0, marks=self._marks())

    def append(self, block: bytes, head: Head, key: SealKey, *, durable: bool) -> None:
        """Write a block whole or not at all.

        Args:
            block: What ``start`` led to.
            head: The head after the block.
            key: Signs the head file.
            durable: Whether the block must be on stable storage.

        Raises:
            OSError: It could not be written; nothing of it is left.
        """
        if self._descriptor is None or self._end is None:
            raise AssertionError("start() comes first")
        if self._end == 0:
            # Before the first block of a file, durable or not: nobody can tell later whether it has been done.
            sync_folder(self._path)
        # Files are removed only when the record of it is sure to stay.
        durable = durable or bool(self._excess)
        done = False
        try:
            write_all(self._descriptor, block)
            if durable:
                _sync(self._descriptor)
            done = True
        finally:
            # Not an except clause: an interrupt from the keyboard must leave nothing either.
            if not done:
                self._take_back(self._descriptor, self._end)
        self._end += len(block)
        self._ending = block[-_COMPARED:]
        self._owes_sync = not durable
        self._settle(head, key, durable=durable)

    def sync(self, key: SealKey) -> None:
        """Bring to stable storage what this process wrote without that.

        Raises:
            OSError: It may not be there.
        """
        if self._descriptor is not None:
            _sync(self._descriptor)
        else:
            self._sync_by_name()
        self._owes_sync = False
        if self._note.is_as_left():
            # Nobody has written since, so all of the trail is there.
            self._synced = self._head.seq
            self._note.write(Note(head=self._head, synced=self._synced), key)
        self._note.forget()

    def forget(self) -> None:
        """Let go of the file; the next ``start`` looks at everything again."""
        self._note.forget()
        descriptor, self._descriptor, self._end, self._ending = self._descriptor, None, None, b""
        if descriptor is not None:
            os.close(descriptor)

    def after_fork(self) -> None:
        """Let go of the file in a forked child, which owes nothing of what its parent wrote."""
        self._owes_sync = False
        self.forget()

    def _leave(self) -> None:
        """Let go of a file that is no longer the one at the path, once what was written to it cannot be lost."""
        try:
            if self._owes_sync and self._descriptor is not None:
                _sync(self._descriptor)
                self._owes_sync = False
        finally:
            self.forget()

    def _sync_by_name(self) -> None:
        from strongroom_audit_jsonl.siblings import sibling_paths  # only after the file was closed or lost

        with suppress(FileNotFoundError):
            descriptor = open_private(self._path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        for sibling in sibling_paths(self._path):
            sync_file(sibling)

    def _is_as_left(self, size: int) -> bool:
        """Tell whether nobody has written since the last block; the size alone may be the same by chance."""
        if self._end != size:
            return False
        return os.pread(self._opened(), len(self._ending), size - len(self._ending)) == self._ending

    def _take_back(self, descriptor: int, end: int) -> None:
        with suppress(OSError):
            # A rotator may have emptied the file meanwhile: truncating would then fill it with NUL bytes.
            if os.fstat(descriptor).st_size > end:
                os.ftruncate(descriptor, end)
        with suppress(OSError):
            self._leave()

    def _settle(self, head: Head, key: SealKey, *, durable: bool) -> None:
        self._head = self._known = head
        self._synced = head.seq if durable else self._synced
        self._loss, self._cuts, self._pruned, self._is_searched = Loss(), (), (), True
        self._note.write(Note(head=head, synced=self._synced), key)
        for path in self._excess:
            with suppress(OSError):
                os.unlink(path)
        self._excess = ()

    def _open(self) -> int:
        """Make sure that the file at the path is the open one, and return its size."""
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            self._leave()
        else:
            if self._descriptor is not None and os.path.samestat(status, os.fstat(self._descriptor)):
                check_unwritable(status, self._path)
                return status.st_size
            self._leave()
        return self._reopen()

    def _reopen(self) -> int:
        flags = os.O_RDWR | os.O_APPEND
        try:
            self._descriptor = open_private(self._path, flags)
        except FileNotFoundError:
            self._descriptor = open_private(self._path, flags | os.O_CREAT | os.O_EXCL)
        status = os.fstat(self._descriptor)
        check_unwritable(status, self._path)
        return status.st_size

    def _catch_up(self, size: int, key: SealKey) -> None:
        """Read how the file ends, mend it, and compare it with what is known."""
        note = self._note.parsed(key)
        if note is not None:
            self._synced = max(self._synced, note.synced)
            self._known = max(self._known, note.head, key=lambda head: head.seq)
        tail = self._read(size)
        if tail.torn:
            self._cut(tail)
        self._end, self._ending = tail.end, b""
        if tail.head is None:
            self._follow_sibling(key, note)
        else:
            self._follow(tail, self._path, key, note)
            self._known = max(self._known, tail.head, key=lambda head: head.seq)
        if note is None and not self._note.is_known:
            # A key of the trail's own is made after its head file, so there was one.
            if self._head.seq or self._settings.key is None:
                self._loss = self._loss.because(_UNVOUCHED)
            else:
                self.begin(key)

    def _follow(self, tail: Tail, path: str, key: SealKey, note: Note | None) -> None:
        """Go on from where some file of the trail ends."""
        if tail.first is not None:
            from strongroom_audit_jsonl.ends import with_what_is_before  # a new file's first block was cut short

            tail = with_what_is_before(self._path, tail)
        self._head = tail.head or Head()
        self._loss = compare(tail, self._known, key)
        if note is not None and note.synced < self._head.seq and not self._is_searched:
            from strongroom_audit_jsonl.zeros import zeroed_lines  # only what was not synced can have been lost

            self._loss = without_pages(self._loss, zeroed_lines(path, note.synced))

    def _read(self, size: int) -> Tail:
        descriptor = self._opened()
        tail = read_tail(descriptor, size)
        if tail is not None and (tail.head is not None or tail.is_ours):
            return tail
        if tail is not None and self._known.seq and tail.torn.startswith(b"\0"):
            return tail
        from strongroom_audit_jsonl.ends import first_line  # most writes need no neighbours

        first = first_line(descriptor)
        if first is None and not self._known.seq:
            raise foreign(self._path)
        # Somebody has written into it. It stays as it is, for verification to find, and the trail goes on elsewhere.
        self._put_aside(first.seq if first else 0, damaged=True)
        return Tail()

    def _cut(self, tail: Tail) -> None:
        """Cut off a line that was torn; nobody was ever told that it had been recorded."""
        self._cuts = (*self._cuts, f"a torn line was cut off: {tail.describe_torn()}")
        os.ftruncate(self._opened(), tail.end)

    def _follow_sibling(self, key: SealKey, note: Note | None) -> None:
        """Let an empty file go on where the furthest of the other files ends."""
        from strongroom_audit_jsonl.ends import furthest_tail  # most writes need no neighbours
        from strongroom_audit_jsonl.siblings import has_compressed

        self._head, self._loss = self._known, Loss()
        found = furthest_tail(self._path, key)
        if found is None and not self._known.seq:
            found = furthest_tail(self._path, key, compressed=True)
        if found is None:
            return
        path, tail = found
        sync_file(path)
        if tail.head is None or (tail.head.seq < self._known.seq and has_compressed(self._path)):
            return
        self._follow(tail, path, key, note)
        if tail.torn:
            self._loss = self._loss.because(f"{os.path.basename(path)} ends in a torn line: {tail.describe_torn()}")

    def _rotate(self, key: SealKey) -> None:
        from strongroom_audit_jsonl.ends import first_line  # most writes need no neighbours

        first = first_line(self._opened())
        # The new file will rely on the end of this one, so that has to survive a power failure first.
        _sync(self._opened())
        self._owes_sync = False
        self._put_aside(first.seq if first else self._head.seq)
        self._end = 0
        if self._settings.keep_files is None:
            return
        from strongroom_audit_jsonl.retention import surplus

        found = surplus(self._path, self._settings.keep_files, self._head, key)
        self._excess = found.paths
        self._pruned = (pruned(found.upto, len(found.paths)),) if found.paths else ()

    def _put_aside(self, first_seq: int, *, damaged: bool = False) -> None:
        from strongroom_audit_jsonl.siblings import rotated_path  # most writes need no neighbours

        os.rename(self._path, rotated_path(self._path, first_seq, damaged=damaged))
        self._leave()
        self._reopen()

    def _marks(self) -> tuple[dict[str, Any], ...]:
        marks = [continued(self._head.seq)] if self._end == 0 and self._head.seq else []
        loss = self._loss.replace(reasons=(*self._cuts, *self._loss.reasons))
        if loss != Loss():
            marks.append(gap(loss))
        if loss.skipped:
            # On the first line, so that no number is given to two lines should the lost ones turn up again.
            marks[0]["skipped"] = loss.skipped
        return (*marks, *self._pruned)

    def _opened(self) -> int:
        if self._descriptor is None:
            raise AssertionError("the file has been opened before")
        return self._descriptor


def foreign(path: str) -> AuditError:
    """Return the error that refuses to touch a file that is none of ours."""
    return AuditError(f"{path} is not an audit file", hint="choose another path, or move it away")
