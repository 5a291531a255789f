"""Builds the documentation as a site.

python docs/site/build.py FOLDER               build it into FOLDER, which is replaced
python docs/site/build.py FOLDER --external    look whether links to elsewhere still lead somewhere; needs the network

Everything that the site has is in the repository; the pages of errors, settings and commands are made from the code
while it is built, with every distribution installed.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
import tempfile

from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from _commands import add_commands, note_commands  # noqa: E402  # the folders of these modules have to be known first
from _distributions import PAGES as DISTRIBUTIONS  # noqa: E402  # as above
from _distributions import add_distributions  # noqa: E402  # as above
from _errors import add_errors  # noqa: E402  # as above
from _markdown import ROOT  # noqa: E402  # as above
from _pages import Site, SiteError, raised, read, sections, written  # noqa: E402  # as above
from _python import add_python  # noqa: E402  # as above
from _settings import add_settings, note_settings  # noqa: E402  # as above

INDEX = "docs/index.md"
PARTS = ("tutorials", "how-to", "reference", "explanation")
"""The four parts, each with its section in the first page, in this order."""
ABOUT = {"README.md": "project/about", "CONTRIBUTING.md": "project/contributing", "SECURITY.md": "project/reporting"}
TUTORIALS = ("tutorial", "write-a-plugin")
GENERATED = ("commands", "configuration", "errors", "api", "contracts")
"""The pages of the reference that are made of slices or lead to pages of their own."""


def staged() -> Site:
    """Return all pages of the site."""
    site = Site()
    add_errors(site)
    commands = add_commands(site)
    settings = add_settings(site)
    add_python(site)
    add_distributions(site)
    for file in sorted((ROOT / "docs").rglob("*.md")):
        _add_whole(site, str(file.relative_to(ROOT)))
    for source, name in ABOUT.items():
        site.add(name, read(source), source=source)
        site.place(source, name)
    site.place("README.md", DISTRIBUTIONS, anchor="install")
    _add_parts(site)
    note_commands(site, commands)
    note_settings(site, settings)
    return site


def _add_whole(site: Site, source: str) -> None:
    """Add a page of the documentation as it stands, unless slices of it are there already."""
    name = source.removeprefix("docs/").removesuffix(".md").removesuffix("/README")
    if name not in site.pages:
        site.add(name, read(source), source=source)
        site.place(source, name)


def _add_parts(site: Site) -> None:
    """Add the page of each part, and put all others below one."""
    index = read(INDEX)
    found = [(title, body) for title, body in sections(index, 2) if title]
    if [title.lower().partition(" ")[0] for title, _ in found] != list(PARTS):
        raise SiteError(f"{INDEX} has other sections than the four parts {PARTS}")
    order = [
        posixpath.normpath(posixpath.join("docs", path))
        .removeprefix("docs/")
        .removesuffix(".md")
        .removesuffix("/README")
        for path in re.findall(r"\]\(([^)#\s]+)", index)
    ]
    below = _below(site)
    for part, (title, body) in zip(PARTS, found, strict=True):
        site.add(part, f"# {title}\n{raised(body, 1)}", source=INDEX)
        members = sorted(below[part], key=lambda name: (order.index(name) if name in order else len(order), name))
        site.file_under(part, *members)
    site.file_under("index", *PARTS)


def _below(site: Site) -> dict[str, list[str]]:
    """Return the pages right below each part; what is deeper has been put there already, but for folders' own pages."""
    below: dict[str, list[str]] = {part: [] for part in PARTS}
    below["reference"] += [f"reference/{name}" for name in GENERATED] + [DISTRIBUTIONS]
    known = {name for names in below.values() for name in names} | {"index"}
    for name in site.pages:
        folder = posixpath.dirname(name)
        if folder in ("adr", "hooks"):
            site.file_under(folder, name)
        elif folder == "reference" and name not in known:
            below["reference"].append(name)
        elif folder in ("how-to", "migrate") or name == "troubleshooting":
            below["how-to"].append(name)
        elif name in TUTORIALS:
            below["tutorials"].append(name)
        elif name == "hooks":
            below["reference"].append(name)
        elif folder in ("", "explanation", "project") and name not in known:
            below["explanation"].append(name)
    return below


def write(site: Site, folder: Path) -> None:
    """Write the sources as Sphinx reads them."""
    for name, text in site.finished().items():
        written(folder / f"{name}.md", text)
    for source, target in site.files.items():
        os.makedirs((folder / target).parent, exist_ok=True)
        shutil.copyfile(ROOT / source, folder / target)


def main(arguments: list[str]) -> int:
    """Build the site; return the exit status."""
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    from sphinx.cmd.build import main as sphinx

    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # pages say no date, and Sphinx must not make one up
    builder = "linkcheck" if "--external" in arguments else "html"
    target = Path(arguments[0]).resolve()
    with tempfile.TemporaryDirectory(prefix="strongroom-site-") as made:
        sources, output = Path(made, "sources"), Path(made, "output")
        try:
            write(staged(), sources)
        except SiteError as error:
            print(f"the site cannot be built: {error}", file=sys.stderr)
            return 1
        options = ["-q", "-n", "-W", "--keep-going", "-b", builder, "-c", str(HERE), "-d", str(Path(made, "doctrees"))]
        status = sphinx([*options, str(sources), str(output)])
        if status == 0 and builder == "html":
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(output, target, ignore=shutil.ignore_patterns(".buildinfo", ".doctrees", "objects.inv"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
