"""Changes that come together are taken up together, and what cannot be taken up is tried again later and later."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.supervising.timetable import LONGEST_PAUSE, LONGEST_SECONDS, SETTLE_SECONDS, Timetable
from strongroom.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def timetable() -> Timetable:
    return Timetable(30.0, 0.0, lambda most: most)


def test_nothing_is_due_before_anything_has_changed(timetable: Timetable, clock: FakeClock) -> None:
    assert timetable.due is None
    assert not timetable.is_due(clock())


def test_what_changes_together_is_taken_up_once(timetable: Timetable, clock: FakeClock) -> None:
    for name in ("c", "a", "b"):
        timetable.changed([name], clock())
        clock.advance(SETTLE_SECONDS / 2)
        assert not timetable.is_due(clock())
    clock.advance(SETTLE_SECONDS / 2)
    assert timetable.is_due(clock())
    timetable.begun()
    assert timetable.told() == "a and 2 more have changed"
    timetable.done()
    assert timetable.due is None


def test_one_change_is_told_by_its_name(timetable: Timetable, clock: FakeClock) -> None:
    timetable.changed(["db/password"], clock())
    timetable.begun()
    assert timetable.told() == "db/password has changed"


def test_changes_without_end_do_not_put_it_off_for_ever(timetable: Timetable, clock: FakeClock) -> None:
    begun = clock()
    while not timetable.is_due(clock()):
        timetable.changed(["a"], clock())
        clock.advance(SETTLE_SECONDS / 2)
        assert clock() <= begun + LONGEST_SECONDS + SETTLE_SECONDS


def test_the_splay_is_drawn_once_for_what_changes_together(clock: FakeClock) -> None:
    drawn = []

    def draw(most: float) -> float:
        drawn.append(most)
        return 7.0

    timetable = Timetable(30.0, 20.0, draw)
    for _ in range(3):
        timetable.changed(["a"], clock())
    assert drawn == [20.0]
    assert timetable.due == clock() + SETTLE_SECONDS + 7.0


def test_a_change_while_another_is_taken_up_is_a_matter_of_its_own(timetable: Timetable, clock: FakeClock) -> None:
    timetable.changed(["a"], clock())
    timetable.begun()
    timetable.changed(["b"], clock())
    assert timetable.told() == "a has changed"
    timetable.done()
    clock.advance(SETTLE_SECONDS)
    assert timetable.is_due(clock())
    timetable.begun()
    assert timetable.told() == "b has changed"


@given(st.integers(1, 40))
def test_failures_are_further_apart_each_time_up_to_a_limit(failures: int) -> None:
    clock, timetable = FakeClock(), Timetable(30.0, 0.0, lambda most: most)
    timetable.changed(["a"], clock())
    pause = 30.0
    for _ in range(failures):
        timetable.begun()
        timetable.failed(clock())
        assert timetable.due is not None
        assert pause / 2 <= timetable.due - clock() <= pause <= LONGEST_PAUSE
        pause = min(pause * 2, LONGEST_PAUSE)
    timetable.begun()
    assert timetable.told() == "a has changed"


def test_a_further_change_after_a_failure_is_taken_up_at_once_and_counts_afresh(
    timetable: Timetable, clock: FakeClock
) -> None:
    timetable.changed(["a"], clock())
    for _ in range(5):
        timetable.begun()
        timetable.failed(clock())
    timetable.changed(["b"], clock())
    assert timetable.due == clock() + SETTLE_SECONDS
    timetable.begun()
    assert timetable.told() == "a and 1 more have changed"
    timetable.failed(clock())
    assert timetable.due is not None
    assert timetable.due <= clock() + 30.0


def test_a_failure_does_not_put_off_what_has_changed_meanwhile(timetable: Timetable, clock: FakeClock) -> None:
    timetable.changed(["a"], clock())
    timetable.begun()
    timetable.changed(["b"], clock())
    timetable.failed(clock())
    assert timetable.due == clock() + SETTLE_SECONDS
