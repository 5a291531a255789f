"""Names of others are odd, new and shared ones are not."""

from __future__ import annotations

from accesses import ALERT, ALLOW, BLOCK, access, at, decisions, ended, odd
from strongroom_anomaly.first_use import FirstUseDetector
from strongroom_anomaly.settings import FirstUseSettings

THEIRS = [f"theirs/{number}" for number in range(6)]


def learned(*others: str, **settings: object) -> FirstUseDetector:
    """Return one that has seen a principal use its names, and others theirs, for ten days."""
    detector = FirstUseDetector(FirstUseSettings(**settings))
    for day in range(10):
        steps = [access(at(day), f"own/{number}") for number in range(6)]
        steps += [access(at(day), name, who) for name in THEIRS for who in others or ("web",)]
        assert odd(detector, steps) == []
    return detector


def first_uses(day: float = 10, names: list[str] = THEIRS):
    return [access(at(day, minutes=place), name) for place, name in enumerate(names)]


def test_the_first_use_of_several_names_of_others_is_odd() -> None:
    assert decisions(learned(), first_uses()) == [ALLOW] * 3 + [ALERT] + [ALLOW] * 2


def test_how_many_is_a_setting() -> None:
    verdict = odd(learned(names=1), first_uses())[0]
    assert verdict.reason == "api used 1 names within 1h for the first time that belong to others"
    assert verdict.evidence[0] == "the last of them, theirs/0, is used by 1 others for 240 hours"
    assert verdict.subject == "api"


def test_the_second_use_is_not() -> None:
    detector = learned(names=1)
    decisions(detector, first_uses())
    assert odd(detector, first_uses()) == []


def test_using_a_key_is_no_use_of_the_secret_of_that_name() -> None:
    detector = learned(names=1)
    assert odd(detector, [access(at(10), name, action="verify") for name in THEIRS]) == []
    assert decisions(detector, first_uses(10.1)[:1]) == [ALERT]


def test_own_names_are_not() -> None:
    assert odd(learned(names=1), [access(at(10), f"own/{number}") for number in range(6)]) == []


def test_shared_names_are_not() -> None:
    assert odd(learned("a", "b", "c", names=1), first_uses()) == []


def test_names_that_nobody_used_before_belong_to_a_release() -> None:
    assert odd(learned(names=1), first_uses(names=["new/1", "new/2"])) == []
    assert odd(learned(names=1, unknown_names=True), first_uses(names=["new/1"]))


def test_names_that_others_have_only_just_begun_to_use_do_too() -> None:
    detector = learned(names=1)
    decisions(detector, [access(at(9.9), "new/1", "web")])
    assert decisions(detector, [access(at(10), "new/1")]) == [ALLOW]


def test_a_principal_that_is_new_is_not_judged() -> None:
    detector = learned(names=1)
    assert odd(detector, [access(at(10), name, "newcomer") for name in THEIRS]) == []


def test_a_principal_that_often_begins_to_use_names_is_not_judged() -> None:
    detector = learned(names=1)
    assert odd(detector, first_uses(10, THEIRS[:1]))
    assert odd(detector, first_uses(11, THEIRS[1:2]))
    assert odd(detector, first_uses(12, THEIRS[2:])) == []


def test_what_it_began_to_use_while_it_was_learned_counts_as_often() -> None:
    detector = FirstUseDetector(FirstUseSettings(names=1))
    for day in range(10):
        new = [THEIRS[day - 4]] if day in {4, 5, 6} else []
        steps = [access(at(day), name, "web") for name in THEIRS] + [access(at(day), name) for name in ["own", *new]]
        assert odd(detector, steps) == []
    assert odd(detector, first_uses(10, THEIRS[3:])) == []


def test_a_process_that_has_just_started_is_not_judged() -> None:
    after = FirstUseDetector(FirstUseSettings(names=1))
    after.restore(learned().dump())
    assert decisions(after, [access(at(10), THEIRS[0]), access(at(10.1), THEIRS[1])]) == [ALLOW, ALERT]


def test_creating_a_name_is_no_first_use() -> None:
    assert odd(learned(names=1), [access(at(10), "theirs/0", action="create")]) == []


def test_what_was_stopped_does_not_make_a_principal_one_that_often_begins_to_use_names() -> None:
    detector = learned(names=1, blocks=True)
    for day in range(10, 14):
        assert decisions(detector, first_uses(day)) == [BLOCK] * 6


def test_a_name_first_used_while_the_clock_was_ahead_belongs_to_its_user_all_the_same() -> None:
    detector = learned(names=1)
    decisions(detector, [access(at(365_000), "new/1", "web"), access(at(10), "new/1", "web")])
    assert decisions(detector, [access(at(12), "new/1")]) == [ALERT]


def test_a_name_that_was_forgotten_among_others_belongs_to_whoever_goes_on_using_it() -> None:
    detector = learned(names=1, max_names=400)
    decisions(detector, [access(at(10), f"many/{number}", "flood") for number in range(100)])
    decisions(detector, [access(at(11), "theirs/0", "web")])
    assert decisions(detector, [access(at(13), "theirs/0")]) == [ALERT]


def test_where_it_is_to_be_stopped_it_is_learned_only_if_it_was_let_through() -> None:
    detector = learned(names=1, blocks=True)
    request = access(at(10), THEIRS[0])
    assert decisions(detector, [request, request]) == [BLOCK, BLOCK]
    ended(detector, request, "ok")
    assert decisions(detector, [request]) == [ALLOW]
