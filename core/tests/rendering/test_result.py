"""What of the rules a rendering has to look at."""

from __future__ import annotations

import itertools

from collections.abc import Callable

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.policy import Policy, matches
from strongroom.rendering.result import covers, overlap, rules_of

NAMES = ["/".join(parts) for length in range(1, 6) for parts in itertools.product("abz", repeat=length)]
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=3).map("/".join)


@given(pattern=PATTERNS, other=PATTERNS)
def test_two_patterns_overlap_if_both_match_some_name(pattern: str, other: str) -> None:
    both = [name for name in NAMES if matches(pattern, name) and matches(other, name)]
    assert overlap(pattern, other) is bool(both)


@given(pattern=PATTERNS, other=PATTERNS)
def test_a_pattern_covers_another_if_it_matches_whatever_that_matches(pattern: str, other: str) -> None:
    # For patterns of three segments names of five are long enough to tell.
    assert covers(pattern, other) is all(matches(pattern, name) for name in NAMES if matches(other, name))


@pytest.mark.parametrize(
    ("denying", "kept"),
    [
        (("deny", "*", "b/**"), None),
        (("deny", "delete", "a/x"), None),
        (("deny", "*", "a/x", "b"), (("a/x",), {"read"})),
        (("deny", "read", "**/x"), (("**/x",), {"read"})),
    ],
)
def test_a_denial_of_what_nobody_allows_is_left_out(
    make_policy: Callable[..., Policy], denying: tuple[str, ...], kept: tuple[tuple[str, ...], set[str]] | None
) -> None:
    found = rules_of(make_policy(("allow", "read", "a/**"), denying), "app", 0.0)[1:]
    assert [(rule.names, {action.value for action in rule.actions}) for rule in found] == ([kept] if kept else [])


def test_other_principals_expired_rules_and_impersonation_are_left_out(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "read impersonate", "a"), ("allow", "impersonate", "b"))
    (rule,) = rules_of(policy, "app", 0.0)
    assert [action.value for action in rule.actions] == ["read"]
    assert rules_of(policy, "eve", 0.0) == []
    assert rules_of(make_policy(("allow", "read", "a"), expires=5.0), "app", 5.0) == []
