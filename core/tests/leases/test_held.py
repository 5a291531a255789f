"""The times of one lease, for whatever the backend grants."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest

from hypothesis import given

from strongroom.contracts import Lease
from strongroom.errors import BackendError
from strongroom.grants import Grant
from strongroom.leases.held import Held, Step, end_of
from strongroom.model import Principal, PrincipalSource, SecretName

SECONDS = st.floats(0.001, 1e7)


def held(seconds: float, started: float = 1000.0) -> Held:
    backend: Any = type("Named", (), {"name": "maker"})()
    principal = Principal(name="tester", source=PrincipalSource.CONTEXT)
    grant = Grant((principal,), SecretName("creds/app"), backend, immediate=False, expires=None)
    lease = Lease(id="an-id", seconds=seconds, renewable=True)
    return Held(grant, grant.name, lease, "1", started=started, fetch=lambda: None)


@given(SECONDS, st.floats(0, 1e6))
def test_it_ends_a_little_before_the_backend_ends_it(seconds: float, started: float) -> None:
    left = started + seconds - end_of(Lease(id="x", seconds=seconds), started)
    assert -1e-6 <= left <= min(1.0, 0.01 * seconds) + 1e-6


@given(SECONDS)
def test_it_is_replaced_between_half_its_life_and_its_end(seconds: float) -> None:
    """A short one is not replaced at once again and again."""
    one = held(seconds)
    life = one.ends - one.issued
    assert one.issued + life / 2 - 1e-6 <= one.replaced_at <= one.ends


@pytest.mark.parametrize(("life", "before"), [(40, 19.8), (100, 49.5), (600, 60), (6000, 599.9), (86400, 8639.9)])
def test_it_is_replaced_so_long_before_its_end(life: float, before: float) -> None:
    """The larger of a minute and a tenth of its life, and at most half of it."""
    one = held(life)
    assert one.ends - one.replaced_at == pytest.approx(before, abs=0.2)


@given(SECONDS, st.integers(0, 2000), st.floats(0, 1, exclude_max=True))
def test_a_failure_is_tried_again_within_its_life_and_not_at_once(seconds: float, failures: int, random: float) -> None:
    one = held(seconds)
    one.failures = failures
    life = one.ends - one.issued
    assert 0 < one.delay(random) <= min(60, life / 10 + 1e-9)


def test_the_delay_grows_with_each_failure() -> None:
    one, delays = held(3600), []
    for one.failures in range(8):
        delays.append(one.delay(0.5))
    assert delays == sorted(delays)
    assert delays[0] < 1 < 40 < delays[-1]


def test_what_has_ended_is_not_served() -> None:
    one = held(10)
    one.ensure_alive(1009.8)
    with pytest.raises(BackendError, match="10 s"):
        one.ensure_alive(1009.9)


def test_its_state_is_retired_once_it_is_lost_or_given_up() -> None:
    one = held(100)
    assert one.step is Step.END
    assert one.status(1010.0).state == "live"
    one.lost = True
    assert one.status(1010.0).state == "retired"
    assert "an-id" not in repr(one.status(1010.0))
