"""Policies for AWS allow what the rules allow, or say what they cannot."""

from __future__ import annotations

import itertools
import json
import re

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from hypothesis import event, given, settings
from hypothesis import strategies as st

from strongroom.errors import ConfigurationError
from strongroom.policy import Action, Policy, Rule
from strongroom.rendering.aws import AwsTarget, render_aws

NOW = 1_000.0
LATER = 2_000.0
TARGET = AwsTarget(region="eu-central-1", account="123456789012", prefix="prod/")
BARE = TARGET.replace(prefix="")
OPERATIONS = {
    Action.READ: ("GetSecretValue", "DescribeSecret", "ListSecretVersionIds"),
    Action.LIST: ("ListSecrets",),
    Action.CREATE: ("CreateSecret",),
    Action.UPDATE: ("PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"),
    Action.ROTATE: ("RotateSecret", "PutSecretValue", "UpdateSecretVersionStage"),
    Action.DELETE: ("DeleteSecret",),
}


class Enforcer:
    """Decides as IAM documents it: what no statement allows is denied, and a denial wins."""

    def __init__(self, text: str, *, now: float = NOW, region: str = "eu-central-1") -> None:
        document = json.loads(text)
        assert document["Version"] == "2012-10-17"
        self.statements: list[dict[str, Any]] = document["Statement"]
        identifiers = [statement["Sid"] for statement in self.statements]
        assert len(identifiers) == len(set(identifiers))
        assert all(identifier.isalnum() and identifier.isascii() for identifier in identifiers)
        self.now = now
        self.region = region

    def allows(self, operation: str, resource: str) -> bool:
        effects = {
            statement["Effect"]
            for statement in self.statements
            if any(like(pattern, f"secretsmanager:{operation}") for pattern in statement["Action"])
            and any(like(pattern, resource) for pattern in statement["Resource"])
            and self._fulfilled(statement)
        }
        return effects == {"Allow"}

    def _fulfilled(self, statement: dict[str, Any]) -> bool:
        condition = dict(statement.get("Condition", {}))
        time = condition.pop("DateLessThan", None)
        region = condition.pop("StringEquals", {"aws:RequestedRegion": self.region})
        assert condition == {}
        in_time = time is None or self.now < datetime.fromisoformat(time["aws:CurrentTime"]).timestamp()
        return in_time and region == {"aws:RequestedRegion": self.region}


