"""The pages of the site before Sphinx sees them: who is where, and what leads where.

The sources stay as readers on a code host see them. A page of the site may be a
whole source, a slice of one, or made at build time; every link is first brought
into the form ``repo:PATH#ANCHOR``, and led to the page that has it at the end.
"""

from __future__ import annotations

import os
import posixpath
import re

from collections.abc import Callable, Iterator
from pathlib import Path

from _markdown import ROOT

FENCED = re.compile(r"^( *)(`{3,}|~{3,}).*?^ *\2 *$\n?", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"^ *<!--.*?-->\n?|<!--.*?-->", re.MULTILINE | re.DOTALL)
INLINE = re.compile(
    r"(?P<heading>^#[^\n]*$)"
    r"|(?P<text>\[(?:`[^`]*`|[^\[\]`])*\])\((?P<target>[^()\s]+)\)"
    r"|(?P<code>(?P<ticks>`+)(?P<span>.+?)(?P=ticks))",
    re.MULTILINE | re.DOTALL,
)
LOOKED_UP = ("reference/errors/", "reference/settings/", "reference/commands/")
"""Pages that say which others are about the same."""
TOLD = ("how-to/", "migrate/", "explanation/", "tutorial", "write-a-plugin", "security", "performance")
"""Pages that are about something, rather than lists of what there is."""
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


class SiteError(Exception):
    """The sources cannot be made into a site, and the message says why."""


def slug(title: str) -> str:
    """Return the anchor that a code host gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def outside(text: str, change: Callable[[str], str]) -> str:
    """Return a page with everything changed that is not within a fenced block."""
    made, end = [], 0
    for block in FENCED.finditer(text):
        made += [change(text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*made, change(text[end:])])


def headings(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where each heading starts, its level and its words."""
    blocks = [block.span() for block in FENCED.finditer(text)]
    for found in HEADING.finditer(text):
        if not any(start <= found.start() < end for start, end in blocks):
            yield found.start(), len(found[1]), found[2].strip()


def title_of(text: str) -> str:
    """Return the words of a page's first heading."""
    return next((words for _, _, words in headings(text)), "")


def plain(title: str) -> str:
    """Return a heading's words without the marks of code."""
    return title.replace("`", "")


def sections(text: str, level: int) -> Iterator[tuple[str, str]]:
    """Yield the heading and the body of each section of a level; what stands before the first has no heading.

    A section ends at the next heading of its level or of one above.
    """
    starts = [(start, words) for start, found, words in headings(text) if found == level]
    ends = [start for start, found, _ in headings(text) if found <= level] + [len(text)]
    yield "", text[: starts[0][0] if starts else len(text)]
    for start, words in starts:
        yield words, text[start : next(end for end in ends if end > start)].partition("\n")[2]


def raised(text: str, by: int) -> str:
    """Return a text whose headings are so many levels nearer to the top; fewer if that is negative."""
    return outside(text, lambda part: HEADING.sub(lambda found: f"{'#' * max(1, len(found[1]) - by)} {found[2]}", part))


