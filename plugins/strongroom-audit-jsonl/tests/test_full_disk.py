"""When there is no space for a block, or not for all of it."""

import os
import resource
import subprocess
import sys

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import HealthState
from strongroom.errors import AuditError
from strongroom.testing import in_forked_child


def limited(size: int, action: Callable[[], object]) -> str:
    """Run something in a child that may write files up to a size only; the write that passes it is short."""

    def run() -> object:
        # Or a module that is compiled now would be kept as far as the limit goes.
        sys.dont_write_bytecode = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return action()

    return in_forked_child(run)


@pytest.mark.parametrize("room", [1, 60, 200, 900])
def test_a_short_write_leaves_nothing_of_its_block(trail: Any, room: int) -> None:
    """However much of it had been written; the file is as it was, byte for byte."""
    trail.fill()
    before = trail.path.read_bytes()

    def write() -> str:
        sink = trail.open()
        with pytest.raises(AuditError, match="cannot be written") as caught:
            trail.write(sink, 10)
        assert sink.health().state is HealthState.DOWN
        return caught.value.hint

    assert "free space" in limited(len(before) + room, write)
    assert trail.path.read_bytes() == before
    trail.write(trail.open())
    assert trail.verify().state == "sealed"


def test_a_smaller_block_may_still_fit(trail: Any) -> None:
    """A failure is no state: the same sink goes on."""
    trail.fill()

    def write() -> str:
        sink = trail.open()
        for _ in range(3):
            with pytest.raises(AuditError):
                trail.write(sink, 50)
        trail.write(sink, 1)
        return sink.health().state.value

    assert limited(trail.path.stat().st_size + 1000, write) == "up"
    assert trail.verify().state == "sealed"


def test_a_torn_line_that_was_cut_is_told_even_if_the_first_attempt_fails(trail: Any) -> None:
    """The fragment is gone from the file by then; the process remembers."""
    trail.fill()
    size = trail.path.stat().st_size
    with trail.path.open("ab") as file:
        file.write(b'{"seq":9,"id"')

    def write() -> str:
        sink = trail.open()
        with pytest.raises(AuditError):
            trail.write(sink, 50)
        trail.write(sink, 1)
        return "done"

    assert limited(size + 1500, write) == "done"
    assert "13 bytes with SHA-256" in trail.lines()[-2]["detail"]


def test_a_first_write_without_any_space_leaves_a_working_folder(trail: Any) -> None:
    """Neither key nor file is half there."""

    def write() -> str:
        with pytest.raises(AuditError):
            trail.write(trail.open())
        return "refused"

    for size in (0, 10, 50):
        assert limited(size, write) == "refused"
    trail.write(trail.open())
    assert trail.verify().state == "sealed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_and_gets_space_again(trail: Any, small_disk: Path) -> None:
    """Writes fail at once and leave whole lines; afterwards the same sink goes on, and nothing is missing."""
    trail.path = small_disk / "audit.jsonl"
    sink, written = trail.open(max_bytes=None), []
    (small_disk / "other").write_bytes(bytes(20_000))

    def fill() -> None:
        while True:
            written.extend(trail.write(sink, 7))

    with pytest.raises(AuditError, match="No space left on device"):
        fill()
    for _ in range(3):
        with pytest.raises(AuditError, match="No space left on device"):
            trail.write(sink, 100)
    assert [line["id"] for line in trail.lines()] == written
    (small_disk / "other").unlink()
    written += trail.write(sink, 7)
    assert [line["id"] for line in trail.lines()] == written
    assert sink.verify().state == "sealed"
    sink.close()