def like(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches: ``*`` is any run of characters, slashes too, and ``?`` one character."""
    return expression(pattern).fullmatch(text) is not None


@cache
def expression(pattern: str) -> re.Pattern[str]:
    special = {"*": ".*", "?": "."}
    return re.compile("".join(special.get(part, re.escape(part)) for part in pattern), re.DOTALL)


def granted(enforcer: Enforcer, action: Action, name: str, target: AwsTarget = BARE) -> bool:
    """Tell whether AWS lets the principal do what strongroom does for this action."""
    resource = f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{target.prefix}{name}-Q7xYz9"
    answers = {
        enforcer.allows(operation, "*" if action is Action.LIST else resource) for operation in OPERATIONS[action]
    }
    if action is not Action.ROTATE:
        assert len(answers) == 1
    return answers == {True}


def rendered(policy: Policy, target: AwsTarget = BARE) -> Enforcer:
    """Return what is rendered, which has to be exact."""
    done = render_aws(policy, "app", target, now=NOW)
    assert done.losses == ()
    return Enforcer(done.text)


def test_what_rules_say_of_keys_is_left_out(make_policy: Callable[..., Policy]) -> None:
    """Secrets Manager has no keys: a rule with all actions loses nothing, and one about keys only is nothing."""
    everything = render_aws(make_policy(("allow", "*", "**")), "app", BARE, now=NOW)
    secrets = "read list write rotate delete"
    assert everything == render_aws(make_policy(("allow", secrets, "**")), "app", BARE, now=NOW)
    done = render_aws(
        make_policy(("allow", "encrypt decrypt sign verify", "a/*"), expires=NOW + 0.5), "app", BARE, now=NOW
    )
    nothing = render_aws(make_policy(), "app", BARE, now=NOW)
    assert (done.text, done.losses) == (nothing.text, ())


def test_a_policy_is_written_rule_by_rule(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "read delete", "app/**"), ("deny", "delete write", "app/key"))
    done = render_aws(policy, "app", TARGET, now=NOW)
    secrets = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/app"
    assert json.loads(done.text) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Rule1",
                "Effect": "Allow",
                "Action": [
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:GetSecretValue",
                    "secretsmanager:ListSecretVersionIds",
                    "secretsmanager:DeleteSecret",
                ],
                "Resource": [f"{secrets}/*-??????"],
            },
            {
                "Sid": "Rule2",
                "Effect": "Deny",
                "Action": ["secretsmanager:DeleteSecret"],
                "Resource": [f"{secrets}/key-??????"],
            },
        ],
    }


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("a", "a", True),
        ("a", "a-abcdef", False),
        ("a-abcdef", "a", False),
        ("a", "b/a", False),
        ("a/**", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**", "ab/c", False),
        ("**/a", "b/a", True),
        ("**/a", "a", False),
        ("**/a", "b/ca", False),
        ("a/**/b", "a/c/d/b", True),
        ("a/**/b", "a/b", False),
        ("**", "a-abcdef", True),
    ],
)
def test_the_suffix_of_an_arn_opens_no_other_name(
    make_policy: Callable[..., Policy], pattern: str, name: str, expected: bool
) -> None:
    policy = make_policy(("allow", "read", pattern))
    assert granted(rendered(policy, TARGET), Action.READ, name, TARGET) is expected
    assert policy.decide("app", Action.READ, name).allowed is expected


def test_an_update_may_be_denied_where_nothing_is_rotated(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "rotate update", "a"), ("allow", "update", "b/**"), ("deny", "update", "b/c"))
    enforcer = rendered(policy)
    assert [granted(enforcer, Action.UPDATE, name) for name in ("a", "b/c", "b/d")] == [True, False, True]


def test_nothing_allowed_is_a_policy_that_denies(make_policy: Callable[..., Policy]) -> None:
    enforcer = rendered(make_policy(("allow", "read", "a"), expires=NOW))
    assert [statement["Effect"] for statement in enforcer.statements] == ["Deny"]


def test_a_rule_that_expires_has_a_condition(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "read list", "**"), expires=LATER)
    text = render_aws(policy, "app", BARE, now=NOW).text
    for now, expected in ((LATER - 1, True), (LATER, False)):
        assert granted(Enforcer(text, now=now), Action.READ, "a") is expected
        assert granted(Enforcer(text, now=now), Action.LIST, "a") is expected


@pytest.mark.parametrize(("effect", "ends"), [("allow", "00:33:20Z"), ("deny", "00:33:21Z")])
def test_a_part_of_a_second_is_rounded_to_the_strict_side(
    make_policy: Callable[..., Policy], effect: str, ends: str
) -> None:
    rules = make_policy((effect, "read", "a"), expires=LATER + 0.5).rules + make_policy(("allow", "read", "**")).rules
    done = render_aws(Policy(rules), "app", BARE, now=NOW)
    assert ends in done.text
    assert "whole seconds" in done.losses[0].reason


@pytest.mark.parametrize(
    ("rules", "reason", "refused"),
    [
        ([("allow", "read", "a/*")], "runs over slashes", ["a/x", "a/x/y"]),
        ([("allow", "read", "**"), ("deny", "read", "a/*")], "runs over slashes", ["a/x"]),
        ([("allow", "read", "a b")], "characters", ["a b"]),
        ([("allow", "read", "caf\N{LATIN SMALL LETTER E WITH ACUTE}")], "characters", []),
        ([("allow", "read", "**"), ("deny", "read", "a/x$")], "characters", ["a/x$"]),
        ([("allow", "read", "**"), ("deny", "read", "a/?")], "characters", ["a/?"]),
        ([("allow", "rotate", "a")], "cannot tell from an update", []),
        ([("allow", "rotate update", "a/**"), ("deny", "update", "a/b")], "cannot do where an update is denied", []),
    ],
)
def test_what_cannot_be_said_is_told_and_said_narrower(
    make_policy: Callable[..., Policy], rules: list[tuple[str, ...]], reason: str, refused: list[str]
) -> None:
    done = render_aws(make_policy(*rules), "app", BARE, now=NOW)
    assert any(reason in loss.reason for loss in done.losses)
    enforcer = Enforcer(done.text)
    assert [granted(enforcer, Action.READ, name) for name in refused] == [False] * len(refused)


def test_a_statement_that_was_narrowed_says_so(make_policy: Callable[..., Policy]) -> None:
    done = render_aws(make_policy(("allow", "read", "a/*", "b")), "app", BARE, now=NOW)
    (statement,) = Enforcer(done.text).statements
    assert statement["Sid"] == "NarrowedRule1"
    assert [resource.rpartition(":")[2] for resource in statement["Resource"]] == ["b-??????"]


@pytest.mark.parametrize(
    ("rules", "target", "lists", "exact"),
    [
        ([("allow", "list", "**")], BARE, True, True),
        ([("allow", "list", "**"), ("allow", "list", "a")], BARE, True, True),
        ([("allow", "list", "a/**")], BARE, False, False),
        ([("allow", "list", "**")], TARGET, False, False),
        ([("allow", "list", "**"), ("deny", "list", "a")], BARE, False, False),
        ([("allow", "list", "a"), ("deny", "*", "**")], BARE, False, True),
        ([("allow", "read", "**")], BARE, False, True),
    ],
)
def test_listing_is_for_the_whole_account_or_not_at_all(
    make_policy: Callable[..., Policy], rules: list[tuple[str, ...]], target: AwsTarget, lists: bool, exact: bool
) -> None:
    done = render_aws(make_policy(*rules), "app", target, now=NOW)
    assert granted(Enforcer(done.text), Action.LIST, "a") is lists
    assert (done.losses == ()) is exact


def test_listing_is_for_the_region_that_was_named(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "list", "**"))
    for region, expected in (("eu-central-1", False), ("*", True)):
        text = render_aws(policy, "app", BARE.replace(region=region), now=NOW).text
        assert granted(Enforcer(text, region="us-east-1"), Action.LIST, "a") is expected
        assert granted(Enforcer(text), Action.LIST, "a")


@pytest.mark.parametrize(
    "change", [{"region": "eu_1"}, {"account": "1234"}, {"prefix": "a*"}, {"partition": "AWS"}, {"account": ""}]
)
def test_a_target_that_is_not_usable_is_refused(make_policy: Callable[..., Policy], change: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=f"the {next(iter(change))} .* is not usable"):
        render_aws(make_policy(("allow", "read", "a")), "app", TARGET.replace(**change), now=NOW)


NAMES = ["/".join(parts) for length in (1, 2, 3) for parts in itertools.product(["a", "b", "a-abcdef"], repeat=length)]
SEGMENTS = st.sampled_from(["a", "b", "a-abcdef", "**"])
PATTERNS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join) | st.just("**")
ANY_PATTERNS = PATTERNS | st.sampled_from(["*", "a/*", "*/b", "*/**", "a ?", "a$"])
ACTIONS = sorted(set(Action) - {Action.IMPERSONATE}, key=lambda action: action.value)
ON_SECRETS = [action for action in ACTIONS if action in OPERATIONS]
GRANTS = st.frozensets(st.sampled_from(ACTIONS), min_size=1)


def rules(patterns: st.SearchStrategy[str], grants: Any = GRANTS) -> st.SearchStrategy[tuple[Rule, ...]]:
    """Return a strategy of rule sets of one principal."""
    one = st.builds(
        Rule,
        id=st.uuids().map(str),
        principal=st.sampled_from(["app", "*", "other"]),
        allow=st.booleans(),
        actions=grants,
        names=st.lists(patterns, min_size=1, max_size=2).map(tuple),
        expires=st.sampled_from([None, None, NOW, LATER]),
    )
    return st.lists(one, max_size=5).map(tuple)


TOGETHER = GRANTS.map(lambda actions: actions | {Action.ROTATE} if Action.UPDATE in actions else actions)


@settings(max_examples=100, deadline=None)
@given(rules=rules(PATTERNS, TOGETHER), now=st.sampled_from([NOW, LATER]))
def test_what_is_rendered_without_loss_says_exactly_what_the_rules_say(rules: tuple[Rule, ...], now: float) -> None:
    policy = Policy(rules, enforced=True)
    done = render_aws(policy, "app", BARE, now=NOW)
    event(f"exact: {not done.losses}")
    if done.losses:
        return
    enforcer = Enforcer(done.text, now=now)
    for action, name in itertools.product(ON_SECRETS, NAMES):
        assert granted(enforcer, action, name) is policy.decide("app", action, name, now=now).allowed, (action, name)


@settings(max_examples=100, deadline=None)
@given(rules=rules(ANY_PATTERNS), now=st.sampled_from([NOW, LATER]))
def test_what_is_rendered_with_losses_never_allows_more_than_the_rules(rules: tuple[Rule, ...], now: float) -> None:
    policy = Policy(rules, enforced=True)
    done = render_aws(policy, "app", BARE, now=NOW)
    event(f"exact: {not done.losses}")
    enforcer = Enforcer(done.text, now=now)
    for action, name in itertools.product(ON_SECRETS, [*NAMES, "a ?", "a$"]):
        if granted(enforcer, action, name):
            assert policy.decide("app", action, name, now=now).allowed, (action, name)
