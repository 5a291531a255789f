"""How long clients wait between attempts, and how often they may ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.crew import run_all
from strongroom.pacing import (
    LONGEST,
    RECOVERY_SECONDS,
    SHORT,
    Bucket,
    delay,
    retry_after,
    time_left,
    within,
    without_end,
)
from strongroom.testing import FakeClock, in_threads

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAR = 1e9


class TestDelay:
    @given(st.integers(1, 100))
    def test_each_is_longer_than_the_one_before_until_the_longest(self, attempt: int) -> None:
        longest = min(SHORT * 2 ** (attempt - 1), LONGEST)
        assert longest / 2 <= delay(attempt) <= longest
        assert delay(attempt) <= delay(attempt + 1) or 2 * longest > LONGEST

    def test_no_two_clients_wait_equally_long(self) -> None:
        assert len({delay(3) for _ in range(20)}) == 20

    def test_the_first_may_be_longer(self) -> None:
        assert 1.0 <= delay(1, base=2.0) <= 2.0


class TestRetryAfter:
    def test_seconds_are_understood(self) -> None:
        assert [retry_after(text, NOW) for text in ("0", "15", "007")] == [0.0, 15.0, 7.0]

    def test_a_date_to_come_back_at_is_understood(self) -> None:
        assert retry_after(format_datetime(NOW + timedelta(seconds=30), usegmt=True), NOW) == 30.0
        assert retry_after(format_datetime(NOW + timedelta(seconds=30)), NOW) == 30.0

    def test_a_date_that_is_over_means_at_once(self) -> None:
        assert retry_after(format_datetime(NOW - timedelta(seconds=30), usegmt=True), NOW) == 0.0

    def test_a_date_without_a_zone_is_one_of_greenwich(self) -> None:
        assert retry_after("Thu, 01 Jan 2026 00:00:10 -0000", NOW) == 10.0

    @pytest.mark.parametrize("text", [None, "", "soon", "-1", "1.5", "1.5.5", "²", "Thu, 99 Jan 2026 00:00:00 GMT"])
    def test_what_is_not_understood_is_none(self, text: str | None) -> None:
        assert retry_after(text, NOW) is None

    @given(st.text())
    def test_no_header_raises(self, text: str) -> None:
        found = retry_after(text, NOW)
        assert found is None or found >= 0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestBucket:
    def test_what_it_holds_is_there_at_once_and_the_rest_comes_steadily(self, clock: FakeClock) -> None:
        bucket = Bucket(2.0, 3, clock)
        assert [bucket.take(FAR) for _ in range(6)] == pytest.approx([0.0, 0.0, 0.0, 0.5, 1.0, 1.5])

    def test_it_never_holds_more_than_its_burst(self, clock: FakeClock) -> None:
        bucket = Bucket(2.0, 3, clock)
        clock.advance(3600.0)
        assert [bucket.take(FAR) for _ in range(4)] == pytest.approx([0.0, 0.0, 0.0, 0.5])

    def test_a_token_that_comes_too_late_is_not_taken(self, clock: FakeClock) -> None:
        bucket = Bucket(1.0, 1, clock)
        assert bucket.take(clock()) == 0.0
        assert bucket.take(clock() + 0.9) is None
        assert bucket.take(clock() + 1.0) == pytest.approx(1.0)

    def test_being_told_to_slow_down_halves_the_rate_and_takes_what_was_saved(self, clock: FakeClock) -> None:
        bucket = Bucket(8.0, 8, clock)
        bucket.slow_down()
        assert bucket.rate == pytest.approx(4.0)
        assert bucket.take(FAR) == pytest.approx(0.25)

    def test_a_sixteenth_of_the_rate_is_always_left(self, clock: FakeClock) -> None:
        bucket = Bucket(16.0, 1, clock)
        for _ in range(20):
            bucket.slow_down()
        assert bucket.rate == pytest.approx(1.0)

    def test_the_rate_comes_back_within_half_a_minute(self, clock: FakeClock) -> None:
        bucket = Bucket(8.0, 8, clock)
        bucket.slow_down()
        clock.advance(RECOVERY_SECONDS / 4)
        assert bucket.rate == pytest.approx(6.0)
        clock.advance(RECOVERY_SECONDS)
        assert bucket.rate == pytest.approx(8.0)

    @given(
        rate=st.floats(0.1, 1000.0),
        burst=st.integers(1, 20),
        pauses=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60),
    )
    def test_in_no_stretch_of_time_come_more_than_rate_and_burst_allow(
        self, rate: float, burst: int, pauses: list[float]
    ) -> None:
        clock = FakeClock()
        bucket, sent = Bucket(rate, burst, clock), []
        for pause in pauses:
            clock.advance(pause)
            wait = bucket.take(FAR)
            assert wait is not None
            sent.append(clock() + wait)
        for first, start in enumerate(sent):
            for last in range(first, len(sent)):
                assert last - first + 1 <= burst + rate * (sent[last] - start) + 1e-6 * rate + 1e-6

    def test_threads_take_no_token_twice(self, clock: FakeClock) -> None:
        bucket = Bucket(10.0, 10, clock)
        waits = [wait for one in in_threads(8, lambda number: [bucket.take(FAR) for _ in range(25)]) for wait in one]
        assert sorted(wait for wait in waits if wait is not None) == pytest.approx(
            [0.0] * 10 + [number / 10 for number in range(1, 191)]
        )


class TestTime:
    """How much of it an operation has."""

    def test_nobody_who_has_not_been_told_has_an_end(self) -> None:
        assert time_left() is None

    @given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=4))
    def test_of_several_ends_the_nearest_counts_and_each_is_over_with_its_block(self, seconds: list[float]) -> None:
        def go(rest: list[float], nearest: float) -> None:
            if not rest:
                return
            with within(rest[0]):
                left = time_left()
                assert left is not None
                assert min(nearest, rest[0]) - 1.0 < left <= min(nearest, rest[0])
                go(rest[1:], min(nearest, rest[0]))
                again = time_left()
                assert again is not None
                assert again <= left

        go(seconds, FAR)
        assert time_left() is None

    def test_when_it_is_over_none_is_left(self) -> None:
        with within(-5.0):
            assert time_left() == 0.0

    def test_threads_that_help_have_the_same_end_and_others_have_none(self) -> None:
        left: list[float | None] = []
        with within(30.0):
            run_all([lambda: left.append(time_left())] * 4, threads=4)
            assert in_threads(1, lambda _: time_left()) == [None]
        assert all(seconds is not None and 0 < seconds <= 30.0 for seconds in left)

    def test_an_end_may_be_left_to_others(self) -> None:
        with within(30.0):
            with without_end():
                assert time_left() is None
            assert time_left() is not None
