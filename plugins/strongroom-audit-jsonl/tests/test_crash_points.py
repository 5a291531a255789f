"""A process that dies just before each single call to the operating system in turn."""

import os
import shutil
import sys

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import AuditWrite, TrailQuery

SYSTEM_MODULES = {"posix", "fcntl"}
SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"


def die_before_call(number: int) -> None:
    """Have this process end, without any clean-up, before its so-manieth system call from now on."""
    left = number

    def profile(frame: Any, event: str, function: Any) -> None:
        nonlocal left
        if event == "c_call" and function.__module__ in SYSTEM_MODULES:
            left -= 1
            if left == 0:
                os._exit(77)

    sys.setprofile(profile)


def nothing_yet(trail: Any) -> list[str]:
    """No folder content at all: key, lock and file are made."""
    return []


def some_blocks(trail: Any) -> list[str]:
    """The everyday case."""
    return trail.fill(blocks=3)


def torn(trail: Any) -> list[str]:
    """A line to be mended."""
    before = trail.fill(blocks=3)
    with trail.path.open("ab") as file:
        file.write(b'{"seq":7,"id":"x"')
    return before


def half_a_block(trail: Any) -> list[str]:
    """Lines without a seal."""
    before = trail.fill(blocks=2)
    trail.fill(blocks=1, size=5)
    os.truncate(trail.path, trail.path.stat().st_size - 20)
    trail.note()
    return before


def full(trail: Any) -> list[str]:
    """A file to be put aside."""
    return trail.fill(blocks=8)


def renamed(trail: Any) -> list[str]:
    """A file to be begun."""
    before = trail.fill(blocks=3)
    trail.path.rename(trail.beside(".1"))
    return before


def damaged(trail: Any) -> list[str]:
    """A file that somebody wrote into, to be put aside."""
    before = trail.fill(blocks=3)
    with trail.path.open("ab") as file:
        file.write(b"hello\n")
    return before


Scenario = Callable[[Any], list[str]]


def allowed_after(scenario: Scenario) -> set[str]:
    """Return how a trail may verify after a crash: as it did before, unless there was something to mend."""
    if scenario is damaged:
        return {"broken"}
    return {"sealed", "unsealed", "gap"} if scenario in (torn, half_a_block) else {"sealed"}


def crash_and_look(trail: Any, template: Path, number: int, before: list[str], allowed: set[str]) -> bool:
    """Crash at one point, check what is left, and say whether the write got that far at all."""
    trail.folder = template.with_name(f"crash-{number}")
    trail.path = trail.folder / "audit.jsonl"
    shutil.copytree(template, trail.folder)
    child = os.fork()
    if child == 0:
        die_before_call(number)
        trail.write(trail.open(max_bytes=2048), 3, principal="crashed")
        os._exit(0)
    finished = os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 0
    assert trail.verify().state in allowed, number
    after = trail.write(trail.open(max_bytes=2048), 2)
    trail.lines()
    assert trail.verify().state in allowed - {"unsealed"}, number
    events = [event for event in trail.open().read(TrailQuery()) if event.principal is not None]
    crashed = [event.id for event in events if event.principal == "crashed"]
    assert len(crashed) in ({3} if finished else {0, 3}), number
    kept = [event.id for event in events if event.id not in crashed]
    assert [*before, *after] == [one for one in kept if one in {*before, *after}], number
    return finished


@pytest.mark.parametrize("scenario", [nothing_yet, some_blocks, torn, half_a_block, full, renamed, damaged])
def test_a_crash_at_any_point_loses_nothing_and_breaks_nothing(trail: Any, tmp_path: Path, scenario: Scenario) -> None:
    """What was acknowledged is there, the block is there whole or not at all, and the trail goes on."""
    template = tmp_path / "template"
    template.mkdir()
    trail.path = template / "audit.jsonl"
    before = scenario(trail)
    for number in range(1, 200):
        if crash_and_look(trail, template, number, before, allowed_after(scenario)):
            break
    assert 10 < number < 199, "the crashes have not covered the whole write"


def calls_of(action: Callable[[], object]) -> list[str]:
    """Return the names of the system calls that something makes, in order."""
    calls = []

    def profile(frame: Any, event: str, function: Any) -> None:
        if event == "c_call" and function.__module__ in SYSTEM_MODULES:
            calls.append(function.__name__)

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def test_a_durable_block_is_synced_before_the_lock_is_released(trail: Any) -> None:
    """So no other process builds on what a power failure may take away; and it is synced once."""
    sink = trail.open()
    trail.write(sink)
    calls = calls_of(lambda: trail.write(sink))
    assert calls.index("write") < calls.index(SYNC) < len(calls) - calls[::-1].index("flock") - 1
    assert calls.count(SYNC) == 1


def test_a_block_that_need_not_be_durable_is_not_synced(trail: Any) -> None:
    """That is what makes it cheap."""
    sink = trail.open()
    trail.write(sink)
    request = AuditWrite(events=(trail.event(),), durable=False)
    assert not {"fsync", "fdatasync"} & set(calls_of(lambda: sink.write(request)))


def test_a_new_file_has_its_place_in_the_folder_before_its_first_block(trail: Any) -> None:
    """Otherwise a power failure could take the file with all later, synced blocks."""
    trail.fill()
    trail.path.unlink()
    sink = trail.open()
    calls = calls_of(lambda: sink.write(AuditWrite(events=(trail.event(),), durable=False)))
    assert "fsync" in calls[: calls.index("write")]


def test_an_unchanged_file_is_not_read_again(trail: Any) -> None:
    """Beyond the few bytes that show that it and the head file are unchanged; one open for that, one for the lock."""
    sink = trail.open()
    trail.write(sink)
    calls = calls_of(lambda: trail.write(sink))
    assert (calls.count("open"), calls.count("pread"), calls.count("read")) == (2, 2, 0)
