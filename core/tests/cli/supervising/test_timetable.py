"""Changes that come together are taken up together, and what cannot be taken up is tried again later and later."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.supervising.timetable import (
    LONGEST_PAUSE,
    LONGEST_PAUSE_WITHOUT,
    LONGEST_SECONDS,
    SETTLE_SECONDS,
    Timetable,
)
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
    timetable.begun(clock())
    assert timetable.told() == "a and 2 more have changed"
    timetable.done()
    assert timetable.due is None


def test_one_change_is_told_by_its_name(timetable: Timetable, clock: FakeClock) -> None:
    timetable.changed(["db/password"], clock())
    timetable.begun(clock())
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
    timetable.begun(clock())
    timetable.changed(["b"], clock())
    assert timetable.told() == "a has changed"
    timetable.done()
    clock.advance(SETTLE_SECONDS)
    assert timetable.is_due(clock())
    timetable.begun(clock())
    assert timetable.told() == "b has changed"


@given(st.integers(1, 40))
def test_failures_are_further_apart_each_time_up_to_a_limit(failures: int) -> None:
    clock, timetable = FakeClock(), Timetable(30.0, 0.0, lambda most: most)
    timetable.changed(["a"], clock())
    pause = 30.0
    for _ in range(failures):
        timetable.begun(clock())
        timetable.failed(clock())
        assert timetable.due is not None
        assert pause / 2 <= timetable.due - clock() <= pause <= LONGEST_PAUSE
        pause = min(pause * 2, LONGEST_PAUSE)
    timetable.begun(clock())
    assert timetable.told() == "a has changed"


def test_a_further_change_after_a_failure_is_taken_up_at_once_and_counts_afresh(
    timetable: Timetable, clock: FakeClock
) -> None:
    timetable.changed(["a"], clock())
    for _ in range(5):
        timetable.begun(clock())
        timetable.failed(clock())
    timetable.changed(["b"], clock())
    assert timetable.due == clock() + SETTLE_SECONDS
    timetable.begun(clock())
    assert timetable.told() == "a and 1 more have changed"
    timetable.failed(clock())
    assert timetable.due is not None
    assert timetable.due <= clock() + 30.0


def test_a_failure_does_not_put_off_what_has_changed_meanwhile(timetable: Timetable, clock: FakeClock) -> None:
    timetable.changed(["a"], clock())
    timetable.begun(clock())
    timetable.changed(["b"], clock())
    timetable.failed(clock())
    assert timetable.due == clock() + SETTLE_SECONDS


def test_the_leased_credential_that_ends_first_is_replaced_at_two_thirds_of_its_life_or_a_tenth_earlier(
    clock: FakeClock,
) -> None:
    for drawn, after in ((0.0, 2.0 / 3.0), (1.0, 2.0 / 3.0 - 0.1)):
        timetable = Timetable(30.0, 0.0, lambda most, drawn=drawn: most * drawn)  # type: ignore[misc]
        timetable.leased({"pki/issue/web": 3600.0, "database/creds/app": 600.0}, clock())
        assert timetable.due == pytest.approx(clock() + 600.0 * after)
    clock.advance(600.0)
    timetable.begun(clock())
    assert timetable.is_replacing
    assert timetable.told() == "database/creds/app is to end"
    timetable.done()
    assert (timetable.due, timetable.is_replacing) == (None, False)


def test_a_new_start_is_not_put_off_for_a_change_when_a_credential_is_to_end(clock: FakeClock) -> None:
    timetable = Timetable(30.0, 600.0, lambda most: most)
    timetable.leased({"a": 60.0}, clock())
    replaced = timetable.due
    assert replaced is not None
    timetable.changed(["b"], clock())
    assert timetable.due == replaced, "the splay is for changes"
    clock.advance(60.0)
    timetable.begun(clock())
    assert timetable.told() == "b has changed, and a is to end"


def test_a_change_before_that_leaves_the_credential_to_be_replaced_in_time_unless_there_is_a_new_one(
    timetable: Timetable, clock: FakeClock
) -> None:
    timetable.leased({"a": 60.0}, clock())
    replaced = timetable.due
    timetable.changed(["b"], clock())
    clock.advance(SETTLE_SECONDS)
    timetable.begun(clock())
    assert not timetable.is_replacing
    assert timetable.due == replaced
    timetable.done()
    timetable.leased({}, clock())
    assert timetable.due is None


def test_what_cannot_be_replaced_is_tried_again_some_more_times_before_the_end_and_not_much_less_often_after_it(
    clock: FakeClock,
) -> None:
    timetable, end = Timetable(300.0, 0.0, lambda most: most), clock() + 60.0
    timetable.leased({"a": 60.0}, clock())
    attempts = []
    for _ in range(30):
        assert timetable.due is not None
        clock.advance(timetable.due - clock())
        attempts.append(clock())
        timetable.begun(clock())
        timetable.failed(clock())
    before = [at for at in attempts if at < end]
    assert len(before) >= 5
    assert end - before[-1] <= 1.5, "the last one is just before the end"
    after = [at for at in attempts if at > end]
    assert max(later - at for at, later in pairwise(after)) <= LONGEST_PAUSE_WITHOUT


def test_the_shortest_life_gives_no_storm_of_new_starts(timetable: Timetable, clock: FakeClock) -> None:
    timetable.leased({"a": 0.01}, clock())
    assert timetable.due == clock() + 1.0
