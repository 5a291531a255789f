"""The head file: where the trail stood, in case the audit file itself is gone or shortened.

It is written after each block and never synced. A lost or older note costs
nothing but the chance to notice, so whatever goes wrong here is passed over.
"""

from __future__ import annotations

import hmac
import os

from contextlib import suppress
from typing import Final

from strongroom.contracts import Record
from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head

_DURABLE: Final = "durable"
_WRITTEN: Final = "written"


class Note(Record):
    """What the head file says."""

    head: Head
    durable: bool
    """Whether the lines up to there had been synced, so that no power failure explains their absence."""


def write_note(path: str, note: Note, key: SealKey) -> None:
    """Write the head file, if that is possible."""
    text = _text(note)
    # Always the same length and overwritten in place, so that the file is never empty.
    content = f"{text} {key.sign_head(text.encode())}\n".encode()
    with suppress(OSError):
        descriptor = open_private(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(descriptor, content, 0)
        finally:
            os.close(descriptor)


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


def _text(note: Note) -> str:
    return f"{note.head.seq:020d} {note.head.digest.hex()} {_DURABLE if note.durable else _WRITTEN}"


def _parsed(text: str) -> Note | None:
    try:
        seq, digest, state = text.split(" ")
        note = Note(head=Head(seq=int(seq), digest=bytes.fromhex(digest)), durable=state == _DURABLE)
    except ValueError:
        return None
    return note if _text(note) == text else None
