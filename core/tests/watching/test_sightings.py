"""What is known of current versions, with histories that nobody would think of."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st

from hypothesis import given

from strongroom.events.updates import SecretUpdated
from strongroom.model import SecretName
from strongroom.testing import FakeClock
from strongroom.watching.sightings import LAG_SECONDS, Held, Sightings

NAME = SecretName("db/password")


def learn(sightings: Sightings, said: str | None, *held: str | None) -> tuple[str | None, bool]:
    since, [name] = sightings.begin_look([NAME])
    finding = sightings.learn(name, said, Held(version=held[0]) if held else None, since)
    assert finding is not None
    return finding.version, finding.changed


def test_what_is_seen_first_is_no_news() -> None:
    assert learn(Sightings(FakeClock()), "1") == ("1", False)


def test_another_version_than_the_cached_one_is_news_at_the_first_look() -> None:
    assert learn(Sightings(FakeClock()), "2", "1") == ("2", True)


def test_what_was_read_since_the_last_look_counts_for_more_than_a_node_that_lags_behind() -> None:
    sightings = Sightings(FakeClock())
    learn(sightings, "1")
    assert learn(sightings, "1", "2") == ("2", True)
    assert learn(sightings, "2", "2") == ("2", False)


def test_what_was_read_of_a_node_that_lags_behind_is_no_news() -> None:
    sightings = Sightings(FakeClock())
    learn(sightings, "1")
    learn(sightings, "2")
    assert learn(sightings, "2", "1") == ("2", False)


def test_what_a_child_knows_is_its_own() -> None:
    sightings = Sightings(FakeClock())
    learn(sightings, "1")
    sightings.begin(NAME)
    sightings.after_fork()
    assert learn(sightings, "2") == ("2", False)


def test_a_secret_that_is_being_changed_is_not_looked_at() -> None:
    sightings = Sightings(FakeClock())
    sightings.begin(NAME)
    sightings.begin(NAME)
    sightings.end(NAME)
    assert sightings.begin_look([NAME])[1] == []
    sightings.end(NAME)
    sightings.heard(SecretUpdated(name=NAME, change="set", version="2"))
    assert sightings.begin_look([NAME])[1] == [NAME]


def test_which_of_two_changes_beside_each_other_is_current_is_no_news() -> None:
    sightings = Sightings(clock := FakeClock())
    learn(sightings, "1")
    for step in (sightings.begin, sightings.begin, sightings.end, sightings.end):
        step(NAME)
    for version in ("3", "2"):
        sightings.heard(SecretUpdated(name=NAME, change="set", version=version))
    assert learn(sightings, "3", "3") == ("3", False)
    clock.advance(2 * LAG_SECONDS)
    assert learn(sightings, "3", "3") == ("3", False)
    assert learn(sightings, "4", "3") == ("4", True)


def test_what_others_have_changed_after_two_changes_beside_each_other_is_news() -> None:
    sightings = Sightings(FakeClock())
    for step in (sightings.begin, sightings.begin, sightings.end, sightings.end):
        step(NAME)
    for version in ("3", "2"):
        sightings.heard(SecretUpdated(name=NAME, change="set", version=version))
    assert learn(sightings, "4") == ("4", True)


def test_nothing_follows_from_a_look_that_a_change_of_our_own_has_crossed() -> None:
    sightings = Sightings(FakeClock())
    learn(sightings, "1")
    since, _ = sightings.begin_look([NAME])
    sightings.begin(NAME)
    sightings.end(NAME)
    assert sightings.learn(NAME, "2", None, since) is None


def test_after_versions_were_destroyed_nobody_knows_what_is_current() -> None:
    sightings = Sightings(FakeClock())
    learn(sightings, "3")
    sightings.heard(SecretUpdated(name=NAME, change="destroy", version=None))
    assert learn(sightings, "3") == ("3", False)


def test_a_secret_that_is_not_looked_at_any_more_is_forgotten() -> None:
    sightings = Sightings(FakeClock())
    learn(sightings, "1")
    sightings.keep_only([])
    assert sightings.is_new(NAME)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.0, 40.0), st.booleans()), max_size=40))
def test_changes_that_only_go_forward_are_each_told_once_whatever_lags(steps: list[Any]) -> None:
    """A version counts up by so much; some looks are answered with the version before it."""
    clock = FakeClock()
    sightings = Sightings(clock)
    version = before = 0
    told = [learn(sightings, "0")[0]]
    changed_at = float("-inf")
    for forward, seconds, lags in steps:
        clock.advance(seconds)
        if forward:
            before, version, changed_at = version, version + forward, clock()
            found, news = learn(sightings, str(version))
        else:
            lagging = lags and clock() < changed_at + LAG_SECONDS
            found, news = learn(sightings, str(before if lagging else version))
        assert found == str(version)
        if news:
            told.append(found)
    assert told == sorted(set(told), key=lambda text: int(text or 0))
    assert told[-1] == str(version)
