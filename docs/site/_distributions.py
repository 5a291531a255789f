"""A page for each distribution: its README, what it offers, and its changelog with what is to come."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

from functools import cache
from pathlib import Path
from typing import Any

from _markdown import ROOT, cell, table
from _pages import Site, headings, raised, read

PAGES = "reference/distributions"
TYPES = ("added", "changed", "deprecated", "removed", "fixed", "security")
GROUPS = {
    "backend": "strongroom.backends",
    "cache policy": "strongroom.cache_policies",
    "audit sink": "strongroom.audit_sinks",
    "anomaly detector": "strongroom.anomaly_detectors",
    "rotator": "strongroom.rotators",
    "telemetry exporter": "strongroom.telemetry_exporters",
    "command": "strongroom.commands",
}
"""What a plugin may be, with the hook that offers it."""


@cache
def distributions() -> dict[str, Path]:
    """Return the folder of each distribution by its name, the core first."""
    folders = [ROOT / "core", *sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))]
    return {metadata(folder)["name"]: folder for folder in folders}


def metadata(folder: Path) -> dict[str, Any]:
    """Return the table ``[project]`` of the distribution in a folder."""
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


@cache
def offered() -> list[dict[str, str]]:
    """Return what the installed distributions offer, as ``strongroom plugins --json`` says it."""
    return [one for one in json.loads(command("plugins", "--json")) if one["distribution"] in distributions()]


def command(*arguments: str) -> str:
    """Return what the command prints."""
    line = [sys.executable, "-m", "strongroom", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout  # noqa: S603  # our own command


def add_distributions(site: Site) -> None:
    """Add the pages of all distributions, and the one that lists them."""
    rows = []
    for name, folder in distributions().items():
        path = str(folder.relative_to(ROOT))
        site.add(f"{PAGES}/{name}", _page(name, folder, site))
        site.place(f"{path}/README.md", f"{PAGES}/{name}")
        site.place(f"{path}/CHANGELOG.md", f"{PAGES}/{name}", at="changelog")
        rows.append((f"[{name}](page:{PAGES}/{name})", cell(metadata(folder)["description"])))
    text = "The core and its plugins: install what you use. Each has a version and a changelog of its own."
    site.add(PAGES, f"# Distributions\n\n{text}\n\n{table(('distribution', 'what it is'), rows)}")
    site.file_under(PAGES, *(f"{PAGES}/{name}" for name in distributions()))


def _page(name: str, folder: Path, site: Site) -> str:
    path = str(folder.relative_to(ROOT))
    readme = site.taken(read(f"{path}/README.md"), f"{path}/README.md")
    starts = [start for start, level, _ in headings(readme) if level == 2]
    first = starts[0] if starts else len(readme)
    parts = [readme[:first].rstrip("\n"), readme[first:].rstrip("\n"), _facts(folder), _offers(name), _changes(folder)]
    parts[3] = site.taken(parts[3], "")
    parts[4] = site.taken(parts[4], f"{path}/CHANGELOG.md")
    return "\n\n".join(part for part in parts if part)


def _facts(folder: Path) -> str:
    project = metadata(folder)
    extras = [f"`{project['name']}[{extra}]`" for extra in project.get("optional-dependencies", {})]
    rows = [
        ("version", project["version"]),
        ("Python", f"`{project['requires-python']}`"),
        ("requires", ", ".join(f"`{one}`" for one in project.get("dependencies", [])) or "nothing"),
        ("extras", ", ".join(extras) or "none"),
        ("licence", project["license"]),
    ]
    return "## The distribution\n\n" + table(("detail", "value"), rows)


def _offers(name: str) -> str:
    rows = [
        (one["kind"], f"`{one['name']}`", cell(one["summary"]), f"[hook](repo:docs/hooks/{hook(one['kind'])}.md)")
        for one in offered()
        if one["distribution"] == name
    ]
    return "### What it offers\n\n" + table(("kind", "name", "what it is", "offered by"), rows) if rows else ""


def hook(kind: str) -> str:
    """Return the name of the hook that offers a kind of plugin."""
    return GROUPS[kind].replace(".", "_")


def _changes(folder: Path) -> str:
    """Return the changelog, with what is to come in front."""
    text = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    made = ["## Changelog"]
    fragments = sorted((folder / "changelog.d").glob("*.md"))
    if fragments:
        made.append("### To come")
    for kind in TYPES:
        found = [file.read_text(encoding="utf-8").strip() for file in fragments if file.stem.rpartition(".")[2] == kind]
        if found:
            made.append(f"**{kind.capitalize()}**\n\n" + "\n".join(f"- {_item(one)}" for one in found))
    body = re.sub(r"\A# .*\n+", "", text)
    return "\n\n".join([*made, raised(body, -1).strip("\n")])


def _item(text: str) -> str:
    return text.replace("\n", "\n  ")
