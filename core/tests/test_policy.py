"""Who may do what to which names."""

from __future__ import annotations

import re
import time

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import ConfigurationError, InvalidNameError
from strongroom.policy import Action, Policy, Rule, denied, matches, parse_actions, principal_matches


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("foo", "foo", True),
        ("foo", "foobar", False),
        ("foo", "foo/a", False),
        ("foo", "xfoo", False),
        ("foo", "Foo", False),
        ("secret/foo", "secret/foo000/other", False),
        ("secret/foo", "secret/foo", True),
        ("foo/*", "foo/a", True),
        ("foo/*", "foo", False),
        ("foo/*", "foobar", False),
        ("foo/*", "foobar/a", False),
        ("foo/*", "foo/a/b", False),
        ("foo/*/c", "foo/b/c", True),
        ("foo/*/c", "foo/b/b/c", False),
        ("foo/**", "foo/a", True),
        ("foo/**", "foo/a/b/c", True),
        ("foo/**", "foo", False),
        ("foo/**", "foobar/a", False),
        ("foo/**/c", "foo/a/b/c", True),
        ("foo/**/c", "foo/c", False),
        ("*", "foo", True),
        ("*", "foo/a", False),
        ("**", "foo", True),
        ("**", "foo/a/b", True),
        ("*/b", "a/b", True),
        ("*/b", "a/c/b", False),
        ("a.b", "axb", False),
        ("a+", "aa", False),
        ("(a|b)", "a", False),
        ("caf\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", True),
    ],
)
def test_a_pattern_matches_exactly_the_names_it_says(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@pytest.mark.parametrize("pattern", ["", "/a", "a/", "a//b", "a/../b", "a/./*", "foo*", "a/b*", "***", "a\nb", " a"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidNameError):
        matches(pattern, "a")


SEGMENTS = st.sampled_from(["a", "b", "ab"])
NAMES = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(SEGMENTS | st.sampled_from(["*", "**"]), min_size=1, max_size=4).map("/".join)


def naive_match(pattern: list[str], name: list[str]) -> bool:
    """Match segment by segment, trying every length of ``**``."""
    if not pattern or not name:
        return not pattern and not name
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        return any(naive_match(rest, name[taken:]) for taken in range(1, len(name) + 1))
    return head in {"*", name[0]} and naive_match(rest, name[1:])


def naive_decision(rules: list[Rule], principal: str, action: Action, name: str) -> bool:
    """Decide by reading every rule: one that denies wins, one that allows is needed."""
    if not rules:
        return action is not Action.IMPERSONATE
    applying = [
        one
        for one in rules
        if one.principal in {"*", principal}
        and action in one.actions
        and any(naive_match(pattern.split("/"), name.split("/")) for pattern in one.names)
    ]
    return bool(applying) and all(one.allow for one in applying)


RULES = st.builds(
    lambda principal, allow, actions, names: Rule(
        id="r", principal=principal, allow=allow, actions=frozenset(actions), names=tuple(names)
    ),
    st.sampled_from(["*", "ann", "bob"]),
    st.booleans(),
    st.sets(st.sampled_from(Action), min_size=1),
    st.lists(PATTERNS, min_size=1, max_size=3),
)


@given(pattern=PATTERNS, name=NAMES)
def test_matching_agrees_with_a_naive_model(pattern: str, name: str) -> None:
    assert matches(pattern, name) is naive_match(pattern.split("/"), name.split("/"))


@given(
    rules=st.lists(RULES, max_size=5),
    principal=st.sampled_from(["ann", "bob", "eve"]),
    action=st.sampled_from(Action),
    name=NAMES,
    data=st.data(),
)
def test_deciding_agrees_with_a_naive_model_in_any_order_of_the_rules(
    rules: list[Rule], principal: str, action: Action, name: str, data: st.DataObject
) -> None:
    expected = naive_decision(rules, principal, action, name)
    shuffled = data.draw(st.permutations(rules))
    assert Policy(tuple(shuffled)).decide(principal, action, name).allowed is expected


def made(principal: str, *actions: str, names: str = "**", allow: bool = True, id: str = "r") -> Rule:
    granted = parse_actions(list(actions), "here", allow=allow)
    return Rule(id=id, principal=principal, allow=allow, actions=granted, names=(names,))


def test_without_a_rule_everything_but_impersonating_is_allowed() -> None:
    policy = Policy(())
    assert all(policy.decide("ann", action, "a").allowed for action in set(Action) - {Action.IMPERSONATE})
    assert not policy.decide("ann", Action.IMPERSONATE, "bob").allowed


def test_an_enforced_policy_without_rules_denies_everything() -> None:
    assert Policy((), enforced=True).decide("ann", Action.READ, "a").rule == "default deny"


def test_a_principal_is_denied_in_whatever_form_its_letters_are_written() -> None:
    policy = Policy((made("ann", "impersonate"), made("ann", "impersonate", names="cafe\u0301", allow=False)))
    for name in ("cafe\u0301", "caf\u00e9"):
        assert not policy.decide("ann", Action.IMPERSONATE, name).allowed
    assert policy.decide("ann", Action.IMPERSONATE, "cafe").allowed


def test_what_no_rule_allows_is_denied_once_there_is_one() -> None:
    policy = Policy((made("ann", "read", names="a/**"),))
    assert policy.decide("ann", Action.READ, "a/b").rule == "r"
    assert policy.decide("ann", Action.READ, "b").rule == "default deny"
    assert not policy.decide("bob", Action.READ, "a/b").allowed
    assert not policy.decide("ann", Action.DELETE, "a/b").allowed


def test_the_ruling_names_the_rule_that_denied() -> None:
    policy = Policy((made("*", "*", id="all"), made("ann", "read", names="a/b", allow=False, id="not-b")))
    assert policy.decide("ann", Action.READ, "a/b").rule == "not-b"


def test_a_rule_that_denies_everything_denies_impersonation_too() -> None:
    assert parse_actions(["*"], "here", allow=False) == frozenset(Action)
    policy = Policy((made("*", "impersonate", id="all"), made("bob", "*", names="**", allow=False, id="not-bob")))
    assert policy.decide("ann", Action.IMPERSONATE, "ops").allowed
    assert not policy.decide("bob", Action.IMPERSONATE, "ops").allowed


def test_no_pattern_takes_more_steps_than_the_product_of_the_lengths() -> None:
    """A matcher that tries every way would not end within the test's time limit."""
    assert not principal_matches("*a" * 40 + "b", "a" * 400)
    assert principal_matches("*a" * 40 + "*", "a" * 400)
    assert not matches("/".join(["**"] * 30 + ["zz"]), "/".join(["a"] * 250))


@given(
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=7).map("".join),
    st.text("abc", max_size=8),
)
def test_a_principal_pattern_means_what_the_same_regular_expression_means(pattern: str, principal: str) -> None:
    expected = re.fullmatch(pattern.replace("*", ".*"), principal) is not None
    assert principal_matches(pattern, principal) is expected


def test_write_stands_for_create_and_update_and_a_star_for_all_but_impersonate() -> None:
    assert parse_actions(["write"], "here", allow=True) == {Action.CREATE, Action.UPDATE}
    assert parse_actions(["*"], "here", allow=True) == frozenset(Action) - {Action.IMPERSONATE}
    assert parse_actions(["create", "read"], "here", allow=True) == {Action.CREATE, Action.READ}


def test_an_unknown_action_names_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"policies\[3\].*'raed'"):
        parse_actions(["raed"], "policies[3]", allow=True)


