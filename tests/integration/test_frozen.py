"""What was written for 1.0 goes on working, unchanged."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

from collections.abc import Callable
from pathlib import Path

import pytest

from _records import FOLDER, read
from _workspace import ROOT
from commandline import Cli, Finished, clean_environment
from sites import install, wheel_of

FROZEN = ROOT / "tests/frozen"
PLUGIN = FROZEN / "strongroom-frozen-1.0"
PROGRAM = FROZEN / "program_1_0.py"
DIGEST = "8d692db3baff9b55acfaecd7cf0fcc1c7ffbb959d4bf98ff5d695094c6ba8ddb"
"""Of all files of the folder: what is changed together with the code does not show that the code breaks others."""

MADE_BY_THE_CORE = ("strongroom.contracts.Reading", "strongroom.contracts.EntryState.")
"""What a plugin gets, and keeps as it is."""

TOO_SLOW = ("test_a_big_journal_stays_in_order",)
"""Checks of the kit that take this plugin ten seconds, since it writes its whole file anew for each entry."""

KEYS = {
    "get db/a": "name version created type backend freshness age place value",
    "versions db/a": "version created state deleted",
    "metadata db/a": "name metadata backend version created updated facts",
    "health": "state verdict parts journal",
    "stats": "source since total backends",
    "rotation status": "name pattern rotator state id step attempt began until owner rotated problem",
    "schedule": "name rule by enabled last next window due warn_from ends pattern state problem",
    "plugins": "kind name distribution version state error summary",
    "local verify": "secrets records counter problems store_id",
    "audit verify": "state events files head findings sink",
    "audit head": "position digest sink head",
    "audit report": "sink since until events by_principal by_name",
    "audit tail --last 1": "id timestamp event phase key principal principal_source on_behalf_of user host pid result "
    "cache_hit source backend version duration rule trace_id request_id count detail",
}
"""Commands that can be asked for JSON, each with the keys that its answer, or each entry of it, had in 1.0."""


def content() -> dict[str, bytes]:
    """Return what is frozen by its path, but for the page about it, and what Python leaves there."""
    files = (file for file in FROZEN.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    found = {file.relative_to(FROZEN).as_posix(): file.read_bytes() for file in files}
    return {path: text for path, text in found.items() if path != "README.md"}


def test_it_is_as_it_was_when_1_0_came_out() -> None:
    digest = hashlib.sha256()
    for path, text in sorted(content().items()):
        digest.update(f"{path}\0{len(text)}\0".encode() + text)
    assert digest.hexdigest() == DIGEST, "tests/frozen stands for what others have written: mend the code instead"


def test_the_program_uses_each_name_that_was_public_in_1_0() -> None:
    """Or else it would show nothing about that name."""
    places = {"strongroom", "strongroom.errors", "strongroom.SecretManager", "strongroom.RotationDesk"}
    found = [key.rpartition(".") for key in read(FOLDER / "1.0.txt")]
    names = {name for owner, _, name in found if owner in places and not name.startswith("_")}
    assert len(names) > 100
    assert unused(names, PROGRAM.read_text()) == []


def test_the_plugin_uses_each_contract_and_each_hook_of_1_0() -> None:
    """Each class, method and field: or else nobody would notice that the one is called or named otherwise."""
    found = [key for key in read(FOLDER / "1.0.txt") if key.startswith(("strongroom.contracts.", "hook "))]
    names = {re.split(r"[. ]", key)[-1] for key in found if not key.startswith(MADE_BY_THE_CORE)}
    assert len(names) > 300
    assert unused(names, "".join(file.read_text() for file in PLUGIN.rglob("*.py"))) == []


def unused(names: set[str], text: str) -> list[str]:
    """Return the names that a text has not got, but for those that are called by what Python does."""
    return [name for name in sorted(names) if not name.startswith("__") and not re.search(rf"\b{name}\b", text)]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the plugin has been built and installed."""
    folder = tmp_path_factory.mktemp("frozen")
    return install(folder / "site", wheel_of(PLUGIN, folder))


@pytest.fixture
def configured(site: Path, tmp_path: Path) -> Path:
    """A folder with the configurations."""
    folder = Path(shutil.copytree(FROZEN / "configuration", tmp_path / "configured"))
    (folder / "key.txt").chmod(0o600)
    return folder


@pytest.fixture
def environment(site: Path, home: Path) -> dict[str, str]:
    """The variables with which the plugin is found."""
    return {"PYTHONPATH": str(site), "FROZEN_TOKEN": "token"}


