"""Policies for AWS allow what the rules allow, or say what they cannot."""

from __future__ import annotations

import json

from collections.abc import Callable
from typing import Any

import pytest

from awsrights import BARE, CALLS, ELSE, GIVES, NOW, REGION, TARGET, Rights, arn_of, findings
from strongroom.errors import ConfigurationError
from strongroom.policy import Action, Policy
from strongroom.rendering.aws import SIZE_LIMIT, render_aws
from strongroom.rendering.aws_target import AwsTarget, partition_of
from strongroom.rendering.result import Rendered

LATER = 2_000.0


def rendered(policy: Policy, target: AwsTarget = BARE, *, now: float = NOW) -> Rights:
    """Return what is rendered, which has to be exact."""
    done = render_aws(policy, "app", target, now=NOW)
    assert done.losses == ()
    return Rights(done.text, now=now)


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
                    "secretsmanager:GetSecretValue",
                    "secretsmanager:ListSecretVersionIds",
                    "secretsmanager:DeleteSecret",
                    "secretsmanager:DescribeSecret",
                ],
                "Resource": [f"{secrets}/*-??????"],
            },
            {
                "Sid": "Rule2",
                "Effect": "Deny",
                "Action": ["secretsmanager:DeleteSecret"],
                "Resource": [f"{secrets}/key-??????"],
            },
            {
                "Sid": "Batch",
                "Effect": "Allow",
                "Action": ["secretsmanager:BatchGetSecretValue"],
                "Resource": ["*"],
                "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}},
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
    assert rendered(policy, TARGET).may(Action.READ, name, TARGET) is expected
    assert policy.decide("app", Action.READ, name).allowed is expected


def test_an_update_may_be_denied_where_nothing_is_rotated(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "rotate update", "a"), ("allow", "update", "b/**"), ("deny", "update", "b/c"))
    rights = rendered(policy)
    assert [rights.may(Action.UPDATE, name) for name in ("a", "b/c", "b/d")] == [True, False, True]


def test_nothing_allowed_is_a_policy_that_denies(make_policy: Callable[..., Policy]) -> None:
    rights = rendered(make_policy(("allow", "read", "a"), expires=NOW))
    assert [statement["Effect"] for statement in rights.evaluator.statements] == ["Deny"]


def test_a_rule_that_expires_has_a_condition(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "read list", "**"), expires=LATER)
    text = render_aws(policy, "app", BARE, now=NOW).text
    for now, expected in ((LATER - 1, True), (LATER, False)):
        assert Rights(text, now=now).may(Action.READ, "a") is expected
        assert Rights(text, now=now).may(Action.LIST, "a") is expected


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
    rights = Rights(done.text)
    assert [rights.may(Action.READ, name) for name in refused] == [False] * len(refused)


def test_a_rotation_goes_with_the_update_that_it_takes(make_policy: Callable[..., Policy]) -> None:
    """As the losses say: neither is half of one granted, nor is half of one left where an update is denied."""
    alone = render_aws(make_policy(("allow", "rotate", "a"), ("allow", "read", "a")), "app", BARE, now=NOW)
    assert [loss.instead for loss in alone.losses] == ["rotate is not granted"]
    assert "RotateSecret" not in alone.text
    policy = make_policy(("allow", "rotate update", "a/**"), ("deny", "update", "a/b"))
    denied = render_aws(policy, "app", BARE, now=NOW)
    assert [loss.instead for loss in denied.losses] == ["rotate is denied, too"]
    denial = next(one for one in Rights(denied.text).evaluator.statements if one["Effect"] == "Deny")
    assert "secretsmanager:RotateSecret" in denial["Action"]


def test_a_statement_that_was_narrowed_says_so(make_policy: Callable[..., Policy]) -> None:
    done = render_aws(make_policy(("allow", "read", "a/*", "b")), "app", BARE, now=NOW)
    statement, _ = Rights(done.text).evaluator.statements
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
    assert Rights(done.text).may(Action.LIST, "a") is lists
    assert (done.losses == ()) is exact


