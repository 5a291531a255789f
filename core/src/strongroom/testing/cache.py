"""The contract of a cache policy, as checks."""

from __future__ import annotations

import math

import pytest

from strongroom.contracts import CachePolicy, Lifetime, Previous, StoreRequest
from strongroom.model import SecretName
from strongroom.testing.processes import in_threads

NAME = SecretName("conformance/name")
DRAWS = (0.0, 0.25, 0.5, 0.75, 0.999999)


class CachePolicyContract:
    """Everything that a cache policy promises; override the fixture ``policy``."""

    @pytest.fixture
    def policy(self) -> CachePolicy:
        """Return the policy under test; every author overrides this."""
        # Not an abstract method, which would keep pytest from making the class: it tells an author what is missing.
        raise NotImplementedError(f"{type(self).__name__} must override the fixture `policy`")

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    @pytest.mark.parametrize("random", DRAWS)
    def test_times_are_numbers(self, policy: CachePolicy, found: bool, random: float) -> None:
        """A hit only compares numbers, so each must be one that compares."""
        lifetime = _lifetime(policy, found=found, random=random)
        for time in _times(lifetime):
            assert time is None or not math.isnan(time), "a time is not a number"

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    def test_times_depend_on_the_request_only(self, policy: CachePolicy, found: bool) -> None:
        """The policy draws no numbers of its own and reads no clock: equal requests, equal times.

        It may learn from what an answer replaces, but here nothing is replaced.
        """
        assert _lifetime(policy, found=found) == _lifetime(policy, found=found)

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    def test_the_origin_of_the_clock_does_not_matter(self, policy: CachePolicy, found: bool) -> None:
        """Monotonic clocks start anywhere; only differences mean something."""
        early, late = _spans(policy, 0.0, found=found), _spans(policy, 1_000_000.0, found=found)
        assert early == pytest.approx(late, abs=1e-3)

    @pytest.mark.parametrize("random", DRAWS)
    def test_a_refresh_comes_while_the_answer_is_fresh(self, policy: CachePolicy, random: float) -> None:
        """Between storing and expiry; later it would never be the reader's choice."""
        lifetime = _lifetime(policy, random=random)
        if lifetime.refresh_at is not None:
            assert 0.0 <= lifetime.refresh_at <= lifetime.fresh_until

    @pytest.mark.parametrize("random", DRAWS)
    def test_stale_comes_after_fresh(self, policy: CachePolicy, random: float) -> None:
        """An answer that may stand in during an outage does so from its expiry on."""
        lifetime = _lifetime(policy, random=random)
        if lifetime.stale_until is not None:
            assert lifetime.stale_until >= lifetime.fresh_until

    @pytest.mark.parametrize("random", DRAWS)
    def test_revalidation_comes_after_fresh(self, policy: CachePolicy, random: float) -> None:
        """An answer that serves while the new one comes does so from its expiry on."""
        lifetime = _lifetime(policy, random=random)
        if lifetime.revalidate_until is not None:
            assert lifetime.revalidate_until >= lifetime.fresh_until

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    def test_eviction_spares_an_entry_up_to_three_times(self, policy: CachePolicy, found: bool) -> None:
        """A whole number from 0 to 3: a cache whose entries are all spared for ever could take in nothing."""
        spared = _lifetime(policy, found=found).spared
        assert type(spared) is int, f"spared is {spared!r}"
        assert 0 <= spared <= 3

    @pytest.mark.parametrize("used", [True, False], ids=["used", "unused"])
    @pytest.mark.parametrize("before", ["1", "2", None], ids=["unchanged", "changed", "was not found"])
    def test_what_is_replaced_may_change_the_times_but_not_their_order(
        self, policy: CachePolicy, before: str | None, used: bool
    ) -> None:
        """With the entry before at hand, the answer is still a lifetime like any other, however often it comes."""
        for now in (600.0, 1200.0, 4800.0):
            previous = Previous(version=before, stored=now - 600.0, used=used)
            request = StoreRequest(name=NAME, now=now, version="1", previous=previous)
            lifetime = policy.lifetime(request)
            assert isinstance(lifetime, Lifetime), f"lifetime() returned {lifetime!r}"
            assert not any(math.isnan(time) for time in _times(lifetime) if time is not None)
            if lifetime.refresh_at is not None:
                assert now <= lifetime.refresh_at <= lifetime.fresh_until
            later = [time for time in (lifetime.revalidate_until, lifetime.stale_until) if time is not None]
            assert all(time >= lifetime.fresh_until for time in later)

    def test_threads_get_the_same_answer(self, policy: CachePolicy) -> None:
        """The policy is asked by several threads at once."""
        expected = _lifetime(policy)
        answers = in_threads(8, lambda _: {_lifetime(policy) for _ in range(50)})
        assert answers == [{expected}] * 8

    def test_names_do_not_upset_it(self, policy: CachePolicy) -> None:
        """Whatever name is stored, there is an answer."""
        for name in ("a", "caf\u00e9/\u65e5\u672c", "a%b/*", "n" * 512):
            request = StoreRequest(name=SecretName(name), now=0.0)
            assert isinstance(policy.lifetime(request), Lifetime)


def _lifetime(policy: CachePolicy, now: float = 0.0, *, found: bool = True, random: float = 0.5) -> Lifetime:
    lifetime = policy.lifetime(StoreRequest(name=NAME, now=now, found=found, random=random))
    assert isinstance(lifetime, Lifetime), f"lifetime() returned {lifetime!r}"
    return lifetime


def _spans(policy: CachePolicy, now: float, *, found: bool) -> list[float]:
    return [-1.0 if time is None else time - now for time in _times(_lifetime(policy, now, found=found))]


def _times(lifetime: Lifetime) -> list[float | None]:
    return [lifetime.fresh_until, lifetime.refresh_at, lifetime.revalidate_until, lifetime.stale_until]
