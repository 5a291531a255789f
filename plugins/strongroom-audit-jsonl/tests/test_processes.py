"""Several processes on one file: together, killed, forked."""

import fcntl
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from strongroom.contracts import AuditWrite, TrailQuery
from strongroom.errors import AuditError
from strongroom.testing import in_forked_child
from strongroom_audit_jsonl.sink import JsonlSink

WRITER = """
import sys
from strongroom.contracts import AuditWrite, TrailQuery
from strongroom.model import AuditEvent
from strongroom_audit_jsonl.plugin import JsonlSettings
from strongroom_audit_jsonl.sink import JsonlSink

path, name, count, size, durable = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
sink = JsonlSink(JsonlSettings(path=path, lock_timeout=60.0))
for number in range(count):
    events = tuple(
        AuditEvent(id=f"{name}-{number}-{line}", timestamp="2030-01-01T12:00:00.000000+00:00", event="get",
                   detail="x" * (number % 7 * 300))
        for line in range(size)
    )
    sink.write(AuditWrite(events=events, durable=bool(durable)))
    print(f"{name}-{number}", flush=True)
"""


def start_writer(trail: Any, name: str, count: int, *, size: int = 1, durable: bool = True) -> subprocess.Popen[str]:
    """Start a process that writes blocks and prints each as soon as it is recorded."""
    arguments = [str(trail.path), name, str(count), str(size), str(int(durable))]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True)


def test_four_processes_write_five_hundred_events_each(trail: Any) -> None:
    """2,000 valid lines, none interleaved, each process's in its order, and one sealed chain."""
    writers = [start_writer(trail, f"w{number}", 500, durable=False) for number in range(4)]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    lines = trail.lines()
    assert len(lines) == 2000
    for number in range(4):
        own = [line["id"] for line in lines if line["id"].startswith(f"w{number}-")]
        assert own == [f"w{number}-{index}-0" for index in range(500)]
    assert trail.verify().state == "sealed"


def test_the_others_go_on_when_one_is_killed(trail: Any) -> None:
    """Its lock is released with it; what it had recorded is there."""
    victim = start_writer(trail, "victim", 100_000)
    assert victim.stdout is not None
    victim.stdout.readline()
    others = [start_writer(trail, f"w{number}", 150) for number in range(3)]
    printed = [victim.stdout.readline() for _ in range(50)]
    victim.kill()
    printed += victim.stdout.read().splitlines(keepends=True)
    victim.wait()
    for writer in others:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    found = {line["id"] for line in trail.lines()}
    acknowledged = {f"{line.strip()}-0" for line in printed if line.endswith("\n")}
    acknowledged |= {f"w{writer}-{number}-0" for writer in range(3) for number in range(150)}
    assert acknowledged <= found
    assert trail.verify().state in {"sealed", "gap"}


@pytest.mark.parametrize("seed", range(12))
def test_killed_at_a_random_moment(trail: Any, seed: int) -> None:
    """Every line parses after the next write, nothing acknowledged is missing, nothing is broken."""
    moments = random.Random(seed)
    acknowledged: set[str] = set()
    for turn in range(3):
        writer = start_writer(trail, f"w{turn}", 100_000, size=40, durable=turn % 2 == 0)
        assert writer.stdout is not None
        head = [writer.stdout.readline()]
        time.sleep(moments.uniform(0, 0.03))
        writer.kill()
        head += writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        acknowledged |= {line.strip() for line in head if line.endswith("\n")}
        assert trail.verify().state != "broken"
        trail.write(trail.open())
        assert trail.verify().state in {"sealed", "gap"}
    found = [line["id"] for line in trail.lines()]
    complete = {one_id.rpartition("-")[0] for one_id in found if one_id.endswith("-39")}
    assert acknowledged <= complete


def test_one_key_although_many_processes_begin_at_once(trail: Any) -> None:
    """Whoever comes first makes it, and the folder; all seals are genuine."""
    trail.path = trail.folder / "new" / "audit.jsonl"
    writers = [start_writer(trail, f"w{number}", 3) for number in range(6)]
    for writer in writers:
        writer.communicate(timeout=60)
    assert len({line["key_id"] for line in trail.lines()}) == 1
    report = trail.verify()
    assert (report.state, report.events) == ("sealed", 18)