@pytest.mark.parametrize(
    ("pattern", "principal", "expected"),
    [("api-*", "api-server", True), ("api-*", "web", False), ("api", "api-server", False), ("a.i", "abi", False)],
)
def test_a_principal_pattern_matches_any_run_of_characters(pattern: str, principal: str, expected: bool) -> None:
    assert Policy((made(pattern, "read"),)).decide(principal, Action.READ, "x").allowed is expected


def test_the_error_of_a_denial_names_principal_action_name_and_rule() -> None:
    ruling = Policy((made("ann", "read", names="a"),)).decide("ann", Action.READ, "b")
    error = denied("ann", Action.READ, "b", ruling.rule)
    assert error.what == "'ann' may not read b (default deny)"
    assert (error.rule, error.name, error.exit_status) == ("default deny", "b", 4)


def test_a_policy_with_a_malformed_pattern_cannot_be_made() -> None:
    with pytest.raises(InvalidNameError):
        Policy((made("ann", "read", names="a*"),))


def test_a_rule_decides_until_it_expires_and_then_no_more() -> None:
    policy = Policy((made("ann", "read", id="for-a-while").replace(expires=100.0),))
    before = policy.decide("ann", Action.READ, "a", now=99.5)
    assert (before.allowed, before.rule, before.until) == (True, "for-a-while", 100.0)
    after = policy.decide("ann", Action.READ, "a", now=100.0)
    assert (after.allowed, after.rule, after.until) == (False, "default deny", None)


