"""What rotators do to the file while it is written, and our own rotation."""

import gzip
import os
import shutil
import stat

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.contracts import TrailQuery
from strongroom.errors import AuditError
from strongroom_audit_jsonl.sink import JsonlSink


def ids(sink: JsonlSink) -> list[str]:
    """Return the ids of all events but the sink's own."""
    return [event.id for event in sink.read(TrailQuery()) if event.event not in {"continued", "pruned", "gap"}]


def rename(trail: Any) -> None:
    os.rename(trail.path, trail.beside(".1"))


def rename_by_date(trail: Any) -> None:
    os.rename(trail.path, trail.beside("-20300101"))


def rename_and_create(trail: Any) -> None:
    os.rename(trail.path, trail.beside(".1"))
    trail.path.touch(mode=0o600)


def copy_and_truncate(trail: Any) -> None:
    shutil.copyfile(trail.path, trail.beside(".1"))
    os.truncate(trail.path, 0)


def rename_and_compress(trail: Any) -> None:
    trail.beside(".1.gz").write_bytes(gzip.compress(trail.path.read_bytes()))
    trail.path.unlink()


ROTATORS = [rename, rename_by_date, rename_and_create, copy_and_truncate, rename_and_compress]


@pytest.mark.parametrize("rotate", ROTATORS)
def test_a_writer_goes_on_in_the_new_file(trail: Any, rotate: Callable[[Any], None]) -> None:
    """No signal is needed; old and new file together are one sealed trail."""
    sink = trail.open()
    before = trail.write(sink, 5)
    rotate(trail)
    after = trail.write(sink, 10)
    assert [line["id"] for line in trail.lines()][1:] == after
    assert b"\0" not in trail.path.read_bytes()
    assert ids(sink) == before + after
    report = sink.verify()
    assert (report.state, report.events, len(report.files)) == ("sealed", 16, 2)


@pytest.mark.parametrize("rotate", ROTATORS)
@pytest.mark.parametrize("has_note", [True, False], ids=["with-head-file", "without-head-file"])
def test_another_process_goes_on_in_the_new_file(trail: Any, rotate: Callable[[Any], None], has_note: bool) -> None:
    """One that remembers nothing finds the end in the head file, or in the renamed file."""
    before = trail.fill()
    rotate(trail)
    if not has_note:
        trail.beside(".head").unlink()
    sink = trail.open()
    after = trail.write(sink)
    assert ids(sink) == before + after
    report = sink.verify()
    assert report.state == "sealed" if has_note else "gap"
    assert ["head file was missing" in finding.detail for finding in report.findings] == [True] * (not has_note)


@pytest.mark.parametrize("rotate", ROTATORS)
def test_the_trail_verifies_between_rotation_and_the_next_write(trail: Any, rotate: Callable[[Any], None]) -> None:
    """An empty or missing current file is no damage."""
    sink = trail.open()
    trail.write(sink)
    head = sink.head()
    rotate(trail)
    assert sink.head() == head
    assert sink.verify(head).state == "sealed"


def test_the_new_file_states_the_head_of_the_old_one(trail: Any) -> None:
    """Its first record is `continued`."""
    trail.fill()
    last = trail.lines()[-1]
    rename(trail)
    trail.write(trail.open())
    first = trail.lines()[0]
    assert (first["event"], first["seq"], first["prev"]) == ("continued", last["seq"] + 1, last["chain"])


def test_numbered_rotation_over_and_over(trail: Any) -> None:
    """The files are put in order by their lines, not by their names."""
    sink, written = trail.open(), []
    for turn in range(12):
        written += trail.write(sink, 2)
        for number in range(turn, 0, -1):
            os.rename(trail.beside(f".{number}"), trail.beside(f".{number + 1}"))
        rename(trail)
    assert ids(sink) == written
    assert sink.verify().state == "sealed"


def test_a_deleted_file_is_made_anew_and_the_loss_is_told(trail: Any) -> None:
    """The new file is private and says where it continues; verification names what is missing."""
    sink = trail.open()
    trail.write(sink, 3)
    head = sink.head()
    trail.path.unlink()
    trail.write(sink)
    assert stat.S_IMODE(trail.path.stat().st_mode) == 0o600
    report = sink.verify()
    assert report.state == "gap"
    assert "starts at line 4" in report.findings[0].detail
    assert head.digest in report.findings[0].detail


def test_a_deleted_file_is_noticed_by_a_process_that_never_saw_it(trail: Any) -> None:
    """The head file remembers for it."""
    trail.fill()
    trail.path.unlink()
    trail.write(trail.open())
    assert trail.verify().state == "gap"


def test_a_file_deleted_between_two_others_is_admitted(trail: Any) -> None:
    """The writer states which lines are gone, and their head, should they turn up again."""
    sink = trail.open()
    trail.write(sink, 2)
    rename(trail)
    trail.write(sink, 2)
    head = sink.head()
    trail.path.unlink()
    trail.write(sink)
    report = sink.verify()
    assert report.state == "gap"
    assert any("lines 3 to 5" in finding.detail and head.digest in finding.detail for finding in report.findings)
    assert [line["seq"] for line in trail.lines()] == [6, 7, 8]


def test_a_rotated_file_that_is_missing_in_the_middle_is_broken(trail: Any) -> None:
    """No writer admitted that."""
    sink = trail.open()
    for suffix in (".3", ".2", ".1"):
        trail.write(sink, 2)
        os.rename(trail.path, trail.beside(suffix))
    trail.write(sink)
    trail.beside(".2").unlink()
    report = sink.verify()
    assert report.state == "broken"
    assert "lines 3 to 5 are missing" in report.findings[0].detail


