"""A process that rotates is killed at every point, on every backend; another one resumes or undoes what is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

import moto_server
import rotationworker
import strongroom

from openbao import Server, development_server
from strongroom.errors import InvalidNameError
from tables import aws_table, local_table, vault_table

NAME: Final = rotationworker.NAME
FEWEST: Final = 12
"""A rotation passes as many points at least."""
MOST: Final = 40


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("bao")) as started:
        yield started


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[moto_server.Emulator]:
    with moto_server.emulator(tmp_path_factory.mktemp("moto")) as started:
        yield started


class Site:
    """A configuration, its dependent, and processes that rotate there."""

    def __init__(self, folder: Path, table: dict[str, Any], **rule: Any) -> None:
        self.folder = folder
        self.door = folder / "door.json"
        self.content = {
            "audit": "none",
            "backends": {"main": table},
            "rotation": {NAME: {"rotator": "door", "door": str(self.door), **rule}},
        }
        self.config = folder / "kills.toml"
        lines = ['audit = "none"', "[backends]", f"main = {inline(table)}", "[rotation]"]
        self.config.write_text("\n".join([*lines, f'"{NAME}" = {inline(self.content["rotation"][NAME])}', ""]))
        site = folder / "site"
        site.mkdir()
        info = site / "rotation_door-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rotation-door\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[strongroom.rotators]\ndoor = rotationworker\n")

    def begin(self) -> None:
        """Write the first value, which the dependent accepts."""
        self.door.write_text(json.dumps(["first"]))
        with self.manager() as manager:
            manager.set(NAME, "first")

    def manager(self) -> strongroom.SecretManager:
        """Return a manager that only reads and writes."""
        return strongroom.open(self.content | {"rotation": {}, "cache": {"policy": "none"}})

    @property
    def accepted(self) -> list[str]:
        """What the dependent accepts."""
        found: list[str] = json.loads(self.door.read_text())
        return found

    def run(self, mode: str, *point: str) -> subprocess.CompletedProcess[str]:
        """Run a process of its own."""
        support = Path(rotationworker.__file__)
        # Folders of the same name are not passed on: what is installed is found beside the interpreter.
        environment = {"PYTHONPATH": f"{self.folder / 'site'}:{support.parent}", "HOME": str(self.folder), "PATH": ""}
        return subprocess.run(
            [sys.executable, str(support), str(self.config), mode, *point],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def done(self, mode: str) -> dict[str, Any]:
        """Run a process that has to come to its end, and return how it stands then."""
        ended = self.run(mode)
        assert ended.returncode == 0, ended.stderr
        found: dict[str, Any] = json.loads(ended.stdout)
        return found


def inline(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(part)}" for key, part in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture(params=["local", "vault 2", "vault 1", "aws"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site on one of the backends."""
    if request.param == "local":
        made = Site(tmp_path, local_table(request.getfixturevalue("store")))
    elif request.param == "aws":
        made = Site(tmp_path, aws_table(request.getfixturevalue("aws")))
    else:
        version = int(request.param[-1])
        alone = {"single_host": True} if version == 1 else {}
        made = Site(tmp_path, vault_table(request.getfixturevalue("bao"), version), **alone)
    made.begin()
    return made


def test_killed_at_every_point_it_is_resumed_or_undone_by_another_process(site: Site) -> None:
    former = "first"
    for point in range(MOST):
        ended = site.run("rotate", str(point))
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        with site.manager() as reader:
            left = reader.get(NAME).reveal_text()
        # What readers get works, and is the former value until the candidate has been tried.
        assert left in site.accepted, f"point {point}"
        how = "resume" if point % 2 else "undo"
        stands = site.done(how)
        assert stands["state"] == "idle"
        assert site.accepted == [stands["current"]], f"{how} after point {point}"
        if how == "undo" and left == former:
            assert stands["current"] == former
        former = stands["current"]
    assert FEWEST <= point < MOST
    assert site.accepted == [site.done("show")["current"]]


def test_the_record_is_nobodys_secret(site: Site) -> None:
    assert site.run("rotate", "6").returncode == -signal.SIGKILL
    with site.manager() as manager:
        if "list" in {one.value for one in manager._parts.backend("main").capabilities}:
            assert manager.list() == [NAME]
        with pytest.raises(InvalidNameError, match="kept for strongroom itself"):
            manager.get(f".strongroom/rotation/{NAME}")
    assert site.done("resume")["state"] == "idle"


def test_of_two_processes_that_rotate_it_at_once_one_does_at_a_time(site: Site) -> None:
    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(site.run, ["race", "race"]))
    assert [one.returncode for one in ended] == [0, 0], ended
    codes = Counter(code for one in ended for code in json.loads(one.stdout))
    # The emulator of AWS lets the label of a pending version be taken by who does not say where it is.
    emulated = {"rotation_lost"} if "aws" in str(site.content["backends"]) else set()
    assert codes.keys() <= {"ok", "rotation_in_progress", "conflict", *emulated}
    assert codes["ok"] > 0
    stands = site.done("resume")
    assert (stands["state"], [stands["current"]]) == ("idle", site.accepted)
