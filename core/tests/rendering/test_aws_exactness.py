"""By IAM's own matching, a rendered policy never allows more than strongroom's, and the same if it reports no loss."""

from __future__ import annotations

import json
import string

from collections.abc import Callable
from typing import Any

import pytest

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from awsrights import BARE, CALLS, ELSE, GIVES, NOW, REGION, Rights, arn_of, calls_of
from iam import Evaluator
from strongroom.errors import InvalidNameError
from strongroom.model import SecretName
from strongroom.policy import Action, Policy, Rule
from strongroom.rendering.aws import render_aws
from strongroom.rendering.aws_target import AwsTarget

LATER = 2_000.0
PRINCIPALS = ["app", "apps", "ci-1"]
PARTS = ["a", "b", "ab", "a-", "a-AbCdEf", "a-AbCdEf-XyZ123"]
NAMES = [*PARTS, *(f"{one}/{other}" for one in PARTS for other in PARTS), "a/b/a", "ab/a/a-AbCdEf"]
STRANGE = ["a//b", "a/", "/a", "a/../b", "a/./b"]
"""What secrets may be called in AWS, and cannot in strongroom."""
PREFIXES = ["", "a/", "a-", "a", "prod/"]
PATTERNS = st.lists(st.sampled_from([*PARTS, "**"]), min_size=1, max_size=3).map("/".join) | st.just("**")
ANY_PATTERNS = PATTERNS | st.sampled_from(["*", "a/*", "*/b", "*/**", "a ?", "a$"])
ACTIONS = sorted(set(Action) - {Action.IMPERSONATE}, key=lambda action: action.value)
ON_SECRETS = sorted(CALLS.keys() - {Action.LIST}, key=lambda action: action.value)
GRANTS = st.frozensets(st.sampled_from(ACTIONS), min_size=1)
SUFFIXES = st.text(string.ascii_letters + string.digits, min_size=6, max_size=6)
TARGETS = st.builds(BARE.replace, prefix=st.sampled_from(PREFIXES), tags=st.booleans())
THEIRS = "arn:aws:secretsmanager:eu-central-1:210987654321:secret:"
ALIASES = st.dictionaries(
    st.sampled_from(["a", "b", "a/b", "a b", "z"]),
    st.sampled_from(
        [f"{THEIRS}x-Ab12Cd", f"{THEIRS}a/b-Ab12Cd", arn_of("a"), arn_of("a/b"), arn_of("b/a"), arn_of("a//b")]
    ),
)


def rules(patterns: st.SearchStrategy[str], grants: Any = GRANTS) -> st.SearchStrategy[tuple[Rule, ...]]:
    """Return a strategy of rules of several principals."""
    one = st.builds(
        Rule,
        id=st.uuids().map(str),
        principal=st.sampled_from(["app", "app", "*", "app*", "ci-*", "other"]),
        allow=st.booleans(),
        actions=grants,
        names=st.lists(patterns, min_size=1, max_size=2).map(tuple),
        expires=st.sampled_from([None, None, NOW, LATER]),
    )
    return st.lists(one, max_size=5).map(tuple)


TOGETHER = GRANTS.map(
    lambda actions: actions | {Action.ROTATE, Action.CREATE, Action.UPDATE} if Action.UPDATE in actions else actions
)


@settings(max_examples=300, deadline=None)
@given(
    rules=rules(PATTERNS, TOGETHER),
    principal=st.sampled_from(PRINCIPALS),
    now=st.sampled_from([NOW, LATER]),
    target=TARGETS,
    suffix=SUFFIXES,
)
def test_what_is_rendered_without_loss_says_exactly_what_the_rules_say(
    rules: tuple[Rule, ...], principal: str, now: float, target: AwsTarget, suffix: str
) -> None:
    policy = Policy(rules, enforced=True)
    done = render_aws(policy, principal, target, now=NOW)
    event(f"exact: {not done.losses}")
    if done.losses:
        return
    rights = Rights(done.text, now=now)
    for name in NAMES:
        for action in ON_SECRETS:
            allowed = policy.decide(principal, action, name, now=now).allowed
            assert rights.may(action, name, target, suffix=suffix) is allowed, (action, name)
    listed = policy.decide(principal, Action.LIST, "anything/at/all", now=now).allowed
    assert rights.may(Action.LIST, "") is (listed and not target.prefix)


