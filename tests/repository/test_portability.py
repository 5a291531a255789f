"""Nothing in the repository works on one machine only."""

import re

from pathlib import Path

from _workspace import ROOT
from sources import tracked_files, where

# The first two are those of whoever runs the tests; the rest is in pieces, so that this file does not find itself.
OF_ONE_MACHINE = {
    "the folder of this repository": rf"(?<![\w.]){re.escape(str(ROOT))}(?![\w-])",
    "the user's home folder": rf"(?<![\w.]){re.escape(str(Path.home()))}/\w",
    "the superuser's home folder": r"(?<![\w.$}~-])/" + r"root/\w",
    "a work folder of one machine": r"(?<![\w.$}~-])/(?:work|workspace|builds?|farm)/\w",
    "a folder beside the repository": r"(?<!\w)\.\./" + "shared",
    "a package index's address": r"https?://[^\s'\"<>]*/simple\b|(?:extra-)?index-" + "url" + r"\b\s*[= ]\s*\S",
    "a registry of packages": r"registry\s*=\s*[\"']" + "http",
    "a package index on this machine": r"(?:localhost|127\.0\.0\.1):\d+/(?:pypi|simple|root)",
}

BINARY = {".png", ".jpg", ".ico", ".gif", ".gz", ".woff2", ".db", ".svg"}


def test_no_file_names_a_place_on_one_machine() -> None:
    found = []
    for file in tracked_files():
        if file.suffix in BINARY or file == Path(__file__):
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            found += [
                f"{where(file, number)} names {what}"
                for what, pattern in OF_ONE_MACHINE.items()
                if re.search(pattern, line)
            ]
    assert found == []


def test_no_lock_file_is_kept() -> None:
    """Lock files record the index that they were made with; ``constraints.txt`` holds names and versions only."""
    kept = [
        file.relative_to(ROOT)
        for file in tracked_files()
        if file.name in {"uv.lock", "poetry.lock", "package-lock.json", "pylock.toml"}
    ]
    assert kept == []


def test_scripts_are_executable_and_for_any_posix_shell() -> None:
    for name in ("test", "quickstart", "pin"):
        script = ROOT / "script" / name
        assert script.stat().st_mode & 0o111, name
        assert script.read_text().startswith("#!/bin/sh\n"), name
