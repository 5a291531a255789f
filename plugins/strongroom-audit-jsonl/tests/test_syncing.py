"""A durable request without events: what was written before is to be on stable storage."""

import os
import sys

from collections.abc import Callable
from typing import Any

from strongroom.contracts import AuditWrite
from strongroom.testing import in_forked_child

SYNC = AuditWrite(events=(), durable=True)


def system_calls(action: Callable[[], object]) -> list[str]:
    calls = []

    def profile(frame: Any, event: str, function: Any) -> None:
        if event == "c_call" and function.__module__ in {"posix", "fcntl"}:
            calls.append(function.__name__)

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def syncs(action: Callable[[], object]) -> int:
    return sum(name in {"fsync", "fdatasync"} for name in system_calls(action))


def write_unsynced(trail: Any, sink: Any) -> None:
    sink.write(AuditWrite(events=(trail.event(),), durable=False))


def test_it_syncs_once_and_writes_no_line(trail: Any) -> None:
    """The second request has nothing to do, and costs no system call."""
    sink = trail.open()
    trail.write(sink)
    write_unsynced(trail, sink)
    before = trail.path.read_bytes()
    assert syncs(lambda: sink.write(SYNC)) == 1
    assert system_calls(lambda: sink.write(SYNC)) == []
    assert trail.path.read_bytes() == before
    assert sink.verify().state == "sealed"


def test_a_durable_write_leaves_nothing_to_sync(trail: Any) -> None:
    """It takes along what came before it."""
    sink = trail.open()
    write_unsynced(trail, sink)
    trail.write(sink)
    assert system_calls(lambda: sink.write(SYNC)) == []


def test_nothing_is_made_for_it(trail: Any) -> None:
    """Without a write before there is nothing to sync."""
    trail.open().write(SYNC)
    assert list(trail.folder.iterdir()) == []


def test_what_had_been_synced_is_missed_if_it_goes(trail: Any) -> None:
    """The head file says so from then on."""
    sink = trail.open()
    trail.write(sink)
    size = trail.path.stat().st_size
    write_unsynced(trail, sink)
    content = trail.path.read_bytes()
    os.truncate(trail.path, size)
    assert trail.verify().state == "gap"
    trail.path.write_bytes(content)
    sink.write(SYNC)
    os.truncate(trail.path, size)
    assert trail.verify().state == "broken"


def test_a_file_that_was_renamed_meanwhile_is_synced(trail: Any) -> None:
    """At the request, or when the sink goes on in the next file."""
    sink = trail.open()
    for path, action in ((".1", lambda: sink.write(SYNC)), (".2", lambda: write_unsynced(trail, sink))):
        write_unsynced(trail, sink)
        trail.path.rename(trail.beside(path))
        assert syncs(action) >= 1


def test_it_works_after_the_file_was_closed(trail: Any) -> None:
    """What was written is still to be synced."""
    sink = trail.open()
    write_unsynced(trail, sink)
    sink.close()
    assert syncs(lambda: sink.write(SYNC)) >= 1
    assert system_calls(lambda: sink.write(SYNC)) == []


def test_a_forked_child_owes_nothing(trail: Any) -> None:
    """Its parent wrote that, and syncs it."""
    sink = trail.open()
    write_unsynced(trail, sink)

    def in_child() -> int:
        sink.after_fork()
        return len(system_calls(lambda: sink.write(SYNC)))

    assert in_forked_child(in_child) == "0"
    assert syncs(lambda: sink.write(SYNC)) == 1


def test_lines_that_another_process_wrote_meanwhile_are_left_to_it(trail: Any) -> None:
    """The head file that it wrote stays as it is."""
    one, other = trail.open(), trail.open()
    write_unsynced(trail, one)
    write_unsynced(trail, other)
    note = trail.beside(".head").read_bytes()
    assert syncs(lambda: one.write(SYNC)) == 1
    assert trail.beside(".head").read_bytes() == note
    assert one.verify().state == "sealed"
