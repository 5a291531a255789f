"""When secrets are due: the same instants on every host, once for what was missed, and never because of a clock."""

from __future__ import annotations

import os
import time

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.config.rotation import RotationKeys
from strongroom.config.windows import parse_windows
from strongroom.model import SecretName
from strongroom.rotation.timing import Past, Timing, instant, jitter, seconds, timing
from strongroom.testing import FakeClock

HOUR = 3600.0
DAY = 86400.0
NAME = SecretName("db/a")
LAST = datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp()  # a Tuesday


def when(last: float | None = LAST, *, now: float = LAST, name: SecretName = NAME, **keys: Any) -> Timing:
    life = {key: keys.pop(key) for key in ("begins", "ends") if key in keys}
    return timing(name, RotationKeys(**keys), Past(last=last, **life), now)


class Lasting(MemoryBackend):
    """Keeps what it holds when a manager is closed, as a server does."""

    def close(self) -> None:
        return


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/Sao_Paulo", "Europe/Berlin"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The process is in another zone for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


class TestByAge:
    """What is due some time after its last rotation."""

    def test_without_every_it_is_never_due(self) -> None:
        never = when(window="Sun 02:00-04:00")
        assert (never.due, never.next, never.state(LAST + 1e9), never.is_due(LAST + 1e9)) == (None, None, "off", False)

    @pytest.mark.parametrize(
        ("after", "state"),
        [
            (0.0, "ok"),
            (83 * DAY - 1, "ok"),
            (83 * DAY, "due soon"),
            (90 * DAY - 1, "due soon"),
            (90 * DAY, "due"),
            (90 * DAY + HOUR, "due"),
            (90 * DAY + HOUR + 1, "overdue"),
        ],
    )
    def test_the_states_follow_each_other(self, after: float, state: str) -> None:
        found = when(every=90 * DAY, warn_before=7 * DAY)
        assert found.state(LAST + after) == state
        assert found.is_due(LAST + after) == (state in ("due", "overdue"))

    def test_it_is_rotated_in_the_first_window_after_it_is_due_and_overdue_after_that(self) -> None:
        found = when(every=90 * DAY, window="Sun 02:00-04:00")
        assert instant(found.due) == datetime(2030, 4, 1, 12, tzinfo=UTC)
        assert instant(found.next) == datetime(2030, 4, 7, 2, tzinfo=UTC)
        assert instant(found.late) == datetime(2030, 4, 7, 4, tzinfo=UTC)
        opening = found.next or 0.0
        assert [found.is_open(one) for one in (opening - 1, opening, opening + 2 * HOUR)] == [False, True, False]
        assert [found.state(one) for one in (opening - 1, opening + 2 * HOUR, opening + 2 * HOUR + 1)] == [
            "due",
            "due",
            "overdue",
        ]

    def test_due_in_the_midst_of_a_window_it_may_begin_at_once(self) -> None:
        found = when(every=7 * DAY, window="Tue 10:00-14:00")
        assert (found.next, found.late) == (found.due, LAST + 7 * DAY + 2 * HOUR)

    def test_what_is_left_of_a_window_has_to_be_an_hour_for_it_to_count(self) -> None:
        found = when(every=7 * DAY, window="Tue 10:00-12:59")
        assert (found.next, found.late) == (found.due, LAST + 14 * DAY + 59 * 60)

    def test_a_short_window_counts_if_all_of_it_is_ahead(self) -> None:
        found = when(every=7 * DAY, window="Tue 12:00-12:10")
        assert (found.next, found.late) == (found.due, LAST + 7 * DAY + 600)

    def test_a_window_that_is_always_open_is_none(self) -> None:
        found = when(every=DAY, window="00:00-24:00")
        assert (found.windows, found.next, found.late) == (None, found.due, LAST + DAY + HOUR)

    def test_of_what_nothing_is_known_is_due_now(self) -> None:
        found = when(None, now=LAST + 5, every=DAY)
        assert (found.due, found.guessed, found.state(LAST + 5)) == (LAST + 5, True, "due")

    def test_a_clock_that_was_set_back_rotates_nothing_again(self) -> None:
        """The last rotation is in the future then, and counts as one just now."""
        past = LAST - 400 * DAY
        found = when(now=past, every=90 * DAY)
        assert (found.due, found.state(past)) == (past + 90 * DAY, "ok")

    @given(st.text(min_size=1, max_size=20).filter(lambda text: text.isalnum()), st.floats(0, 1e6))
    def test_jitter_is_below_its_limit_and_the_same_for_a_name(self, text: str, most: float) -> None:
        name = SecretName(text)
        later = jitter(name, most)
        assert 0 <= later <= most
        assert later == jitter(name, most)
        assert when(every=DAY, jitter=most, name=name).due == LAST + DAY + later

    def test_jitter_is_spread_over_names(self) -> None:
        parts = sorted(jitter(SecretName(f"db/{number}"), 1.0) for number in range(200))
        assert parts[0] < 0.1 < 0.9 < parts[-1]
        assert max(later - earlier for earlier, later in pairwise(parts)) < 0.1

    def test_jitter_is_what_it_was_in_the_first_release(self) -> None:
        assert round(jitter(NAME, HOUR), 3) == 495.479


