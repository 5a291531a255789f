"""Packages that are built and installed next to the real ones for one test."""

import shutil
import textwrap

from pathlib import Path

import pytest

from sites import install, wheel_of

GROUPS = ("backends", "cache_policies", "audit_sinks", "anomaly_detectors")

HALF = """
from strongroom.contracts import BackendSpec, CachePolicySpec, DetectorSpec, Record, SinkSpec
from strongroom.hookspecs import hookimpl


class Settings(Record):
    pass


def described(spec):
    yield spec(name="broken-half", summary="Offered, and then not.", settings=Settings, open=lambda settings: None)
    raise RuntimeError("the other half is missing")


@hookimpl
def strongroom_backends():
    yield from described(BackendSpec)


@hookimpl
def strongroom_cache_policies():
    yield from described(CachePolicySpec)


@hookimpl
def strongroom_audit_sinks():
    yield from described(SinkSpec)


@hookimpl
def strongroom_anomaly_detectors():
    yield from described(DetectorSpec)
"""

ARGUMENT = "from strongroom.hookspecs import hookimpl\n" + "".join(
    f"\n\n@hookimpl\ndef strongroom_{group}(registry):\n    return []\n" for group in GROUPS
)

# What each package does when it is asked what it offers.
FAULTS = {
    "broken-import": "import a_library_that_nobody_has\n",
    "broken-exit": "import sys\n\nsys.exit('this machine is not supported')\n",
    "broken-argument": ARGUMENT,
    "broken-half": HALF,
}

# It works, after a while; the file tells that it was imported.
SLOW = """
import os
import time

with open(os.environ["SLOW_PLUGIN_WAS_IMPORTED"], "w"):
    time.sleep(5)
"""


PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.5"

[tool.hatch.build.targets.wheel]
only-include = ["{package}.py"]
"""


def build(folder: Path, name: str, module: str) -> Path:
    """Build a wheel of a distribution called *name*, which offers *name* in every group.

    Args:
        folder: Where to work.
        name: The distribution's name, and what it offers.
        module: The text of its only module.
    """
    package = name.replace("-", "_")
    project = folder / name
    project.mkdir()
    points = "".join(f'[project.entry-points."strongroom.{group}"]\n{name} = "{package}"\n' for group in GROUPS)
    (project / "pyproject.toml").write_text(PROJECT.format(name=name, package=package) + points)
    (project / f"{package}.py").write_text(module)
    return wheel_of(project, folder)


@pytest.fixture(scope="session")
def site_of_broken_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the packages have been built and installed; copy it, do not use it."""
    folder = tmp_path_factory.mktemp("broken")
    modules = {**{name: textwrap.dedent(module) for name, module in FAULTS.items()}, "slow-one": SLOW}
    wheels = [build(folder, name, module) for name, module in modules.items()]
    return install(folder / "site", *wheels)


@pytest.fixture
def broken_plugins(site_of_broken_plugins: Path, tmp_path: Path) -> dict[str, str]:
    """Variables with which the command finds a package for each fault, and one that takes 5 s to import."""
    site = shutil.copytree(site_of_broken_plugins, tmp_path / "site")
    return {"PYTHONPATH": str(site), "SLOW_PLUGIN_WAS_IMPORTED": str(tmp_path / "imported")}
