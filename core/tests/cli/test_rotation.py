"""``strongroom rotate`` by rules, ``rotation status`` and ``rotation units``."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
"""A backend in a file, and a dependent in another one that works only if told to."""
import json, os
from strongroom.contracts import (
    ApplyResult, Backend, BackendSpec, Capability, FilePath, FinishResult, GenerateResult, ListResult, ReadResult,
    Record, Rotator, RotatorSpec, UndoResult, VerifyCandidateResult, VersionsResult, WriteResult,
)
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, VersionConflictError
from strongroom.hookspecs import hookimpl
from strongroom.model import ABSENT, SecretName, SecretValue, SecretVersion


class Settings(Record):
    path: FilePath


class FileBackend(Backend):
    def __init__(self, settings):
        self.address, self.path = settings.path, settings.path

    def _all(self):
        return json.load(open(self.path)) if os.path.exists(self.path) else {}

    def read(self, request):
        kept = self._all().get(request.name)
        if kept is None or (request.version or len(kept)) > len(kept):
            raise SecretNotFoundError("no such secret", name=request.name)
        return ReadResult(value=SecretValue(kept[-1]), version=str(len(kept)))

    def write(self, request):
        content = self._all()
        kept = content.setdefault(request.name, [])
        have = str(len(kept)) if kept else ABSENT
        if request.expect_version is not None and request.expect_version != have:
            raise VersionConflictError("changed", expected=str(request.expect_version), found=str(have))
        kept.append(request.value.reveal_text())
        json.dump(content, open(self.path, "w"))
        return WriteResult(version=str(len(kept)))

    def list(self, request):
        return ListResult(names=tuple(sorted(SecretName(name) for name in self._all())))


class Slow(Rotator):
    def __init__(self, settings):
        self.path = settings.path

    def generate(self, request):
        return GenerateResult(value=SecretValue(request.current.reveal_text() + "!"))

    def apply(self, request):
        if not os.path.exists(self.path):
            raise BackendUnavailableError("the door does not answer", code="unavailable")
        request.confirm()
        open(self.path, "w").write(request.candidate.reveal_text())
        return ApplyResult()

    def verify(self, request):
        return VerifyCandidateResult()

    def undo(self, request):
        return UndoResult()


@hookimpl
def strongroom_backends():
    yield BackendSpec(name="filed", summary="In a file.", settings=Settings, open=FileBackend,
        capabilities=frozenset({Capability.WRITE, Capability.LIST, Capability.CHECK_AND_SET}))


@hookimpl
def strongroom_rotators():
    yield RotatorSpec(name="door", summary="A door.", settings=Settings, open=Slow)
'''

CONFIGURATION = """
audit = "none"
[backends.main]
type = "filed"
path = "kept.json"
[rotation."db/*"]
rotator = "door"
path = "door"
every = "90d"
[rotation."token"]
encoding = "hex"
overlap = "1h"
"""


@pytest.fixture
def desk(desk: Any, tmp_path: Path) -> Any:
    """A folder whose configuration has a rotator with a dependent that does not answer yet."""
    site = tmp_path / "site"
    (site / "door_plugin.py").write_text(textwrap.dedent(PLUGIN))
    info = site / "door_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: door-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[strongroom.backends]\nfiled = door_plugin\n[strongroom.rotators]\ndoor = door_plugin\n"
    )
    desk.configure(CONFIGURATION)
    (desk.folder / "first").write_text("first")
    for name in ("db/app", "token", "plain"):
        assert desk("set", name, "@first").status == 0
    return desk


def answering(desk: Any) -> Path:
    """Let the dependent answer from now on, and return what it knows."""
    door: Path = desk.folder / "door"
    door.write_text("first")
    return door


class TestRotate:
    """``strongroom rotate``."""

    def test_what_stops_is_kept_and_resumed(self, desk: Any) -> None:
        stopped = desk("rotate", "db/app")
        assert stopped.status == 12
        assert "has stopped at apply: the door does not answer" in stopped.stderr
        got = desk("get", "db/app")
        assert (got.stdout, got.stderr) == ("first", "")
        again = desk("rotate", "db/app")
        assert again.status == 12
        assert "was left at apply" in again.stderr
        door = answering(desk)
        resumed = desk("rotate", "db/app", "--resume")
        assert (resumed.status, resumed.stderr) == (0, "rotated db/app version 2\n")
        assert desk("get", "db/app").stdout == door.read_text() == "first!"

    def test_what_stops_is_undone(self, desk: Any) -> None:
        assert desk("rotate", "db/app").status == 12
        undone = desk("rotate", "db/app", "--undo")
        assert undone.status == 0
        assert "undone the rotation" in undone.stderr
        got = desk("get", "db/app")
        assert (got.stdout, got.stderr) == ("first", "")
        nothing = desk("rotate", "db/app", "--undo")
        assert nothing.status == 12
        assert "no rotation of db/app is pending" in nothing.stderr

    def test_until_the_overlap_is_over_there_is_no_other_one(self, desk: Any) -> None:
        done = desk("rotate", "token")
        assert done.status == 0
        assert "rotated token version 2" in done.stderr
        assert "the former value goes on working until" in done.stderr
        again = desk("rotate", "token", "--json")
        assert again.status == 12
        assert "has to go on working until" in again.stderr

    def test_without_a_rule_it_is_random_bytes(self, desk: Any) -> None:
        assert desk("rotate", "plain", "--encoding", "hex").stderr == "rotated plain version 2\n"
        assert len(desk("get", "plain").stdout) == 64

    def test_a_rotator_makes_the_value_itself(self, desk: Any) -> None:
        done = desk("rotate", "token", "--bytes", "20")
        assert done.status == 2
        assert "the rotator random rotates token and makes the value, so no size can be chosen" in done.stderr

    def test_a_dry_run_says_what_would_be_done_and_does_nothing(self, desk: Any) -> None:
        done = desk("rotate", "db/app", "--dry-run")
        assert done.status == 0
        assert done.lines[0] == "db/app version 1 in main, by door:"
        assert desk("rotation", "status", "db", "--json").json[0]["state"] == "idle"
        assert desk("rotate", "db/app").status == 12
        refused = desk("rotate", "db/app", "--dry-run")
        assert refused.status == 12
        assert "it would be refused now" in refused.stderr

    def test_all_that_is_due_is_rotated_and_what_was_left_resumed(self, desk: Any) -> None:
        assert desk("rotate", "db/app").status == 12
        failed = desk("rotate", "--all-due")
        assert failed.status == 12
        assert "db/app failed:" in failed.stderr
        answering(desk)
        done = desk("rotate", "--all-due", "--json")
        assert (done.status, [one["name"] for one in done.json["finished"]]) == (0, ["db/app"])
        assert "nothing is due" in desk("rotate", "--all-due").stderr

    @pytest.mark.parametrize(
        "options",
        [
            [],
            ["a", "--resume", "--undo"],
            ["a", "--force"],
            ["a", "--ignore-window"],
            ["a", "--resume", "--bytes", "20"],
            ["a", "--dry-run", "--expect-version", "1"],
        ],
    )
    def test_options_that_do_not_go_together_are_refused(self, options: list[str], desk: Any) -> None:
        assert desk("rotate", *options).status == 2


class TestStatus:
    """``strongroom rotation status``."""

    def test_what_was_left_is_the_status(self, desk: Any) -> None:
        assert desk("rotation", "status").status == 0
        assert desk("rotate", "db/app").status == 12
        shown = desk("rotation", "status")
        assert shown.status == 12
        assert [line.split()[:3] for line in shown.lines[1:]] == [["db/app", "left", "apply"], ["token", "idle", "-"]]
        (found,) = desk("rotation", "status", "db", "--json").json
        assert (found["state"], found["step"], found["attempt"], found["rotator"]) == ("left", "apply", 1, "door")


class TestUnits:
    """``strongroom rotation units``."""

    def test_they_name_this_command_and_this_configuration(self, desk: Any, tmp_path: Path) -> None:
        done = desk("rotation", "units", str(tmp_path / "units"), "--every", "30m")
        assert done.status == 0
        service = (tmp_path / "units" / "strongroom-rotate.service").read_text()
        timer = (tmp_path / "units" / "strongroom-rotate.timer").read_text()
        assert f"--config {desk.folder / 'strongroom.toml'} rotate --all-due" in service
        assert "OnUnitInactiveSec=1800s" in timer

    def test_they_act_as_the_principal_who_was_named(self, desk: Any) -> None:
        assert "/strongroom.toml --as ops rotate --all-due\n" in desk("--as", "ops", "rotation", "units").stdout

    def test_a_module_that_python_runs_is_started_as_one(self, desk: Any) -> None:
        command = [sys.executable, "-m", "strongroom", "rotation", "units"]
        printed = subprocess.check_output(command, cwd=desk.folder, env=desk.environment(), text=True)
        assert f"ExecStart={sys.executable} -m strongroom --config " in printed

    def test_nothing_is_overwritten(self, desk: Any, tmp_path: Path) -> None:
        assert desk("rotation", "units", str(tmp_path / "units")).status == 0
        done = desk("rotation", "units", str(tmp_path / "units"))
        assert done.status == 2
        assert "there is already something at" in done.stderr
        (tmp_path / "units" / "strongroom-rotate.service").unlink()
        assert desk("rotation", "units", str(tmp_path / "units")).status == 2
        assert os.listdir(tmp_path / "units") == ["strongroom-rotate.timer"]

    def test_a_long_time_between_two_looks_is_one_that_systemd_can_read(self, desk: Any) -> None:
        printed = desk("rotation", "units", "--every", "14d").stdout
        assert "OnUnitInactiveSec=1209600s\nRandomizedDelaySec=302400s\n" in printed

    def test_a_path_that_would_add_lines_to_a_unit_is_refused(self, desk: Any) -> None:
        (desk.folder / "strongroom.toml").rename(desk.folder / "a\nExecStart=b.toml")
        done = desk("--config", "a\nExecStart=b.toml", "rotation", "units", "units")
        assert (done.status, done.stdout) == (2, "")
        assert "cannot stand in a unit" in done.stderr

    def test_they_are_printed_without_a_folder(self, desk: Any) -> None:
        assert "[Timer]" in desk("rotation", "units").lines

    def test_more_often_than_once_a_minute_is_refused(self, desk: Any) -> None:
        assert desk("rotation", "units", "--every", "10s").status == 2
