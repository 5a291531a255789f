"""Where in AWS the names are that a policy speaks of."""

from __future__ import annotations

import re

from typing import Final

from strongroom._record import Record
from strongroom.errors import ConfigurationError, InvalidNameError
from strongroom.model import SecretName

NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]*")
"""What a secret's name may hold in Secrets Manager."""

_SUFFIX: Final = "-??????"
"""Secrets Manager puts a hyphen and six characters behind each name. A star instead would open longer names."""
_ACCOUNT: Final = re.compile(r"[0-9]{12}|\*")
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+-[0-9]+|\*")
_WORD: Final = re.compile(r"[a-z0-9-]+|\*")
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
