"""Packages that are installed next to the real ones for one test."""

import textwrap

from pathlib import Path

import pytest

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


def install(site: Path, name: str, module: str) -> None:
    """Put a distribution called *name* into *site* as an installer would; it offers *name* in every group.

    Args:
        site: A folder on the path.
        name: The distribution's name, and what it offers.
        module: The text of its only module.
    """
    package = name.replace("-", "_")
    (site / f"{package}.py").write_text(module)
    metadata = site / f"{package}-1.5.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (metadata / "INSTALLER").write_text("pip\n")
    points = "".join(f"[strongroom.{group}]\n{name} = {package}\n" for group in GROUPS)
    (metadata / "entry_points.txt").write_text(points)
    (metadata / "RECORD").write_text(f"{package}.py,,\n")


@pytest.fixture
def broken_plugins(tmp_path: Path) -> dict[str, str]:
    """Variables with which the command finds a package for each fault, and one that takes 5 s to import."""
    site = tmp_path / "site"
    site.mkdir()
    for name, module in FAULTS.items():
        install(site, name, textwrap.dedent(module))
    install(site, "slow-one", SLOW)
    return {"PYTHONPATH": str(site), "SLOW_PLUGIN_WAS_IMPORTED": str(tmp_path / "imported")}