@settings(max_examples=300, deadline=None)
@given(
    rules=rules(ANY_PATTERNS),
    principal=st.sampled_from(PRINCIPALS),
    now=st.sampled_from([NOW, LATER]),
    target=TARGETS,
    suffix=SUFFIXES,
)
def test_no_call_on_any_secret_is_allowed_that_no_rule_gives(
    rules: tuple[Rule, ...], principal: str, now: float, target: AwsTarget, suffix: str
) -> None:
    """Call by call, for each secret that there could be in AWS, whoever made it and whatever it is called."""
    policy = Policy(rules, enforced=True)
    done = render_aws(policy, principal, target, now=NOW)
    event(f"exact: {not done.losses}")
    rights = Rights(done.text, now=now)
    for name in [*NAMES, *(f"{target.prefix}{name}" for name in NAMES)]:
        given = {call for call in GIVES.keys() | ELSE if rights.may_call(call, arn_of(name, suffix=suffix))}
        assert given <= permitted(policy, principal, name, target, now), name


def permitted(policy: Policy, principal: str, name: str, target: AwsTarget, now: float) -> set[str]:
    """Return the calls that strongroom's policy has somebody make on the secret of that name in AWS."""
    here = name.removeprefix(target.prefix)
    if not name.startswith(target.prefix) or not named(here):
        # What strongroom cannot name is spoken of below.
        return set() if not name.startswith(target.prefix) else set(GIVES)
    allowed = {action for action in ON_SECRETS if policy.decide(principal, action, here, now=now).allowed}
    return {call for call, actions in GIVES.items() if actions & allowed}


@settings(max_examples=300, deadline=None)
@given(
    rules=rules(PATTERNS | st.just("a b"), TOGETHER),
    aliases=ALIASES,
    now=st.sampled_from([NOW, LATER]),
    tags=st.booleans(),
)
def test_a_secret_of_several_names_is_given_for_what_any_of_them_gives(
    rules: tuple[Rule, ...], aliases: dict[str, str], now: float, tags: bool
) -> None:
    policy, target = Policy(rules, enforced=True), BARE.replace(aliases=tuple(aliases.items()), tags=tags)
    done = render_aws(policy, "app", target, now=NOW)
    event(f"exact: {not done.losses}")
    rights = Rights(done.text, now=now)
    called = {arn_of(name): [name] for name in NAMES if name not in aliases}
    for name, arn in aliases.items():
        called.setdefault(arn, []).append(name)
    for arn, names in called.items():
        allowed = {
            action for action in ON_SECRETS for name in names if policy.decide("app", action, name, now=now).allowed
        }
        given = {call for call in GIVES.keys() | ELSE if rights.may_call(call, arn)}
        if arn not in (arn_of("a//b"), *(arn_of(name) for name in aliases)):
            assert given <= {call for call, actions in GIVES.items() if actions & allowed}, names
        if not done.losses:
            for action in allowed:
                assert all(rights.may_call(call, arn) for call in calls_of(action, target)), (action, names)


def named(text: str) -> bool:
    """Tell whether strongroom can have such a name."""
    try:
        return SecretName(text) == text
    except InvalidNameError:
        return False


