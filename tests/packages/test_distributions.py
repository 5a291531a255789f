"""What would be uploaded installs alone, works with nothing but what it asks for, and is found."""

import json
import subprocess
import tarfile
import zipfile

from email.parser import HeaderParser
from pathlib import Path

import pytest

from uv import find_uv_bin

from _workspace import ROOT, distributions, metadata
from sources import package

each_distribution = pytest.mark.parametrize("folder", distributions(), ids=lambda folder: folder.name)

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    # The kit for plugin authors asks for the extra `testing`.
    if not module.name.startswith("strongroom.testing") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def run(*command: str | Path) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, target: Path) -> tuple[Path, Path]:
    """Build *folder*; return the sdist, and the wheel that was made from it."""
    run(find_uv_bin(), "build", "--quiet", "--out-dir", target, folder)
    (sdist,), (wheel,) = target.glob("*.tar.gz"), target.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The sdist and the wheel of every distribution, by its folder's name."""
    return {folder.name: build(folder, tmp_path_factory.mktemp(folder.name)) for folder in distributions()}


def install_alone(folder: Path, built: dict[str, tuple[Path, Path]], environment: Path) -> Path:
    """Install a distribution's wheel into a new environment; return the folder with its commands.

    The core's wheel is named too: no index may answer for it.
    """
    wheels = {built["core"][1], built[folder.name][1]}
    run(find_uv_bin(), "venv", "--quiet", environment)
    run(find_uv_bin(), "pip", "install", "--quiet", "--python", environment, *sorted(wheels))
    return environment / "bin"


@each_distribution
def test_a_wheel_works_with_only_what_it_requires(
    folder: Path, built: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    commands = install_alone(folder, built, tmp_path / "alone")
    run(commands / "python", "-I", "-c", IMPORT_ALL, package(folder).name)
    listing = json.loads(run(commands / "strongroom", "plugins", "--json"))
    found = {
        entry["name"]: entry["state"]
        for entry in listing
        if entry["distribution"] == metadata(folder)["project"]["name"]
    }
    groups = metadata(folder)["project"].get("entry-points", {})
    offered = {name for group, points in groups.items() if group.startswith("strongroom.") for name in points}
    assert found == dict.fromkeys(offered, "ok")


@each_distribution
def test_a_wheel_holds_the_package_and_nothing_else(folder: Path, built: dict[str, tuple[Path, Path]]) -> None:
    names = zipfile.ZipFile(built[folder.name][1]).namelist()
    own = package(folder).name
    assert f"{own}/py.typed" in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {own}
    assert not [name for name in names if "__pycache__" in name]


@each_distribution
def test_a_wheel_has_all_modules_of_the_sources(folder: Path, built: dict[str, tuple[Path, Path]]) -> None:
    source = folder / "src"
    modules = {str(file.relative_to(source)) for file in source.rglob("*.py")}
    assert modules <= set(zipfile.ZipFile(built[folder.name][1]).namelist())


@each_distribution
def test_the_sdist_has_what_a_packager_needs(folder: Path, built: dict[str, tuple[Path, Path]]) -> None:
    with tarfile.open(built[folder.name][0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "CHANGELOG.md"} <= names
    assert any(name.startswith("tests/") for name in names)


@each_distribution
def test_the_metadata_says_who_may_use_it_and_how(folder: Path, built: dict[str, tuple[Path, Path]]) -> None:
    with zipfile.ZipFile(built[folder.name][1]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        content = HeaderParser().parsestr(wheel.read(name).decode())
    assert content["License-Expression"] == "Apache-2.0"
    assert content["Requires-Python"] == ">=3.11"
    assert content["Description-Content-Type"] == "text/markdown"
    assert str(content.get_payload()).strip()


def test_every_distribution_was_built(built: dict[str, tuple[Path, Path]]) -> None:
    assert len(built) == 1 + len(list(ROOT.glob("plugins/*/pyproject.toml")))
