"""A private file is there as a whole or not at all, and what a failed or killed run wrote is nowhere else."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

from fnmatch import fnmatch
from pathlib import Path

import pytest

from strongroom.cli.init import IGNORED
from strongroom.cli.output import write_private
from strongroom.errors import ConfigurationError

NAMELESS = "where files need no name"
NAMED = "where they do"

# A run that ends by force in the middle of one of the calls that it makes.
KILLED = """
import os, sys
from strongroom.cli.output import write_private
if sys.argv[2] == "where they do":
    vars(os).pop("O_TMPFILE", None)
setattr(os, sys.argv[1], lambda *_, **__: os._exit(9))
write_private("out.env", b"s3cret", replace=sys.argv[3] == "replace")
"""


@pytest.fixture(params=[NAMELESS, NAMED])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the file system can do."""
    if request.param == NAMED:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


def killed(folder: Path, call: str, kind: str, how: str) -> list[str]:
    """Have a run killed in a call; return what it leaves."""
    command = [sys.executable, "-c", KILLED, call, kind, how]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 9
    return os.listdir(folder)


@pytest.mark.parametrize("replace", [True, False])
def test_the_file_is_all_that_is_left(tmp_path: Path, kind: str, replace: bool) -> None:
    path = tmp_path / "out.env"
    write_private(str(path), b"s3cret", replace=replace)
    assert os.listdir(tmp_path) == ["out.env"]
    assert path.read_bytes() == b"s3cret"
    assert (path.stat().st_mode & 0o777, path.stat().st_nlink) == (0o600, 1)


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, kind: str, call: str, replace: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    needed = {"fsync"} | ({"link"} if kind == NAMELESS else set()) | ({"replace"} if replace else set())
    monkeypatch.setattr(os, call, fail)
    if call in needed:
        with pytest.raises(ConfigurationError, match="No space left"):
            write_private(str(tmp_path / "out.env"), b"s3cret", replace=replace)
        assert os.listdir(tmp_path) == []
    else:
        write_private(str(tmp_path / "out.env"), b"s3cret", replace=replace)
        assert os.listdir(tmp_path) == ["out.env"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files without a name")
@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_run_that_is_killed_leaves_nothing_where_files_need_no_name(tmp_path: Path, call: str) -> None:
    assert killed(tmp_path, call, NAMELESS, "new") == []


@pytest.mark.parametrize(("call", "kind"), [("fsync", NAMED), ("replace", NAMED), ("replace", NAMELESS)])
def test_what_a_killed_run_leaves_is_ignored_by_git_and_gone_after_the_next(
    tmp_path: Path, call: str, kind: str
) -> None:
    (draft,) = killed(tmp_path, call, kind, "replace")
    assert any(fnmatch(draft, pattern) for pattern in IGNORED)
    write_private(str(tmp_path / "out.env"), b"next", replace=False)
    assert os.listdir(tmp_path) == ["out.env"]
    assert (tmp_path / "out.env").read_bytes() == b"next"


def test_a_second_name_that_a_killed_run_left_goes_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.env"
    path.write_bytes(b"s3cret")
    os.link(path, tmp_path / ".out.env.0123456789abcdef.new")
    write_private(str(path), b"next", replace=True)
    assert os.listdir(tmp_path) == ["out.env"]


def test_what_somebody_else_works_on_or_owns_stays(tmp_path: Path) -> None:
    used = tmp_path / ".out.env.0123456789abcdef.new"
    used.write_bytes(b"a run that goes on")
    others = [".out.env.new", ".out.env.0123.new", ".other.env.0123456789abcdef.new", "out.env.0123456789abcdef.new"]
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".out.env.aaaaaaaaaaaaaaaa.new").symlink_to("elsewhere")
    (tmp_path / ".out.env.bbbbbbbbbbbbbbbb.new").mkdir()
    before = set(os.listdir(tmp_path))
    with used.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_private(str(tmp_path / "out.env"), b"s3cret", replace=False)
    assert set(os.listdir(tmp_path)) == before | {"out.env"}
