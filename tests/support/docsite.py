"""The documentation as a site, built once in a run of the tests, and its pages taken apart."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys

from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from _workspace import ROOT
from sources import tracked_files

LOADING = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src", "object": "data"}
"""By element: the attribute that a browser fetches something for."""


def run(target: Path, *, root: Path = ROOT, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Build the site of the repository in *root*; return how that ended.

    Args:
        target: The folder to make.
        root: The repository, or a copy of it.
        env: Variables to add.
    """
    line = [sys.executable, str(root / "docs/site/build.py"), str(target)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STRONGROOM_")}
    return subprocess.run(
        line, capture_output=True, text=True, timeout=280, check=False, cwd=root, env=environment | (env or {})
    )


def build(target: Path, *, root: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Build the site as :func:`run` does, and fail if anything was warned of."""
    done = run(target, root=root, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def built_once(factory: pytest.TempPathFactory) -> Path:
    """Build the site, or wait until another process of this run has; return its folder."""
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "site").exists():
            build(shared / "site")
    return shared / "site"


def copy_of_the_repository(target: Path) -> Path:
    """Copy what git has of the repository, with other times and modes; return the copy."""
    for file in tracked_files():
        copy = target / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        copy.chmod(0o600)
        os.utime(copy, (0, 1_000_000_000))
    return target


@dataclass
class Document:
    """What is in a page.

    Attributes:
        ids: The anchors.
        links: Where its links lead.
        fetched: What a browser would fetch for it.
        comments: Its HTML comments.
        examples: The blocks of TOML.
        cells: The cells of its tables, each with its text, in their order.
        title: The text of its first heading.
    """

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    title: str = ""

    def detail(self, name: str) -> str:
        """Return the cell to the right of the one with a text."""
        return self.cells[self.cells.index(name) + 1]


@cache
def parsed(page: Path) -> Document:
    """Return what is in a page."""
    reader = _Reader()
    reader.feed(page.read_text())
    return reader.document


class _Reader(HTMLParser):
    """Takes a page apart; text is gathered for as long as the element lasts that it is gathered for."""

    def __init__(self) -> None:
        super().__init__()
        self.document = Document()
        self._gathering = ""
        self._text: list[str] = []
        self._in_toml = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.document.ids.add(found["id"])
        if tag == "a" and "href" in found:
            self.document.links.append(found["href"])
        if tag in LOADING and LOADING[tag] in found and found.get("rel") not in {"next", "prev", "index", "search"}:
            self.document.fetched.append(found[LOADING[tag]])
        if "highlight-toml" in found.get("class", ""):
            self._in_toml = True
        if tag in {"pre", "td", "h1"} and not self._gathering:
            self._gathering, self._text = tag, []

    def handle_endtag(self, tag: str) -> None:
        if tag != self._gathering:
            return
        text = "".join(self._text)
        if tag == "pre" and self._in_toml:
            self.document.examples.append(text)
            self._in_toml = False
        elif tag == "td":
            self.document.cells.append(text.strip())
        elif tag == "h1" and not self.document.title:
            self.document.title = text.removesuffix("#")
        self._gathering = ""

    def handle_data(self, data: str) -> None:
        if self._gathering:
            self._text.append(data)

    def handle_comment(self, data: str) -> None:
        self.document.comments.append(data)
