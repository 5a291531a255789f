"""Rules as a policy of AWS Identity and Access Management for Secrets Manager."""

from __future__ import annotations

import json
import re

from typing import Any, Final

from strongroom._record import Record
from strongroom.errors import ConfigurationError, InvalidNameError
from strongroom.model import SecretName
from strongroom.policy import Action, Policy
from strongroom.rendering.aws_rules import NAME, RuleWriter, when
from strongroom.rendering.result import Rendered, rules_of

SIZE_LIMIT: Final = 6144
"""How many characters AWS takes in a managed policy, white space not counted."""

_SUFFIX: Final = "-??????"
"""Secrets Manager puts a hyphen and six characters behind each name. A star instead would open longer names."""
_ACCOUNT: Final = re.compile(r"[0-9]{12}|\*")
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+-[0-9]+|\*")
_WORD: Final = re.compile(r"[a-z0-9-]+|\*")
_KEY: Final = re.compile(r"arn:[a-z0-9-]+:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+")
_SECRET: Final = re.compile(
    r"(arn:[a-z0-9-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:)([A-Za-z0-9/_+=.@-]+)-[A-Za-z0-9]{6}"
)
_PARTITIONS: Final = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "eusc-": "aws-eusc",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "eu-isoe-": "aws-iso-e",
    "us-isof-": "aws-iso-f",
}
_OWN_KEY: Final = re.compile(r"((arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:)?alias/aws/secretsmanager)?")
"""The key that Secrets Manager takes unless told otherwise, to which whoever may use the secret has the rights."""


class AwsTarget(Record):
    """Where in AWS the names are."""

    region: str
    """The region, or ``*`` for all."""
    account: str
    """The account's twelve digits, or ``*`` for all."""
    prefix: str = ""
    """What stands before each name."""
    partition: str = "aws"
    kms_key: str = ""
    """What the secrets are encrypted with, as in the backend's settings; empty for the service's own key."""
    replicas: tuple[str, ...] = ()
    """The regions to which a new secret is copied."""
    read_from: tuple[str, ...] = ()
    """The regions whose copies are read, besides ``region``."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Names that stand for a secret by its whole ARN, each with that ARN."""
    tags: bool = False
    """Whether a new secret gets tags."""

    def arn(self, name: str, region: str = "") -> str:
        """Return the pattern of a secret's ARN.

        Args:
            name: The name behind the prefix, or a pattern with ``*`` for any run of characters.
            region: The region, if not the target's.
        """
        there = f"{region or self.region}:{self.account}"
        return f"arn:{self.partition}:secretsmanager:{there}:secret:{self.prefix}{name}{_SUFFIX}"

    def regions(self) -> tuple[str, ...]:
        """Return the regions that a policy can be confined to, none if it is for all."""
        return () if self.region == "*" else tuple(dict.fromkeys((self.region, *self.read_from)))

    def synonyms(self) -> list[list[str]]:
        """Return the names of each secret that an alias stands for; most have no other one."""
        called: dict[str, list[str]] = {}
        for name, arn in self.aliases:
            called.setdefault(arn, []).append(name)
        for arn, names in called.items():
            own = self._name_of(arn)
            # An alias hides the secret of its name.
            if own is not None and own not in dict(self.aliases):
                names.append(own)
        return list(called.values())

    def _name_of(self, arn: str) -> str | None:
        """Return the name that a secret has without an alias; ``None`` if it has none."""
        found = _SECRET.fullmatch(arn)
        start = self.arn("").removesuffix(_SUFFIX).removesuffix(self.prefix)
        here = zip(start.split(":"), found[1].split(":"), strict=True) if found else ()
        if not found or any(wanted not in ("*", part) for wanted, part in here) or not found[2].startswith(self.prefix):
            return None
        name = found[2].removeprefix(self.prefix)
        try:
            return name if SecretName(name) == name else None
        except InvalidNameError:
            return None

    def check(self) -> None:
        """Check that every part means what it says.

        Raises:
            ConfigurationError: One does not.
        """
        for what, text, expected, hint in (
            ("region", self.region, _REGION, "expected a region such as eu-central-1, or * for all"),
            ("account", self.account, _ACCOUNT, "expected twelve digits, or * for all"),
            ("partition", self.partition, _WORD, "expected aws, aws-cn or aws-us-gov"),
            ("prefix", self.prefix, NAME, "expected characters that Secrets Manager has in names"),
            *(("region", one, _REGION, "expected a region") for one in (*self.replicas, *self.read_from)),
            *(("ARN", one, _SECRET, "expected a secret's whole ARN") for _, one in self.aliases),
        ):
            if not expected.fullmatch(text):
                raise ConfigurationError(f"the {what} {text!r} is not usable", hint=hint)


def partition_of(region: str) -> str:
    """Return the partition that a region is in; ``aws`` if it cannot be told, as for ``*``."""
    return next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")


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
