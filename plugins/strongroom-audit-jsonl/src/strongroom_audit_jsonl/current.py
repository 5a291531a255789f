"""The file that is being written: found again, mended, continued and rotated.

Everything here runs under the trail's lock.
"""

from __future__ import annotations

import os

from contextlib import suppress
from typing import Any, Final

from strongroom.errors import AuditError
from strongroom_audit_jsonl.access import check_unwritable, open_private, sync_file, sync_folder, write_all
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head, Start
from strongroom_audit_jsonl.marks import Loss, continued, gap, pruned
from strongroom_audit_jsonl.notes import Note, note_content, parse_note, write_note
from strongroom_audit_jsonl.tail import Tail, read_tail

# More than the chain value and the seal of a line.
_COMPARED: Final = 160

# Without the file's times, which nothing here depends on, one journal commit less.
_sync = getattr(os, "fdatasync", os.fsync)


class CurrentFile:
    """Knows where the audit file ends, and appends to it.

    Args:
        path: The audit file.
        max_bytes: From which size on it is put aside; ``None`` for never.
        keep_files: How many files put aside are kept; ``None`` for all.
    """

    def __init__(self, path: str, max_bytes: int | None, keep_files: int | None) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep_files = keep_files
        self._descriptor: int | None = None
        self._end: int | None = None
        self._ending = b""
        self._head = Head()
        # What this process has seen written. It outlives failures, forks and the file itself.
        self._known = Head()
        self._loss = Loss()
        # Torn lines that were cut off, but whose record has not been written yet.
        self._cuts: tuple[str, ...] = ()
        self._pruned: tuple[dict[str, Any], ...] = ()
        self._excess: list[str] = []

    def start(self, key: SealKey) -> Start:
        """Bring everything up to date with what others did, and return where the next block begins.

        Raises:
            AuditError: What lies at the path is not an audit file, or others may write to it.
            OSError: The file cannot be opened, read or mended.
        """
        size = self._open()
        if not self._is_as_left(size):
            self._catch_up(size, key)
        if self._max_bytes is not None and self._end is not None and self._end >= self._max_bytes:
            self._rotate()
        return Start(head=self._head, new_file=self._end == 0, marks=self._marks())

    def append(self, block: bytes, note: Note, key: SealKey) -> None:
        """Write a block whole or not at all.

        Args:
            block: What ``start`` led to.
            note: The head after the block, and whether it must be on stable storage.
            key: Signs the head file.

        Raises:
            OSError: It could not be written; nothing of it is left.
        """
        if self._descriptor is None or self._end is None:
            raise AssertionError("start() comes first")
        if self._end == 0:
            # Before the first block of a file, durable or not: nobody can tell later whether it has been done.
            sync_folder(self._path)
        done = False
        try:
            write_all(self._descriptor, block)
            if note.durable:
                _sync(self._descriptor)
            done = True
        finally:
            # Not an except clause: an interrupt from the keyboard must leave nothing either.
            if not done:
                self._take_back(self._descriptor, self._end)
        self._end += len(block)
        self._ending = block[-_COMPARED:]
        self._settle(note, key)

    def forget(self) -> None:
        """Let go of the file; the next ``start`` looks at everything again."""
        descriptor, self._descriptor, self._end, self._ending = self._descriptor, None, None, b""
        if descriptor is not None:
            os.close(descriptor)

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
        self.forget()

    def _settle(self, note: Note, key: SealKey) -> None:
        self._head = self._known = note.head
        self._loss, self._cuts, self._pruned = Loss(), (), ()
        write_note(f"{self._path}.head", note, key)
        for path in self._excess:
            with suppress(OSError):
                os.unlink(path)
        self._excess = []

    def _open(self) -> int:
        """Make sure that the file at the path is the open one, and return its size."""
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            self.forget()
        else:
            if self._descriptor is not None and os.path.samestat(status, os.fstat(self._descriptor)):
                check_unwritable(status, self._path)
                return status.st_size
            self.forget()
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
        note = parse_note(note_content(f"{self._path}.head"), key)
        if note is not None and note.head.seq > self._known.seq:
            self._known = note.head
        tail = self._read(size)
        if tail.torn:
            self._cut(tail)
        self._end, self._ending = tail.end, b""
        if tail.head is None:
            self._follow_sibling()
        else:
            self._head = tail.head
            self._loss = _loss(tail, self._known)
            self._known = max(self._known, tail.head, key=lambda head: head.seq)

    def _read(self, size: int) -> Tail:
        descriptor = self._opened()
        tail = read_tail(descriptor, size)
        if tail is not None and (tail.head is not None or tail.is_ours):
            return tail
        from strongroom_audit_jsonl.siblings import first_line  # most writes need no neighbours

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

    def _follow_sibling(self) -> None:
        """Let an empty file go on where the furthest of the other files ends."""
        from strongroom_audit_jsonl.siblings import furthest_tail, has_compressed  # most writes need no neighbours

        self._head, self._loss = self._known, Loss()
        found = furthest_tail(self._path)
        if found is None and not self._known.seq:
            found = furthest_tail(self._path, compressed=True)
        if found is None:
            return
        path, tail = found
        sync_file(path)
        if tail.head is None or (tail.head.seq < self._known.seq and has_compressed(self._path)):
            return
        self._head = tail.head
        self._loss = _loss(tail, self._known)
        if tail.torn:
            torn = f"{os.path.basename(path)} ends in a torn line: {tail.describe_torn()}"
            self._loss = self._loss.replace(reasons=(*self._loss.reasons, torn))

    def _rotate(self) -> None:
        from strongroom_audit_jsonl.siblings import first_line, rotated_files  # most writes need no neighbours

        first = first_line(self._opened())
        # The new file will rely on the end of this one, so that has to survive a power failure first.
        _sync(self._opened())
        self._put_aside(first.seq if first else self._head.seq)
        self._end = 0
        if self._keep_files is None:
            return
        files = rotated_files(self._path)
        excess, kept = files[: -self._keep_files], files[-self._keep_files :]
        self._excess = [path for _, path in excess]
        self._pruned = (pruned(kept[0][0] - 1, len(excess)),) if excess else ()

    def _put_aside(self, first_seq: int, *, damaged: bool = False) -> None:
        from strongroom_audit_jsonl.siblings import rotated_path  # most writes need no neighbours

        os.rename(self._path, rotated_path(self._path, first_seq, damaged=damaged))
        self.forget()
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


def _loss(tail: Tail, known: Head) -> Loss:
    """Compare how a file ends with what is known to have been written."""
    found = tail.head or Head()
    reasons = []
    skipped = max(0, known.seq - found.seq)
    if skipped:
        lost = f"lines {found.seq + 1} to {known.seq} (head {known.digest.hex()})"
        reasons.append(f"{lost}, which had been written, are gone")
    if found.seq == known.seq and found.digest != known.digest:
        reasons.append(f"line {found.seq} is not the one that had been written")
    if tail.unsealed:
        reasons.append(f"the last {tail.unsealed} lines before this one have no seal")
    return Loss(skipped=skipped, unsealed=tail.unsealed, reasons=tuple(reasons))
