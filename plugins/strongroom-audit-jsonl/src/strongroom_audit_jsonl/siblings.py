"""The files that lie beside the audit file and belong to its trail."""

from __future__ import annotations

import os

from typing import Final

from strongroom_audit_jsonl.access import open_private
from strongroom_audit_jsonl.lines import Line, parse
from strongroom_audit_jsonl.tail import Tail, read_tail, tail_of

_OWN: Final = ".from-"
_DAMAGED: Final = ".damaged-"
_KEPT: Final = 1 << 20
_AUXILIARY: Final = (".lock", ".key", ".key.new", ".head")


def rotated_path(path: str, first_seq: int, *, damaged: bool = False) -> str:
    """Return a free name for a file that is put aside.

    No external rotator makes such names, and they sort in the order of their lines.
    """
    wanted = f"{path}{_DAMAGED if damaged else _OWN}{first_seq:012d}"
    name, attempt = wanted, 1
    while os.path.lexists(name):
        attempt += 1
        name = f"{wanted}-{attempt}"
    return name


def rotated_files(path: str) -> list[tuple[int, str]]:
    """Return the number of the first line and the path of each file that was put aside for its size."""
    found = []
    for sibling in sibling_paths(path):
        digits = sibling[len(path) + len(_OWN) :].partition("-")[0]
        if sibling.startswith(path + _OWN) and digits.isdecimal():
            found.append((int(digits), sibling))
    return sorted(found)


def sibling_paths(path: str) -> list[str]:
    """Return the paths of files beside the audit file whose names begin with its name.

    Raises:
        OSError: The folder cannot be listed.
    """
    folder, name = os.path.split(path)
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if _may_belong(entry, name))


def listing(path: str) -> dict[str, int]:
    """Return the audit file and those beside it, and which files they are whatever their names.

    Raises:
        OSError: The folder cannot be listed.
    """
    folder, name = os.path.split(path)
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name == name or _may_belong(entry, name)]
        return {entry.path: entry.inode() for entry in sorted(found, key=lambda entry: entry.name)}


def _may_belong(entry: os.DirEntry[str], name: str) -> bool:
    rest = entry.name[len(name) :]
    return (
        entry.name.startswith((f"{name}.", f"{name}-"))
        and not rest.startswith(_AUXILIARY)
        and entry.is_file(follow_symlinks=False)
    )


def is_named_as_rotated(path: str, sibling: str) -> bool:
    """Tell whether a name alone says that a file was rotated: by us, by number or by date."""
    rest = sibling[len(path) :]
    return rest.startswith((_OWN, _DAMAGED)) or rest.removesuffix(".gz")[1:].replace("-", "").isdecimal()


def first_line(descriptor: int) -> Line | None:
    """Return a file's first line, if it is one of a trail.

    Raises:
        OSError: The file cannot be read.
    """
    raw, newline, _ = os.pread(descriptor, 1 << 20, 0).partition(b"\n")
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


def has_compressed(path: str) -> bool:
    """Tell whether a rotator has compressed files of the trail.

    Raises:
        OSError: The folder cannot be listed.
    """
    return any(sibling.endswith(".gz") for sibling in sibling_paths(path))


def furthest_tail(path: str, *, compressed: bool = False) -> tuple[str, Tail] | None:
    """Return the sibling with the highest line number, and how it ends.

    Args:
        path: The audit file.
        compressed: Whether to look at compressed files instead, which takes a second or so each.

    Raises:
        OSError: The folder cannot be listed.
    """
    paths = [sibling for sibling in sibling_paths(path) if sibling.endswith(".gz") == compressed]
    tails = [(sibling, _tail_of_compressed(sibling) if compressed else _tail_of(sibling)) for sibling in paths]
    ours = [(tail.head.seq, sibling, tail) for sibling, tail in tails if tail is not None and tail.head is not None]
    return max(ours, key=lambda found: found[:2])[1:] if ours else None


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
    import gzip  # the one process that needs it has lost all other traces of the trail
    import zlib

    end = b""
    try:
        with gzip.open(path) as content:
            while chunk := content.read(_KEPT):
                end = (end + chunk)[-_KEPT:]
    except (OSError, EOFError, zlib.error):
        return None  # Verification will say that it cannot be read.
    return tail_of(end)