def test_listing_is_for_the_region_that_was_named(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "list", "**"))
    for region, expected in (("eu-central-1", False), ("*", True)):
        text = render_aws(policy, "app", BARE.replace(region=region), now=NOW).text
        assert Rights(text, region="us-east-1").may(Action.LIST, "a") is expected
        assert Rights(text).may(Action.LIST, "a")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("region", {"region": "eu_1"}),
        ("region", {"region": "mars"}),
        ("account", {"account": "1234"}),
        ("prefix", {"prefix": "a*"}),
        ("partition", {"partition": "AWS"}),
        ("account", {"account": ""}),
        ("region", {"replicas": ("eu_1",)}),
        ("region", {"read_from": ("",)}),
        ("ARN", {"aliases": (("x", "arn:aws:secretsmanager:eu-west-1:210987654321:secret:*"),)}),
        ("account", {"account": "\N{ARABIC-INDIC DIGIT ONE}" * 12}),
    ],
)
def test_a_target_that_is_not_usable_is_refused(
    make_policy: Callable[..., Policy], what: str, change: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=f"the {what} .* is not usable"):
        render_aws(make_policy(("allow", "read", "a")), "app", TARGET.replace(**change), now=NOW)


@pytest.mark.parametrize(
    ("rules", "action", "calls"),
    [
        ("read", Action.READ, {"GetSecretValue", "ListSecretVersionIds", "DescribeSecret"}),
        ("create update", Action.CREATE, {"CreateSecret", *CALLS[Action.UPDATE]}),
        ("update", Action.UPDATE, CALLS[Action.UPDATE]),
        ("rotate update", Action.ROTATE, {"RotateSecret", *CALLS[Action.UPDATE]}),
        ("delete", Action.DELETE, CALLS[Action.DELETE]),
    ],
)
def test_an_action_gives_the_calls_that_it_takes_and_no_other(
    make_policy: Callable[..., Policy], rules: str, action: Action, calls: set[str]
) -> None:
    rights = rendered(make_policy(("allow", rules, "a")))
    assert {call for call in GIVES.keys() | ELSE if rights.may_call(call, arn_of("a"))} == calls
    assert rights.may(action, "a")
    assert rights.may_call("BatchGetSecretValue", "*") is (action is Action.READ)


@pytest.mark.parametrize(
    ("rules", "described", "exact"),
    [
        ([("allow", "read update", "**"), ("deny", "read", "a")], True, True),
        ([("allow", "read update", "**"), ("deny", "read update", "a")], False, True),
        ([("allow", "read update", "**"), ("deny", "read", "a"), ("deny", "update", "a", "b")], False, True),
        ([("allow", "read", "**"), ("allow", "update", "**"), ("deny", "read", "a", "c")], True, True),
        ([("allow", "read", "**"), ("allow", "update", "a"), ("deny", "read", "**")], False, False),
        ([("allow", "read", "a", "b"), ("allow", "update", "b"), ("deny", "read", "a", "b")], False, True),
        (
            [("allow", "read update", "**"), ("deny", "read", "a/**", "a"), ("deny", "update", "**/b", "a")],
            False,
            False,
        ),
    ],
)
def test_the_look_at_what_is_known_of_a_secret_is_for_whoever_may_do_something_that_takes_it(
    make_policy: Callable[..., Policy], rules: list[tuple[str, ...]], described: bool, exact: bool
) -> None:
    done = render_aws(make_policy(*rules), "app", BARE, now=NOW)
    assert Rights(done.text).may_call("DescribeSecret", arn_of("a")) is described
    assert (done.losses == ()) is exact
    assert exact or "takes a look" in done.losses[0].reason


def test_it_ends_with_the_rule_that_gave_it(make_policy: Callable[..., Policy]) -> None:
    lasting = make_policy(("allow", "read", "**"), ("deny", "read", "a")).rules
    policy = Policy((*lasting, *make_policy(("allow", "update", "a"), expires=LATER).rules))
    text = render_aws(policy, "app", BARE, now=NOW).text
    assert not Rights(text, now=LATER).may_call("DescribeSecret", arn_of("a"))


