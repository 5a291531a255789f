"""What would be uploaded is complete, the same from wherever it is built, and works with only what it asks for."""

import hashlib
import json
import os
import re
import sys
import tarfile
import zipfile

from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

from packaging.requirements import Requirement
from trove_classifiers import classifiers as known_classifiers

from _workspace import ROOT, distributions, metadata
from sources import package, tracked_files
from wheels import IMPORT_ALL, UV, Built, build, copied, project_name, run

each_distribution = pytest.mark.parametrize("folder", distributions(), ids=lambda folder: folder.name)


def install_alone(folder: Path, built: Built, environment: Path) -> Path:
    """Install a distribution's wheel into a new environment; return the folder with its commands.

    The core's wheel is named too: no index may answer for it.
    """
    wheels = {built.wheel("strongroom"), built.wheel(project_name(folder))}
    run(UV, "venv", "--quiet", environment)
    run(UV, "pip", "install", "--quiet", "--python", environment, *sorted(wheels))
    return environment / "bin"


def offered(folder: Path) -> set[str]:
    """Return the names that a distribution offers to the core."""
    groups = metadata(folder)["project"].get("entry-points", {})
    return {name for group, points in groups.items() if group.startswith("strongroom.") for name in points}


@each_distribution
def test_a_wheel_works_with_only_what_it_requires(folder: Path, built: Built, tmp_path: Path) -> None:
    commands = install_alone(folder, built, tmp_path / "alone")
    run(commands / "python", "-I", "-c", IMPORT_ALL, package(folder).name)
    listing = json.loads(run(commands / "strongroom", "plugins", "--json"))
    found = {entry["name"]: entry["state"] for entry in listing if entry["distribution"] == project_name(folder)}
    assert found == dict.fromkeys(offered(folder), "ok")
    run(UV, "pip", "check", "--quiet", "--python", commands / "python")


@each_distribution
def test_a_wheel_holds_the_package_and_nothing_else(folder: Path, built: Built) -> None:
    with zipfile.ZipFile(built.wheel(project_name(folder))) as wheel:
        names = wheel.namelist()
    own = package(folder).name
    assert f"{own}/py.typed" in names
    assert {name.partition("/")[0] for name in names if not DATA_OF_A_WHEEL.match(name)} == {own}
    assert not [name for name in names if "__pycache__" in name]


DATA_OF_A_WHEEL = re.compile(r"[^/]+(\.dist-info|\.data/data/share)/")


@each_distribution
def test_a_wheel_has_all_files_of_the_sources(folder: Path, built: Built) -> None:
    source = folder / "src"
    files = {str(file.relative_to(source)) for file in tracked_files() if file.is_relative_to(source)}
    with zipfile.ZipFile(built.wheel(project_name(folder))) as wheel:
        assert files <= set(wheel.namelist())


@each_distribution
def test_the_sdist_has_what_a_packager_needs_and_no_leftovers(folder: Path, built: Built) -> None:
    with tarfile.open(built.sdist(project_name(folder))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {str(file.relative_to(folder)) for file in tracked_files() if file.is_relative_to(folder)}
    assert names == tracked | {"PKG-INFO", ".gitignore"}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"} <= names
    assert any(name.startswith("tests/") for name in names)


@each_distribution
def test_a_build_elsewhere_gives_the_same_bytes(folder: Path, built: Built, tmp_path: Path) -> None:
    """Another folder, times, file modes, umask, locale, time zone and home; with and without the way over the sdist."""
    strange = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TZ": "Pacific/Chatham", "LC_ALL": "C"}
    strange["UV_CACHE_DIR"] = run(UV, "cache", "dir").strip()
    strange |= {name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_"))}
    copy = copied(folder, tmp_path / "another place")
    before = os.umask(0o077)
    try:
        build(copy, tmp_path / "again", env=strange)
        build(copy, tmp_path / "direct", "--wheel", env=strange)
    finally:
        os.umask(before)
    sdist, wheel = built.sdist(project_name(folder)), built.wheel(project_name(folder))
    assert digest(tmp_path / "again" / sdist.name) == digest(sdist)
    assert digest(tmp_path / "again" / wheel.name) == digest(wheel)
    assert digest(tmp_path / "direct" / wheel.name) == digest(wheel)


def digest(file: Path) -> str:
    """Return the digest of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def wheel_metadata(built: Built, folder: Path) -> Message:
    """Return what the wheel says about itself."""
    with zipfile.ZipFile(built.wheel(project_name(folder))) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(wheel.read(name).decode())


@each_distribution
def test_the_metadata_says_what_it_is_and_who_may_use_it(folder: Path, built: Built) -> None:
    content = wheel_metadata(built, folder)
    assert content["Name"] == project_name(folder)
    assert content["Version"] == metadata(folder)["project"]["version"]
    assert len(content["Summary"]) > 20
    assert content["Author"] == "The strongroom developers"
    assert content["License-Expression"] == "Apache-2.0"
    assert content.get_all("License-File") == ["LICENSE"]
    assert content["Requires-Python"] == ">=3.11"
    assert len(content["Keywords"].split(",")) >= 3
    assert content["Description-Content-Type"] == "text/markdown"
    assert len(str(content.get_payload())) > 500


@each_distribution
def test_classifiers_are_real_and_say_the_state_the_systems_and_the_versions(folder: Path, built: Built) -> None:
    found = wheel_metadata(built, folder).get_all("Classifier", [])
    assert set(found) <= known_classifiers
    assert {
        "Development Status :: 5 - Production/Stable",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Typing :: Typed",
    } <= set(found)
    assert [entry for entry in found if entry.startswith("License ::")] == []
    assert any(entry.startswith("Intended Audience ::") for entry in found)
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(found)


@each_distribution
def test_every_requirement_of_a_user_has_a_lower_bound(folder: Path, built: Built) -> None:
    for text in wheel_metadata(built, folder).get_all("Requires-Dist", []):
        requirement = Requirement(text)
        if requirement.name == "strongroom" and requirement.extras and project_name(folder) == "strongroom":
            continue  # an extra that stands for others of the same distribution
        if requirement.marker is None or not requirement.marker.evaluate({"extra": "testing"}):
            assert ">=" in str(requirement.specifier), text


@each_distribution
def test_the_licence_text_is_in_the_wheel(folder: Path, built: Built) -> None:
    with zipfile.ZipFile(built.wheel(project_name(folder))) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()


def test_the_files_pass_the_check_of_the_index(built: Built) -> None:
    assert run(sys.executable, "-m", "twine", "check", "--strict", *sorted(built.folder.iterdir())).count(
        "PASSED"
    ) == 2 * len(distributions())


def test_every_distribution_was_built(built: Built) -> None:
    assert len(list(built.folder.iterdir())) == 2 * (1 + len(list(ROOT.glob("plugins/*/pyproject.toml"))))
