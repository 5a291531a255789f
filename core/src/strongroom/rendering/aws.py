"""Rules as a policy of AWS Identity and Access Management for Secrets Manager."""

from __future__ import annotations

import json
import re

from typing import Any, Final

from strongroom.policy import Action, Policy
from strongroom.rendering.aws_rules import RuleWriter, when
from strongroom.rendering.aws_target import AwsTarget
from strongroom.rendering.result import Rendered, rules_of

SIZE_LIMIT: Final = 6144
"""How many characters AWS takes in a managed policy, white space not counted."""

_KEY: Final = re.compile(r"arn:[a-z0-9-]+:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+")
_OWN_KEY: Final = re.compile(r"((arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:)?alias/aws/secretsmanager)?")
"""The key that Secrets Manager takes unless told otherwise, to which whoever may use the secret has the rights."""


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
        The policy as JSON. Where there are losses, it allows less than the rules. A note
        says what it lacks, or that it is larger than AWS takes.

    Raises:
        ConfigurationError: The target is not usable.
    """
    target.check()
    rules = rules_of(policy, principal, now)
    writer = RuleWriter(target, rules)
    for number, rule in enumerate(rules, start=1):
        writer.add(rule, number)
    writer.add_listing()
    statements = writer.statements + _batch(writer, target) + _key(writer, target)
    # Without a statement it would be no valid policy.
    nothing = {"Sid": "Nothing", "Effect": "Deny", "Action": ["secretsmanager:*"], "Resource": [target.arn("*")]}
    document = {"Version": "2012-10-17", "Statement": statements or [nothing]}
    return Rendered(
        principal=principal,
        text=json.dumps(document, indent=2) + "\n",
        losses=tuple(writer.losses),
        notes=(*_on_key(writer, target), *_on_size(document)),
    )


def _batch(writer: RuleWriter, target: AwsTarget) -> list[dict[str, Any]]:
    """Return the right to read several at once, which gives none of them: each has to be allowed by itself."""
    granted = writer.granted(Action.READ)
    if granted is None:
        return []
    # Like a listing it has no ARN that could name the region.
    condition = when(granted.until, writer.there(*target.regions()))
    statement = {"Sid": "Batch", "Effect": "Allow", "Action": ["secretsmanager:BatchGetSecretValue"]}
    return [statement | {"Resource": ["*"]} | condition]


def _key(writer: RuleWriter, target: AwsTarget) -> list[dict[str, Any]]:
    """Return the right to have Secrets Manager use the customer's key, and to use it for nothing else."""
    found = _KEY.fullmatch(target.kms_key)
    granted = writer.granted(Action.READ, Action.CREATE, Action.UPDATE)
    if granted is None or found is None:
        return []
    writing = writer.granted(Action.CREATE, Action.UPDATE) is not None
    service = f"secretsmanager.{found[1]}.amazonaws.com"
    # In China some services are called one way and some the other, and this name is nobody else's either way.
    services = [service, f"{service}.cn"] if found[1].startswith("cn-") else service
    condition = {"StringEquals": {"kms:ViaService": services}}
    statement = {"Sid": "Key", "Effect": "Allow", "Action": ["kms:Decrypt", *["kms:GenerateDataKey"] * writing]}
    return [statement | {"Resource": [target.kms_key]} | when(granted.until, condition)]


def _on_key(writer: RuleWriter, target: AwsTarget) -> list[str]:
    known = _OWN_KEY.fullmatch(target.kms_key) or _KEY.fullmatch(target.kms_key)
    if known or writer.granted(Action.READ, Action.CREATE, Action.UPDATE) is None:
        return []
    writing = writer.granted(Action.CREATE, Action.UPDATE) is not None
    rights = "kms:Decrypt and kms:GenerateDataKey" if writing else "kms:Decrypt"
    return [f"kms_key_id is not the ARN of a key, so the policy lacks {rights} on it: add a statement"]


def _on_size(document: dict[str, Any]) -> list[str]:
    size = len(json.dumps(document, separators=(",", ":")))
    if size <= SIZE_LIMIT:
        return []
    told = f"the policy has {size} characters, and AWS takes {SIZE_LIMIT} in a managed one"
    return [f"{told}: use patterns instead of names, or spread its statements over several"]
