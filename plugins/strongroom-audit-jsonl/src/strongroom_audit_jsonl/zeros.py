"""Pages that a power failure kept from the disk: they read as NUL bytes, in the middle of lines."""

from __future__ import annotations

import os

from typing import Final

from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.lines import parse

_WINDOW: Final = 1 << 16
_MOST: Final = 1 << 26

Range = tuple[int, int]
"""The first and the last of some lines, by their numbers."""


def zeroed_lines(path: str, synced: int) -> tuple[Range, ...]:
    """Return which lines cannot be read because a page was not written before the power failed.

    Args:
        path: The file.
        synced: Lines up to this one had been synced, so for theirs there must be another reason.

    Raises:
        OSError: The file cannot be read.
    """
    descriptor = open_private(path, os.O_RDONLY)
    try:
        content = _not_synced(descriptor, os.fstat(descriptor).st_size, synced)
    finally:
        os.close(descriptor)
    return tuple(found for found in _gaps(content, synced) if found[0] > synced) if b"\0" in content else ()


def _not_synced(descriptor: int, size: int, synced: int) -> bytes:
    """Return the end of a file, from a line on that had been synced; a limit keeps other writers from waiting long."""
    window = _WINDOW
    while True:
        start = max(0, size - window)
        content = os.pread(descriptor, size - start, start)
        if start:
            content = content.partition(b"\n")[2]
        if not start or window >= _MOST or _first_number(content) <= synced:
            return content
        window *= 8


def _first_number(content: bytes) -> int:
    line = parse(content.partition(b"\n")[0])
    return line.seq if line else 1 << 62


def _gaps(content: bytes, before: int) -> list[Range]:
    gaps = []
    is_open = False
    for raw in content.split(b"\n")[:-1]:
        line = parse(raw)
        if line is None:
            is_open = is_open or b"\0" in raw
            continue
        if is_open:
            gaps.append((before + 1, line.before))
        before, is_open = line.seq, False
    return gaps
