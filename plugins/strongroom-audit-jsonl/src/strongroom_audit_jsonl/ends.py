"""How the files that lie beside the audit file begin and end, for a writer that needs to know."""

from __future__ import annotations

import os

from typing import Final

from strongroom.errors import AuditError
from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Line, is_genuine, parse
from strongroom_audit_jsonl.siblings import is_named_as_rotated, sibling_paths
from strongroom_audit_jsonl.tail import Tail, read_tail, tail_of

_KEPT: Final = 1 << 20
_MOST: Final = 1 << 28
"""How much of a compressed file is read, in bytes, while other writers wait."""


def first_line(descriptor: int) -> Line | None:
    """Return a file's first line, if it is one of a trail.

    Raises:
        OSError: The file cannot be read.
    """
    raw, newline, _ = os.pread(descriptor, _KEPT, 0).partition(b"\n")
    return parse(raw) if newline else None


def begins_like_a_trail(path: str) -> bool:
    """Tell whether a file's first line is one of a trail.

    Raises:
        OSError: The file cannot be read.
    """
    descriptor = open_private(path, os.O_RDONLY)
    try:
        return first_line(descriptor) is not None
    finally:
        os.close(descriptor)


def sibling_with_lines(path: str) -> str | None:
    """Return a file beside the audit file that holds lines of a trail, or may hold some.

    Raises:
        OSError: The folder cannot be listed.
    """
    for sibling in sibling_paths(path):
        if sibling.endswith(".gz"):
            content = _compressed(sibling, _KEPT)
            if content is None and is_named_as_rotated(path, sibling):
                return sibling
            if content and any(map(parse, content.split(b"\n"))):
                return sibling
        elif (tail := _tail_of(sibling)) is not None and tail.head is not None:
            return sibling
    return None


def furthest_tail(path: str, key: SealKey | None = None, *, compressed: bool = False) -> tuple[str, Tail] | None:
    """Return the sibling with the highest line number, and how it ends.

    Args:
        path: The audit file.
        key: Prefer files that are sealed with it to others, which anybody may have made.
        compressed: Whether to look at compressed files instead, which takes a second or so each.

    Raises:
        AuditError: A compressed file is too large to be read while others wait.
        OSError: The folder cannot be listed.
    """
    ours: list[tuple[tuple[bool, int, str], Tail]] = []
    for sibling, tail in _tails(path, compressed=compressed):
        if tail is not None and tail.head is not None:
            ours.append(((_is_proven(path, tail, key), tail.head.seq, sibling), tail))
    if not ours:
        return None
    (_, _, sibling), tail = max(ours, key=lambda found: found[0])
    return sibling, tail


def _is_proven(path: str, tail: Tail, key: SealKey | None) -> bool:
    if key is None:
        return False
    sealed = with_what_is_before(path, tail).sealed
    return sealed is not None and is_genuine(sealed, key)


def with_what_is_before(path: str, tail: Tail) -> Tail:
    """Add to how a file ends, if it has no seal at all, what the file before it ends with.

    Raises:
        AuditError: A compressed file is too large to be read while others wait.
        OSError: The folder cannot be listed.
    """
    seen: set[str] = set()
    while tail.first is not None and "prev" in tail.first.fields:
        found = _ending_with(path, str(tail.first.fields["prev"]), seen)
        if found is None:
            break
        tail = tail.replace(unsealed=tail.unsealed + found.unsealed, sealed=found.sealed, first=found.first)
    return tail


def _ending_with(path: str, digest: str, seen: set[str]) -> Tail | None:
    """Return how the file ends whose last line has this chain value."""
    if digest in seen:
        return None
    seen.add(digest)
    for compressed in (False, True):
        for _, tail in _tails(path, compressed=compressed):
            if tail is not None and tail.head is not None and tail.head.digest.hex() == digest:
                return tail
    return None


def _tails(path: str, *, compressed: bool) -> list[tuple[str, Tail | None]]:
    paths = [sibling for sibling in sibling_paths(path) if sibling.endswith(".gz") == compressed]
    return [(sibling, _tail_of_compressed(sibling) if compressed else _tail_of(sibling)) for sibling in paths]


def _tail_of(path: str) -> Tail | None:
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except OSError:
        return None  # Verification will say that it cannot be read.
    try:
        return read_tail(descriptor, os.fstat(descriptor).st_size, lenient=True)
    finally:
        os.close(descriptor)


def _tail_of_compressed(path: str) -> Tail | None:
    beginning = _compressed(path, _KEPT)
    if not beginning or not any(map(parse, beginning.split(b"\n"))):
        return None
    content = _compressed(path, _MOST, keep=_KEPT)
    return tail_of(content) if content else None


def _compressed(path: str, most: int, *, keep: int | None = None) -> bytes | None:
    """Return the content of a compressed file; ``None`` if it cannot be read, as verification will say.

    Args:
        path: The file.
        most: How much of it to read, in bytes.
        keep: Read to the end, which must not be further than ``most``, and return that much of the end.

    Raises:
        AuditError: The end is further.
    """
    import gzip  # the one process that needs it has lost all other traces of the trail
    import zlib

    kept, read = b"", 0
    try:
        with os.fdopen(open_private(path, os.O_RDONLY), "rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as content:
            while read < most and (chunk := content.read(_KEPT)):
                read += len(chunk)
                kept = kept + chunk if keep is None else (kept + chunk)[-keep:]
    except (OSError, EOFError, zlib.error):
        return None
    if keep is not None and read >= most:
        raise AuditError(
            f"the end of the audit trail has to be sought in {path}, which is too large",
            hint="bring the head file back, or decompress that file",
        )
    return kept
