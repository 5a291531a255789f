"""The clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from strongroom.testing import FakeClock


def test_the_clock_stands_still() -> None:
    clock = FakeClock()
    assert (clock.monotonic(), clock.now()) == (clock.monotonic(), clock.now())


def test_time_passes_on_both_clocks() -> None:
    clock = FakeClock()
    monotonic, wall, epoch = clock.monotonic(), clock.now(), clock.time()
    clock.advance(90.5)
    assert clock.monotonic() - monotonic == 90.5
    assert clock.now() - wall == timedelta(seconds=90.5)
    assert clock.time() - epoch == 90.5


def test_calling_the_clock_reads_the_monotonic_one() -> None:
    clock = FakeClock(monotonic=5.0)
    assert clock() == clock.monotonic() == 5.0


def test_sleeping_takes_no_time_but_lets_it_pass() -> None:
    clock = FakeClock(monotonic=5.0)
    clock.sleep(3600.0)
    assert clock.monotonic() == 3605.0


def test_the_wall_clock_can_be_set_alone() -> None:
    clock = FakeClock(monotonic=5.0)
    clock.set_wall(datetime(2020, 2, 29, tzinfo=UTC))
    assert clock.now() == datetime(2020, 2, 29, tzinfo=UTC)
    assert clock.monotonic() == 5.0


def test_the_wall_clock_is_in_utc() -> None:
    clock = FakeClock(wall=datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))))
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.now().hour == 6


def test_time_does_not_go_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        FakeClock().advance(-1.0)


def test_a_wall_clock_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        FakeClock(wall=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    with pytest.raises(ValueError, match="offset"):
        FakeClock().set_wall(datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
