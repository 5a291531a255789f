"""Crash after crash: whatever a process that was killed leaves, the next one may leave its own on top."""

import os
import shutil

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.contracts import AuditWrite, TrailQuery

SMALL = {"max_bytes": 2048}


class Folder:
    """Empties the trail's folder, and knows what was acknowledged."""

    def __init__(self, trail: Any) -> None:
        self.trail = trail
        self.acknowledged: list[str] = []
        self._rotations = 0
        for path in trail.folder.iterdir():
            path.unlink()

    def write(self, count: int) -> None:
        self.acknowledged += self.trail.write(self.trail.open(**SMALL), count)

    def kill(self, count: int, whole: int, torn: int) -> None:
        self.trail.kill_in_write(count, min(whole, count - 1), torn, **SMALL)

    def rename(self) -> None:
        if self.trail.path.exists():
            self._rotations += 1
            self.trail.path.rename(self.trail.beside(f".{self._rotations}"))

    def check(self, allowed: set[str]) -> None:
        report = self.trail.verify()
        assert report.state in allowed, report.findings


kills = st.tuples(st.just("kill"), st.integers(1, 6), st.integers(0, 6), st.sampled_from([0, 1, 10, 150]))
writes = st.tuples(st.just("write"), st.integers(1, 5))
steps = st.lists(st.one_of(kills, kills, writes, st.just(("rename",))), max_size=8)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=steps)
def test_no_sequence_of_crashes_breaks_the_trail(trail: Any, steps: list[Any]) -> None:
    """In the middle of any block, over both kinds of rotation; nothing acknowledged is lost."""
    folder = Folder(trail)
    folder.write(1)
    for name, *arguments in steps:
        getattr(folder, name)(*arguments)
        folder.check({"sealed", "unsealed", "gap"})
    folder.write(1)
    folder.check({"sealed", "gap"})
    found = [event.id for event in trail.open().read(TrailQuery())]
    assert [one for one in found if one in folder.acknowledged] == folder.acknowledged


def test_a_gap_line_that_was_left_without_a_seal_is_not_counted(trail: Any) -> None:
    """Two crashes in a row, each in the middle of a block."""
    trail.fill(blocks=1)
    trail.kill_in_write(5, whole=2, torn=10)
    trail.kill_in_write(5, whole=2, torn=10)
    trail.write(trail.open())
    assert [line["unsealed"] for line in trail.lines() if "unsealed" in line] == [2, 4]
    assert trail.verify().state == "gap"


def test_lines_without_a_seal_are_counted_over_the_end_of_a_file(trail: Any) -> None:
    """A rotator renamed the file between two crashes, so none of the new one's lines has a seal."""
    trail.fill(blocks=1)
    trail.kill_in_write(5, whole=3)
    os.rename(trail.path, trail.beside(".1"))
    trail.kill_in_write(5, whole=3)
    os.rename(trail.path, trail.beside(".2"))
    trail.kill_in_write(5, whole=2)
    trail.write(trail.open())
    assert [line["unsealed"] for line in trail.lines() if "unsealed" in line][-1] == 8
    assert trail.verify().state == "gap"


def crash(trail: Any, number: int) -> None:
    """Have a process die before one of its system calls while it writes, as the single crash points do."""
    import sys

    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    left = number

    def profile(frame: Any, event: str, function: Any) -> None:
        nonlocal left
        if event == "c_call" and function.__module__ in {"posix", "fcntl"}:
            left -= 1
            if left == 0:
                os._exit(77)

    sys.setprofile(profile)
    sink = trail.open(**SMALL)
    sink.write(AuditWrite(events=tuple(trail.event() for _ in range(3))))
    os._exit(0)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(points=st.lists(st.integers(1, 60), min_size=2, max_size=3), size=st.sampled_from([1, 4, 9]))
def test_two_or_three_crashes_at_any_points_break_nothing(
    trail: Any, tmp_path: Path, points: list[int], size: int
) -> None:
    """Each write is there whole or not at all, so the trail stays sealed throughout."""
    trail.folder = tmp_path / "crashes"
    shutil.rmtree(trail.folder, ignore_errors=True)
    trail.folder.mkdir()
    trail.path = trail.folder / "audit.jsonl"
    if size > 1:
        trail.fill(blocks=size)
    for point in points:
        crash(trail, point)
        assert trail.verify().state == "sealed", points
    trail.write(trail.open(**SMALL))
    assert trail.verify().state == "sealed", points
