"""A page for each error code: the class and status from the code, cause and mend from the page on trouble."""

from __future__ import annotations

import ast
import re

from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from _distributions import distributions
from _markdown import ROOT, cell, docstring, table
from _pages import Site, SiteError, outside, read, sections, slug

import strongroom.errors

from strongroom.errors import StrongroomError

TROUBLE = "docs/troubleshooting.md"
LIST = "docs/reference/errors.md"
PAGES = "reference/errors"
TRANSLATING = ("faults", "outages", "outcomes")
"""Modules in which a word that is a code is one, since they do nothing but tell faults apart."""
USAGE = ("usage", 2)
"""What argparse refuses has a code and a status, and a class of the command's own."""


def add_errors(site: Site) -> list[str]:
    """Add a page for each code, and the two pages that list them; return the codes."""
    entries = dict(_entries())
    kinds = {code: kind for kind in _classes() for code in kind.codes}
    missing = sorted({*kinds, USAGE[0]} ^ set(entries))
    if missing:
        raise SiteError(f"{TROUBLE} and the classes of errors do not agree about {missing}")
    sources = _raising(kinds)
    for code, (group, text) in entries.items():
        name = f"{PAGES}/{code}"
        facts = _facts(code, kinds.get(code), sources.get(code, set()))
        site.add(name, f"# `{code}`\n\nAn error code, of those under “{group}”.\n\n{facts}\n")
        site.pages[name] += site.taken(text, TROUBLE)
        site.place(TROUBLE, name, anchor=slug(code))
        if "_" in code:
            site.spans[code] = name
    for kind in _classes()[1:]:
        site.spans[kind.__name__] = PAGES if len(kind.codes) > 1 else f"{PAGES}/{kind.codes[0]}"
    _add_lists(site, list(entries))
    return list(entries)


def _classes() -> list[type[StrongroomError]]:
    found = [kind for kind in vars(strongroom.errors).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, StrongroomError)]


def _entries() -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each code with its group and its text in the page on trouble."""
    for group, part in sections(read(TROUBLE), 2):
        for code, text in sections(part, 3):
            if code:
                yield code, (group, text)


def _facts(code: str, kind: type[StrongroomError] | None, sources: set[str]) -> str:
    if kind is None:
        return table(
            ("detail", "value"), [("exit status", f"[{USAGE[1]}](page:{PAGES})"), ("comes from", "the command line")]
        )
    family = " → ".join(f"`{part.__name__}`" for part in kind.__mro__ if issubclass(part, StrongroomError))
    siblings = ", ".join(f"[`{other}`](page:{PAGES}/{other})" for other in kind.codes if other != code)
    meaning = docstring(kind.__doc__).partition("\n\n")[0]
    rows = [
        ("class", family),
        ("the class says", cell(meaning)),
        ("exit status", f"[{kind.exit_status}](page:{PAGES})"),
        ("other codes of the class", siblings or "none"),
        ("raised by", _named(sources) or "plugins of others"),
    ]
    return table(("detail", "value"), rows)


def _named(names: set[str]) -> str:
    return ", ".join(f"[{name}](page:reference/distributions/{name})" for name in sorted(names))


def _raising(kinds: dict[str, type[StrongroomError]]) -> dict[str, set[str]]:
    """Return for each code the distributions whose sources make an error of it."""
    found: dict[str, set[str]] = {}
    firsts = {kind.__name__: kind.codes[0] for kind in kinds.values()}
    for name, folder in distributions().items():
        for file in (folder / "src").rglob("*.py"):
            if "testing" not in file.parts and file != ROOT / "core/src/strongroom/errors.py":
                for code in _made(file, firsts, set(kinds)):
                    found.setdefault(code, set()).add(name)
    return found


def _made(file: Path, firsts: dict[str, str], codes: set[str]) -> Iterator[str]:
    """Yield each code that a module names, and the first one of each class that it calls without naming another."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if called in firsts and not any(given.arg in ("code", None) for given in node.keywords):
                yield firsts[called]
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from (part.value for part in ast.walk(node.value) if _is_code(part, codes))
        if _is_code(node, codes) and ("_" in node.value or file.stem in TRANSLATING):
            yield node.value


def _is_code(node: ast.AST, codes: set[str]) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in codes


def _add_lists(site: Site, codes: list[str]) -> None:
    """Add the page of all errors, and that on trouble, which leads to the codes' own pages."""
    text = site.taken(read(LIST), LIST)
    known = "|".join(sorted(codes, key=len, reverse=True))

    def linked(part: str) -> str:
        return re.sub(r"^\| `\w+Error`.*$", lambda row: _with_codes(row[0], known), part, flags=re.MULTILINE)

    site.add(PAGES, outside(text, linked))
    site.place(LIST, PAGES)
    site.file_under(PAGES, *(f"{PAGES}/{code}" for code in sorted(codes)))
    made = []
    for group, part in sections(read(TROUBLE), 2):
        inner = list(sections(part, 3))
        made.append(f"## {group}\n{inner[0][1]}" if group else inner[0][1])
        made += [_line(code, text) for code, text in inner if code]
        made.append("\n")
    site.add(
        "troubleshooting",
        "".join(made).replace("of its words on this page", "of its words with the search"),
        source=TROUBLE,
    )
    site.place(TROUBLE, "troubleshooting")


def _with_codes(row: str, known: str) -> str:
    return re.sub(rf"`({known})`", rf"[`\1`](page:{PAGES}/\1)", row)


def _line(code: str, text: str) -> str:
    """Return an item for a code: its name and the first sentence of its cause."""
    cause = re.search(r"\*\*Cause\.\*\* (.+?[.:])(?=\s)", text, re.DOTALL)
    return f"- [`{code}`](#{slug(code)}): {' '.join(cause[1].split()).rstrip(':') if cause else ''}\n"