@settings(max_examples=300, deadline=None)
@given(pattern=PATTERNS, name=st.sampled_from(NAMES), prefix=st.sampled_from(PREFIXES), suffix=SUFFIXES)
@example(pattern="db", name="db-AbCdEf", prefix="", suffix="XyZ123")
@example(pattern="db-AbCdEf", name="db", prefix="", suffix="AbCdEf")
@example(pattern="**", name="a", prefix="a-AbCdEf", suffix="AbCdEf")
def test_what_stands_behind_a_name_makes_it_no_other(pattern: str, name: str, prefix: str, suffix: str) -> None:
    """The suffix always has seven characters, so that what is before it is the name, whatever the suffix is."""
    rule = Rule(id="1", principal="app", allow=True, actions=frozenset({Action.READ}), names=(pattern,))
    policy, target = Policy((rule,)), BARE.replace(prefix=prefix)
    rights = Rights(render_aws(policy, "app", target, now=NOW).text)
    expected = policy.decide("app", Action.READ, name).allowed
    assert rights.may_call("GetSecretValue", arn_of(name, target, suffix=suffix)) is expected


@pytest.mark.parametrize(
    ("pattern", "name", "suffix", "expected"),
    [
        ("db", "db", "AbCdEf", True),
        ("db", "db-AbCdEf", "XyZ123", False),
        ("db", "db", "AbCd", False),
        ("db-AbCdEf", "db", "AbCdEf", False),
        ("db-AbCdEf", "db-AbCdEf", "XyZ123", True),
        ("db/**", "db", "AbCdEf", False),
        ("db/**", "db-AbCdEf", "XyZ123", False),
        ("db/**", "db/x-AbCdEf", "XyZ123", True),
    ],
)
def test_a_name_that_looks_like_another_s_arn(
    make_policy: Callable[..., Policy], pattern: str, name: str, suffix: str, expected: bool
) -> None:
    rights = Rights(render_aws(make_policy(("allow", "read", pattern)), "app", BARE, now=NOW).text)
    assert rights.may_call("GetSecretValue", arn_of(name, suffix=suffix)) is expected


@pytest.mark.parametrize(
    ("pattern", "opened"), [("a/**", ["a//b", "a/", "a/../b", "a/./b"]), ("**", STRANGE), ("a/b", []), ("a", [])]
)
def test_only_a_pattern_takes_in_secrets_that_strongroom_cannot_name(
    make_policy: Callable[..., Policy], pattern: str, opened: list[str]
) -> None:
    """IAM's `*` is also nothing and a slash; nobody gets at such a secret through strongroom."""
    rights = Rights(render_aws(make_policy(("allow", "read", pattern)), "app", BARE, now=NOW).text)
    assert not any(named(name) for name in STRANGE)
    assert [name for name in STRANGE if rights.may_call("GetSecretValue", arn_of(name))] == opened


@pytest.mark.parametrize(("region", "account"), [("*", "123456789012"), (REGION, "*"), ("*", "*")])
def test_a_star_for_a_region_or_account_opens_no_other_name(
    make_policy: Callable[..., Policy], region: str, account: str
) -> None:
    """It may run over colons, and there are none in names."""
    target = BARE.replace(region=region, account=account)
    evaluator = Evaluator(render_aws(make_policy(("allow", "read", "db")), "app", target, now=NOW).text)
    for name in NAMES:
        assert not evaluator.allows("secretsmanager:GetSecretValue", arn_of(name))
    assert evaluator.allows("secretsmanager:GetSecretValue", arn_of("db"))
    other = "arn:aws:secretsmanager:us-east-1:210987654321:secret:db-AbCdEf"
    assert evaluator.allows("secretsmanager:GetSecretValue", other) is (region == account)


