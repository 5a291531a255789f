"""Reading events back, with conditions, and following them."""

import os
import queue
import shutil
import threading

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from strongroom.contracts import AuditWrite, TrailQuery
from strongroom.errors import AuditError
from strongroom.model import AuditEvent


@pytest.fixture
def filled(trail: Any) -> Any:
    """A trail of two files with different events."""
    sink = trail.open()
    for day, (principal, key, result) in enumerate(
        [("api", "db/a", "ok"), ("api", "db/b", "denied"), ("job", "db/a", "ok"), ("job", "db/c", "not_found")], start=1
    ):
        timestamp = f"2030-01-0{day}T12:00:00.000000+00:00"
        trail.write(sink, id=str(day), principal=principal, key=key, result=result, timestamp=timestamp)
        if day == 2:
            os.rename(trail.path, trail.beside(".1"))
    return trail


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "1234"),
        ({"principal": "api"}, "12"),
        ({"key": "db/a"}, "13"),
        ({"result": "ok"}, "13"),
        ({"principal": "job", "result": "not_found"}, "4"),
        ({"principal": "nobody"}, ""),
        ({"since": "2030-01-02T12:00:00+00:00"}, "234"),
        ({"until": "2030-01-02T12:00:00+00:00"}, "1"),
        ({"since": "2030-01-02", "until": "2030-01-04"}, "23"),
        ({"since": "2030-01-02T14:00:00+02:00"}, "234"),
        ({"since": "2030-01-02T12:00:00.000001Z"}, "34"),
        ({"last": 2}, "34"),
        ({"last": 3}, "34"),  # the sink's own line `continued` is one of them
        ({"last": 0}, ""),
        ({"last": 99}, "1234"),
        ({"last": 1, "key": "db/a"}, "3"),
    ],
)
def test_every_condition_must_hold(filled: Any, query: dict[str, Any], expected: str) -> None:
    """Over all files, oldest first."""
    found = [event.id for event in filled.open().read(TrailQuery(**query)) if event.event != "continued"]
    assert "".join(found) == expected


def test_a_time_that_is_none_is_an_error_at_once(trail: Any) -> None:
    """Not only when the first event is asked for."""
    with pytest.raises(AuditError, match="'yesterday' is not a time"):
        trail.open().read(TrailQuery(since="yesterday"))


def test_what_a_later_version_adds_is_passed_over(trail: Any) -> None:
    """A member that is not known costs nothing."""
    trail.fill(blocks=1, size=1)
    content = trail.path.read_bytes()
    trail.path.write_bytes(content.replace(b'"phase":', b'"mood":"good","phase":'))
    assert [type(event) for event in trail.open().read(TrailQuery())] == [AuditEvent]


def test_damage_does_not_hide_the_other_lines(trail: Any) -> None:
    """Verification is there to find it."""
    written = trail.fill(blocks=2, size=2)
    content = trail.path.read_bytes()
    trail.path.write_bytes(content.replace(b'{"seq":2', b'{"Seq":2') + b"\xff\n\n{}\n[[")
    assert [event.id for event in trail.open().read(TrailQuery())] == [written[0], *written[2:]]


class Following:
    """Follows a trail in a thread, as a terminal would."""

    def __init__(self, events: Iterator[AuditEvent]) -> None:
        self._found: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._run, args=(events,), daemon=True).start()

    def _run(self, events: Iterator[AuditEvent]) -> None:
        for event in events:
            if event.event not in {"continued", "gap"}:
                self._found.put(event.id)

    def next(self, count: int) -> list[str]:
        return [self._found.get(timeout=10) for _ in range(count)]

    @property
    def is_quiet(self) -> bool:
        return self._found.empty()


def rename(trail: Any) -> None:
    os.rename(trail.path, trail.beside(f".{len(list(trail.folder.iterdir()))}"))


def copy_and_truncate(trail: Any) -> None:
    shutil.copyfile(trail.path, trail.beside(f".{len(list(trail.folder.iterdir()))}"))
    os.truncate(trail.path, 0)


def delete(trail: Any) -> None:
    trail.path.unlink()


def nothing(trail: Any) -> None:
    return


@pytest.mark.parametrize("rotate", [nothing, rename, copy_and_truncate, delete])
def test_following_goes_on_over_rotation(trail: Any, rotate: Callable[[Any], None]) -> None:
    """Each event once, in order, whatever becomes of the file."""
    sink = trail.open()
    following = Following(trail.open().read(TrailQuery(follow=True)))
    for _ in range(3):
        written = trail.write(sink, 3)
        assert following.next(3) == written
        rotate(trail)
    written = trail.write(sink, 2)
    assert following.next(2) == written
    assert following.is_quiet


def test_nothing_is_lost_if_the_file_is_renamed_between_two_looks(trail: Any) -> None:
    """What was written just before is still found in the renamed file."""
    sink = trail.open()
    trail.write(sink)
    following = Following(trail.open().read(TrailQuery(follow=True)))
    following.next(1)
    written = []
    for _ in range(5):
        written += trail.write(sink, 2)
        rename(trail)
    written += trail.write(sink, 2)
    assert following.next(12) == written


def test_following_begins_with_the_last_ones_that_match(filled: Any) -> None:
    """And then shows new ones that match."""
    following = Following(filled.open().read(TrailQuery(principal="api", last=1, follow=True)))
    assert following.next(1) == ["2"]
    sink = filled.open()
    sink.write(AuditWrite(events=(filled.event(id="5", principal="job"), filled.event(id="6", principal="api"))))
    assert following.next(1) == ["6"]


def test_following_hands_on_sealed_blocks_only(trail: Any) -> None:
    """What is not sealed yet may still be taken back by its writer."""
    before = trail.fill(blocks=1)
    content = trail.path.read_bytes()
    trail.write(trail.open(), 2)
    half = trail.path.read_bytes().index(b"\n", len(content)) + 1
    os.truncate(trail.path, half)
    following = Following(trail.open().read(TrailQuery(follow=True)))
    assert following.next(2) == before
    os.truncate(trail.path, len(content))
    trail.beside(".head").unlink()
    after = trail.write(trail.open(), 2)
    assert following.next(2) == after