class Site:
    """All pages of the site, by their name: the path of the page without ending.

    Attributes:
        pages: Each page's text.
        spans: What inline code leads to, by its text: a page's name, with an anchor where one is meant.
        files: The files of the repository that are offered as they are.
    """

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.spans: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self._wholes: dict[str, str] = {}
        self._anchors: dict[tuple[str, str], str] = {}
        self._below: dict[str, list[str]] = {}
        self._named: dict[str, set[str]] = {}

    def add(self, name: str, text: str, *, source: str = "") -> None:
        """Add a page.

        Args:
            name: Its name.
            text: What is on it.
            source: The file that its links count from; they are ``page:NAME`` or ``repo:PATH`` where there is none.
        """
        if name in self.pages:
            raise SiteError(f"two pages are called {name}")
        self.pages[name] = self.taken(text, source)

    def taken(self, text: str, source: str) -> str:
        """Return a text without comments, its links counted from the repository instead of from its file."""
        folder = posixpath.dirname(source)

        def absolute(found: re.Match[str]) -> str:
            target = found["target"]
            if target is None or re.match(r"\w+:", target) or not source:
                return found[0]
            path, mark, anchor = target.partition("#")
            path = posixpath.normpath(posixpath.join(folder, path)) if path else source
            return f"{found['text']}(repo:{path}{mark}{anchor})"

        return outside(text, lambda part: INLINE.sub(absolute, COMMENT.sub("", part)))

    def place(self, source: str, name: str, *, anchor: str = "", at: str = "") -> None:
        """Say where a source has gone, or the section of it that has an anchor.

        Args:
            source: The file in the repository.
            name: The page that has it.
            anchor: The section's anchor in the source; the whole of it unless given.
            at: The anchor on the page; its top unless given.
        """
        if anchor:
            self._anchors[source, anchor] = f"{name}#{at}" if at else name
        else:
            self._wholes[source] = name

    def file_under(self, parent: str, *children: str) -> None:
        """Put pages below another one in the navigation, in this order."""
        self._below.setdefault(parent, []).extend(children)

    def title(self, name: str) -> str:
        """Return a page's title without marks."""
        return plain(title_of(self.pages[name]))

    def finished(self) -> dict[str, str]:
        """Return each page with its links led to pages, and with what is below it in the navigation.

        Raises:
            SiteError: A link leads to nothing, or a page is not in the navigation exactly once.
        """
        listed = [child for children in self._below.values() for child in children]
        lost = sorted(set(self.pages) - set(listed) - {"index"})
        if lost or len(listed) != len(set(listed)):
            doubles = sorted({name for name in listed if listed.count(name) > 1})
            raise SiteError(f"in the navigation are not: {lost}; several times: {doubles}")
        made = {name: self._led(name, text) for name, text in self.pages.items()}
        for name, pages in self._named.items():
            made[name] = made[name].rstrip("\n") + "\n\n" + self._named_in(name, pages)
        for parent, children in self._below.items():
            made[parent] = made[parent].rstrip("\n") + "\n\n" + _navigation(children)
        return made

    def named(self, name: str, page: str) -> None:
        """Note that a page is about something that has a page of its own, which is to say so.

        Args:
            name: That other page.
            page: The page; those that only list things do not count.
        """
        if name.startswith(LOOKED_UP) and page.startswith(TOLD) and name in self.pages:
            self._named.setdefault(name, set()).add(page)

    def _named_in(self, name: str, pages: set[str]) -> str:
        lines = "".join(f"- [{self.title(page)}]({_relative(name, page)})\n" for page in sorted(pages))
        return f"## Pages that use it\n\n{lines}"

    def _led(self, name: str, text: str) -> str:
        used: set[str] = set()

        def led(found: re.Match[str]) -> str:
            if found["target"]:
                target = self._target(name, found["target"])
                return f"{found['text']}({target})" if target else found["text"][1:-1]
            page = "" if found["heading"] else self._meant(found["span"])
            if not page or page in used:
                return found[0]
            used.add(page)
            self.named(page.partition("#")[0], name)
            return found[0] if page.partition("#")[0] == name else f"[{found[0]}]({_relative(name, page)})"

        return outside(text, lambda part: INLINE.sub(led, part))

    def _meant(self, span: str) -> str:
        """Return the page that inline code leads to; of a command's line its first words count."""
        words = span.split() if span.startswith("strongroom ") else []
        shorter = (" ".join(words[:end]) for end in range(len(words) - 1, 1, -1))
        return next((self.spans[text] for text in (span, *shorter) if text in self.spans), "")

    def _target(self, name: str, target: str) -> str:
        if target.startswith("page:"):
            return _relative(name, target.removeprefix("page:"))
        if not target.startswith("repo:"):
            return target
        path, _, anchor = target.removeprefix("repo:").partition("#")
        if (path, anchor) in self._anchors:
            self.named(self._anchors[path, anchor].partition("#")[0], name)
            return _relative(name, self._anchors[path, anchor])
        if path in self._wholes:
            return _relative(name, f"{self._wholes[path]}#{anchor}" if anchor else self._wholes[path])
        return self._offered(name, path)

    def _offered(self, name: str, path: str) -> str:
        """Return where a file is that is no page: it is offered as it stands; a folder of sources is not."""
        if (ROOT / path).is_dir():
            return ""
        if not (ROOT / path).is_file():
            raise SiteError(f"{name} leads to {path}, which is neither a page nor a file")
        self.files[path] = f"files/{path}"
        return posixpath.relpath(self.files[path], posixpath.dirname(name))


def _relative(name: str, page: str) -> str:
    target, mark, anchor = page.partition("#")
    return f"{posixpath.relpath(f'{target}.md', posixpath.dirname(name))}{mark}{anchor}"


def _navigation(children: list[str]) -> str:
    entries = "".join(f"/{child}\n" for child in children)
    return f"```{{toctree}}\n:hidden:\n\n{entries}```\n"


def read(path: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def written(path: Path, text: str) -> None:
    """Write a file, and the folders above it."""
    os.makedirs(path.parent, exist_ok=True)
    path.write_text(text, encoding="utf-8")
