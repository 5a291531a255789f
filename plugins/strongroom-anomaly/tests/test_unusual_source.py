"""A strange machine is odd, and machines that come and go are not."""

from __future__ import annotations

import pytest

from accesses import ALERT, ALLOW, BLOCK, access, at, decisions, ended, odd
from strongroom_anomaly.settings import UnusualSourceSettings
from strongroom_anomaly.unusual_source import UnusualSourceDetector, stem_of


def learned(**settings: object) -> UnusualSourceDetector:
    detector = UnusualSourceDetector(UnusualSourceSettings(**settings))
    steps = [access(at(day), host=f"web-{day % 3}", process="server") for day in range(10)]
    assert odd(detector, steps) == []
    return detector


def test_a_machine_that_is_new_for_a_principal_is_odd() -> None:
    verdict = odd(learned(), [access(at(10), host="laptop", process="server")])[0]
    assert verdict.decision is ALERT
    assert verdict.reason == "api is used from the host laptop, where it never was"
    assert verdict.subject == "api from host laptop"


def test_a_program_that_is_new_for_a_principal_is_odd() -> None:
    found = odd(learned(), [access(at(10), host="web-1", process="curl")])
    assert [verdict.subject for verdict in found] == ["api from program curl"]


def test_what_is_known_is_not() -> None:
    assert odd(learned(), [access(at(10), host=f"web-{number}", process="server") for number in range(3)]) == []


def test_what_is_not_known_of_an_access_is_not_judged() -> None:
    assert decisions(learned(), [access(at(10))]) == [ALLOW]


def test_either_can_be_left_out() -> None:
    request = access(at(10), host="laptop", process="curl")
    assert decisions(learned(hosts=False, processes=False), [request]) == [ALLOW]


def test_it_is_learned_after_one_alert() -> None:
    steps = [access(at(10, minutes=minute), host="laptop", process="server") for minute in range(3)]
    assert decisions(learned(), steps) == [ALERT, ALLOW, ALLOW]


def test_where_it_is_to_be_stopped_it_is_learned_only_if_it_was_let_through() -> None:
    detector = learned(blocks=True)
    request = access(at(10), host="laptop", process="server")
    assert decisions(detector, [request, request]) == [BLOCK, BLOCK]
    ended(detector, request, "suspicious")
    assert decisions(detector, [request]) == [BLOCK]
    ended(detector, request, "ok")
    assert decisions(detector, [request]) == [ALLOW]


def test_a_machine_that_several_others_use_is_no_stranger() -> None:
    detector = learned(peers=2)
    decisions(detector, [access(at(10), who=who, host="new", process="server") for who in ("one", "two")])
    assert decisions(detector, [access(at(10), host="new", process="server")]) == [ALLOW]


@pytest.fixture
def scaled() -> UnusualSourceDetector:
    """Has seen another machine each day."""
    detector = UnusualSourceDetector(UnusualSourceSettings())
    assert odd(detector, [access(at(day), host=f"web-{day:04x}7") for day in range(30)]) == []
    return detector


def test_a_principal_whose_machines_change_is_not_odd_on_another_one(scaled: UnusualSourceDetector) -> None:
    assert decisions(scaled, [access(at(30), host="web-ffff7")]) == [ALLOW]


def test_it_is_on_a_machine_of_another_kind(scaled: UnusualSourceDetector) -> None:
    assert decisions(scaled, [access(at(30), host="kali")]) == [ALERT]


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("web-7f9c-1", "web"),
        ("runner-facade", "runner"),
        ("svc-mail-bcdfg-x7", "svc-mail"),
        ("ip-10-0-0-1", "ip"),
        ("10.0.0.1", ""),
        ("laptop", "laptop"),
    ],
)
def test_like_machines_have_a_stem_in_common(source: str, stem: str) -> None:
    assert stem_of(source) == stem


def test_sources_outlive_the_process() -> None:
    after = UnusualSourceDetector(UnusualSourceSettings())
    after.restore(learned().dump())
    steps = [access(at(10), host="web-1", process="server"), access(at(10), host="laptop", process="server")]
    assert decisions(after, steps) == [ALLOW, ALERT]