def test_files_moved_elsewhere_are_missed_at_the_beginning_only(trail: Any) -> None:
    """A rotator may keep old files in another folder."""
    sink = trail.open()
    for number in range(3):
        trail.write(sink, 2)
        os.rename(trail.path, trail.folder / f"old-{number}")
    trail.write(sink)
    report = sink.verify()
    assert report.state == "gap"
    assert len(report.findings) == 1


def test_a_file_that_is_full_is_put_aside(trail: Any) -> None:
    """By its size, under a name that no rotator makes; nothing is lost."""
    sink = trail.open(max_bytes=2048)
    written = [one_id for _ in range(10) for one_id in trail.write(sink, 2)]
    aside = sorted(trail.folder.glob("audit.jsonl.from-*"))
    assert len(aside) >= 2
    assert all(2048 <= path.stat().st_size < 4096 for path in aside)
    assert ids(sink) == written
    report = sink.verify()
    assert report.state == "sealed"
    assert report.files == (*map(str, aside), str(trail.path))


def test_both_kinds_of_rotation_together(trail: Any) -> None:
    """Neither disturbs the other."""
    sink, written = trail.open(max_bytes=1500), []
    for turn in range(12):
        written += trail.write(sink, 2)
        if turn % 3 == 2:
            os.rename(trail.path, trail.beside(f"-203001{turn:02}"))
    assert list(trail.folder.glob("audit.jsonl.from-*"))
    assert ids(sink) == written
    assert sink.verify().state == "sealed"


def test_only_so_many_files_are_kept_and_the_trail_says_so(trail: Any) -> None:
    """What the configuration had removed is no gap: a sealed record tells of it."""
    sink = trail.open(max_bytes=1024, keep_files=2)
    written = [one_id for _ in range(12) for one_id in trail.write(sink, 2)]
    assert len(list(trail.folder.glob("audit.jsonl.from-*"))) == 2
    kept = ids(sink)
    assert 0 < len(kept) < len(written)
    assert written[-len(kept) :] == kept
    assert sink.verify().state == "sealed"


def test_removing_more_files_than_that_is_a_gap(trail: Any) -> None:
    """The record covers what it names, no more."""
    sink = trail.open(max_bytes=1024, keep_files=2)
    for _ in range(12):
        trail.write(sink, 2)
    min(trail.folder.glob("audit.jsonl.from-*")).unlink()
    assert sink.verify().state == "gap"


def test_two_processes_agree_on_rotation(trail: Any) -> None:
    """Each finds that the other has put the file aside."""
    one, other = trail.open(max_bytes=1024), trail.open(max_bytes=1024)
    written = [one_id for _ in range(8) for sink in (one, other) for one_id in trail.write(sink, 1)]
    assert ids(one) == written
    assert other.verify().state == "sealed"


def test_a_backup_beside_the_file_is_no_damage(trail: Any) -> None:
    """A copy of the beginning is left out; a changed copy is not."""
    sink = trail.open()
    written = trail.write(sink, 3)
    shutil.copyfile(trail.path, trail.beside(".bak"))
    written += trail.write(sink, 3)
    assert ids(sink) == written
    assert sink.verify().state == "sealed"
    content = trail.beside(".bak").read_bytes()
    trail.beside(".bak").write_bytes(content.replace(b'"result":"ok"', b'"result":"no"'))
    assert sink.verify().state == "broken"


def test_other_files_beside_it_are_left_out(trail: Any) -> None:
    """Only what looks like a part of the trail is taken for one."""
    trail.fill()
    trail.beside(".txt").write_text("notes\n")
    trail.beside(".d").mkdir()
    trail.beside("-notes").write_bytes(b"")
    report = trail.verify()
    assert report.state == "sealed"
    assert report.files == (str(trail.path),)


def test_a_damaged_compressed_file_is_an_error_that_names_it(trail: Any) -> None:
    """It cannot be read, which is not the same as being changed."""
    trail.fill()
    rename_and_compress(trail)
    content = trail.beside(".1.gz").read_bytes()
    trail.beside(".1.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(AuditError, match=r"audit\.jsonl\.1\.gz cannot be read"):
        trail.verify()


def test_a_file_emptied_and_filled_to_the_same_size_is_noticed(trail: Any) -> None:
    """By what it ends in; its size and its place say that nothing has happened."""

    def refill(name: str, padding: int) -> tuple[JsonlSink, int]:
        """Let another process bring an emptied file to some size; return how much is lacking."""
        trail.path = trail.folder / name
        one, other = trail.open(), trail.open()
        trail.write(one, id="1")
        trail.write(one, id="2", detail=" " * 100)
        size = trail.path.stat().st_size
        copy_and_truncate(trail)
        trail.write(other, id="3", detail=" " * padding)
        return one, size - trail.path.stat().st_size

    _, lacking = refill("probe.jsonl", 0)
    sink, difference = refill("audit.jsonl", lacking)
    assert difference == 0
    trail.write(sink, id="4")
    assert ids(sink) == ["1", "2", "3", "4"]
    assert sink.verify().state == "sealed"


def test_a_compressed_file_is_not_taken_for_a_missing_one(trail: Any) -> None:
    """The last file that can be read at once is not the last one."""
    sink = trail.open()
    trail.write(sink, 2)
    os.rename(trail.path, trail.beside(".2"))
    trail.write(sink, 2)
    rename_and_compress(trail)
    trail.write(sink, 2)
    report = sink.verify()
    assert (report.state, report.findings) == ("sealed", ())
    assert len(report.files) == 3
