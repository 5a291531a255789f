"""How long something that failed is left alone."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cache import pauses as module
from strongroom.cache.pauses import Pauses
from strongroom.errors import AuthenticationError, StrongroomError
from strongroom.testing import FakeClock

ERROR = AuthenticationError("refused")


@pytest.fixture
def pauses(clock: FakeClock) -> Pauses:
    return Pauses(clock)


def tried(pauses: Pauses, clock: FakeClock, seconds: int) -> list[int]:
    """Try each second, always in vain; return when something was tried."""
    when = []
    for second in range(seconds):
        if pauses.enter("a") is None:
            when.append(second)
            pauses.failed("a", ERROR)
        clock.advance(1)
    return when


def test_what_has_not_failed_may_be_tried(pauses: Pauses) -> None:
    assert pauses.enter("a") is None
    assert pauses.holding("a") is None


def test_pauses_double_up_to_a_minute(pauses: Pauses, clock: FakeClock) -> None:
    assert tried(pauses, clock, 300) == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]


def test_a_success_ends_the_pause_and_its_growth(pauses: Pauses, clock: FakeClock) -> None:
    tried(pauses, clock, 60)
    pauses.end("a")
    assert tried(pauses, clock, 4) == [0, 1, 3]


def test_in_a_pause_everybody_is_told_why(pauses: Pauses) -> None:
    pauses.failed("a", ERROR)
    told = pauses.enter("a")
    assert isinstance(told, AuthenticationError)
    assert told.what == "refused"


def test_what_failed_at_the_same_time_is_one_failure(pauses: Pauses, clock: FakeClock) -> None:
    for _ in range(50):
        pauses.failed("a", ERROR)
    clock.advance(1)
    assert pauses.enter("a") is None


def test_after_a_pause_one_tries_and_the_others_go_on_waiting(pauses: Pauses, clock: FakeClock) -> None:
    pauses.failed("a", ERROR)
    clock.advance(1)
    assert [pauses.enter("a") is None for _ in range(3)] == [True, False, False]


def test_one_who_tried_and_never_came_back_is_replaced(pauses: Pauses, clock: FakeClock) -> None:
    pauses.failed("a", ERROR)
    clock.advance(1)
    assert pauses.enter("a") is None
    clock.advance(1)
    assert pauses.enter("a") is None


def test_looking_does_not_take_the_turn(pauses: Pauses, clock: FakeClock) -> None:
    pause = pauses.failed("a", ERROR)
    assert pauses.holding("a") is pause
    clock.advance(1)
    assert pauses.holding("a") is None
    assert pauses.enter("a") is None


def test_failures_are_apart(pauses: Pauses) -> None:
    pauses.failed("a", ERROR)
    assert pauses.enter("b") is None


def test_only_so_many_failures_are_remembered(pauses: Pauses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    for key in "abcd":
        pauses.failed(key, ERROR)
    assert len(pauses) == 3
    assert pauses.enter("a") is None
    assert pauses.enter("d") is not None


@given(st.lists(st.tuples(st.sampled_from(["try", "succeed", "wait"]), st.floats(0, 100)), max_size=100))
def test_whatever_happens_a_pause_lasts_at_most_a_minute(steps: list[tuple[str, float]]) -> None:
    clock = FakeClock()
    pauses = Pauses(clock)
    for step, seconds in steps:
        if step == "wait":
            clock.advance(seconds)
        elif pauses.enter("a") is None:
            pauses.end("a") if step == "succeed" else pauses.failed("a", StrongroomError("no"))
    clock.advance(60)
    assert pauses.enter("a") is None
