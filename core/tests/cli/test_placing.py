"""A file keeps its owner and mode, is replaced as a whole or not at all, and nobody else may read a part of it ever."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.output import Access
from strongroom.cli.placing import Wanted, changes, place, place_new
from strongroom.errors import ConfigurationError

NOBODY = 65534
CALLS = ["fchown", "fchmod", "fsync", "link", "replace"]

# A run that ends by force in, or right after, one of the calls that it makes.
KILLED = """
import os, sys
from strongroom.cli.placing import Wanted, changes, place
call, kind, after, owner = sys.argv[1:]
if kind == "named":
    vars(os).pop("O_TMPFILE", None)
real = getattr(os, call)
def ending(*arguments, **options):
    if after == "after":
        real(*arguments, **options)
    os._exit(9)
setattr(os, call, ending)
files = {os.path.abspath("out.conf"): b"next s3cret"}
wanted = Wanted(mode=0o640, owner=int(owner) if owner else None, group=int(owner) if owner else None)
place(files, changes(files, wanted))
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def put(path: Path, content: bytes, **wanted: int) -> dict[str, Access]:
    """Place one file; return what was changed."""
    files = {str(path): content}
    found = changes(files, Wanted(**wanted))
    place(files, found)
    return found


def rights(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file goes."""
    return tmp_path / "out.conf"


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the file system can do."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


def test_a_new_file_is_for_its_owner_alone(path: Path, kind: str) -> None:
    before = os.umask(0)
    try:
        put(path, b"s3cret")
    finally:
        os.umask(before)
    assert (path.read_bytes(), rights(path)[0]) == (b"s3cret", 0o600)
    assert os.listdir(path.parent) == ["out.conf"]


def test_the_mode_is_the_one_that_was_asked_for_whatever_the_umask(path: Path, kind: str) -> None:
    before = os.umask(0o077)
    try:
        put(path, b"s3cret", mode=0o640)
    finally:
        os.umask(before)
    assert rights(path)[0] == 0o640


def test_a_file_that_is_there_keeps_its_mode(path: Path, kind: str) -> None:
    path.write_bytes(b"old")
    path.chmod(0o440)
    put(path, b"new")
    assert (path.read_bytes(), rights(path)[0]) == (b"new", 0o440)


def test_a_file_with_secrets_does_not_run_as_somebody_else(path: Path) -> None:
    path.write_bytes(b"old")
    path.chmod(0o4755)
    put(path, b"new")
    assert rights(path)[0] == 0o755


@as_root
def test_a_file_that_is_there_keeps_owner_and_group(path: Path, kind: str) -> None:
    path.write_bytes(b"old")
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o640)
    put(path, b"new")
    assert (path.read_bytes(), rights(path)) == (b"new", (0o640, NOBODY, NOBODY))


@as_root
def test_another_owner_is_set_if_that_is_asked_for(path: Path, kind: str) -> None:
    put(path, b"new", owner=NOBODY)
    assert rights(path) == (0o600, NOBODY, os.getegid())
    put(path, b"new", group=NOBODY, mode=0o660)
    assert rights(path) == (0o660, NOBODY, NOBODY)


def test_an_owner_that_cannot_be_kept_is_no_other_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for somebody who is not root."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(ConfigurationError, match="can be kept by root only"):
        put(path, b"new", owner=os.geteuid() + 1)
    assert (path.read_bytes(), os.listdir(path.parent)) == (b"old", ["out.conf"])


def test_what_is_the_same_is_not_touched(path: Path) -> None:
    put(path, b"s3cret")
    before = path.stat()
    assert put(path, b"s3cret") == {}
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert put(path, b"s3cret", mode=0o640) == {str(path): Access(mode=0o640, owner=before.st_uid, group=before.st_gid)}
    assert rights(path)[0] == 0o640


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("aim"), os.mkfifo])
def test_what_is_no_file_stays_and_is_not_followed(path: Path, make: Callable[[Path], object]) -> None:
    aim = path.parent / "aim"
    aim.write_bytes(b"aim")
    make(path)
    with pytest.raises(ConfigurationError, match="stays as it is"):
        put(path, b"s3cret")
    assert (aim.read_bytes(), sorted(os.listdir(path.parent))) == (b"aim", ["aim", "out.conf"])


def test_a_link_that_comes_meanwhile_is_replaced_and_not_followed(path: Path) -> None:
    aim = path.parent / "aim"
    aim.write_bytes(b"aim")
    files = {str(path): b"s3cret"}
    found = changes(files, Wanted())
    path.symlink_to("aim")
    place(files, found)
    assert (aim.read_bytes(), path.is_symlink(), path.read_bytes()) == (b"aim", False, b"s3cret")


def test_a_second_name_of_the_old_file_keeps_the_old_content(path: Path) -> None:
    path.write_bytes(b"old")
    os.link(path, path.parent / "other")
    put(path, b"new")
    assert (path.parent / "other").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fchmod", "fsync", "link"])
def test_no_file_changes_before_all_are_ready(
    tmp_path: Path, kind: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of three cannot be written."""
    real: Any = getattr(os, call)
    calls = []

    def fail(*arguments: Any, **options: Any) -> Any:
        calls.append(call)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    if call == "link" and kind == "named":
        monkeypatch.setattr(os, "open", failing_third_draft(os.open))
    else:
        monkeypatch.setattr(os, call, fail)
    paths = [tmp_path / name for name in ("a", "b", "c")]
    paths[1].write_bytes(b"old")
    files = {str(path): b"new" for path in paths}
    with pytest.raises(ConfigurationError, match="c cannot be written: No space left"):
        place(files, changes(files, Wanted(mode=0o640)))
    assert os.listdir(tmp_path) == ["b"]
    assert paths[1].read_bytes() == b"old"


def failing_third_draft(real: Any) -> Any:
    """Return an ``os.open`` that finds no room for the third new file."""
    made = []

    def fail(path: Any, flags: int, *more: Any, **options: Any) -> Any:
        if flags & os.O_CREAT:
            made.append(path)
            if len(made) == 3:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, *more, **options)

    return fail