def test_waiting_for_the_lock_ends_with_an_error_that_says_so(trail: Any) -> None:
    """Nothing is written then, and the next write succeeds when the lock is free."""
    trail.fill()
    before = trail.path.read_bytes()
    sink = trail.open(lock_timeout=0.05)
    with trail.beside(".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AuditError, match=r"has held the audit lock .*audit\.jsonl\.lock for more than 0\.05 s"):
            trail.write(sink)
    assert trail.path.read_bytes() == before
    trail.write(sink)


def test_a_lock_file_that_is_deleted_is_not_relied_on(trail: Any) -> None:
    """Whoever waited for it goes on waiting for the one that has taken its place."""
    trail.fill()
    sink, outcome = trail.open(lock_timeout=0.5), []

    def write() -> None:
        try:
            trail.write(sink)
        except AuditError as error:
            outcome.append(str(error))

    with trail.beside(".lock").open() as deleted:
        fcntl.flock(deleted, fcntl.LOCK_EX)
        waiting = threading.Thread(target=write)
        waiting.start()
        time.sleep(0.1)  # Long enough to begin waiting; were it not, the test would prove less, but not fail.
        trail.beside(".lock").unlink()
        trail.beside(".lock").touch(0o600)
        with trail.beside(".lock").open() as present:
            fcntl.flock(present, fcntl.LOCK_EX)
            fcntl.flock(deleted, fcntl.LOCK_UN)
            waiting.join(20)
    assert "has held the audit lock" in outcome[0]
    trail.write(sink)


def test_parent_and_forked_child_both_go_on(trail: Any) -> None:
    """Neither uses the other's handle."""
    sink = trail.open()
    trail.write(sink)

    def write_in_child() -> str:
        sink.after_fork()
        for _ in range(20):
            trail.write(sink)
        return "done"

    assert in_forked_child(write_in_child) == "done"
    trail.write(sink)
    assert len(trail.lines()) == 22
    assert trail.verify().state == "sealed"


class ForkingEvents(tuple[Any, ...]):
    """Events that are taken up in the middle of a write, and do something at that moment."""

    action: Callable[[], object]

    def __iter__(self) -> Iterator[Any]:
        self.action()
        return super().__iter__()


def write_and_fork(trail: Any, sink: JsonlSink, fork: Callable[[], object]) -> None:
    """Write a block, and call something while the lock is held."""
    events = ForkingEvents((trail.event(),))
    events.action = fork
    sink.write(AuditWrite(events=events))


@pytest.mark.parametrize("is_told", [True, False], ids=["told-of-the-fork", "not-told-of-it"])
def test_a_fork_in_the_middle_of_a_write_neither_unlocks_nor_keeps_the_lock(
    trail: Any, forked: Callable[[Callable[[], object]], int], is_told: bool
) -> None:
    """The parent still holds it; once it has let go, the child, still alive, does not stand in the way."""
    sink = trail.open(lock_timeout=0.2)
    trail.write(sink)
    reader, writer = os.pipe()

    def child() -> None:
        if is_told:
            sink.after_fork()
        with pytest.raises(AuditError, match="has held the audit lock"):
            trail.write(trail.open(lock_timeout=0.05))
        os.write(writer, b".")
        signal.pause()

    def fork() -> None:
        forked(child)
        assert select.select([reader], [], [], 10)[0], "the child could lock, or hangs"

    write_and_fork(trail, sink, fork)
    trail.write(sink)
    assert len(trail.lines()) == 3


def test_a_lock_does_not_live_on_in_the_child_of_a_process_that_was_killed(
    trail: Any, forked: Callable[[Callable[[], object]], int]
) -> None:
    """The child has forgotten it, although its parent never came to release it."""
    trail.fill()
    reader, writer = os.pipe()

    def parent() -> None:
        sink = trail.open()

        def child() -> None:
            sink.after_fork()
            os.write(writer, b"%d" % os.getpid())
            signal.pause()

        def fork_and_die() -> None:
            forked(child)
            assert select.select([reader], [], [], 10)[0]
            os.kill(os.getpid(), signal.SIGKILL)

        write_and_fork(trail, sink, fork_and_die)

    os.waitpid(forked(parent), 0)
    grandchild = int(os.read(reader, 20))
    try:
        trail.write(trail.open(lock_timeout=0.5))
    finally:
        os.kill(grandchild, signal.SIGKILL)
    assert trail.verify().state == "sealed"


def test_a_process_that_ended_without_closing_is_found(trail: Any) -> None:
    """The trail of a killed process has `opened` and no `closed`."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    host = os.uname().nodename
    trail.write(trail.open(), event="opened", id="a", host=host, pid=child.pid)
    report = trail.verify()
    assert report.state == "gap"
    assert [finding.kind for finding in report.findings] == ["unclosed"]
    assert f"process {child.pid}" in report.findings[0].detail


def test_a_process_that_closed_is_no_finding(trail: Any) -> None:
    """By the same id, or by host and number."""
    sink, host = trail.open(), os.uname().nodename
    for opened, closed, pid in (("a", "a", 999_999_001), ("b", "c", 999_999_002), ("d", "e", 999_999_002)):
        trail.write(sink, event="opened", id=opened, host=host, pid=pid)
        trail.write(sink, event="closed", id=closed, host=host, pid=pid)
    assert sink.verify().findings == ()


def test_a_process_that_still_runs_is_no_finding(trail: Any) -> None:
    """It has time to close."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    trail.write(trail.open(), event="opened", host=os.uname().nodename, pid=os.getpid(), timestamp=now)
    assert trail.verify().state == "sealed"


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="only Linux tells when a process started")
def test_a_later_process_with_the_same_number_is_another_one(trail: Any) -> None:
    """Numbers are used again."""
    past = "2001-01-01T00:00:00.000000+00:00"
    trail.write(trail.open(), event="opened", host=os.uname().nodename, pid=os.getpid(), timestamp=past)
    assert trail.verify().findings[0].kind == "unclosed"


def test_a_process_on_another_host_cannot_be_asked(trail: Any) -> None:
    """So a missing `closed` is reported, and the finding says why."""
    trail.write(trail.open(), event="opened", host="elsewhere", pid=1)
    assert "cannot be asked" in trail.verify().findings[0].detail


def test_a_trail_can_be_verified_and_read_while_it_is_written(
    trail: Any, forked: Callable[[Callable[[], object]], int]
) -> None:
    """Whatever the writer is doing, blocks are seen whole, and rotation hides no file."""

    def write_for_ever() -> None:
        sink = trail.open(max_bytes=4096, lock_timeout=60.0)
        while True:
            sink.write(AuditWrite(events=(trail.event(), trail.event()), durable=False))
            time.sleep(0.003)  # or there would soon be more to verify than a test has time for

    trail.fill()
    forked(write_for_ever)
    sink = trail.open(lock_timeout=60.0)
    head = sink.head()
    while head.position < 200:
        report = sink.verify(head)
        assert (report.state, report.findings) == ("sealed", ())
        assert len(list(sink.read(TrailQuery()))) >= report.events
        head = report.head
