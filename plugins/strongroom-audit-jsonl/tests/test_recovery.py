"""What a writer does about an end of the file that it does not expect."""

import os
import shutil

from typing import Any

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom_audit_jsonl.sink import JsonlSink


def tear(trail: Any, bytes_left: int) -> None:
    """Cut the file so that only so many bytes of the last line are left."""
    content = trail.path.read_bytes()
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    os.truncate(trail.path, start + bytes_left)


@pytest.mark.parametrize("fragment", [b"{", b'{"seq":', b'{"seq":99,"id":"x"', b"\0" * 100, b'{"seq":9' + b"\0" * 50])
def test_a_torn_line_is_cut_off_and_told(trail: Any, fragment: bytes) -> None:
    """Every line parses afterwards; a gap record describes what was cut."""
    before = trail.fill()
    with trail.path.open("ab") as file:
        file.write(fragment)
    assert trail.verify().state == "unsealed"
    after = trail.write(trail.open())
    *whole, gap, last = trail.lines()
    assert [line["id"] for line in whole] == before
    assert (gap["event"], last["id"]) == ("gap", after[0])
    assert f"{len(fragment)} bytes with SHA-256" in gap["detail"]
    assert trail.verify().state == "gap"


def test_a_first_line_that_is_torn_is_cut_off(trail: Any) -> None:
    """Even when nothing is left then."""
    trail.fill(blocks=1, size=1)
    trail.note()
    tear(trail, 40)
    trail.write(trail.open())
    assert [(line["seq"], line["event"]) for line in trail.lines()] == [(1, "gap"), (2, "get")]
    assert trail.verify().state == "gap"


def test_an_empty_file_that_a_rotator_made_is_no_old_trail(trail: Any) -> None:
    """A key may be made then."""
    trail.path.touch(0o600)
    trail.write(trail.open())
    assert trail.verify().state == "sealed"


def test_a_block_that_was_cut_short_is_kept_but_not_passed_off_as_sealed(trail: Any) -> None:
    """Whole lines without a seal are admitted by the next writer."""
    trail.fill(blocks=1)
    trail.write(trail.open(), 5)
    trail.note()
    tear(trail, 20)
    report = trail.verify()
    assert report.state == "unsealed"
    assert [finding.kind for finding in report.findings] == ["unsealed", "unsealed"]
    trail.write(trail.open())
    gap = trail.lines()[-2]
    assert gap["unsealed"] == 4
    assert trail.verify().state == "gap"


def test_lines_added_without_the_key_are_not_sealed_by_the_next_writer(trail: Any) -> None:
    """Removing the admission is broken, so a forged line never becomes a genuine one."""
    trail.fill(blocks=1)
    trail.write(trail.open(), 5)
    trail.note()
    tear(trail, 0)
    trail.write(trail.open(), 2)
    assert trail.verify().state == "gap"
    content = trail.path.read_bytes()
    trail.path.write_bytes(content.replace(b'"unsealed":4', b'"unsealed":0'))
    assert trail.verify().state == "broken"


def test_lines_that_are_gone_from_the_end_are_told_by_the_process_that_wrote_them(trail: Any) -> None:
    """Even without a head file."""
    sink = trail.open()
    trail.write(sink, 2)
    size = trail.path.stat().st_size
    trail.write(sink, 3)
    os.truncate(trail.path, size)
    trail.beside(".head").unlink()
    trail.write(sink)
    gap = trail.lines()[-2]
    assert (gap["event"], gap["count"], gap["seq"]) == ("gap", 3, 6)
    assert "lines 3 to 5" in gap["detail"]
    assert sink.verify().state == "gap"


def test_lines_that_are_gone_from_the_end_are_told_by_a_later_process(trail: Any) -> None:
    """The head file remembers."""
    trail.fill(blocks=2)
    tear(trail, 0)
    tear(trail, 0)
    assert trail.verify().state == "broken"
    trail.write(trail.open())
    assert trail.lines()[-2]["skipped"] == 2
    assert trail.verify().state == "gap"


