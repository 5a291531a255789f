"""Work at night is odd for whoever never does it, and for nobody else."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from accesses import ALERT, ALLOW, BLOCK, access, at, decisions, ended, odd, working_days
from strongroom_anomaly.settings import UnusualTimeSettings
from strongroom_anomaly.unusual_time import UnusualTimeDetector

NIGHT = at(21, hours=2, minutes=10)


def learned(hours=range(8, 18), *, weeks: int = 3, **settings: object) -> UnusualTimeDetector:
    detector = UnusualTimeDetector(UnusualTimeSettings(**settings))
    assert (
        odd(detector, [access(time, who=who) for time in working_days(weeks, hours) for who in ("api", "b", "c", "d")])
        == []
    )
    return detector


def test_an_access_at_night_is_odd_for_whoever_works_by_day() -> None:
    assert decisions(learned(), [access(NIGHT)]) == [ALERT]


def test_the_verdict_says_when_it_is_usual() -> None:
    verdict = odd(learned(), [access(NIGHT)])[0]
    assert verdict.reason == "api is active at 02:00 UTC on a working day, when it never is"
    assert verdict.evidence[1].startswith("usual: 08-18 UTC")


@pytest.mark.parametrize("ahead", [at(365_001, hours=3), at(21, hours=12)])
def test_a_clock_that_was_ahead_once_blinds_nobody(ahead: datetime) -> None:
    detector = learned()
    decisions(detector, [access(ahead)])
    assert decisions(detector, [access(NIGHT)]) == [ALERT]


def test_it_is_told_once_an_hour_but_stopped_each_time() -> None:
    steps = [access(NIGHT + timedelta(minutes=minute)) for minute in range(0, 50, 10)]
    assert decisions(learned(), steps) == [ALERT] + [ALLOW] * 4
    assert decisions(learned(blocks=True), steps) == [BLOCK] * 5


def test_one_night_at_work_while_it_is_learned_makes_no_habit() -> None:
    detector = UnusualTimeDetector(UnusualTimeSettings())
    days = [access(at(day, hours=hour)) for day in range(21) for hour in range(8, 18)]
    decisions(detector, sorted([*days, access(at(4, hours=2, minutes=10))], key=lambda step: step.time))
    assert decisions(detector, [access(NIGHT)]) == [ALERT]


def test_who_stays_for_hours_is_reported_once() -> None:
    stay = [access(NIGHT + timedelta(hours=hour)) for hour in range(3)]
    assert decisions(learned(), stay) == [ALERT, ALLOW, ALLOW]
    assert decisions(learned(blocks=True), stay) == [BLOCK] * 3


@pytest.mark.parametrize("hour", [6, 7, 12, 18, 19])
def test_hours_near_the_usual_ones_are_usual(hour: int) -> None:
    assert decisions(learned(), [access(at(21, hours=hour))]) == [ALLOW]


def test_working_at_the_usual_hours_of_a_weekend_is_not_odd() -> None:
    assert decisions(learned(), [access(at(19, hours=11))]) == [ALLOW]


def test_a_night_that_is_usual_on_weekends_is_odd_on_working_days() -> None:
    detector = learned(weeks=4)
    decisions(detector, [access(at(7 * week + 6, hours=3)) for week in range(4)])
    assert decisions(detector, [access(at(29, hours=3)), access(at(34, hours=3))]) == [ALERT, ALLOW]


def test_who_works_around_the_clock_is_never_odd() -> None:
    assert odd(learned(range(24)), [access(at(21, hours=hour)) for hour in range(72)]) == []


def test_nothing_is_odd_while_it_is_learned() -> None:
    assert decisions(learned(weeks=1), [access(at(8, hours=2))]) == [ALLOW]


def test_who_has_no_regular_hours_is_not_judged() -> None:
    detector = UnusualTimeDetector(UnusualTimeSettings())
    # Once a day at another hour each time.
    assert odd(detector, [access(at(day, hours=day * 7 % 24)) for day in range(40)]) == []


def test_a_new_habit_is_usual_after_two_nights() -> None:
    nights = [access(at(21 + day, hours=2, minutes=10)) for day in range(4)]
    assert decisions(learned(), nights) == [ALERT, ALERT, ALLOW, ALLOW]


def test_an_hour_that_was_usual_long_ago_is_forgotten() -> None:
    detector = learned(range(2, 4), half_life=7 * 86400.0)
    later = [access(time + timedelta(days=21)) for time in working_days(10)]
    decisions(detector, later)
    assert decisions(detector, [access(at(92, hours=2, minutes=10))]) == [ALERT]


def test_if_many_are_up_at_night_something_is_going_on() -> None:
    steps = [access(NIGHT, who=who) for who in ("api", "b", "c", "d")]
    assert decisions(learned(), steps) == [ALERT, ALERT, ALLOW, ALLOW]


def test_it_can_be_stopped_and_then_teaches_nothing() -> None:
    nights = [access(at(21 + day, hours=2, minutes=10)) for day in range(5)]
    assert decisions(learned(blocks=True), nights) == [BLOCK] * 5


def test_what_was_let_through_all_the_same_is_learned() -> None:
    detector = learned(blocks=True)
    for day in range(2):
        ended(detector, access(at(21 + day, hours=2, minutes=10)), "ok")
    assert decisions(detector, [access(at(23, hours=2, minutes=10))]) == [ALLOW]


def test_a_repetition_is_judged_when_the_hour_is_over() -> None:
    assert learned().repeats(access(at(21, hours=9, minutes=59))).until == at(21, hours=10).timestamp()


def test_a_clock_that_is_set_back_an_hour_begins_no_other_hour() -> None:
    detector = learned()
    assert (
        decisions(detector, [access(at(21, hours=17, minutes=5)), access(at(21, hours=16, minutes=5))]) == [ALLOW] * 2
    )
    assert decisions(detector, [access(at(22, hours=2))]) == [ALERT]


def test_hours_outlive_the_process() -> None:
    after = UnusualTimeDetector(UnusualTimeSettings())
    after.restore(learned().dump())
    assert decisions(after, [access(at(21, hours=9)), access(at(22, hours=2))]) == [ALLOW, ALERT]
