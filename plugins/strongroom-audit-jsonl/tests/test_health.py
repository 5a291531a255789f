"""Health in a process that has not written yet: true, and without a trace."""

import os
import subprocess

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import HealthState
from strongroom.errors import AuditError


def missing_folder(trail: Any) -> None:
    trail.path = trail.folder / "a" / "b" / "audit.jsonl"


def file_for_a_folder(trail: Any) -> None:
    (trail.folder / "a").touch()
    trail.path = trail.folder / "a" / "audit.jsonl"


def folder_for_a_file(trail: Any) -> None:
    trail.path.mkdir()


def fifo(trail: Any) -> None:
    os.mkfifo(trail.path, 0o600)


def fifo_for_a_lock(trail: Any) -> None:
    os.mkfifo(trail.beside(".lock"), 0o600)


def loose_file(trail: Any) -> None:
    trail.fill()
    trail.path.chmod(0o666)


def loose_key(trail: Any) -> None:
    trail.fill()
    trail.beside(".key").chmod(0o644)


def loose_lock(trail: Any) -> None:
    trail.fill()
    trail.beside(".lock").chmod(0o644)


def lost_key(trail: Any) -> None:
    trail.fill()
    trail.beside(".key").unlink()


def foreign_file(trail: Any) -> None:
    trail.path.write_bytes(b"my notes\n")
    trail.path.chmod(0o600)


FAULTS = [
    missing_folder, file_for_a_folder, folder_for_a_file, fifo, fifo_for_a_lock, loose_file, loose_key, loose_lock,
    lost_key, foreign_file,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_health_is_down_where_a_write_would_fail(trail: Any, fault: Callable[[Any], None]) -> None:
    """With a reason and a hint; and the write does fail."""
    fault(trail)
    before = sorted(trail.folder.rglob("*"))
    health = trail.open().health()
    assert (health.state, bool(health.reason), bool(health.hint)) == (HealthState.DOWN, True, True)
    assert sorted(trail.folder.rglob("*")) == before
    with pytest.raises(AuditError):
        trail.write(trail.open())


def test_health_is_up_where_a_write_would_succeed(trail: Any) -> None:
    """With a folder yet to be made, an empty one, and a trail."""
    trail.path = trail.folder / "new" / "audit.jsonl"
    assert trail.open().health().state is HealthState.UP
    trail.path.parent.mkdir()
    assert trail.open().health().state is HealthState.UP
    assert list(trail.folder.rglob("audit*")) == []
    trail.fill()
    assert trail.open().health().state is HealthState.UP


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_folder_that_may_not_be_written_is_told(trail: Any, forked: Any) -> None:
    """Down for who would have to make a file there; degraded for who could not put a full one aside."""
    for parent in [trail.folder, *list(trail.folder.parents)[:3]]:
        parent.chmod(parent.stat().st_mode | 0o011)

    def examine(expected: HealthState) -> Callable[[], None]:
        def in_child() -> None:
            os.setuid(1234)
            assert trail.open().health().state is expected
            assert trail.open(max_bytes=None).health().state in {expected, HealthState.UP}

        return in_child

    assert os.waitpid(forked(examine(HealthState.DOWN)), 0)[1] == 0
    trail.fill()
    for suffix in ("", ".lock", ".head", ".key"):
        os.chown(trail.beside(suffix), 1234, 1234)
    assert os.waitpid(forked(examine(HealthState.DEGRADED)), 0)[1] == 0


def test_a_folder_that_anybody_may_write_is_degraded(trail: Any) -> None:
    """There others can take files away, unless the folder's sticky bit keeps them from that."""
    trail.fill()
    trail.folder.chmod(0o777)
    health = trail.open().health()
    assert (health.state, health.hint) == (HealthState.DEGRADED, f"run: chmod o-w {trail.folder}")
    assert "remove or replace" in health.reason
    trail.folder.chmod(0o1777)
    assert trail.open().health().state is HealthState.UP


def test_a_full_disk_is_told(trail: Any, tmp_path: Path) -> None:
    """Before anybody has tried to write."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", disk]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        trail.path = disk / "audit.jsonl"
        assert trail.open().health().state is HealthState.UP
        with pytest.raises(OSError, match="No space"):
            (disk / "other").write_bytes(bytes(1 << 20))
        assert trail.open().health().state is HealthState.DOWN
        assert "full" in trail.open().health().reason
    finally:
        subprocess.run(["umount", disk], check=True)