class TestEvaluator:
    """The judge, by the examples of IAM's documentation, and by what it does not know."""

    def policy(self, *statements: dict[str, Any]) -> Evaluator:
        plain = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/*"]}
        whole = [{"Sid": f"S{number}"} | plain | one for number, one in enumerate(statements)]
        return Evaluator(json.dumps({"Version": "2012-10-17", "Statement": whole}))

    @pytest.mark.parametrize(
        ("pattern", "resource", "expected"),
        [
            ("arn:aws:s3:::b/*/test/*", "arn:aws:s3:::b/1/test/object.jpg", True),
            ("arn:aws:s3:::b/*/test/*", "arn:aws:s3:::b/1/2/test/3/object.jpg", True),
            ("arn:aws:s3:::b/*/test/*", "arn:aws:s3:::b/1-test/object.jpg", False),
            ("arn:aws:s3:::b/???", "arn:aws:s3:::b/abc", True),
            ("arn:aws:s3:::b/???", "arn:aws:s3:::b/ab", False),
            ("arn:aws:s3:::b/a", "arn:aws:s3:::b/A", False),
            ("*", "arn:aws:s3:::b", True),
            ("arn:aws:s3:::b/*", "*", False),
            ("arn:aws:s3:::b.c", "arn:aws:s3:::bxc", False),
        ],
    )
    def test_resources(self, pattern: str, resource: str, expected: bool) -> None:
        assert self.policy({"Resource": [pattern]}).allows("s3:GetObject", resource) is expected

    @pytest.mark.parametrize(
        ("pattern", "expected"), [("S3:getobject", True), ("s3:Get*", True), ("*", True), ("s3:GetObjectAcl", False)]
    )
    def test_actions(self, pattern: str, expected: bool) -> None:
        assert self.policy({"Action": [pattern]}).allows("s3:GetObject", "arn:aws:s3:::b/x") is expected

    def test_a_denial_wins(self) -> None:
        judge = self.policy({}, {"Effect": "Deny", "Resource": ["arn:aws:s3:::b/x"]}, {})
        assert [judge.allows("s3:GetObject", f"arn:aws:s3:::b/{name}") for name in "xy"] == [False, True]

    @pytest.mark.parametrize(
        ("condition", "context", "expected"),
        [
            ({"StringEquals": {"aws:K": "v"}}, {"AWS:k": "v"}, True),
            ({"StringEquals": {"aws:K": ["u", "v"]}}, {"aws:K": "v"}, True),
            ({"StringEquals": {"aws:K": "v"}}, {"aws:K": "V"}, False),
            ({"StringEquals": {"aws:K": "v"}}, {}, False),
            ({"StringEquals": {"aws:K": "v", "aws:L": "w"}}, {"aws:K": "v"}, False),
            ({"ForAllValues:StringEquals": {"aws:K": ["v", "w"]}}, {"aws:K": ["w"]}, True),
            ({"ForAllValues:StringEquals": {"aws:K": ["v", "w"]}}, {"aws:K": ["w", "x"]}, False),
            ({"ForAllValues:StringEquals": {"aws:K": ["v"]}}, {}, True),
            ({"BoolIfExists": {"aws:K": "false"}}, {}, True),
            ({"BoolIfExists": {"aws:K": "false"}}, {"aws:K": "false"}, True),
            ({"BoolIfExists": {"aws:K": "false"}}, {"aws:K": "true"}, False),
            ({"Null": {"aws:K": "false"}}, {}, False),
            ({"Null": {"aws:K": "true"}}, {}, True),
            ({"DateLessThan": {"aws:K": "2040-01-01T00:00:00Z"}}, {"aws:K": "2039-12-31T23:59:59Z"}, True),
            ({"DateLessThan": {"aws:K": "2040-01-01T00:00:00Z"}}, {"aws:K": "2040-01-01T00:00:00Z"}, False),
            ({"DateLessThan": {"aws:K": "2040-01-01T00:00:00Z"}}, {}, False),
        ],
    )
    def test_conditions(self, condition: dict[str, Any], context: dict[str, Any], expected: bool) -> None:
        judge = self.policy({"Condition": condition})
        assert judge.allows("s3:GetObject", "arn:aws:s3:::b/x", context) is expected

    @pytest.mark.parametrize(
        "change",
        [
            {"NotAction": ["s3:*"]},
            {"Effect": "allow"},
            {"Action": []},
            {"Resource": ["arn:aws:s3:::${aws:username}"]},
            {"Condition": {"StringLike": {"aws:K": "v"}}},
            {"Condition": {"StringEquals": {}}},
            {"Sid": "a b"},
        ],
    )
    def test_what_it_does_not_know_it_refuses(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"known|usable|has|says"):
            self.policy(change)
