"""How long the built-in policies let an answer live."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.builtin.plugin import strongroom_cache_policies
from strongroom.builtin.policies import NonePolicy, TtlPolicy
from strongroom.builtin.settings import NoneSettings, TtlSettings
from strongroom.contracts import Lifetime, StoreRequest
from strongroom.model import SecretName

NAME = SecretName("a")
seconds = st.floats(0, 1e6)
draws = st.floats(0, 1, exclude_max=True)


def lifetime(settings: TtlSettings, *, now: float = 0.0, found: bool = True, random: float = 0.0) -> Lifetime:
    return TtlPolicy(settings).lifetime(StoreRequest(name=NAME, now=now, found=found, random=random))


def test_an_answer_lives_for_five_minutes_by_default() -> None:
    assert lifetime(TtlSettings(), now=100.0) == Lifetime(fresh_until=400.0)


def test_not_found_lives_for_five_seconds_by_default() -> None:
    assert lifetime(TtlSettings(), now=100.0, found=False) == Lifetime(fresh_until=105.0)


@given(ttl=seconds, jitter=st.floats(0, 1), random=draws)
def test_jitter_only_shortens_and_only_by_its_part(ttl: float, jitter: float, random: float) -> None:
    lived = lifetime(TtlSettings(ttl=ttl, jitter=jitter), random=random).fresh_until
    assert ttl * (1 - jitter) <= lived + 1e-6
    assert lived <= ttl


def test_entries_stored_together_do_not_expire_together() -> None:
    ends = {lifetime(TtlSettings(), random=number / 1000).fresh_until for number in range(1000)}
    assert len(ends) == 1000
    assert min(ends) > 269.9
    assert max(ends) == 300.0


def test_without_jitter_every_entry_lives_equally_long() -> None:
    ends = {lifetime(TtlSettings(jitter=0.0), random=number / 10).fresh_until for number in range(10)}
    assert ends == {300.0}


@pytest.mark.parametrize("found", [True, False])
def test_zero_switches_off(found: bool) -> None:
    settings = TtlSettings(ttl=0.0, negative_ttl=0.0)
    assert lifetime(settings, now=7.0, found=found, random=0.9).fresh_until <= 7.0


def test_an_answer_may_stand_in_beyond_its_life() -> None:
    stale = lifetime(TtlSettings(ttl=10.0, max_stale=60.0), random=0.5)
    assert stale == Lifetime(fresh_until=9.5, stale_until=69.5)


def test_not_found_never_stands_in() -> None:
    """During an outage nobody knows whether it has been created since."""
    assert lifetime(TtlSettings(max_stale=60.0), found=False).stale_until is None


@pytest.mark.parametrize(
    ("name", "lived"),
    [("db/a", 30.0), ("db/a/b", 60.0), ("static/logo", 3600.0), ("static/otp", 0.0), ("other", 300.0)],
)
def test_a_name_lives_as_long_as_its_most_specific_pattern_says(name: str, lived: float) -> None:
    ttls = {"static/**": 3600.0, "db/**": 60.0, "db/*": 30.0, "static/otp": 0.0}
    policy = TtlPolicy(TtlSettings(ttls=ttls, jitter=0.0))
    assert policy.lifetime(StoreRequest(name=SecretName(name), now=0.0)).fresh_until == lived


def test_a_pattern_changes_nothing_about_not_found() -> None:
    settings = TtlSettings(ttls={"**": 3600.0})
    assert lifetime(settings, found=False).fresh_until == 5.0


def test_none_keeps_nothing() -> None:
    policy = NonePolicy(NoneSettings())
    assert policy.lifetime(StoreRequest(name=NAME, now=5.0)) == Lifetime(fresh_until=5.0)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (TtlSettings(ttl=-1.0), "ttl is below 0"),
        (TtlSettings(negative_ttl=-0.1), "negative_ttl is below 0"),
        (TtlSettings(max_stale=-1.0), "max_stale is below 0"),
        (TtlSettings(jitter=1.1), "jitter is not between 0 and 1"),
        (TtlSettings(jitter=-0.1), "jitter is not between 0 and 1"),
        (TtlSettings(ttl=float("nan")), "ttl is below 0"),
        (TtlSettings(ttls={"db/*": -1.0}), "ttls.db/* is below 0"),
        (TtlSettings(ttls={"a b*": 1.0}), "the pattern 'a b*' has a segment with a wildcard and other characters"),
    ],
)
def test_settings_that_make_no_sense_are_a_problem(settings: TtlSettings, problem: str) -> None:
    assert settings.problems() == [problem]


def test_the_defaults_make_sense() -> None:
    assert TtlSettings().problems() == []


def test_the_hook_opens_both() -> None:
    opened = {spec.name: type(spec.open(spec.settings())) for spec in strongroom_cache_policies()}
    assert opened == {"ttl": TtlPolicy, "none": NonePolicy}
