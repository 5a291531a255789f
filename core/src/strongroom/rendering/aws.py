"""Rules as a policy of AWS Identity and Access Management for Secrets Manager."""

from __future__ import annotations

import json
import math
import re

from typing import Any, Final

from strongroom._record import Record
from strongroom.errors import ConfigurationError
from strongroom.policy import Action, Policy, Rule, name_pattern
from strongroom.rendering.result import Loss, Rendered, instant, overlap, rules_of

_OPERATIONS: Final = {
    Action.READ: ("DescribeSecret", "GetSecretValue", "ListSecretVersionIds"),
    Action.CREATE: ("CreateSecret",),
    Action.UPDATE: ("PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"),
    Action.ROTATE: ("RotateSecret",),
    Action.DELETE: ("DeleteSecret",),
}
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]*")
"""What a secret's name may hold in Secrets Manager."""
_SUFFIX: Final = "-??????"
"""Secrets Manager puts a hyphen and six characters behind each name. A star instead would open longer names."""
_ACCOUNT: Final = re.compile(r"\d{12}|\*")
_WORD: Final = re.compile(r"[a-z0-9-]+|\*")


class AwsTarget(Record):
    """Where in AWS the names are."""

    region: str
    """The region, or ``*`` for all."""
    account: str
    """The account's twelve digits, or ``*`` for all."""
    prefix: str = ""
    """What stands before each name."""
    partition: str = "aws"

    def arn(self, name: str) -> str:
        """Return the pattern of a secret's ARN.

        Args:
            name: The name behind the prefix, or a pattern with ``*`` for any run of characters.
        """
        return f"arn:{self.partition}:secretsmanager:{self.region}:{self.account}:secret:{self.prefix}{name}{_SUFFIX}"

    def check(self) -> None:
        """Check that every part means what it says.

        Raises:
            ConfigurationError: One does not.
        """
        for what, text, expected, hint in (
            ("region", self.region, _WORD, "expected a region such as eu-central-1, or * for all"),
            ("account", self.account, _ACCOUNT, "expected twelve digits, or * for all"),
            ("partition", self.partition, _WORD, "expected aws, aws-cn or aws-us-gov"),
            ("prefix", self.prefix, _NAME, "expected characters that Secrets Manager has in names"),
        ):
            if not expected.fullmatch(text):
                raise ConfigurationError(f"the {what} {text!r} is not usable", hint=hint)


def render_aws(policy: Policy, principal: str, target: AwsTarget, *, now: float) -> Rendered:
    """Write what a principal may do as an IAM policy.

    Each rule becomes a statement: IAM, too, denies what none allows, and one that
    denies wins. A rule that expires gets a condition on the time. What rules say of keys
    for encrypting and signing is left out: Secrets Manager has none.

    Args:
        policy: The policy.
        principal: The principal's name.
        target: Where in AWS the names are.
        now: The time, in seconds since 1970 UTC; rules that have expired are left out.

    Returns:
        The policy as JSON. Where there are losses, it allows less than the rules.

    Raises:
        ConfigurationError: The target is not usable.
    """
    target.check()
    rules = rules_of(policy, principal, now)
    writer = _Writer(target, rotating=[rule for rule in rules if rule.allow and Action.ROTATE in rule.actions])
    for number, rule in enumerate(rules, start=1):
        writer.add(rule, number)
    writer.add_listing(rules)
    # Without a statement it would be no valid policy.
    nothing = {"Sid": "Nothing", "Effect": "Deny", "Action": ["secretsmanager:*"], "Resource": [target.arn("*")]}
    document = {"Version": "2012-10-17", "Statement": writer.statements or [nothing]}
    return Rendered(principal=principal, text=json.dumps(document, indent=2) + "\n", losses=tuple(writer.losses))


