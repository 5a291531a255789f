"""The contract of a cache policy, as checks."""

from __future__ import annotations

import math

import pytest

from strongroom.contracts import CachePolicy, Lifetime, Previous, StoreRequest
from strongroom.model import SecretName
from strongroom.testing.processes import in_threads
from strongroom.testing.promises import must_override, promised_by

NAME = SecretName("conformance/name")
DRAWS = (0.0, 0.25, 0.5, 0.75, 0.999999)


class CachePolicyContract:
    """Everything that a cache policy promises; override the fixture ``policy``."""

    @pytest.fixture
    def policy(self) -> CachePolicy:
        """Return the policy under test; every author overrides this."""
        # Not an abstract method, which would keep pytest from making the class: it tells an author what is missing.
        must_override(self, "the fixture `policy`", "it returns the cache policy under test")

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    @pytest.mark.parametrize("random", DRAWS)
    @promised_by(Lifetime)
    def test_times_are_numbers(self, policy: CachePolicy, found: bool, random: float) -> None:
        """Each time of a lifetime is a number or ``None``.

        A hit only compares these; what is not a number compares as false, so an entry would never or always serve.
        """
        lifetime = _lifetime(policy, found=found, random=random)
        for time in _times(lifetime):
            assert time is None or not math.isnan(time), "a time is not a number"

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    @promised_by(CachePolicy.lifetime)
    def test_times_depend_on_the_request_only(self, policy: CachePolicy, found: bool) -> None:
        """Equal requests, with no entry before, get equal times.

        A policy that draws numbers or reads a clock of its own cannot be tested, and drifts from the core's clock.
        """
        assert _lifetime(policy, found=found) == _lifetime(policy, found=found)

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    @promised_by(StoreRequest)
    def test_the_origin_of_the_clock_does_not_matter(self, policy: CachePolicy, found: bool) -> None:
        """Times are as far from ``now``, wherever the clock begins.

        Monotonic clocks begin anywhere, so that only differences mean something.
        """
        early, late = _spans(policy, 0.0, found=found), _spans(policy, 1_000_000.0, found=found)
        assert early == pytest.approx(late, abs=1e-3)

    @pytest.mark.parametrize("random", DRAWS)
    @promised_by(Lifetime)
    def test_a_refresh_comes_while_the_answer_is_fresh(self, policy: CachePolicy, random: float) -> None:
        """``refresh_at`` is not before ``now`` and not after ``fresh_until``.

        After that the answer is not fresh any more, and the reader would have to wait.
        """
        lifetime = _lifetime(policy, random=random)
        if lifetime.refresh_at is not None:
            assert 0.0 <= lifetime.refresh_at <= lifetime.fresh_until

    @pytest.mark.parametrize("random", DRAWS)
    @promised_by(Lifetime)
    def test_stale_comes_after_fresh(self, policy: CachePolicy, random: float) -> None:
        """``stale_until`` is not before ``fresh_until``.

        An answer that may stand in during an outage does so from its expiry on.
        """
        lifetime = _lifetime(policy, random=random)
        if lifetime.stale_until is not None:
            assert lifetime.stale_until >= lifetime.fresh_until

    @pytest.mark.parametrize("random", DRAWS)
    @promised_by(Lifetime)
    def test_revalidation_comes_after_fresh(self, policy: CachePolicy, random: float) -> None:
        """``revalidate_until`` is not before ``fresh_until``.

        An answer that serves while the new one comes does so from its expiry on.
        """
        lifetime = _lifetime(policy, random=random)
        if lifetime.revalidate_until is not None:
            assert lifetime.revalidate_until >= lifetime.fresh_until

    @pytest.mark.parametrize("found", [True, False], ids=["found", "not found"])
    @promised_by(Lifetime)
    def test_eviction_spares_an_entry_up_to_three_times(self, policy: CachePolicy, found: bool) -> None:
        """``spared`` is a whole number from 0 to 3.

        A cache whose entries are all spared for ever could take in nothing.
        """
        spared = _lifetime(policy, found=found).spared
        assert type(spared) is int, f"spared is {spared!r}"
        assert 0 <= spared <= 3

    @pytest.mark.parametrize("used", [True, False], ids=["used", "unused"])
    @pytest.mark.parametrize("before", ["1", "2", None], ids=["unchanged", "changed", "was not found"])
    @promised_by(Previous)
    def test_what_is_replaced_may_change_the_times_but_not_their_order(
        self, policy: CachePolicy, before: str | None, used: bool
    ) -> None:
        """With an entry before, the answer is a lifetime like any other, with its times in their order.

        Nearly every entry of a running program replaces one.
        """
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

    @promised_by(CachePolicy)
    def test_threads_get_the_same_answer(self, policy: CachePolicy) -> None:
        """Eight threads that ask at once get the same answer to the same request.

        The core asks a policy from every thread that reads, and holds no lock for it.
        """
        expected = _lifetime(policy)
        answers = in_threads(8, lambda _: {_lifetime(policy) for _ in range(50)})
        assert answers == [{expected}] * 8

    @promised_by(CachePolicy.lifetime)
    def test_names_do_not_upset_it(self, policy: CachePolicy) -> None:
        """There is a lifetime for every name, with odd letters and of the greatest length, too.

        A read would fail although the backend has answered.
        """
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
