"""Whoever searches through names is found, fast or slow; whoever does his work is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accesses import ALERT, ALLOW, BLOCK, access, at, decisions, ended, odd, principal
from strongroom_anomaly.enumeration import EnumerationDetector
from strongroom_anomaly.settings import EnumerationSettings

OWN = [f"own/{number}" for number in range(40)]


@pytest.fixture
def detector() -> EnumerationDetector:
    """Has seen a principal use its forty names for ten days."""
    detector = EnumerationDetector(EnumerationSettings())
    assert (
        odd(detector, [access(at(day, minutes=place), name) for day in range(10) for place, name in enumerate(OWN)])
        == []
    )
    return detector


def search(count: int, *, gap: float = 1.0, day: float = 10, **facts: object):
    return [access(at(day, seconds=number * gap), f"other/{number}", **facts) for number in range(count)]


def test_many_new_names_within_minutes_are_odd(detector: EnumerationDetector) -> None:
    assert decisions(detector, search(10)) == [ALLOW] * 9 + [ALERT]


def test_many_new_names_are_told_again_when_they_have_doubled(detector: EnumerationDetector) -> None:
    found = decisions(detector, search(50))
    assert [number for number, decision in enumerate(found, 1) if decision is ALERT] == [10, 20, 40]


def test_another_search_is_told_anew(detector: EnumerationDetector) -> None:
    assert len(odd(detector, search(12))) == 1
    later = [access(at(11, seconds=number), f"elsewhere/{number}") for number in range(12)]
    assert len(odd(detector, later)) == 1


def test_very_many_are_to_be_stopped(detector: EnumerationDetector) -> None:
    assert decisions(detector, search(60))[-2:] == [ALLOW, BLOCK]


def test_the_verdict_names_the_limit(detector: EnumerationDetector) -> None:
    verdict = odd(detector, search(10))[0]
    assert verdict.reason == "api read 10 names within 1h that it never read before"
    assert verdict.evidence[-1] == "the limit is 10, from distinct = 10"
    assert verdict.subject == "api"


def test_what_is_stopped_stays_stopped(detector: EnumerationDetector) -> None:
    decisions(detector, search(80))
    assert decisions(detector, [access(at(10, seconds=90), "other/79")]) == [BLOCK]


def test_own_names_go_on_during_an_attack(detector: EnumerationDetector) -> None:
    decisions(detector, search(200))
    assert odd(detector, [access(at(10, seconds=201), name) for name in OWN]) == []


@pytest.mark.parametrize("action", ["encrypt", "sign", "verify"])
def test_using_keys_makes_no_secret_of_their_names_known(detector: EnumerationDetector, action: str) -> None:
    assert odd(detector, [access(each.time, each.name, action=action) for each in search(200)]) == []
    assert decisions(detector, search(10, day=10.1)) == [ALLOW] * 9 + [ALERT]


def test_decrypting_with_many_new_keys_is_odd(detector: EnumerationDetector) -> None:
    assert decisions(detector, search(10, action="decrypt")) == [ALLOW] * 9 + [ALERT]


def test_names_that_were_let_through_are_learned(detector: EnumerationDetector) -> None:
    for request in search(200):
        ended(detector, request, "ok")
    assert odd(detector, search(200, day=11)) == []


def test_a_slow_search_is_odd(detector: EnumerationDetector) -> None:
    assert odd(detector, search(48, gap=1800))


def test_a_slow_search_after_the_clock_was_ahead_once_is_odd(detector: EnumerationDetector) -> None:
    steps = search(20, gap=1800)
    ahead = access(steps[0].time + timedelta(hours=20), "new/1")
    assert odd(detector, [steps[0], ahead, *steps[1:]])


def test_a_release_with_some_new_names_is_not(detector: EnumerationDetector) -> None:
    assert odd(detector, search(9)) == []


def test_a_principal_that_always_has_new_names_is_not_odd() -> None:
    detector = EnumerationDetector(EnumerationSettings())
    builds = [access(at(day, hours=hour), f"build/{day}/{hour}") for day in range(60) for hour in range(20)]
    assert odd(detector, builds) == []


def test_a_new_principal_may_read_many_names_but_not_any_number() -> None:
    detector = EnumerationDetector(EnumerationSettings())
    found = decisions(detector, search(600, gap=0.1))
    assert found[:79] == [ALLOW] * 79
    assert found[79] is ALERT
    assert found[479] is BLOCK


def test_names_that_do_not_exist_are_odd(detector: EnumerationDetector) -> None:
    results = [ended(detector, request, "not_found").decision for request in search(10)]
    assert results == [ALLOW] * 9 + [ALERT]


def test_asking_again_for_what_is_missing_is_not(detector: EnumerationDetector) -> None:
    for request in search(9):
        ended(detector, request, "not_found")
    again = [ended(detector, request, "not_found").decision for request in search(9, day=10.001)]
    assert again == [ALLOW] * 9


def test_writing_and_listing_are_no_search(detector: EnumerationDetector) -> None:
    assert odd(detector, search(200, action="create")) == []
    assert odd(detector, search(200, action="list")) == []


def test_what_was_refused_counts_elsewhere(detector: EnumerationDetector) -> None:
    assert odd(detector, search(200, allowed=False)) == []


def test_it_counts_for_whoever_took_on_a_principal(detector: EnumerationDetector) -> None:
    steps = [
        step.replace(principal=principal(f"as-{number}"), base=principal("api"))
        for number, step in enumerate(search(10))
    ]
    assert decisions(detector, steps)[-1] is ALERT


def test_a_slow_search_across_restarts_is_odd(detector: EnumerationDetector) -> None:
    found = []
    for request in search(48, gap=1800):
        found += odd(detector, [request])
        before, detector = detector, EnumerationDetector(EnumerationSettings())
        detector.restore(before.dump())
    assert found


def test_a_fast_search_by_one_process_after_the_other_is_told_once(detector: EnumerationDetector) -> None:
    """As by a loop in a shell, where each call of the command is a process of its own."""
    found = []
    for request in search(12):
        found += decisions(detector, [request])
        before, detector = detector, EnumerationDetector(EnumerationSettings())
        detector.restore(before.dump())
    assert found == [ALLOW] * 9 + [ALERT] + [ALLOW] * 2


def test_the_least_recent_principal_is_forgotten_beyond_the_limit() -> None:
    detector = EnumerationDetector(EnumerationSettings(max_tracked=2, learn_for=0.0, distinct=2))
    decisions(detector, [access(at(), "a", "one"), access(at(), "a", "two"), access(at(), "a", "three")])
    assert decisions(detector, [access(at(minutes=1), "a", "one")]) == [ALLOW]
    assert decisions(detector, [access(at(minutes=1), "b", "one")]) == [ALERT]


def test_no_principal_makes_the_others_be_forgotten() -> None:
    detector = EnumerationDetector(EnumerationSettings(max_names=100, learn_for=0.0, distinct=2))
    decisions(detector, [access(at(), "mine", "small")])
    decisions(detector, [access(at(1), f"flood/{number}", "large", action="create") for number in range(1000)])
    assert decisions(detector, [access(at(2), "mine", "small"), access(at(2), "next", "small")]) == [ALLOW, ALLOW]
