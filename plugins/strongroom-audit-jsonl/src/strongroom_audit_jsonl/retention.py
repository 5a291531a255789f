"""Which of the files that were put aside ``keep_files`` removes.

The removal is recorded under a seal, so nothing that others may have put into
the folder must count: neither a name nor content that the key did not seal.
"""

from __future__ import annotations

import os

from typing import BinaryIO, Final

from strongroom.contracts import Record
from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import LONGEST, Head, Line, is_genuine, link, parse, stated_digest
from strongroom_audit_jsonl.siblings import rotated_files
from strongroom_audit_jsonl.tail import read_tail

_SEARCHED: Final = 4 * LONGEST


class Surplus(Record):
    """What is to be removed."""

    upto: int = 0
    """The number of the last line that goes."""
    paths: tuple[str, ...] = ()


class _Aside(Record):
    first: Line
    last: int
    path: str


def surplus(path: str, keep: int, head: Head, key: SealKey) -> Surplus:
    """Return which files are more than are to be kept.

    Args:
        path: The audit file.
        keep: How many files that were put aside for their size are kept.
        head: Where the trail stands.
        key: The trail's key. Files that another one sealed are neither counted nor removed.

    Raises:
        OSError: The folder cannot be listed.
    """
    found = [file for number, sibling in rotated_files(path) if (file := _examine(sibling, number, head, key))]
    # A copy of a file is no further file.
    numbers = sorted({file.first.seq for file in found})
    if len(numbers) <= keep:
        return Surplus()
    upto = min(file.first.before for file in found if file.first.seq == numbers[-keep])
    paths = tuple(file.path for file in found if file.first.seq < numbers[-keep] and file.last <= upto)
    return Surplus(upto=upto, paths=paths) if paths else Surplus()


def _examine(path: str, number: int, head: Head, key: SealKey) -> _Aside | None:
    """Return what a file holds, if its beginning and its end are the trail's and its name is right."""
    try:
        with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
            first = _proven_first(file, key)
            tail = read_tail(file.fileno(), os.fstat(file.fileno()).st_size)
    except OSError:
        return None  # It stays; verification will say that it cannot be read.
    if first is None or first.seq != number or tail is None or tail.head is None or tail.sealed is None:
        return None
    if tail.head.seq > head.seq or not is_genuine(tail.sealed, key):
        return None
    return _Aside(first=first, last=tail.head.seq, path=path)


def _proven_first(file: BinaryIO, key: SealKey) -> Line | None:
    """Return a file's first line, if the first seal after it is genuine and so covers it."""
    first, digest = None, b""
    while file.tell() < _SEARCHED:
        raw = file.readline(LONGEST)
        line = parse(raw[:-1]) if raw.endswith(b"\n") else None
        if line is None:
            return None
        if first is None:
            first, digest = line, stated_digest(line.fields.get("prev")) or b""
        digest = link(digest, line.body)
        if digest != line.digest:
            return None
        if line.seal:
            return first if is_genuine(line, key) else None
    return None