def test_a_file_replaced_by_an_old_copy_is_noticed(trail: Any) -> None:
    """By the process that wrote to it, at the next write."""
    sink = trail.open()
    trail.write(sink)
    old = trail.path.read_bytes()
    trail.write(sink, 3)
    trail.path.unlink()
    trail.path.write_bytes(old)
    trail.path.chmod(0o600)
    trail.write(sink)
    assert trail.lines()[1]["skipped"] == 3
    assert sink.verify().state == "gap"


def test_another_line_in_place_of_the_last_one_is_noticed(trail: Any, tmp_path: Any) -> None:
    """The number is right, the line is not."""
    sink = trail.open()
    trail.write(sink, 2)
    shutil.copytree(trail.folder, tmp_path / "copy", ignore=lambda *_: ["copy"])
    other = trail.open(path=str(tmp_path / "copy" / "audit.jsonl"))
    trail.write(other, 2)
    trail.write(sink, 2)
    shutil.move(tmp_path / "copy" / "audit.jsonl", trail.path)
    trail.write(sink)
    assert "line 4 is not the one that had been written" in trail.lines()[-2]["detail"]
    assert sink.verify().state == "gap"


def test_a_foreign_line_is_neither_removed_nor_continued(trail: Any) -> None:
    """The file is put aside as it is; the trail goes on in a new one, and verification tells."""
    before = trail.fill()
    with trail.path.open("ab") as file:
        file.write(b"hello\n")
    content = trail.path.read_bytes()
    sink = trail.open()
    after = trail.write(sink)
    (aside,) = trail.folder.glob("audit.jsonl.damaged-*")
    assert aside.read_bytes() == content
    assert [line["id"] for line in trail.lines()][1:] == after
    report = sink.verify()
    assert report.state == "broken"
    assert [finding.place for finding in report.findings] == [f"{aside}:{len(before) + 1}"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(min_value=0))
def test_a_file_cut_anywhere_is_mended_and_never_called_sealed_before(trail: Any, place: int) -> None:
    """As a crash may leave it: each line parses after the next write, and nothing is broken then."""
    for path in trail.folder.iterdir():
        path.unlink()
    trail.fill(blocks=2, size=3)
    content = trail.path.read_bytes()
    size = place % (len(content) - 1) + 1
    os.truncate(trail.path, size)
    trail.note()
    sealed_before = content[:size].endswith(b'"}\n') and b'"seal"' in content[:size].splitlines()[-1]
    assert (trail.verify().state == "sealed") == sealed_before
    trail.write(JsonlSink(trail.settings()))
    assert trail.lines()
    assert trail.verify().state == ("sealed" if sealed_before else "gap")


def test_all_unsealed_lines_are_counted_however_many_there_are(trail: Any) -> None:
    """Beyond the few kilobytes that are read at first."""
    trail.fill(blocks=1)
    trail.write(trail.open(), 200, detail="x" * 100)
    trail.note()
    tear(trail, 10)
    trail.write(trail.open())
    assert trail.lines()[-2]["unsealed"] == 199
    assert trail.verify().state == "gap"


def test_a_line_longer_than_what_is_read_at_first_is_found(trail: Any) -> None:
    """Its number and its chain value are taken up."""
    trail.write(trail.open(), detail="x" * 100_000)
    trail.note()
    trail.write(trail.open())
    assert [line["seq"] for line in trail.lines()] == [1, 2]
    assert trail.verify().state == "sealed"


def test_the_trail_goes_on_after_the_last_whole_line_of_a_file_put_aside(trail: Any) -> None:
    """Even if no head file tells which one that is."""
    before = trail.fill()
    with trail.path.open("ab") as file:
        file.write(b"hello\n")
    trail.note()
    trail.write(trail.open())
    assert trail.lines()[0]["seq"] == len(before) + 1
    report = trail.verify()
    assert [finding.kind for finding in report.findings] == ["broken"]
