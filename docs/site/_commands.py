"""A page for each command and each of its actions, sliced from the page of all commands."""

from __future__ import annotations

import re

from collections.abc import Iterator

from _distributions import offered
from _pages import Site, read, sections, slug

ALL = "docs/reference/commands.md"
PAGES = "reference/commands"
TROUBLE = "docs/troubleshooting.md"
SEE = "[All exit statuses](page:reference/errors), and [what goes before each command](page:reference/commands).\n"


def add_commands(site: Site) -> list[str]:
    """Add a page for each command, and the one that lists them; return the commands' words."""
    text = read(ALL)
    added = {one["name"]: one["distribution"] for one in offered() if one["kind"] == "command"}
    statuses = {words: site.taken(text, TROUBLE) for words, text in _statuses()}
    parts = list(sections(text, 2))
    site.add(PAGES, site.taken(parts[0][1], ALL) + "".join(_general(site, parts)))
    site.place(ALL, PAGES)
    made = []
    for words, body in _entries(parts):
        name = page_of(words)
        extras = [_provider(added, words), statuses.get(words, ""), SEE]
        site.add(name, f"# `strongroom {words}`\n\n{site.taken(body, ALL)}\n" + "\n".join(filter(None, extras)))
        site.place(ALL, name, anchor=slug(words))
        made.append(words)
    for words in made:
        site.spans[f"strongroom {words}"] = page_of(words)
    for words in made:
        parent = page_of(words.rpartition(" ")[0]) if " " in words else PAGES
        site.file_under(parent, page_of(words))
        if " " in words:
            site.pages[parent] += _line(words, site.pages[page_of(words)])
    return made


def page_of(words: str) -> str:
    """Return the name of a command's page."""
    return f"{PAGES}/{words.replace(' ', '-')}"


def _general(site: Site, parts: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the sections of the page that are about no command."""
    for title, body in parts:
        if title and not _is_command(title):
            yield f"## {title}\n{site.taken(body, ALL)}"


def _is_command(title: str) -> bool:
    return title == title.lower()


def _entries(parts: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for title, body in parts:
        if title and _is_command(title):
            yield from _entry(title, body, 3)


def _entry(words: str, body: str, level: int) -> Iterator[tuple[str, str]]:
    inner = list(sections(body, level))
    yield words, inner[0][1]
    for title, part in inner[1:]:
        yield from _entry(title, part, level + 1)


def _line(words: str, page: str) -> str:
    """Return an item for an action, with the first sentence about it."""
    about = re.search(r"\A# .*\n+(?!```)(.+?\.)(?=\s)", page, re.DOTALL)
    return f"\n- [`strongroom {words}`](page:{page_of(words)}){f': {about[1]}' if about else ''}\n"


def _provider(added: dict[str, str], words: str) -> str:
    name = added.get(words.partition(" ")[0])
    return f"From the distribution [{name}](page:reference/distributions/{name}).\n" if name else ""


def _statuses() -> Iterator[tuple[str, str]]:
    """Yield what a command's exit statuses mean where they are its answer."""
    for words, text in re.findall(r"^\| `([a-z -]+)` \| (.+) \|$", read(TROUBLE), re.MULTILINE):
        yield re.sub(r" --.*", "", words), f"## Exit statuses\n\n`strongroom {words}`: {text}.\n"


def note_commands(site: Site, commands: list[str]) -> None:
    """Note on each command's page which pages use it, in their text or in their examples."""
    known = set(commands)
    for name, text in site.pages.items():
        for line in re.findall(r"\bstrongroom((?: [a-z-]+)+)", text):
            words = line.split()
            found = next((end for end in range(len(words), 0, -1) if " ".join(words[:end]) in known), 0)
            if found:
                site.named(page_of(" ".join(words[:found])), name)
