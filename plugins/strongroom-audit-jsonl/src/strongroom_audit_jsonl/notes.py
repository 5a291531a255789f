"""The head file: where the trail stood, in case the audit file itself is gone or shortened.

It is written after each block and not synced with it. An older note costs
nothing but the chance to notice, so whatever goes wrong here is passed over; a
missing one is told by the trail, because then nobody can vouch for its end.
"""

from __future__ import annotations

import errno
import hmac
import os

from contextlib import suppress

from strongroom.contracts import Record
from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head


class Note(Record):
    """What the head file says."""

    head: Head
    synced: int = 0
    """Up to which line all had been synced, so that no power failure explains their absence."""


class HeadFile:
    """The head file as this process last left it.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._found = b""
        self._left: bytes | None = None
        self.is_kept = True
        """Whether the last note could be written."""

    def is_as_left(self) -> bool:
        """Look at the file, and tell whether it holds what this process left there."""
        self.forget()
        try:
            self._descriptor = open_private(self._path, os.O_RDWR)
            self._found = os.pread(self._descriptor, 4096, 0)
        except OSError:
            self._found = note_content(self._path)
        return self._found == self._left

    def parsed(self, key: SealKey) -> Note | None:
        """Return what it said at the last look; ``None`` if that was not genuine."""
        return parse_note(self._found, key)

    @property
    def is_known(self) -> bool:
        """Whether the trail has told before that it holds this."""
        return self._found == self._left

    def make(self, note: Note, key: SealKey) -> None:
        """Write the first note.

        Raises:
            OSError: That is not possible; nothing of it is left.
        """
        self._put(_signed(note, key))
        self.forget()

    def write(self, note: Note, key: SealKey) -> None:
        """Write a note, if that is possible."""
        try:
            self._put(_signed(note, key))
        except OSError:
            # The trail has told what is wrong with it, and need not do so with each block.
            self._left, self.is_kept = self._found, False
        self.forget()

    def forget(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # What the note tells of has been recorded, whatever becomes of the note.
            with suppress(OSError):
                os.close(descriptor)

    def _put(self, content: bytes) -> None:
        if self._descriptor is None:
            self._descriptor = open_private(self._path, os.O_WRONLY | os.O_CREAT)
        if os.pwrite(self._descriptor, content, 0) < len(content):
            self._take_back(self._descriptor)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        if len(self._found) < len(content):
            # Once in a file's life: a power failure may take a note, but not all that there is.
            os.fsync(self._descriptor)
        self._left, self.is_kept = content, True

    def _take_back(self, descriptor: int) -> None:
        with suppress(OSError):
            os.pwrite(descriptor, self._found, 0)
            os.ftruncate(descriptor, len(self._found))


def note_content(path: str) -> bytes:
    """Return what the head file holds; nothing if it is missing or cannot be read."""
    try:
        descriptor = open_private(path, os.O_RDONLY)
        try:
            return os.read(descriptor, 4096)
        finally:
            os.close(descriptor)
    except OSError:
        return b""


def parse_note(content: bytes, key: SealKey | None) -> Note | None:
    """Return what a head file says; ``None`` if it is empty, torn or not signed with the key.

    Args:
        content: What ``note_content`` returned.
        key: The trail's key; ``None`` to believe the note without it.
    """
    text, _, code = content.decode("ascii", "replace").strip().rpartition(" ")
    if key is not None and not hmac.compare_digest(code.encode(), key.sign_head(text.encode()).encode()):
        return None
    return _parsed(text)


def _signed(note: Note, key: SealKey) -> bytes:
    # Always the same length and overwritten in place, so that the file is never empty.
    text = _text(note)
    return f"{text} {key.sign_head(text.encode())}\n".encode()


def _text(note: Note) -> str:
    return f"{note.head.seq:020d} {note.head.digest.hex()} {note.synced:020d}"


def _parsed(text: str) -> Note | None:
    try:
        seq, digest, synced = text.split(" ")
        note = Note(head=Head(seq=int(seq), digest=bytes.fromhex(digest)), synced=int(synced))
    except ValueError:
        return None
    return note if _text(note) == text else None