def test_a_denial_that_has_expired_denies_no_more() -> None:
    barred = made("ann", "read", allow=False, id="barred").replace(expires=100.0)
    policy = Policy((barred, made("ann", "read", id="always")))
    before, after = (policy.decide("ann", Action.READ, "a", now=now) for now in (99.0, 100.0))
    assert (before.allowed, before.rule, before.until) == (False, "barred", 100.0)
    assert (after.allowed, after.rule, after.until) == (True, "always", None)


def test_the_clock_s_time_counts_unless_another_is_given() -> None:
    now = time.time()
    past, future = (Policy((made("ann", "read").replace(expires=now + gap),)) for gap in (-1.0, 3600.0))
    assert not past.decide("ann", Action.READ, "a").allowed
    assert future.decide("ann", Action.READ, "a").allowed


def test_all_rules_that_speak_of_a_request_are_told_expired_ones_too() -> None:
    rules = (
        made("ann", "read", id="old").replace(expires=1.0),
        made("*", "*", allow=False, id="deny"),
        made("ann", "list", id="other action"),
        made("bob", "read", id="other principal"),
        made("ann", "read", names="b", id="other name"),
    )
    assert [rule.id for rule in Policy(rules).applying("ann", Action.READ, "a")] == ["old", "deny"]


@given(
    rules=st.lists(st.tuples(RULES, st.sampled_from([None, 10.0, 20.0, 30.0])), max_size=5),
    action=st.sampled_from(Action),
    name=NAMES,
)
def test_a_ruling_holds_until_the_moment_it_tells(
    rules: list[tuple[Rule, float | None]], action: Action, name: str
) -> None:
    timed = tuple(one.replace(id=f"r{at}", expires=expires) for at, (one, expires) in enumerate(rules))
    policy = Policy(timed, enforced=True)
    for now in (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0):
        ruling = policy.decide("ann", action, name, now=now)
        living = [one for one in timed if one.expires is None or one.expires > now]
        assert ruling.allowed is (bool(living) and naive_decision(living, "ann", action, name))
        assert ruling.until is None or ruling.until > now
        for later in (now + 4.9, 9.9, 19.9, 29.9, 1e9):
            if now <= later < (float("inf") if ruling.until is None else ruling.until):
                assert policy.decide("ann", action, name, now=later) == ruling


def test_a_principal_s_spelling_does_not_get_around_a_denial() -> None:
    rules = (
        Rule(id="all", principal="*", allow=True, actions=frozenset({Action.READ}), names=("**",)),
        Rule(id="not", principal="jos\u00e9", allow=False, actions=frozenset({Action.READ}), names=("**",)),
    )
    assert Policy(rules).decide("jose\u0301", Action.READ, "db/password").rule == "not"
    assert Policy(rules).decide("jos\u00e9", Action.READ, "db/password").rule == "not"
    assert Policy(rules).decide("jose", Action.READ, "db/password").rule == "all"
