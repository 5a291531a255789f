"""Fragments become a section of a changelog: one list for each type, in the order of the fragments' names."""

import re

from pathlib import Path

TYPES = ("added", "changed", "deprecated", "removed", "fixed", "security")
KEPT = ".gitkeep"


def fragments(folder: Path) -> list[Path]:
    """Return the fragments of the distribution in *folder*, sorted by name."""
    return sorted(file for file in (folder / "changelog.d").iterdir() if file.name != KEPT)


def section(version: str, date: str, files: list[Path]) -> str:
    """Return the section of a version.

    Args:
        version: The version that is released.
        date: The day, as ISO 8601 writes it.
        files: Its fragments.
    """
    lines = [f"## {version} ({date})", ""]
    for kind in TYPES:
        texts = [file.read_text().strip() for file in files if file.name.split(".")[-2] == kind]
        if texts:
            lines += [f"### {kind.capitalize()}", "", *(f"- {_indented(text)}" for text in texts), ""]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return re.sub(r"\n(?!\n)", "\n  ", text)


def has_section(folder: Path, version: str) -> bool:
    """Return whether the changelog has a section of that version."""
    return re.search(rf"^## {re.escape(version)} ", (folder / "CHANGELOG.md").read_text(), re.M) is not None


def gather(folder: Path, version: str, date: str) -> bool:
    """Put the fragments into the changelog, above the versions before, and remove them; return whether there was one.

    A run that was interrupted between the two is taken up: fragments that the section has already are only removed.
    """
    files = fragments(folder)
    if not files:
        return False
    changelog = folder / "CHANGELOG.md"
    text = changelog.read_text()
    if not has_section(folder, version):
        head, mark, older = text.partition("\n## ")
        changelog.write_text(f"{head.rstrip()}\n\n{section(version, date, files)}{mark}{older}".rstrip() + "\n")
    else:
        missing = [file.name for file in files if f"- {_indented(file.read_text().strip())}\n" not in f"{text}\n"]
        if missing:
            raise SystemExit(
                f"{changelog} has {version} already, without {', '.join(missing)}: choose a higher version"
            )
    for file in files:
        file.unlink()
    (folder / "changelog.d" / KEPT).touch()
    return True
