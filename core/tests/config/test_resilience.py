"""The table ``[resilience]``: what is to happen in an outage, for all names and for some."""

from __future__ import annotations

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.config.load import load
from strongroom.config.resilience import NameKeys, NameRules, Resilience, ResilienceKeys
from strongroom.errors import ConfigurationError

BASE = {"audit": "none", "backend": "m", "backends": {"m": {"type": "memory"}, "n": {"type": "memory"}}}


def resilience(**table: Any) -> Resilience:
    return load(BASE | {"resilience": table}).resilience


def test_unless_they_are_given_nothing_is_copied_and_there_is_no_store() -> None:
    found = load(BASE).resilience
    assert found.fallback is None
    assert found.rules("a") == NameRules(keep_copy=False, queue_writes=True, max_stale=None)


def test_the_fallback_store_is_named_at_the_top() -> None:
    assert load(BASE | {"fallback": "n"}).resilience.fallback == "n"
    with pytest.raises(ConfigurationError, match="names the backend 'x', which has no table"):
        load(BASE | {"fallback": "x"})


@pytest.mark.parametrize("zero", [0, "0s"])
def test_the_most_specific_pattern_counts_and_leaves_the_rest_as_for_all(zero: Any) -> None:
    names = {"db/**": {"keep_copy": False}, "db/root/*": {"max_stale": zero, "queue_writes": False}}
    found = resilience(keep_copy=True, names=names)
    assert found.rules("a") == NameRules(keep_copy=True, queue_writes=True, max_stale=None)
    assert found.rules("db/a") == NameRules(keep_copy=False, queue_writes=True, max_stale=None)
    assert found.rules("db/root/a") == NameRules(keep_copy=True, queue_writes=False, max_stale=0.0)


@given(
    common=st.builds(ResilienceKeys, keep_copy=st.booleans(), queue_writes=st.booleans()),
    own=st.builds(
        NameKeys,
        keep_copy=st.none() | st.booleans(),
        queue_writes=st.none() | st.booleans(),
        max_stale=st.none() | st.floats(0, 1e6),
    ),
)
def test_what_a_pattern_says_wins_and_what_it_leaves_out_does_not(common: ResilienceKeys, own: NameKeys) -> None:
    rules = Resilience(common.replace(names={"a/*": own})).rules("a/b")
    assert rules.keep_copy is (common.keep_copy if own.keep_copy is None else own.keep_copy)
    assert rules.queue_writes is (common.queue_writes if own.queue_writes is None else own.queue_writes)
    assert rules.max_stale == own.max_stale


def test_an_operation_may_have_a_deadline_of_its_own() -> None:
    found = resilience(deadline="9s", deadlines={"read": "2s", "other": "3s"})
    assert [found.deadline(one) for one in ("read", "write", "recall")] == [2.0, 9.0, 3.0]
    assert resilience(deadline="9s").deadline("read") == 9.0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"failures": 0}, "failures is below 1"),
        ({"journal_entries": 0}, "journal_entries is below 1"),
        ({"probe_every": "0s"}, "probe_every is not above 0"),
        ({"deadline": "0s"}, "deadline is not above 0"),
        ({"deadlines": {"read": "0s"}}, "deadlines.read is not above 0"),
        ({"deadlines": {"raed": "1s"}}, "deadlines.raed is no operation"),
        ({"names": {"a//b": {}}}, "a//b"),
        ({"names": {"a/**": {"max_stael": "1s"}}}, "max_stael"),
        ({"names": {"a/**": {"max_stale": "soon"}}}, "max_stale"),
        ({"keep_copies": True}, "keep_copies"),
    ],
)
def test_what_is_not_usable_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resilience(**table)
