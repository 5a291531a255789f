"""The made-up traffic on which the quality of the anomaly detectors is measured."""

from __future__ import annotations

import importlib

from collections import Counter
from types import ModuleType
from typing import Any

import pytest

from _workspace import ROOT

SEED = 41


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("_traffic")


@pytest.fixture(scope="module")
def made(generator: ModuleType) -> Any:
    return generator.traffic(SEED)


def test_a_seed_decides_everything(generator: ModuleType, made: Any) -> None:
    assert generator.traffic(SEED) == made
    assert generator.traffic(SEED + 1).events != made.events


def test_events_come_in_order_within_thirty_days(made: Any) -> None:
    times = [event.time for event in made.events]
    assert times == sorted(times)
    assert made.start <= times[0]
    assert times[-1] < made.start + made.days * 86400


def test_each_kind_of_attack_happens_several_times_after_the_learning(made: Any) -> None:
    assert set(Counter(attack.kind for attack in made.attacks).values()) == {4}
    assert len({attack.kind for attack in made.attacks}) == 6
    assert all(attack.start >= made.start + 15 * 86400 for attack in made.attacks)


def test_nobody_is_attacked_twice_or_before_being_known(made: Any) -> None:
    victims = [attack.principal for attack in made.attacks]
    known = {event.principal for event in made.events if event.time < made.start + 15 * 86400}
    assert len(set(victims)) == len(victims)
    assert set(victims) <= known


def test_events_of_an_attack_are_its_principal_s_and_within_its_time(made: Any) -> None:
    attacks = {attack.id: attack for attack in made.attacks}
    of_attacks = [event for event in made.events if event.cause in attacks]
    assert {event.cause for event in of_attacks} == attacks.keys()
    for event in of_attacks:
        attack = attacks[event.cause]
        assert event.principal == attack.principal
        assert attack.start <= event.time <= attack.end


def test_what_looks_like_an_attack_happens_too(made: Any) -> None:
    causes = {event.cause for event in made.events}
    assert {"deployment", "scaling", "outage", "permissions", "on call", "late job", "misspelling"} <= causes
