"""How long the policy lets answers live, and what it refreshes."""

from __future__ import annotations

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.contracts import Lifetime, Previous, StoreRequest
from strongroom.model import SecretName
from strongroom_cache_refresh.policy import RefreshPolicy
from strongroom_cache_refresh.settings import RefreshSettings

seconds = st.floats(0, 1e6)
parts = st.floats(0, 1)


def policy(**settings: Any) -> RefreshPolicy:
    return RefreshPolicy(RefreshSettings(**{"jitter": 0.0, **settings}))


def lifetime(name: str = "a", *, now: float = 0.0, using: RefreshPolicy | None = None, **request: Any) -> Lifetime:
    return (using or policy()).lifetime(StoreRequest(name=SecretName(name), now=now, **request))


def previous(*, used: bool) -> Previous:
    return Previous(version="1", stored=0.0, used=used)


class TestTimes:
    def test_a_new_entry_lives_for_five_minutes_and_is_refreshed_in_the_last_of_them(self) -> None:
        assert lifetime(now=100.0) == Lifetime(fresh_until=400.0, refresh_at=340.0)

    def test_the_windows_beyond_its_life_begin_with_its_end(self) -> None:
        made = lifetime(using=policy(ttl=10.0, stale_while_revalidate=5.0, max_stale=60.0, refresh_ahead=0.0))
        assert made == Lifetime(fresh_until=10.0, revalidate_until=15.0, stale_until=70.0)

    def test_jitter_shortens_a_life_and_what_depends_on_it(self) -> None:
        made = lifetime(using=policy(ttl=100.0, jitter=0.5, max_stale=10.0), random=0.5)
        assert made == Lifetime(fresh_until=75.0, refresh_at=60.0, stale_until=85.0)

    def test_not_found_has_a_short_life_of_its_own_and_nothing_beyond(self) -> None:
        using = policy(stale_while_revalidate=5.0, max_stale=60.0, ttls={"**": 900.0})
        assert lifetime(using=using, found=False) == Lifetime(fresh_until=5.0)

    def test_zero_switches_the_cache_off(self) -> None:
        assert lifetime(now=7.0, using=policy(ttl=0.0, stale_while_revalidate=60.0, max_stale=60.0)) == Lifetime(
            fresh_until=7.0
        )

    @given(ttl=seconds, ahead=parts, jitter=parts, random=st.floats(0, 1, exclude_max=True), now=seconds)
    def test_a_refresh_lies_within_the_life(
        self, ttl: float, ahead: float, jitter: float, random: float, now: float
    ) -> None:
        made = lifetime(now=now, using=policy(ttl=ttl, refresh_ahead=ahead, jitter=jitter), random=random)
        assert now <= made.fresh_until <= now + ttl
        if made.refresh_at is not None:
            assert now - 1e-6 <= made.refresh_at <= made.fresh_until


class TestNames:
    @pytest.mark.parametrize(("name", "lived"), [("db/a", 30.0), ("static/a", 3600.0), ("static/x/otp", 1.0)])
    def test_the_most_specific_pattern_says_how_long(self, name: str, lived: float) -> None:
        using = policy(ttls={"static/**": 3600.0, "db/**": 30.0, "static/*/otp": 1.0})
        assert lifetime(name, using=using).fresh_until == lived

    @pytest.mark.parametrize("found", [True, False])
    def test_what_is_not_to_be_cached_is_not(self, found: bool) -> None:
        using = policy(no_cache=("otp/**",), max_stale=60.0, ttls={"**": 60.0})
        assert lifetime("otp/a", now=3.0, using=using, found=found) == Lifetime(fresh_until=3.0)
        assert lifetime("a", now=3.0, using=using).fresh_until == 63.0

    def test_what_is_to_be_kept_is_spared_as_often_as_can_be(self) -> None:
        using = policy(keep=("db/**",))
        assert (lifetime("db/a", using=using).spared, lifetime("a", using=using).spared) == (3, 0)


