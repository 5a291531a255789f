"""What the learner makes of the versions that it sees."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.testing import in_threads
from strongroom_cache_refresh.learning import Learner


def learner(*, start: float = 300.0, least: float = 30.0, most: float = 3600.0, names: int = 100) -> Learner:
    return Learner(start=start, least=least, most=most, names=names)


def settled(changes_every: float, *, fetches: int = 200) -> float:
    """Return the time that is learned of a secret that changes regularly and is fetched whenever it expires."""
    taught, now = learner(), 0.0
    for _ in range(fetches):
        now += taught.observe("a", str(now // changes_every), now)
    return taught.ttl("a")


def test_a_secret_that_never_changes_ends_at_the_longest_time() -> None:
    assert settled(1e12) == 3600.0


def test_a_secret_that_always_changes_ends_at_the_shortest_time() -> None:
    assert settled(1.0) == pytest.approx(30.0)


@pytest.mark.parametrize("interval", [90.0, 200.0, 600.0, 1800.0])
def test_a_regular_change_is_noticed_within_its_own_interval(interval: float) -> None:
    assert interval / 8 <= settled(interval) <= interval


def test_one_early_change_does_not_forget_a_long_time() -> None:
    """Two writes in a row by hand say little about a key that has lived for a day."""
    taught = learner()
    for now in range(0, 86400, 3600):
        taught.observe("a", "1", float(now))
    taught.observe("a", "2", 86400.0)
    assert taught.observe("a", "3", 86401.0) > 300.0


def test_fetching_again_and_again_at_once_teaches_nothing() -> None:
    """A time grows with what is known of a version, not with how often somebody asks."""
    taught = learner()
    assert {taught.observe("a", "1", 1000.0 + number / 100) for number in range(100)} == {300.0}


def test_names_are_learned_apart() -> None:
    taught = learner()
    for turn in range(20):
        taught.observe("a", "1", 100.0 * turn)
        taught.observe("b", str(turn), 100.0 * turn)
    assert taught.ttl("a") > 300.0 > taught.ttl("b")


def test_the_name_that_was_longest_not_fetched_is_forgotten_first() -> None:
    taught = learner(names=2)
    for now, name in enumerate("abac"):
        taught.observe(name, "1", 1000.0 * now)
    assert len(taught) == 2
    # Known since the beginning, and now for 4,000 seconds unchanged.
    assert taught.observe("a", "1", 4000.0) > 300.0
    # Forgotten: as if seen for the first time.
    assert taught.observe("b", "1", 8000.0) == 300.0


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("123"), st.floats(0, 1e5, allow_nan=False)), max_size=60)
)
def test_what_is_learned_stays_within_its_bounds(fetches: list[tuple[str, str, float]]) -> None:
    taught, now = learner(), 0.0
    for name, version, passed in fetches:
        now += passed
        assert 30.0 <= taught.observe(name, version, now) <= 3600.0


def test_threads_do_not_upset_it() -> None:
    taught = learner(names=5)

    def teach(number: int) -> bool:
        return all(
            30.0 <= taught.observe(f"{number}-{turn % 9}", str(turn // 50), float(turn)) <= 3600.0
            for turn in range(2000)
        )

    assert in_threads(8, teach) == [True] * 8
    assert len(taught) <= 5 + 8
