"""Odd things in the folder: pipes, other trails, files that are just being compressed."""

import gzip
import os
import resource
import signal
import zlib

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import AuditWrite, TrailQuery
from strongroom.errors import AuditError
from strongroom.testing import in_forked_child


@pytest.fixture
def deadline() -> Iterator[None]:
    """Turn waiting for ever into a failure."""

    def expire(*_: object) -> None:
        raise TimeoutError("this waits for ever")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def error_of(action: Callable[[], object]) -> str:
    try:
        action()
    except AuditError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("suffix", ["", ".key", ".lock", ".head", ".key.new"])
@pytest.mark.parametrize("has_lines", [True, False])
def test_a_pipe_in_place_of_a_file_stops_nobody(trail: Any, deadline: None, suffix: str, has_lines: bool) -> None:
    """It is refused or done without, and the lock is free afterwards."""
    if has_lines:
        trail.fill()
    trail.beside(suffix).unlink(missing_ok=True)
    os.mkfifo(trail.beside(suffix), 0o600)
    for action in (
        lambda: trail.write(trail.open(lock_timeout=0.5)),
        lambda: trail.verify(),
        lambda: list(trail.open().read(TrailQuery())),
        lambda: trail.open().head(),
        lambda: trail.open().health(),
    ):
        assert "held the audit lock" not in error_of(action)


class Interrupting(tuple[Any, ...]):
    """Events that are taken up in the middle of a write, and do something at that moment."""

    action: Callable[[], object]

    def __iter__(self) -> Iterator[Any]:
        self.action()
        return super().__iter__()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux shows which files are open")
def test_a_block_that_is_in_the_file_is_never_reported_as_failed(trail: Any) -> None:
    """Even if the lock cannot be released: else the caller would write it once more."""
    sink = trail.open()
    trail.write(sink)

    def lose_lock() -> None:
        for name in os.listdir("/proc/self/fd"):
            path = Path("/proc/self/fd") / name
            if path.is_symlink() and str(path.readlink()) == str(trail.beside(".lock")):
                os.close(int(name))

    events = Interrupting((trail.event(id="once"),))
    events.action = lose_lock
    sink.write(AuditWrite(events=events))
    assert [line["id"] for line in trail.lines()].count("once") == 1
    trail.write(sink)
    assert sink.verify().state == "sealed"


def test_two_trails_in_one_folder_are_kept_apart(trail: Any) -> None:
    """Although the name of one begins with the name of the other; over rotation, too."""
    longer, shorter = str(trail.path), str(trail.folder / "audit")
    for turn in range(3):
        for path in (longer, shorter):
            trail.write(trail.open(path=path), 2)
            if turn < 2:
                os.rename(path, f"{path}.{turn + 1}")
    for path in (longer, shorter):
        report = trail.open(path=path).verify()
        assert (report.state, report.events) == ("sealed", 8)
        assert set(report.files) == {path, f"{path}.1", f"{path}.2"}
        assert len(list(trail.open(path=path).read(TrailQuery()))) == 8


def test_a_trail_may_begin_beside_one_whose_name_is_longer(trail: Any) -> None:
    """Those lines are none of its own."""
    trail.fill()
    sink = trail.open(path=str(trail.folder / "audit"))
    trail.write(sink)
    assert (sink.verify().state, sink.head().position) == ("sealed", 1)


@pytest.mark.parametrize("suffix", [".1", "-20300101", ".from-000000000001", ".1.gz", ".old"])
def test_no_key_is_made_for_a_trail_that_was_rotated_away(trail: Any, suffix: str) -> None:
    """Its lines are there, and the key that sealed them is lost."""
    trail.fill()
    content = trail.path.read_bytes()
    trail.beside(suffix).write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    for lost in ("", ".key", ".head"):
        trail.beside(lost).unlink()
    with pytest.raises(AuditError, match="key is missing") as caught:
        trail.write(trail.open())
    assert suffix in str(caught.value)
    assert not trail.beside(".key").exists()


def test_a_key_is_made_beside_files_without_lines(trail: Any) -> None:
    """Notes and empty files are no trail."""
    trail.beside(".txt").write_text("notes\n")
    trail.beside(".1").touch()
    trail.beside(".txt.gz").write_bytes(gzip.compress(b"notes\n"))
    trail.fill()
    assert trail.verify().state == "sealed"


@pytest.mark.parametrize("size", [0, 7, 30, 400, -1])
def test_a_file_that_is_just_being_compressed_is_no_damage(trail: Any, size: int) -> None:
    """The plain one is still there; nor is it, when the compressed one is done."""
    trail.fill(blocks=20)
    before = trail.path.read_bytes()
    trail.path.rename(trail.beside(".1"))
    compressed = gzip.compress(before)
    trail.beside(".1.gz").write_bytes(compressed[:size] if size >= 0 else compressed)
    trail.fill(blocks=1)
    report = trail.verify()
    assert (report.state, report.events) == ("sealed", 43)
    assert len(list(trail.open().read(TrailQuery()))) == 43


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux shows which files are open")
@pytest.mark.parametrize("action", ["verify", "read"])
def test_no_file_stays_open_after_one_could_not_be_read(trail: Any, action: str) -> None:
    """Not even while somebody looks at the error."""
    trail.fill()
    trail.beside(".1.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00")
    sink = trail.open()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(AuditError) as caught:
        sink.verify() if action == "verify" else list(sink.read(TrailQuery()))
    assert "1.gz" in str(caught.value)
    assert len(os.listdir("/proc/self/fd")) == before


def compress_large(path: Path, beginning: bytes, mebibytes: int) -> None:
    """Write a compressed file of mostly NUL bytes."""
    packer = zlib.compressobj(1, wbits=31)
    with path.open("wb") as file:
        file.write(packer.compress(beginning))
        for _ in range(mebibytes):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())


def test_a_huge_compressed_file_is_not_unpacked_while_others_wait(trail: Any) -> None:
    """Where the end of the trail is in it, the error says what to do; where it is not, it is passed over."""
    trail.fill()
    content = trail.path.read_bytes()
    trail.path.unlink()
    trail.beside(".head").unlink()
    compress_large(trail.beside(".2.gz"), b"", 20)
    trail.beside(".1.gz").write_bytes(gzip.compress(content))
    trail.write(trail.open())
    assert trail.lines()[0]["seq"] == 9
    trail.path.unlink()
    trail.beside(".head").unlink()
    compress_large(trail.beside(".1.gz"), content, 257)
    with pytest.raises(AuditError, match=r"1\.gz, which is too large"):
        trail.write(trail.open())


def test_a_line_without_end_takes_little_memory(trail: Any) -> None:
    """A sparse file of half a gigabyte, plain and compressed; verification finds it and goes on."""
    trail.fill()
    trail.beside(".1").touch()
    os.truncate(trail.beside(".1"), 300 << 20)
    compress_large(trail.beside(".2.gz"), b"", 300)

    def verify() -> str:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
        trail.write(trail.open())
        return trail.verify().state

    assert in_forked_child(verify) == "broken"


def test_an_event_that_no_reader_would_take_is_refused(trail: Any) -> None:
    """Rather than recorded as a line that verification calls broken."""
    sink = trail.open()
    with pytest.raises(AuditError, match="at most"):
        trail.write(sink, detail="x" * (17 << 20))
    trail.write(sink, detail="x" * (15 << 20))
    assert sink.verify().state == "sealed"