class TestPopularity:
    """A refresh ahead costs a call, and only use repays it."""

    def test_what_was_used_is_refreshed_ahead(self) -> None:
        assert lifetime(previous=previous(used=True)).refresh_at == 240.0

    def test_what_nobody_used_is_not(self) -> None:
        assert lifetime(previous=previous(used=False)).refresh_at is None

    def test_an_older_version_which_never_changes_is_not(self) -> None:
        assert lifetime(version="1", pinned=True) == Lifetime(fresh_until=300.0)

    def test_what_is_new_gets_the_benefit_of_the_doubt(self) -> None:
        assert lifetime().refresh_at == 240.0


class TestAdaptive:
    def test_an_unchanged_version_lengthens_the_life(self) -> None:
        using = policy(adaptive=True)
        lives = [lifetime(now=now, using=using, version="1").fresh_until - now for now in (0.0, 300.0, 900.0)]
        assert lives == [300.0, 300.0, 600.0]

    def test_a_change_shortens_it(self) -> None:
        using = policy(adaptive=True)
        lifetime(using=using, version="1")
        assert lifetime(now=300.0, using=using, version="2").fresh_until - 300.0 < 300.0

    def test_a_name_with_a_time_of_its_own_keeps_it(self) -> None:
        using = policy(adaptive=True, ttls={"a": 40.0})
        lives = [lifetime(now=now, using=using, version="1").fresh_until - now for now in (0.0, 1e3, 1e4)]
        assert lives == [40.0] * 3

    def test_an_answer_without_a_version_teaches_nothing(self) -> None:
        using = policy(adaptive=True)
        lives = [lifetime(now=now, using=using).fresh_until - now for now in (0.0, 1e3, 1e4)]
        assert lives == [300.0] * 3

    def test_what_was_learned_serves_when_an_answer_has_no_version(self) -> None:
        using = policy(adaptive=True)
        for now in (0.0, 1e3):
            lifetime(now=now, using=using, version="1")
        assert lifetime(now=1e3, using=using).fresh_until - 1e3 == 600.0

    def test_an_older_version_teaches_nothing(self) -> None:
        using = policy(adaptive=True)
        for turn in range(10):
            lifetime(now=10.0 * turn, using=using, version=str(turn), pinned=True)
        assert lifetime(now=100.0, using=using, version="9").fresh_until == 400.0

    def test_not_found_teaches_nothing(self) -> None:
        using = policy(adaptive=True)
        lifetime(using=using, version="1")
        lifetime(now=10.0, using=using, found=False)
        assert lifetime(now=1000.0, using=using, version="1").fresh_until == 1600.0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"ttl": -1.0}, "ttl is below 0"),
        ({"ttl": float("nan")}, "ttl is below 0"),
        ({"negative_ttl": -1.0}, "negative_ttl is below 0"),
        ({"stale_while_revalidate": -1.0}, "stale_while_revalidate is below 0"),
        ({"max_stale": -1.0}, "max_stale is below 0"),
        ({"ttls": {"db/*": -1.0}}, "ttls.db/* is below 0"),
        ({"jitter": 1.5}, "jitter is not between 0 and 1"),
        ({"refresh_ahead": -0.1}, "refresh_ahead is not between 0 and 1"),
        ({"adaptive": True, "min_ttl": 0.0}, "min_ttl is not above 0"),
        ({"adaptive": True, "ttl": 10.0}, "ttl, where learning starts, is not between min_ttl and max_ttl"),
        ({"adaptive": True, "max_ttl": 60.0}, "ttl, where learning starts, is not between min_ttl and max_ttl"),
        ({"keep": ("db*",)}, "the pattern 'db*' has a segment with a wildcard and other characters"),
        ({"no_cache": ("db*",)}, "the pattern 'db*' has a segment with a wildcard and other characters"),
        ({"ttls": {"db*": 1.0}}, "the pattern 'db*' has a segment with a wildcard and other characters"),
    ],
)
def test_settings_that_make_no_sense_are_a_problem(settings: dict[str, Any], problem: str) -> None:
    assert RefreshSettings(**settings).problems() == [problem]


def test_bounds_of_learning_do_not_matter_without_it() -> None:
    assert RefreshSettings(ttl=1.0).problems() == []
