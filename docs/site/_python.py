"""A page for each class and function of the Python API and of the contracts, sliced from the pages of all."""

from __future__ import annotations

from _pages import Site, SiteError, headings, plain, raised, read, sections, slug

SOURCES = {"docs/reference/api.md": "reference/api", "docs/reference/contracts.md": "reference/contracts"}


def add_python(site: Site) -> list[str]:
    """Add the pages, and the two that list them; return the names that have one."""
    made: list[str] = []
    for source, pages in SOURCES.items():
        text, seen = read(source), set()
        front = ""
        for title, part in sections(text, 2):
            inner = list(sections(part, 3))
            front += f"## {title}\n{inner[0][1]}" if title else inner[0][1]
            for heading, body in inner[1:]:
                word = plain(heading)
                name = f"{pages}/{word}"
                if word.lower() in seen:
                    raise SiteError(f"{source} has {word} twice")
                seen.add(word.lower())
                front += f"- [{heading}](#{slug(heading)}): {_first_sentence(body)}\n"
                _add(site, source, name, heading, body)
                made.append(word)
                site.file_under(pages, name)
            front += "\n"
        site.add(pages, front, source=source)
        site.place(source, pages)
    return made


def _add(site: Site, source: str, name: str, heading: str, body: str) -> None:
    site.add(name, f"# {heading}\n{raised(body, 2)}", source=source)
    site.place(source, name, anchor=slug(heading))
    site.spans.setdefault(plain(heading), name)
    for _, level, words in headings(body):
        if level == 4:
            site.place(source, name, anchor=slug(words), at=slug(words))
            site.spans.setdefault(plain(words), f"{name}#{slug(words)}")


def _first_sentence(body: str) -> str:
    """Return the first paragraph that is no code, up to its first full stop."""
    from _pages import FENCED

    paragraphs = [part.strip() for part in FENCED.sub("", body).split("\n\n")]
    first = next((part for part in paragraphs if part and part[0] not in "|-*#"), "")
    return " ".join(first.split()).partition(". ")[0].rstrip(".") + "."
