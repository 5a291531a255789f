"""Pages that had not reached the disk when the power failed."""

import os

from typing import Any

import pytest

from strongroom.contracts import AuditWrite
from strongroom_audit_jsonl.sink import JsonlSink

PAGE = 4096


def write_unsynced(trail: Any, sink: JsonlSink, count: int) -> None:
    sink.write(AuditWrite(events=tuple(trail.event() for _ in range(count)), durable=False))


def lose_pages(trail: Any, *pages: int) -> None:
    with trail.path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        for page in pages:
            file.seek(page * PAGE)
            file.write(bytes(min(PAGE, size - page * PAGE)))


@pytest.mark.parametrize("pages", [(1,), (2, 3), (1, 3), (4,)])
@pytest.mark.parametrize("size", [1, 7, 90])
@pytest.mark.parametrize("old_note", [True, False])
def test_lines_that_were_not_synced_become_a_gap(trail: Any, pages: tuple[int, ...], size: int, old_note: bool) -> None:
    """Before the next writer, and for ever after it; what comes then is sealed as ever."""
    sink = trail.open()
    trail.write(sink, 2)
    head = trail.beside(".head").read_bytes()
    for _ in range(90 // size):
        write_unsynced(trail, sink, size)
    if old_note:
        trail.beside(".head").write_bytes(head)
    lose_pages(trail, *pages)
    assert trail.verify().state == "gap"
    trail.write(trail.open())
    assert trail.verify().state == "gap"
    trail.write(trail.open())
    report = trail.verify()
    assert report.state == "gap"
    assert any("NUL bytes" in finding.detail for finding in report.findings)
    assert "zeroed" in trail.lines_left()[-3]


def test_a_page_at_the_very_end_is_cut_off_and_told(trail: Any) -> None:
    """The end of the last line is on a page that was written."""
    sink = trail.open()
    trail.write(sink, 2)
    write_unsynced(trail, sink, 90)
    last = trail.path.stat().st_size // PAGE
    lose_pages(trail, last - 1)
    with trail.path.open("r+b") as file:
        file.truncate(last * PAGE)
        file.seek(0, os.SEEK_END)
        file.write(b'the rest of a line"}\n')
    assert trail.verify().state == "gap"
    trail.write(trail.open())
    assert "a torn line was cut off" in trail.lines()[-2]["detail"]
    assert trail.verify().state == "gap"


def test_the_first_page_of_a_new_file_may_be_lost(trail: Any) -> None:
    """The file before it had been synced."""
    sink = trail.open()
    trail.write(sink, 2)
    trail.path.rename(trail.beside(".1"))
    write_unsynced(trail, sink, 30)
    lose_pages(trail, 0)
    for _ in range(2):
        assert trail.verify().state == "gap"
        trail.write(trail.open())
    assert trail.verify().state == "gap"


@pytest.mark.parametrize("is_running", [True, False])
def test_pages_of_lines_that_had_been_synced_stay_broken(trail: Any, is_running: bool) -> None:
    """No power failure takes those, and no writer admits them."""
    sink = trail.open()
    trail.write(sink, 60)
    write_unsynced(trail, sink, 5)
    lose_pages(trail, 1)
    assert trail.verify().state == "broken"
    trail.write(sink if is_running else trail.open())
    assert trail.verify().state == "broken"


def test_pages_that_somebody_empties_while_a_writer_runs_are_broken_once_it_syncs(trail: Any) -> None:
    """No power has failed since it began."""
    sink = trail.open()
    trail.write(sink, 2)
    write_unsynced(trail, sink, 60)
    lose_pages(trail, 1)
    trail.write(sink)
    assert trail.verify().state == "broken"


def test_nul_bytes_between_two_lines_are_broken(trail: Any) -> None:
    """Nothing is lost there, and somebody was at it."""
    trail.fill()
    lines = trail.path.read_bytes().splitlines(keepends=True)
    trail.path.write_bytes(b"".join([*lines[:3], b"\0\0\n", *lines[3:]]))
    assert trail.verify().state == "broken"
    trail.write(trail.open())
    assert trail.verify().state == "broken"