@pytest.mark.parametrize("owner", ["", pytest.param(str(NOBODY), marks=as_root)])
@pytest.mark.parametrize("after", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_run_that_is_killed_leaves_the_old_file_or_the_new_one_and_nothing_that_others_may_read(
    tmp_path: Path, path: Path, call: str, kind: str, after: str, owner: str
) -> None:
    path.write_bytes(b"old")
    path.chmod(0o600)
    command = [sys.executable, "-c", KILLED, call, kind, after, owner]
    done = subprocess.run(command, cwd=tmp_path, check=False)
    reached = (call != "fchown" or owner) and (call != "link" or kind == "nameless")
    assert done.returncode == (9 if reached else 0)
    assert path.read_bytes() in {b"old", b"next s3cret"}
    assert all(rights(tmp_path / name)[0] in {0o600, 0o640} for name in os.listdir(tmp_path))
    # Whatever it has left is gone after the next run, also if it belongs to the file's owner already.
    put(path, b"last", **({"owner": int(owner)} if owner else {}))
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"last", ["out.conf"])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no/out\.conf cannot be written: No such file"):
        put(tmp_path / "no/out.conf", b"x")


class TestNewFiles:
    """Files that must be new: all of them, or none."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, bytes]:
        """Three files, two of them in folders that are not there yet."""
        return {str(tmp_path / name): name.encode() for name in ("a", "deep/er/b", "deep/c")}

    def test_they_are_there_with_their_folders_and_mode_whatever_the_umask(
        self, tmp_path: Path, files: dict[str, bytes], kind: str
    ) -> None:
        before = os.umask(0o077)
        try:
            place_new(files, 0o644)
        finally:
            os.umask(before)
        assert {path: Path(path).read_bytes() for path in files} == files
        assert {rights(Path(path))[0] for path in files} == {0o644}
        assert sorted(os.listdir(tmp_path / "deep")) == ["c", "er"]

    def test_new_folders_are_durable_in_those_that_they_are_in(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, synced = os.fsync, []

        def note(descriptor: int) -> None:
            synced.append(os.fstat(descriptor).st_ino)
            real(descriptor)

        monkeypatch.setattr(os, "fsync", note)
        place_new({str(tmp_path / "deep/er/b"): b"b"}, 0o644)
        assert {folder.stat().st_ino for folder in (tmp_path, tmp_path / "deep", tmp_path / "deep/er")} <= set(synced)

    def test_a_folder_that_somebody_else_makes_meanwhile_is_used_and_stays(
        self, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.mkdir

        def overtaken(path: str) -> None:
            real(path)
            if path.endswith("deep"):
                raise FileExistsError(errno.EEXIST, "File exists")

        monkeypatch.setattr(os, "mkdir", overtaken)
        place_new(files, 0o644)
        assert {path: Path(path).read_bytes() for path in files} == files

    def test_if_some_are_taken_all_of_these_are_named_and_nothing_is_made(
        self, tmp_path: Path, files: dict[str, bytes]
    ) -> None:
        (tmp_path / "a").symlink_to("nowhere")
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep/c").write_bytes(b"old")
        with pytest.raises(ConfigurationError, match=r"there is already something at .*/a: remove it first") as caught:
            place_new(files, 0o644)
        assert "deep/c" in caught.value.__notes__[0]
        assert (os.listdir(tmp_path / "deep"), (tmp_path / "deep/c").read_bytes()) == (["c"], b"old")

    @pytest.mark.parametrize(("call", "which"), [("fchmod", 2), ("fsync", 3), ("fsync", 5), ("fsync", 7)])
    def test_if_one_cannot_be_written_the_others_go_with_their_folders(
        self, tmp_path: Path, files: dict[str, bytes], kind: str, call: str, which: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real: Any = getattr(os, call)
        calls = []

        def fail(*arguments: Any, **options: Any) -> Any:
            calls.append(call)
            if len(calls) == which:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **options)

        monkeypatch.setattr(os, call, fail)
        with pytest.raises(ConfigurationError, match="cannot be written: Input/output error"):
            place_new(files, 0o644)
        assert os.listdir(tmp_path) == []

    def test_what_somebody_else_puts_there_at_the_last_moment_stays_and_ours_goes(
        self, tmp_path: Path, files: dict[str, bytes], kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = os.link
        calls = []

        def overtaken(*arguments: Any, **options: Any) -> None:
            calls.append(arguments)
            if len(calls) == 2:
                (tmp_path / "deep/er/b").write_bytes(b"theirs")
            real(*arguments, **options)

        monkeypatch.setattr(os, "link", overtaken)
        with pytest.raises(ConfigurationError, match=r"there is already something at .*/b: remove it first"):
            place_new(files, 0o644)
        left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
        assert (left, (tmp_path / "deep/er/b").read_bytes()) == (["deep/er/b"], b"theirs")

    def test_an_interrupted_run_takes_back_what_it_has_made(
        self, tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, calls = os.link, []

        def interrupted(*arguments: Any, **options: Any) -> None:
            calls.append(arguments)
            if len(calls) == 2:
                raise KeyboardInterrupt
            real(*arguments, **options)

        monkeypatch.setattr(os, "link", interrupted)
        with pytest.raises(KeyboardInterrupt):
            place_new(files, 0o644)
        assert os.listdir(tmp_path) == []

    def test_a_file_in_the_place_of_a_folder_is_told(self, tmp_path: Path, files: dict[str, bytes]) -> None:
        (tmp_path / "deep").write_bytes(b"")
        with pytest.raises(ConfigurationError, match="deep/er/b cannot be written: "):
            place_new(files, 0o644)
        assert os.listdir(tmp_path) == ["deep"]
