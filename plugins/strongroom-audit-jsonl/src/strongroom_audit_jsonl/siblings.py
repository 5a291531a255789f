"""The files that lie beside the audit file and belong to its trail, by their names."""

from __future__ import annotations

import os

from typing import Final

_OWN: Final = ".from-"
_DAMAGED: Final = ".damaged-"
_AUXILIARY: Final = (".lock", ".key", ".key.new", ".head")
# Whatever has one of these beside it is a trail of its own.
_PROOFS: Final = (".lock", ".key", ".head")


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
    """Return the number and the path of each file whose name says that it was put aside for its size.

    Raises:
        OSError: The folder cannot be listed.
    """
    found = []
    for sibling in sibling_paths(path):
        digits = sibling[len(path) + len(_OWN) :].partition("-")[0]
        # Longer ones are none of ours, and may be too long to be taken for a number.
        if sibling.startswith(path + _OWN) and digits.isdecimal() and len(digits) < 20:
            found.append((int(digits), sibling))
    return sorted(found)


def sibling_paths(path: str) -> list[str]:
    """Return the paths of files beside the audit file whose names begin with its name.

    Raises:
        OSError: The folder cannot be listed.
    """
    return [sibling for sibling in listing(path) if sibling != path]


def listing(path: str) -> dict[str, int]:
    """Return the audit file and those beside it, and which files they are whatever their names.

    Raises:
        OSError: The folder cannot be listed.
    """
    folder, name = os.path.split(path)
    with os.scandir(folder) as entries:
        near = [entry for entry in entries if _is_named_after(entry.name, name)]
    others = _other_trails(name, [entry.name for entry in near])
    found = [entry for entry in near if entry.name == name or _may_belong(entry, name, others)]
    return {entry.path: entry.inode() for entry in sorted(found, key=lambda entry: entry.name)}


def is_named_as_rotated(path: str, sibling: str) -> bool:
    """Tell whether a name alone says that a file was rotated: by us, by number or by date."""
    rest = sibling[len(path) :]
    return rest.startswith((_OWN, _DAMAGED)) or rest.removesuffix(".gz")[1:].replace("-", "").isdecimal()


def has_compressed(path: str) -> bool:
    """Tell whether a rotator has compressed files of the trail.

    Raises:
        OSError: The folder cannot be listed.
    """
    return any(sibling.endswith(".gz") for sibling in sibling_paths(path))


def _is_named_after(entry: str, name: str) -> bool:
    return entry == name or entry.startswith((f"{name}.", f"{name}-"))


def _other_trails(name: str, entries: list[str]) -> list[str]:
    """Return the names of other trails that begin as this one's does, such as ``audit.jsonl`` beside ``audit``."""
    proven = {entry.removesuffix(proof) for entry in entries for proof in _PROOFS if entry.endswith(proof)}
    return sorted(proven - {name})


def _may_belong(entry: os.DirEntry[str], name: str, others: list[str]) -> bool:
    return (
        not entry.name[len(name) :].startswith(_AUXILIARY)
        and not any(_is_named_after(entry.name, other) for other in others)
        and entry.is_file(follow_symlinks=False)
    )
