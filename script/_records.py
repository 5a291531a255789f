"""The records of the public API: where they lie, how they are written, read and compared."""

from __future__ import annotations

import sys

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from _compatible import Difference, differences
from _workspace import ROOT, metadata

FOLDER: Final = ROOT / "docs/reference/public-api"
CURRENT: Final = FOLDER / "current.txt"
HEAD: Final = """\
# Made by script/api: a fact a line, its key up to the first colon and blank. What may change when is in
# docs/adr/0031-what-may-change-when.md.
"""


def facts() -> dict[str, str]:
    """Return what is true of the code as it is now."""
    # Imported here: to compare two records, nothing of ours need be installed.
    from _api import python_facts
    from _facts import other_facts

    return python_facts() | other_facts()


def text_of(found: Mapping[str, str]) -> str:
    """Return a record's text."""
    return HEAD + "".join(f"{key}: {found[key]}\n" for key in sorted(found))


def read(file: Path) -> dict[str, str]:
    """Return the facts of a record."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {key: fact for key, _, fact in (line.partition(": ") for line in lines)}


def releases(major: int) -> list[Path]:
    """Return the records of the releases of a major version, oldest first."""
    found = [file for file in FOLDER.glob(f"{major}.*.txt") if file.stem.split(".")[1].isdigit()]
    return sorted(found, key=lambda file: int(file.stem.split(".")[1]))


def broken_promises(current: Mapping[str, str], records: list[Path]) -> list[str]:
    """Return what has changed since a release and may not before the next major version."""
    found: dict[str, Difference] = {}
    for record in records:
        found |= {one.key: one for one in differences(read(record), current) if one.problem}
    return list(map(str, found.values()))


def major_version() -> int:
    """Return the major version that the core is at."""
    version: str = metadata(ROOT / "core")["project"]["version"]
    return int(version.partition(".")[0])


def main(arguments: list[str]) -> int:
    """Do what ``script/api`` was asked for, and return the exit status."""
    match arguments:
        case []:
            CURRENT.parent.mkdir(exist_ok=True)
            CURRENT.write_text(text_of(facts()))
            print(f"{CURRENT.relative_to(ROOT)} is written")
            return 0
        case ["--check"]:
            return check()
        case ["--release", release]:
            return keep(release)
    sys.exit(f"script/api: expected nothing, --check or --release MAJOR.MINOR, not {' '.join(arguments)}")


def check() -> int:
    """Print what is not recorded, and what breaks a promise; return 1 if anything does."""
    now = facts()
    unrecorded = differences(read(CURRENT), now)
    print("\n".join(map(str, unrecorded)) or "everything is recorded")
    broken = broken_promises(now, releases(major_version()))
    if broken:
        print("\nSince a release of this major version, these have changed and may not:\n" + "\n".join(broken))
    return 1 if unrecorded or broken else 0


def keep(release: str) -> int:
    """Keep the current record as that of a release.

    Args:
        release: Its major and minor version; a patch changes nothing that is recorded.
    """
    file = FOLDER / f"{release}.txt"
    if file.exists():
        sys.exit(f"script/api: {file.relative_to(ROOT)} is there already: what was released does not change")
    file.write_text(CURRENT.read_text())
    print(f"{file.relative_to(ROOT)} is written")
    return 0