class TestByLife:
    """Values that end by themselves."""

    def test_they_are_due_when_a_third_of_their_life_is_left(self) -> None:
        assert when(begins=LAST, ends=LAST + 90 * DAY).due == LAST + 60 * DAY

    def test_or_as_long_before_as_the_rule_says(self) -> None:
        assert when(begins=LAST, ends=LAST + 90 * DAY, renew_before=10 * DAY).due == LAST + 80 * DAY

    def test_a_time_that_is_longer_than_their_life_would_never_come_to_an_end(self) -> None:
        assert when(begins=LAST, ends=LAST + 9 * DAY, renew_before=10 * DAY).due == LAST + 6 * DAY

    def test_without_a_beginning_it_counts_from_the_last_rotation(self) -> None:
        assert when(ends=LAST + 90 * DAY).due == LAST + 60 * DAY
        assert when(None, ends=LAST + 90 * DAY).due == LAST + 90 * DAY

    def test_the_earlier_of_age_and_life_counts(self) -> None:
        assert when(begins=LAST, ends=LAST + 90 * DAY, every=30 * DAY).due == LAST + 30 * DAY
        assert when(begins=LAST, ends=LAST + 90 * DAY, every=70 * DAY).due == LAST + 60 * DAY

    def test_a_window_that_opens_only_after_the_end_keeps_nobody_from_renewing(self) -> None:
        found = when(begins=LAST, ends=LAST + 3 * DAY, window="Tue 12:00-14:00")
        assert (found.due, found.next, found.late) == (LAST + 2 * DAY, LAST + 2 * DAY, LAST + 3 * DAY)
        assert found.is_open(LAST + 2 * DAY)
        assert not when(begins=LAST, ends=LAST + 9 * DAY, window="Tue 12:00-14:00").is_open(LAST + 6 * DAY)

    def test_what_has_ended_is_overdue(self) -> None:
        found = when(begins=LAST - DAY, ends=LAST, every=DAY)
        assert found.state(LAST + 1) == "overdue"


class TestZones:
    """Nothing depends on where a host is."""

    @pytest.mark.parametrize("text", ["2030-03-30T23:30:00+00:00", "2030-10-27T00:30:00+00:00"])
    def test_the_instants_are_the_same_in_every_zone_and_over_a_change_of_the_clocks(
        self, zone: str, text: str
    ) -> None:
        """The clocks of Berlin change in the night after each of them, and Brazil's did for long."""
        last = seconds(datetime.fromisoformat(text))
        found = when(last, now=last, every=90 * DAY, window="02:00-03:00", warn_before=7 * DAY)
        due = datetime.fromisoformat(text) + timedelta(days=90)
        assert instant(found.due) == due, zone
        opening = datetime(due.year, due.month, due.day, 2, tzinfo=UTC) + timedelta(days=due.hour > 2)
        assert (instant(found.next), instant(found.late)) == (opening, opening + timedelta(hours=1))
        assert instant(found.warn) == due - timedelta(days=7)
        assert {one.tzinfo for one in map(instant, (found.due, found.next)) if one is not None} == {UTC}

    def test_a_time_without_an_offset_is_taken_as_utc(self, zone: str) -> None:
        naive = datetime(2030, 7, 1, 12)  # noqa: DTZ001  # as a careless plugin gives it
        assert seconds(naive) == seconds(naive.replace(tzinfo=UTC)), zone
        assert seconds(datetime(2030, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))) == seconds(naive) - 2 * HOUR

    def test_a_time_beyond_what_a_date_can_say_is_the_last_one(self) -> None:
        assert instant(1e18) == datetime.max.replace(tzinfo=UTC)

    def test_what_is_written_down_and_read_in_another_zone_moves_nothing(self, zone: str) -> None:
        """The record in the backend is what lasts: it is read by a new manager each time."""
        clock, backend = FakeClock(), Lasting()
        clock.advance(1 / 3)
        dues = {self._due(clock, backend, rotate=not number) for number in range(10)}
        (due,) = dues
        assert due is not None
        assert abs(due - clock.now() - timedelta(days=90)) < timedelta(milliseconds=1), zone

    def _due(self, clock: FakeClock, backend: Lasting, *, rotate: bool) -> datetime | None:
        config = {"audit": "none", "rotation": {"db/*": {"every": "90d"}}}
        wall = lambda: int(clock.time() * 1e9)  # noqa: E731  # a name for one line
        with strongroom.open(config, clock=clock, wall_clock=wall, backends={"m": backend}) as manager:
            if rotate:
                manager.set("db/a", "old")
                manager.rotate("db/a")
            return manager.schedules("db/a")[0].due


spans = st.sampled_from(["Sun 02:00-04:00", "Mon-Fri 22:00-02:00", "02:00-02:30", "Tue 00:00-24:00, 12:00-13:00"])


@given(st.floats(0, 4e9), st.floats(1, 400 * DAY), spans, st.floats(0, 1))
def test_the_next_run_is_in_a_window_and_no_earlier_moment_from_the_due_one_on_is(
    last: float, every: float, window: str, part: float
) -> None:
    found = when(last, now=last, every=every, window=window)
    assert found.due is not None
    assert found.next is not None
    assert found.late is not None
    windows = parse_windows(window)
    assert found.due <= found.next < found.late
    assert windows.contains(found.next)
    between = found.due + (found.next - found.due) * part
    assert between >= found.next or not windows.contains(between)
    assert not windows.contains(found.late)


@given(st.floats(0, 4e9), st.floats(1, 400 * DAY), st.floats(0, 1e8), spans)
def test_however_long_it_was_missed_it_is_due_once(last: float, every: float, missed: float, window: str) -> None:
    found = when(last, now=last + every + missed, every=every, window=window)
    rotated = (found.due or 0.0) + missed
    assert found.is_due(rotated)
    again = when(rotated, now=rotated, every=every, window=window)
    assert not again.is_due(rotated)
    assert again.due == rotated + every