@pytest.mark.parametrize(
    ("rules", "created", "tagged", "exact"),
    [
        ([("allow", "create update", "**")], True, True, True),
        ([("allow", "create", "a"), ("allow", "update", "**")], True, True, True),
        ([("allow", "create", "a")], True, False, False),
        ([("allow", "create", "**"), ("allow", "update", "a")], True, True, False),
        ([("allow", "write", "**"), ("deny", "update", "a")], True, False, False),
        ([("allow", "write", "**"), ("deny", "update", "a"), ("deny", "create", "a")], False, False, True),
        ([("allow", "write", "**"), ("deny", "create", "a")], False, True, True),
    ],
)
def test_who_may_not_update_does_not_get_to_tag_by_being_allowed_to_create(
    make_policy: Callable[..., Policy], rules: list[tuple[str, ...]], created: bool, tagged: bool, exact: bool
) -> None:
    done = render_aws(make_policy(*rules), "app", BARE, now=NOW)
    rights = Rights(done.text)
    assert rights.may_call("CreateSecret", arn_of("a")) is created
    assert rights.may_call("TagResource", arn_of("a")) is tagged
    assert (done.losses == ()) is exact
    assert exact or "tag a new secret" in done.losses[0].reason


def test_who_may_create_only_loses_nothing_where_new_secrets_get_no_tags(make_policy: Callable[..., Policy]) -> None:
    plain = BARE.replace(tags=False)
    for rules in ([("allow", "create", "**")], [("allow", "write", "**"), ("deny", "update", "a")]):
        rights = rendered(make_policy(*rules), plain)
        assert rights.may_call("CreateSecret", arn_of("a"))
        assert not rights.may_call("TagResource", arn_of("a"))


def test_several_are_read_at_once_in_the_region_that_was_named_and_as_long_as_something_is_read(
    make_policy: Callable[..., Policy],
) -> None:
    policy = make_policy(("allow", "read", "a"), ("allow", "read", "b"), expires=LATER)
    text = render_aws(policy, "app", TARGET, now=NOW).text
    assert Rights(text, now=LATER - 1).may_call("BatchGetSecretValue", "*")
    assert not Rights(text, now=LATER).may_call("BatchGetSecretValue", "*")
    assert not Rights(text, region="us-east-1").may_call("BatchGetSecretValue", "*")
    assert rendered(make_policy(("allow", "read", "a")), BARE.replace(region="*")).may(Action.READ, "a")


