"""Every distribution has the same inside, and what it says about itself is true."""

import configparser
import re

from pathlib import Path
from typing import Any

import pytest

from _workspace import ROOT, distributions, metadata, requirements
from sources import PLUGIN_GROUPS, package, plugin_folders
from strongroom._ours import OURS

FRAGMENT = re.compile(r"(\d+|\+[a-z0-9][a-z0-9-]*)\.(added|changed|deprecated|removed|fixed|security)\.md")

each_distribution = pytest.mark.parametrize("folder", distributions(), ids=lambda folder: folder.name)
each_plugin = pytest.mark.parametrize("folder", plugin_folders(), ids=lambda folder: folder.name)


def offered(folder: Path) -> dict[str, dict[str, str]]:
    """Return the entry points of each of our groups."""
    groups: dict[str, Any] = metadata(folder)["project"].get("entry-points", {})
    return {group: points for group, points in groups.items() if group.startswith("strongroom.")}


@each_distribution
def test_a_distribution_is_complete(folder: Path) -> None:
    missing = [
        name
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "changelog.d", "tests")
        if not (folder / name).exists()
    ]
    missing += [name for name in ("__init__.py", "py.typed") if not (package(folder) / name).exists()]
    assert missing == []


@each_distribution
def test_a_distribution_is_called_after_its_folder_and_its_package_after_it(folder: Path) -> None:
    name = "strongroom" if folder.name == "core" else folder.name
    assert metadata(folder)["project"]["name"] == name
    assert package(folder).name == name.replace("-", "_")


@each_distribution
def test_the_metadata_has_what_an_index_page_shows(folder: Path) -> None:
    project = metadata(folder)["project"]
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert project["readme"] == "README.md"
    assert project["description"].endswith(".")
    assert "Typing :: Typed" in project["classifiers"]


@each_plugin
def test_a_plugin_requires_the_core_in_the_range_of_its_own_contracts(folder: Path) -> None:
    """At least the version whose API it uses, and not the next major one."""
    core = metadata(ROOT / "core")["project"]["version"]
    (requirement,) = [
        text for text in metadata(folder)["project"]["dependencies"] if re.match(r"strongroom\b(?!-)", text)
    ]
    least = re.fullmatch(r"strongroom>=(\d+)\.(\d+),<(\d+)", requirement)
    assert least is not None, requirement
    major, minor, below = map(int, least.groups())
    assert (major, minor) <= tuple(map(int, core.split(".")[:2])) < (below, 0)
    assert below == major + 1


@each_plugin
def test_a_plugin_requires_no_other_plugin(folder: Path) -> None:
    own = {other.name for other in plugin_folders()}
    required = {
        re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in metadata(folder)["project"]["dependencies"]
    }
    assert required & own == set()


@each_distribution
def test_entry_points_are_in_known_groups_and_lead_to_the_plugin_module(folder: Path) -> None:
    module = "strongroom.builtin.plugin" if folder.name == "core" else f"{package(folder).name}.plugin"
    for group, points in offered(folder).items():
        assert group in PLUGIN_GROUPS
        assert set(points.values()) == {module}
        assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in points)


@each_plugin
def test_what_offers_something_holds_the_contract(folder: Path) -> None:
    """A distribution with an entry point has a plugin module and runs the kit for authors; bridges have neither."""
    has_module = (package(folder) / "plugin.py").exists()
    has_contract = (folder / "tests/test_conformance.py").exists()
    assert has_module == has_contract == bool(offered(folder))


def test_every_name_is_offered_once() -> None:
    names = [
        (group, name) for folder in distributions() for group, points in offered(folder).items() for name in points
    ]
    assert sorted(names) == sorted(set(names))


def test_the_core_knows_which_distribution_to_install_for_what_we_offer() -> None:
    found: dict[str, dict[str, str]] = {}
    for folder in plugin_folders():
        for group, points in offered(folder).items():
            found.setdefault(group, {}).update(dict.fromkeys(points, folder.name))
    assert found == OURS


@each_plugin
def test_a_plugin_is_one_word_in_tox_ini(folder: Path) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert folder.name in tox["tox"]["env_list"].split()
    assert f"testenv:{folder.name}" not in tox


@each_distribution
def test_changelog_fragments_are_well_named_and_say_something(folder: Path) -> None:
    for fragment in (folder / "changelog.d").iterdir():
        if fragment.name == ".gitkeep":
            continue
        assert FRAGMENT.fullmatch(fragment.name), fragment
        text = fragment.read_text().strip()
        assert text.endswith("."), fragment
        assert len(text.split()) >= 3, fragment


def test_everything_required_is_pinned() -> None:
    """``script/pin`` writes the pins; nobody gets a version that no run has seen."""
    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line}
    assert {normal(text) for text in requirements()} - pinned == set()


def test_the_pins_are_names_and_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9._-]+==[^\s;/]+( ; [^/]+)?", line), line


def normal(requirement: str) -> str:
    """Return the distribution's name in the one form that indexes use."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()