class _Writer:
    """Collects statements, and what could not be said."""

    def __init__(self, target: AwsTarget, *, rotating: list[Rule]) -> None:
        self._target = target
        self._rotating = rotating
        self.statements: list[dict[str, Any]] = []
        self.losses: list[Loss] = []

    def _lose(self, rules: list[Rule], reason: str, instead: str) -> None:
        self.losses.append(Loss(rules=tuple(rules), reason=reason, instead=instead))

    def add(self, rule: Rule, number: int) -> None:
        """Add the statement of one rule, but for listing."""
        before = len(self.losses)
        actions = self._actions(rule)
        names = [name for text in rule.names if (name := self._name(rule, text)) is not None] if actions else []
        if not actions or not names:
            return
        condition = self._condition(rule)
        mark = "Narrowed" if len(self.losses) > before else ""
        self.statements.append(
            {
                "Sid": f"{mark}Rule{number}",
                "Effect": "Allow" if rule.allow else "Deny",
                "Action": [f"secretsmanager:{name}" for action in actions for name in _OPERATIONS[action]],
                "Resource": [self._target.arn(name) for name in names],
            }
            | _when(condition)
        )

    def _actions(self, rule: Rule) -> list[Action]:
        actions = rule.actions & _OPERATIONS.keys()
        if rule.allow and Action.ROTATE in actions and Action.UPDATE not in actions:
            reason = "a rotation writes a new value, which AWS cannot tell from an update"
            self._lose([rule], reason, "rotate is not granted")
            actions -= {Action.ROTATE}
        if not rule.allow and Action.UPDATE in actions and Action.ROTATE not in actions and self._stops_rotation(rule):
            reason = "a rotation writes a new value, which AWS cannot do where an update is denied"
            self._lose([rule], reason, "rotate is denied, too")
            actions |= {Action.ROTATE}
        return [action for action in _OPERATIONS if action in actions]

    def _stops_rotation(self, rule: Rule) -> bool:
        """Tell whether some name that a rule speaks of may be rotated."""
        rotated = {name for one in self._rotating for name in one.names}
        return any(overlap(name, other) for name in rule.names for other in rotated)

    def _name(self, rule: Rule, text: str) -> str | None:
        """Return a pattern as IAM has it; ``None`` if the rule cannot afford what IAM would make of it."""
        parts = name_pattern(text)
        problem = ""
        if "*" in parts:
            problem = f"* in {text} is one segment, and in AWS it runs over slashes"
        elif any(part != "**" and not _NAME.fullmatch(part) for part in parts):
            problem = f"{text} has characters that Secrets Manager has not in names"
        said = "/".join("*" if part in ("*", "**") or not _NAME.fullmatch(part) else part for part in parts)
        if problem:
            self._lose([rule], problem, f"{text} is not granted" if rule.allow else f"{said} is denied at any depth")
        return None if problem and rule.allow else said

    def _condition(self, rule: Rule) -> dict[str, Any]:
        if rule.expires is None:
            return {}
        whole = math.floor(rule.expires) if rule.allow else math.ceil(rule.expires)
        if whole != rule.expires:
            self._lose([rule], "AWS tells the time in whole seconds", f"it expires at {instant(whole)}")
        return {"DateLessThan": {"aws:CurrentTime": instant(whole)}}

    def add_listing(self, rules: list[Rule]) -> None:
        """Add the right to list, which AWS gives for a whole account or not at all."""
        listing = [rule for rule in rules if Action.LIST in rule.actions]
        allowing = [rule for rule in listing if rule.allow]
        denying = [rule for rule in listing if not rule.allow]
        if not allowing or any("**" in rule.names and rule.expires is None for rule in denying):
            return
        whole = [rule for rule in allowing if "**" in rule.names]
        forever = any(rule.expires is None for rule in whole)
        narrow = [] if forever else [rule for rule in allowing if rule not in whole]
        if denying or self._target.prefix or not whole:
            reason = "AWS lists all secrets of an account and region or none"
            reason += ", those without the prefix, too" if self._target.prefix else ""
            self._lose(listing, reason, "list is not granted")
            return
        if narrow:
            self._lose(narrow, "AWS lists all secrets of an account and region or none", "list is not granted by it")
        # A listing has no ARN that could name the region.
        region = self._target.region
        there = {} if region == "*" else {"StringEquals": {"aws:RequestedRegion": region}}
        for number, rule in enumerate(whole, start=1):
            statement = {"Sid": f"List{number}", "Effect": "Allow", "Action": ["secretsmanager:ListSecrets"]}
            self.statements.append(statement | {"Resource": ["*"]} | _when(there | self._condition(rule)))


def _when(condition: dict[str, Any]) -> dict[str, Any]:
    return {"Condition": condition} if condition else {}
