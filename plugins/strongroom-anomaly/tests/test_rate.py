"""Bursts are found, and what is usual is not one."""

from __future__ import annotations

import pytest

from accesses import ALERT, ALLOW, BLOCK, access, at, decisions, odd, principal
from strongroom.contracts import Repeats
from strongroom_anomaly.rate import RateDetector
from strongroom_anomaly.settings import RateSettings


@pytest.fixture
def detector() -> RateDetector:
    """Has seen ten accesses a minute, for some minutes of each hour, for three days."""
    detector = RateDetector(RateSettings())
    steps = [
        access(at(hours=hour, minutes=minute, seconds=5 * turn), f"db/{turn % 5}")
        for hour in range(72)
        for minute in range(3)
        for turn in range(10)
    ]
    assert odd(detector, steps) == []
    return detector


def burst(count: int, *, name: str = "db/1", **facts: object):
    return [access(at(3, seconds=number * 50 / count), name, **facts) for number in range(count)]


def passes(wish: Repeats) -> bool:
    """Count a repetition everywhere, and tell whether it needs no judgement."""
    return all([count() <= limit for count, limit in wish.counters])  # noqa: C419  # each has to count


def test_a_burst_is_odd_from_the_limit_on(detector: RateDetector) -> None:
    assert decisions(detector, burst(101)) == [ALLOW] * 100 + [ALERT]


def test_a_very_large_burst_is_to_be_stopped(detector: RateDetector) -> None:
    assert decisions(detector, burst(10_001))[9999:] == [ALERT, BLOCK]


def test_the_verdict_says_who_how_many_and_what_is_usual(detector: RateDetector) -> None:
    verdict = odd(detector, burst(101))[0]
    assert verdict.reason.startswith("101 accesses by api within 1m, where up to ")
    assert verdict.evidence[0] == "101 accesses by api within 1m"
    assert "at_least = 100" in verdict.evidence[2]
    assert verdict.subject == "api"


def test_the_count_begins_anew_with_each_window(detector: RateDetector) -> None:
    assert odd(detector, burst(100)) == []
    assert odd(detector, [access(at(3, minutes=1, seconds=number / 2)) for number in range(100)]) == []


def test_nothing_is_odd_while_it_is_learned() -> None:
    detector = RateDetector(RateSettings())
    assert odd(detector, [access(at(seconds=number / 100)) for number in range(5000)]) == []


def test_a_burst_does_not_teach_that_bursts_are_usual(detector: RateDetector) -> None:
    for day in range(3, 6):
        found = odd(detector, [access(at(day, seconds=number / 20)) for number in range(1000)])
        assert found, f"on day {day}"


def test_a_little_more_in_each_window_does_not_get_the_limit_out_of_the_way(detector: RateDetector) -> None:
    counts = [100 * 2**window for window in range(5)]
    steps = [
        access(at(3, minutes=window, seconds=number * 50 / count), f"db/{number % 500}")
        for window, count in enumerate(counts)
        for number in range(count)
    ]
    assert len(odd(detector, steps)) == 400 + 1200  # what is above 400 in a window


def test_what_grows_from_day_to_day_becomes_usual(detector: RateDetector) -> None:
    for day in range(3, 8):
        for window in range(5):
            decisions(detector, [access(at(day, minutes=window), f"db/{number}") for number in range(1500)])
    assert odd(detector, [access(at(8), f"db/{number}") for number in range(1500)]) == []


def test_a_job_that_is_busy_each_night_is_usual() -> None:
    detector = RateDetector(RateSettings(learn_for=86400.0))
    nights = [
        access(at(day, minutes=minute, seconds=turn / 10))
        for day in range(14)
        for minute in range(15)
        for turn in range(300)
    ]
    assert odd(detector, nights[: 15 * 300 * 3]) == []  # learned for two nights, judged in the third
    assert odd(detector, nights[15 * 300 * 3 :]) == []


def test_slowly_hammering_one_name_is_odd(detector: RateDetector) -> None:
    steps = [access(at(3, seconds=2 * number), "db/1") for number in range(300)]
    verdict = odd(detector, steps)[0]
    assert verdict.subject == "api db/1"
    assert "within 10m" in verdict.reason


def test_many_machines_may_read_a_name_at_the_same_time(detector: RateDetector) -> None:
    steps = [access(at(3, seconds=number), "db/1", host=f"web-{number % 10}") for number in range(590)]
    assert odd(detector, steps) == []


def test_the_machine_on_which_a_name_is_hammered_is_named(detector: RateDetector) -> None:
    steps = [access(at(3, seconds=number), "db/1", host="web-1") for number in range(590)]
    assert "by api to db/1 from web-1 within" in odd(detector, steps)[0].reason


def test_a_name_that_was_never_used_can_be_hammered_too(detector: RateDetector) -> None:
    assert odd(detector, [access(at(3, seconds=number / 2), "other") for number in range(1200)])


def test_names_of_principals_taken_on_count_for_whoever_took_them_on(detector: RateDetector) -> None:
    steps = [
        step.replace(principal=principal(f"as-{number}"), base=principal("api"))
        for number, step in enumerate(burst(101))
    ]
    assert decisions(detector, steps)[-1] is ALERT


def test_others_are_not_to_blame(detector: RateDetector) -> None:
    decisions(detector, burst(3000))
    assert decisions(detector, [access(at(3, seconds=55), who="web")]) == [ALLOW]


def test_repetitions_count_without_being_judged(detector: RateDetector) -> None:
    first = access(at(3))
    detector.judge(first)
    wish = detector.repeats(first)
    assert wish.until == at(3, minutes=1).timestamp()
    for _ in range(99):
        assert passes(wish)
    assert not passes(wish)
    assert detector.judge(access(at(3, seconds=30))).decision is ALERT


def test_repetitions_are_learned_as_usual(detector: RateDetector) -> None:
    for day in range(3, 6):
        for minute in range(60):
            first = access(at(day, minutes=minute))
            detector.judge(first)
            for _ in range(80):
                for count, _limit in detector.repeats(first).counters:
                    count()
    assert odd(detector, [access(at(6, seconds=number / 10)) for number in range(300)]) == []


def test_threads_that_are_late_do_not_begin_another_window(detector: RateDetector) -> None:
    ahead, late = at(3, minutes=1, seconds=0.01), at(3, minutes=0, seconds=59.99)
    assert odd(detector, [access(time) for _ in range(75) for time in (ahead, late)])


def test_a_clock_that_was_wrong_once_does_no_harm(detector: RateDetector) -> None:
    decisions(detector, [access(at(365_000)), access(at(-18_000))])
    assert decisions(detector, burst(101)) == [ALLOW] * 100 + [ALERT]


def test_what_is_usual_outlives_the_process(detector: RateDetector) -> None:
    after = RateDetector(RateSettings())
    after.restore(detector.dump())
    assert decisions(after, burst(101)) == [ALLOW] * 100 + [ALERT]


def test_a_state_with_another_window_is_not_taken_up(detector: RateDetector) -> None:
    with pytest.raises(ValueError, match="not usable"):
        RateDetector(RateSettings(window=10.0)).restore(detector.dump())
