"""What the head file shows, and what happens when somebody takes it away."""

import os

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.contracts import HealthState
from strongroom.errors import AuditError


def remove(trail: Any) -> None:
    trail.beside(".head").unlink()


def garble(trail: Any) -> None:
    trail.beside(".head").write_bytes(b"garbage")


def empty(trail: Any) -> None:
    trail.beside(".head").write_bytes(b"")


def alter(trail: Any) -> None:
    trail.beside(".head").write_text(trail.beside(".head").read_text().replace("0" * 19, "9" * 19, 1))


def lead_away(trail: Any) -> None:
    os.rename(trail.beside(".head"), trail.folder / "elsewhere")
    trail.beside(".head").symlink_to(trail.folder / "elsewhere")


WAYS = [remove, garble, empty, alter, lead_away]
Spoil = Callable[[Any], None]


@pytest.mark.parametrize("spoil", WAYS)
@pytest.mark.parametrize("has_lines", [True, False])
def test_without_a_genuine_head_file_nobody_vouches_for_the_end(trail: Any, spoil: Spoil, has_lines: bool) -> None:
    """Whether some lines were cut off or all of them, the key left behind."""
    trail.fill(blocks=1)
    size = trail.path.stat().st_size
    trail.fill(blocks=2)
    if has_lines:
        os.truncate(trail.path, size)
    else:
        trail.path.unlink()
    spoil(trail)
    report = trail.verify()
    assert report.state == "gap"
    assert [(finding.kind, finding.place) for finding in report.findings] == [("gap", str(trail.beside(".head")))]


@pytest.mark.parametrize("spoil", [remove, garble, empty, alter])
def test_the_next_writer_admits_it_once(trail: Any, spoil: Spoil) -> None:
    """And makes a head file, so that from there on the end can be vouched for again."""
    trail.fill()
    spoil(trail)
    for _ in range(3):
        trail.write(trail.open())
    assert ["head file" in line.get("detail", "") for line in trail.lines()].count(True) == 1
    assert [finding.kind for finding in trail.verify().findings] == ["gap"]
    os.truncate(trail.path, trail.path.stat().st_size - 1)
    assert trail.verify().state == "broken"


def test_everything_removed_but_the_key_is_admitted_by_the_next_writer(trail: Any) -> None:
    """The new trail says that there was an older one."""
    trail.fill()
    trail.path.unlink()
    trail.beside(".head").unlink()
    trail.write(trail.open())
    assert [(line["seq"], line["event"]) for line in trail.lines()] == [(1, "gap"), (2, "get")]
    assert trail.verify().state == "gap"


def test_everything_removed_but_the_head_file_is_an_error(trail: Any) -> None:
    """There is a trail without the key to verify it."""
    trail.fill()
    trail.path.unlink()
    trail.beside(".key").unlink()
    with pytest.raises(AuditError, match="key is missing"):
        trail.verify()


@pytest.mark.parametrize("spoil", [remove, garble, lambda trail: None])
def test_a_running_writer_does_not_fill_the_place_of_lines_that_another_one_wrote(trail: Any, spoil: Spoil) -> None:
    """Its own last line is still the last one in the file, but not the last one that there was."""
    one, other = trail.open(), trail.open()
    trail.write(one)
    size = trail.path.stat().st_size
    trail.write(other, key="stolen/secret")
    os.truncate(trail.path, size)
    spoil(trail)
    trail.write(one)
    assert trail.verify().state == "gap"


def test_a_head_file_that_cannot_be_written_stops_nothing(trail: Any) -> None:
    """The record counts; the trail says once that nothing vouches for its end, and health goes on saying so."""
    trail.fill(blocks=1)
    trail.beside(".head").unlink()
    trail.beside(".head").mkdir()
    sink = trail.open()
    for _ in range(3):
        trail.write(sink)
    assert [line["event"] for line in trail.lines()] == ["get", "get", "gap", "get", "get", "get"]
    assert trail.verify().state == "gap"
    assert sink.health().state is HealthState.DEGRADED
    assert "head file" in sink.health().reason


def test_a_head_file_of_a_trail_that_was_never_begun_is_no_trail(trail: Any) -> None:
    """It comes before the key, and a crash may come between."""
    trail.open().verify()
    trail.fill(blocks=1)
    trail.note()
    trail.path.unlink()
    trail.beside(".key").unlink()
    assert trail.verify().state == "sealed"
    trail.fill()
    assert trail.verify().state == "sealed"


def test_synced_lines_that_are_gone_are_broken_even_if_later_ones_were_not_synced(trail: Any) -> None:
    """The head file tells how far no power failure reaches."""
    trail.fill(blocks=3, size=1)
    chains = [line["chain"] for line in trail.lines()]
    lines = trail.path.read_bytes().splitlines(keepends=True)
    trail.note(3, chains[2], synced=2)
    trail.path.write_bytes(b"".join(lines[:2]))
    assert trail.verify().state == "gap"
    trail.path.write_bytes(lines[0])
    assert trail.verify().state == "broken"
