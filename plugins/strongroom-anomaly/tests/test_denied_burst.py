"""Whoever tries what is open to it is found; a wrong policy is not an attack."""

from __future__ import annotations

import pytest

from accesses import ALERT, ALLOW, BLOCK, access, at, decisions, ended, odd
from strongroom_anomaly.denied_burst import DeniedBurstDetector
from strongroom_anomaly.settings import DeniedBurstSettings


@pytest.fixture
def detector() -> DeniedBurstDetector:
    return DeniedBurstDetector(DeniedBurstSettings())


def tries(count: int, *, gap: float = 1.0, day: float = 1):
    return [access(at(day, seconds=number * gap), f"closed/{number}", allowed=False) for number in range(count)]


def test_several_denials_within_minutes_are_odd(detector: DeniedBurstDetector) -> None:
    assert decisions(detector, tries(4)) == [ALLOW] * 3 + [ALERT]


def test_the_verdict_names_the_limit(detector: DeniedBurstDetector) -> None:
    verdict = odd(detector, tries(4))[0]
    assert verdict.reason == "api was denied 4 names within 5m"
    assert verdict.evidence[-1] == "the limit is 4, from denials = 4"


def test_denials_of_the_backend_count_too(detector: DeniedBurstDetector) -> None:
    requests = [request.replace(allowed=True) for request in tries(4)]
    assert [ended(detector, request, "denied").decision for request in requests] == [ALLOW] * 3 + [ALERT]


def test_a_denial_that_is_judged_and_observed_counts_once(detector: DeniedBurstDetector) -> None:
    assert [ended(detector, request, "denied").decision for request in tries(3)] == [ALLOW] * 3


def test_slow_probing_is_odd(detector: DeniedBurstDetector) -> None:
    assert odd(detector, tries(7, gap=1200))


def test_tries_by_one_process_after_the_other_are_odd(detector: DeniedBurstDetector) -> None:
    found = []
    for request in tries(4):
        found += decisions(detector, [request])
        before, detector = detector, DeniedBurstDetector(DeniedBurstSettings())
        detector.restore(before.dump())
    assert found == [ALLOW] * 3 + [ALERT]


def test_asking_for_the_same_again_and_again_is_not(detector: DeniedBurstDetector) -> None:
    steps = [
        access(at(hours=hour, seconds=30 * turn), f"closed/{turn % 3}", allowed=False)
        for hour in range(48)
        for turn in range(60)
    ]
    assert odd(detector, steps) == []


def test_very_many_denials_of_the_same_are(detector: DeniedBurstDetector) -> None:
    steps = [access(at(seconds=turn / 10), "closed", allowed=False) for turn in range(500)]
    assert {verdict.decision for verdict in odd(detector, steps)} == {ALERT}


def test_after_very_many_tries_only_what_was_read_before_goes_on(detector: DeniedBurstDetector) -> None:
    decisions(detector, [access(at(), "own")])
    decisions(detector, tries(20))
    assert decisions(detector, [access(at(1, seconds=30), "own"), access(at(1, seconds=30), "open")]) == [ALLOW, BLOCK]


def test_it_ends_with_the_window(detector: DeniedBurstDetector) -> None:
    decisions(detector, tries(20))
    assert decisions(detector, [access(at(1, minutes=10), "open")]) == [ALLOW]


def test_others_are_not_to_blame(detector: DeniedBurstDetector) -> None:
    decisions(detector, tries(50))
    assert decisions(detector, [access(at(1, seconds=50), "open", "web")]) == [ALLOW]


def test_slow_probing_across_restarts_is_odd(detector: DeniedBurstDetector) -> None:
    found = []
    for request in tries(7, gap=1200):
        found += odd(detector, [request])
        before, detector = detector, DeniedBurstDetector(DeniedBurstSettings())
        detector.restore(before.dump())
    assert found