class TestCopies:
    """Regions to which secrets are copied."""

    COPIED = BARE.replace(replicas=("eu-west-1",), read_from=("eu-west-1", "us-east-1"))

    def test_a_new_secret_is_copied_to_the_regions_named_and_to_no_other(
        self, make_policy: Callable[..., Policy]
    ) -> None:
        rights = rendered(
            make_policy(("allow", "write", "**"), ("deny", "write", "b"), ("deny", "create", "c")), self.COPIED
        )
        for name, regions, expected in (
            ("a", ["eu-west-1"], True),
            ("a", ["eu-west-1", "us-east-1"], False),
            ("a", [], False),
            ("b", ["eu-west-1"], False),
            # What is updated may have been deleted, and come back with its copies.
            ("c", ["eu-west-1"], True),
        ):
            keys = {"AddReplicaRegions": regions} if regions else {}
            assert rights.may_call("ReplicateSecretToRegions", arn_of(name), **keys) is expected
        for force, expected in (("true", False), ("false", True)):
            keys = {"AddReplicaRegions": ["eu-west-1"], "ForceOverwriteReplicaSecret": force}
            assert rights.may_call("ReplicateSecretToRegions", arn_of("a"), **keys) is expected
        plain = rendered(make_policy(("allow", "write", "**")))
        assert not plain.may_call("ReplicateSecretToRegions", arn_of("a"), AddReplicaRegions=["eu-west-1"])

    @pytest.mark.parametrize("action", ["create", "update"])
    def test_the_right_to_copy_comes_with_each_action_that_copies_and_goes_with_the_last(
        self, make_policy: Callable[..., Policy], action: str
    ) -> None:
        other = {"create": "update", "update": "create"}[action]
        keys = {"AddReplicaRegions": ["eu-west-1"]}
        rights = rendered(
            make_policy(("allow", action, "**"), ("deny", action, "b"), ("deny", other, "c")),
            self.COPIED.replace(tags=False),
        )
        found = {name: rights.may_call("ReplicateSecretToRegions", arn_of(name), **keys) for name in "abc"}
        assert found == {"a": True, "b": False, "c": True}

    def test_it_is_told_where_the_right_to_copy_is_lost(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy(("allow", "create", "a/b"), ("allow", "update", "a/**"), ("deny", "update", "a/**"))
        result = render_aws(policy, "app", self.COPIED, now=NOW)
        assert any("takes the right to copy it" in loss.reason for loss in result.losses)

    def test_copies_are_removed_by_whoever_may_delete(self, make_policy: Callable[..., Policy]) -> None:
        call = "RemoveRegionsFromReplication"
        policy = make_policy(("allow", "read write delete", "**"), ("deny", "delete", "b"))
        rights = rendered(policy, self.COPIED)
        assert rights.may_call(call, arn_of("a"))
        assert not rights.may_call(call, arn_of("b"))
        assert not rendered(policy).may_call(call, arn_of("a"))
        assert not rendered(make_policy(("allow", "read write", "**")), self.COPIED).may_call(call, arn_of("a"))

    @pytest.mark.parametrize("region", ["eu-west-1", "us-east-1", "ap-south-1"])
    def test_a_copy_is_read_and_nothing_else(self, make_policy: Callable[..., Policy], region: str) -> None:
        policy = make_policy(("allow", "read write rotate delete", "**"), ("deny", "read", "b"))
        text = render_aws(policy, "app", self.COPIED, now=NOW).text
        rights = Rights(text, region=region)
        reads = {"GetSecretValue", "ListSecretVersionIds", "DescribeSecret"}
        for name, calls in (("a", reads), ("b", set())):
            given = {call for call in GIVES if rights.may_call(call, arn_of(name, region=region))}
            assert given == (set() if region == "ap-south-1" else calls)
        assert rights.may_call("BatchGetSecretValue", "*") is (region != "ap-south-1")

    def test_a_copy_of_a_secret_that_has_a_name_for_its_arn_is_read_by_its_own_arn(
        self, make_policy: Callable[..., Policy]
    ) -> None:
        arns = {
            region: f"arn:aws:secretsmanager:{region}:210987654321:secret:theirs-Xy12Zz"
            for region in ("eu-central-1", "eu-west-1", "us-east-1", "ap-south-1")
        }
        target = self.COPIED.replace(aliases=(("shared/db", arns["eu-central-1"]),))
        for pattern in ("shared/db", "shared/**"):
            text = render_aws(make_policy(("allow", "read", pattern)), "app", target, now=NOW).text
            read = {region for region, arn in arns.items() if Rights(text).may_call("GetSecretValue", arn)}
            assert read == arns.keys() - {"ap-south-1"}
            own = arn_of("shared/db", region="eu-west-1")
            assert Rights(text).may_call("GetSecretValue", own) is (pattern != "shared/db")
        denied = rendered(make_policy(("allow", "read", "**"), ("deny", "read", "shared/db")), target)
        assert not any(denied.may_call("GetSecretValue", arn) for arn in arns.values())

    def test_a_region_that_is_named_twice_counts_once(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy(("allow", "read list", "**"))
        twice = BARE.replace(read_from=(REGION, "eu-west-1"))
        assert render_aws(policy, "app", twice, now=NOW) == render_aws(
            policy, "app", BARE.replace(read_from=("eu-west-1",)), now=NOW
        )


def test_a_name_for_a_whole_arn_is_that_secret_and_not_the_one_of_the_same_name(
    make_policy: Callable[..., Policy],
) -> None:
    foreign = "arn:aws:secretsmanager:eu-central-1:210987654321:secret:theirs-Xy12Zz"
    target = BARE.replace(aliases=(("shared/db", foreign),))
    for pattern, own in (("shared/db", False), ("shared/**", True)):
        rights = rendered(make_policy(("allow", "read", pattern)), target)
        assert rights.may_call("GetSecretValue", foreign)
        assert rights.may_call("GetSecretValue", arn_of("shared/db")) is own
    rights = rendered(make_policy(("allow", "read", "**"), ("deny", "read", "shared/db")), target)
    assert not rights.may_call("GetSecretValue", foreign)
    assert not rendered(make_policy(("allow", "read", "other")), target).may_call("GetSecretValue", foreign)


def test_a_name_for_a_whole_arn_may_have_any_character_since_it_is_not_sent(
    make_policy: Callable[..., Policy],
) -> None:
    arn = "arn:aws:secretsmanager:eu-central-1:210987654321:secret:theirs-Xy12Zz"
    target = BARE.replace(aliases=(("caf\N{LATIN SMALL LETTER E WITH ACUTE} bar", arn),))
    (name, _) = target.aliases[0]
    assert rendered(make_policy(("allow", "read", name)), target).may_call("GetSecretValue", arn)
    denied = rendered(make_policy(("allow", "read", "**"), ("deny", "read", name)), target)
    assert not denied.may_call("GetSecretValue", arn)
    assert denied.may_call("GetSecretValue", arn_of("a"))


class TestTwoNames:
    """Secrets of the account's own that also have a name for their whole ARN."""

    OWN = arn_of("team/db", TARGET)

    @pytest.mark.parametrize(
        ("rules", "aliases", "exact"),
        [
            ([("allow", "read", "**"), ("deny", "read", "alias")], {"alias": OWN}, False),
            ([("allow", "read", "**"), ("deny", "read", "team/**")], {"alias": OWN}, False),
            ([("allow", "read", "**"), ("deny", "read", "team/**", "alias")], {"alias": OWN}, True),
            ([("allow", "read", "alias"), ("deny", "read", "alias")], {"alias": OWN}, True),
            ([("allow", "read", "**"), ("deny", "read", "other")], {"alias": OWN}, True),
            ([("allow", "read", "**"), ("deny", "read", "a")], {"a": OWN, "b": OWN}, False),
            ([("allow", "read", "**"), ("deny", "read", "team/db")], {"a": OWN, "team/db": arn_of("x")}, True),
            ([("allow", "read", "**"), ("deny", "read", "alias")], {"alias": arn_of("elsewhere")}, True),
            ([("allow", "read", "**"), ("deny", "read", "alias")], {"alias": arn_of("prod//x")}, True),
            (
                [("allow", "read", "**"), ("deny", "read", "alias")],
                {"alias": arn_of("team/db", TARGET, region="eu-west-1")},
                True,
            ),
        ],
    )
    def test_are_denied_together_which_is_told(
        self, make_policy: Callable[..., Policy], rules: list[tuple[str, ...]], aliases: dict[str, str], exact: bool
    ) -> None:
        done = render_aws(make_policy(*rules), "app", TARGET.replace(aliases=tuple(aliases.items())), now=NOW)
        assert (done.losses == ()) is exact
        assert exact or "are one secret" in done.losses[0].reason

    def test_a_star_for_the_account_takes_in_any_account(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy(("allow", "read", "**"), ("deny", "read", "alias"))
        theirs = "arn:aws:secretsmanager:eu-central-1:210987654321:secret:prod/theirs-Xy12Zz"
        for account, exact in (("*", False), ("123456789012", True)):
            target = TARGET.replace(account=account, aliases=(("alias", theirs),))
            assert (render_aws(policy, "app", target, now=NOW).losses == ()) is exact


def test_the_same_is_told_once(make_policy: Callable[..., Policy]) -> None:
    done = render_aws(make_policy(("allow", "read list", "**"), expires=LATER + 0.5), "app", BARE, now=NOW)
    assert len(done.losses) == 1


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-central-1", "aws"),
        ("*", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("us-isof-south-1", "aws-iso-f"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_a_region_tells_the_partition(region: str, partition: str) -> None:
    assert partition_of(region) == partition


class TestKeys:
    """Secrets under a key of the customer's."""

    KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

    @pytest.mark.parametrize(
        ("actions", "decrypts", "encrypts"),
        [("read", True, False), ("create update", True, True), ("update", True, True), ("delete", False, False)],
    )
    def test_secrets_manager_may_use_it_for_what_is_allowed(
        self, make_policy: Callable[..., Policy], actions: str, decrypts: bool, encrypts: bool
    ) -> None:
        done = render_aws(make_policy(("allow", actions, "a")), "app", TARGET.replace(kms_key=self.KEY), now=NOW)
        assert done.notes == ()
        for region, there in (("eu-central-1", True), ("us-east-1", False)):
            rights = Rights(done.text, region=region)
            assert rights.may_use_key("Decrypt", self.KEY) is (decrypts and there)
            assert rights.may_use_key("GenerateDataKey", self.KEY) is (encrypts and there)
            assert not rights.may_use_key("Decrypt", self.KEY[:-1] + "1")

    @pytest.mark.parametrize("key", ["alias/app", KEY.replace(":key/", ":alias/"), KEY.partition("/")[2], KEY + "*"])
    def test_one_that_is_not_named_by_its_arn_is_told(self, make_policy: Callable[..., Policy], key: str) -> None:
        for actions, lacking in (("read", "kms:Decrypt on it"), ("update", "kms:Decrypt and kms:GenerateDataKey")):
            done = render_aws(make_policy(("allow", actions, "a")), "app", TARGET.replace(kms_key=key), now=NOW)
            (told,) = done.notes
            assert lacking in told
            assert "kms:" not in done.text
        assert (
            render_aws(make_policy(("allow", "delete", "a")), "app", TARGET.replace(kms_key=key), now=NOW).notes == ()
        )

    def test_the_service_s_own_takes_no_right(self, make_policy: Callable[..., Policy]) -> None:
        policy = make_policy(("allow", "read", "a"))
        for key in ("alias/aws/secretsmanager", "arn:aws:kms:eu-central-1:123456789012:alias/aws/secretsmanager"):
            target = TARGET.replace(kms_key=key)
            assert render_aws(policy, "app", target, now=NOW) == render_aws(policy, "app", TARGET, now=NOW)

    @pytest.mark.parametrize("service", ["amazonaws.com", "amazonaws.com.cn"])
    def test_in_china_the_service_may_be_called_either_way(
        self, make_policy: Callable[..., Policy], service: str
    ) -> None:
        key = "arn:aws-cn:kms:cn-north-1:123456789012:key/1a2b"
        target = AwsTarget(region="cn-north-1", account="123456789012", partition="aws-cn", kms_key=key)
        rights = Rights(render_aws(make_policy(("allow", "read", "a")), "app", target, now=NOW).text)
        rights.context["kms:ViaService"] = f"secretsmanager.cn-north-1.{service}"
        assert rights.may_use_key("Decrypt", key)
        rights.context["kms:ViaService"] = f"s3.cn-north-1.{service}"
        assert not rights.may_use_key("Decrypt", key)


def test_a_policy_larger_than_aws_takes_is_told(make_policy: Callable[..., Policy]) -> None:
    def done(count: int, length: int) -> Rendered:
        names = (*(f"n{number:03}" for number in range(count)), "x" * length)
        return render_aws(make_policy(("allow", "read", *names)), "app", TARGET, now=NOW)

    size = len("".join(done(50, 1).text.split()))
    count = 50 + (SIZE_LIMIT - size) // len('"",' + arn_of("n000", TARGET))
    left = SIZE_LIMIT - len("".join(done(count, 1).text.split()))
    assert done(count, 1 + left).notes == ()
    (told,) = done(count, 2 + left).notes
    assert f"has {SIZE_LIMIT + 1} characters, and AWS takes {SIZE_LIMIT} in a managed one" in told


def test_the_linter_finds_what_is_wrong() -> None:
    statement = {"Sid": "A", "Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": ["*"]}
    for change in ({"Action": ["secretsmanager:Get"]}, {"Resource": ["arn:aws:s3:::a"]}, {}):
        assert findings(json.dumps({"Version": "2012-10-17", "Statement": [statement | change]})) != []


def test_two_denials_that_only_meet_leave_nothing_of_a_secret(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "read update", "**"), ("deny", "read", "a/**"), ("deny", "update", "**/b"))
    rights = Rights(render_aws(policy, "app", BARE, now=NOW).text)
    assert [call for call in GIVES if rights.may_call(call, arn_of("a/b"))] == []