@pytest.fixture
def command(cli_in: Callable[[Path], Cli], configured: Path, environment: dict[str, str]) -> Callable[..., Finished]:
    """The command, where the plugin is found."""

    def run(line: str, stdin: str = "", status: int = 0) -> Finished:
        done = cli_in(configured)(*line.split(), env=environment, stdin=stdin)
        assert (done.status, "Traceback" in done.stderr) == (status, False), f"{line}: {done.stdout}{done.stderr}"
        return done

    return run


def python(environment: dict[str, str], home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python where the plugin is found."""
    command = [sys.executable, "-W", "error::DeprecationWarning:strongroom", *map(str, arguments)]
    variables = clean_environment(home, **environment)
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240, check=False)


def test_the_program_works(environment: dict[str, str], configured: Path, home: Path) -> None:
    done = python(environment, home, PROGRAM, configured)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all of it works\n", "")


def test_the_plugin_keeps_its_contracts(environment: dict[str, str], tmp_path: Path, home: Path) -> None:
    """By the kit of the present version: it may check more, and nothing that the contracts of 1.0 did not ask for."""
    tests = shutil.copytree(PLUGIN / "tests", tmp_path / "tests")
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tests}",
        "-k",
        " and ".join(f"not {name}" for name in TOO_SLOW),
    ]
    done = python(environment, home, "-m", "pytest", *options, tests)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 450


def test_each_part_is_found(command: Callable[..., Finished]) -> None:
    listing = json.loads(command("plugins --json").stdout)
    found = [entry for entry in listing if entry["distribution"] == "strongroom-frozen"]
    assert {entry["kind"] for entry in found} == {
        "backend",
        "cache policy",
        "audit sink",
        "anomaly detector",
        "rotator",
        "telemetry exporter",
        "command",
    }
    assert {(entry["name"], entry["state"], entry["version"]) for entry in found} == {("frozen", "ok", "1.0")}


def test_the_command_does_with_it_what_it_did(command: Callable[..., Finished], configured: Path) -> None:
    command("set db/a", stdin="one")
    command("set db/a --expect-version 1", stdin="two")
    command("set db/a --expect-version 1", stdin="three", status=7)
    assert command("get db/a").stdout == "two"
    assert command("get db/a --version 1").stdout == "one"
    assert command("list").stdout == "db/a\n"
    command("metadata db/a --set owner=shop")
    command("delete db/a")
    command("get db/a", status=3)
    command("undelete db/a")
    command("set db/admin", stdin="administrator")
    command("set door/front", stdin="door-0")
    command("rotate door/front")
    value = command("get door/front").stdout
    assert value.startswith("door-1-")
    assert json.loads((configured / "door.json").read_text()) == [value]
    assert command("encrypt orders", stdin="number").stdout.startswith("frozen:1:")
    assert command("frozen --shout db/a").stdout == "DB/A 3 .\n"
    command("local backup copy.bak")
    command("audit verify")
    assert command("run --secret KEY=db/a -- printenv KEY").stdout == "two\n"
    assert {"started", "closed within True"} == set((configured / "exporter.log").read_text().splitlines())


def test_answers_in_json_have_the_keys_that_they_had(command: Callable[..., Finished]) -> None:
    command("set db/a", stdin="value")
    command("set door/front", stdin="door-0")
    for line, keys in KEYS.items():
        answer = json.loads(command(f"{line} --json").stdout)
        entry = answer[0] if isinstance(answer, list) else answer
        assert set(keys.split()) <= set(entry), line


def test_a_plugin_for_another_core_is_not_imported_and_told_of(
    site: Path, command: Callable[..., Finished], configured: Path, tmp_path: Path
) -> None:
    """Its requirement is read before it is: a plugin for the next core may need what this one has not got."""
    for requirement in ("strongroom>=2,<3", "strongroom<1.0"):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        other = shutil.copytree(site, tmp_path / "other")
        (metadata,) = other.glob("*.dist-info/METADATA")
        metadata.write_text(metadata.read_text().replace("strongroom<2,>=1.0", requirement, 1))
        (other / "strongroom_frozen/plugin.py").write_text("raise SystemExit('it was imported')\n")
        for line, status in (("plugins --json", 0), ("get db/a", 2)):
            done = run_with(other, configured, line)
            assert done.returncode == status, done.stderr
            assert requirement in done.stdout + done.stderr, line
            assert "it was imported" not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr


def run_with(site: Path, folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Run the command with another site than the usual one."""
    variables = clean_environment(folder, PYTHONPATH=str(site), FROZEN_TOKEN="token")
    program = os.path.join(os.path.dirname(sys.executable), "strongroom")
    return subprocess.run(
        [program, *line.split()], cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False
    )
