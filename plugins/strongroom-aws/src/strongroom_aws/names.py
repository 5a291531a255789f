"""How names are spelled in the service, and which they are there."""

from __future__ import annotations

import re

from typing import Final

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName
from strongroom_aws.settings import MAX_NAME_LENGTH

_SPELLED: Final = re.compile(r"[A-Za-z0-9/_+=.@-]*")
_FULL_ARN: Final = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):secretsmanager:(?P<region>[a-z0-9-]+):(?P<account>\d{12})"
    r":secret:(?P<name>[A-Za-z0-9/_+=.@-]+)-[A-Za-z0-9]{6}"
)

_VERSION: Final = re.compile(r"\S{32,64}")


def is_spelled(text: str) -> bool:
    """Tell whether the service has a name's every character."""
    return _SPELLED.fullmatch(text) is not None


def is_full_arn(text: str) -> bool:
    """Tell whether a text is a secret's whole ARN, with the six characters that the service has put at its end."""
    return _FULL_ARN.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Tell whether a text could be the id of a version; botocore does not even send what is too short for one."""
    return _VERSION.fullmatch(text) is not None


def name_within(arn: str) -> str | None:
    """Return the name in a secret's whole ARN, or ``None`` for a text that is none."""
    found = _FULL_ARN.fullmatch(arn)
    return found["name"] if found is not None else None


class Names:
    """Spells names for the service, and reads them back.

    Nothing that is sent as an id is ever a part of an ARN: a name has no colon, and so the service takes it
    for a name even if it ends in a hyphen and six characters. What is an ARN comes from the settings only.

    Args:
        prefix: What stands before each name.
        arns: By name: the full ARN of a secret that has no name here.
    """

    def __init__(self, prefix: str, arns: dict[str, str]) -> None:
        self._prefix = prefix
        self._arns = {str(SecretName(name)): arn for name, arn in arns.items()}

    @property
    def prefix(self) -> str:
        """What stands before each name."""
        return self._prefix

    def id_of(self, name: SecretName, region: str | None = None) -> str:
        """Return what the service knows a secret by: its name there, or its ARN.

        Args:
            name: The secret's name here.
            region: A region with a replica, whose ARN differs from the secret's own in the region only.

        Raises:
            InvalidNameError: The service cannot have such a name; nothing was sent.
        """
        arn = self._arns.get(name)
        if arn is None:
            return self.spell(name)
        if region is None:
            return arn
        parts = arn.split(":")
        parts[3] = region
        return ":".join(parts)

    def spell(self, name: SecretName) -> str:
        """Return a secret's name in the service, as a new one would get it.

        Raises:
            InvalidNameError: The service cannot have such a name.
        """
        text = f"{self._prefix}{name}"
        if is_spelled(name) and len(text) <= MAX_NAME_LENGTH:
            return text
        raise self._unspeakable(name, len(text))

    def is_alias(self, name: SecretName) -> bool:
        """Tell whether a name stands for an ARN of the settings."""
        return name in self._arns

    def name_of(self, text: str) -> SecretName | None:
        """Return the name that a secret has here by its name in the service; ``None`` if it can have none."""
        if not text.startswith(self._prefix):
            return None
        rest = text[len(self._prefix) :]
        try:
            name = SecretName(rest)
        except InvalidNameError:
            return None
        # An alias of the same name hides it.
        return name if name == rest and not self.is_alias(name) else None

    def _unspeakable(self, name: SecretName, length: int) -> InvalidNameError:
        if name.startswith("arn:"):
            return InvalidNameError(
                f"{name} is an ARN, and each secret has one name only",
                name=name,
                hint="use its name, without the prefix; a secret of another account gets a name under `arns`",
            )
        if not is_spelled(name):
            return InvalidNameError(
                f"AWS Secrets Manager cannot have a secret called {name}",
                name=name,
                hint="use letters, digits and /_+=.@- only",
            )
        return InvalidNameError(
            f"the name {name} has {length} characters with its prefix, and AWS Secrets Manager has at most"
            f" {MAX_NAME_LENGTH}",
            name=name,
            hint="use a shorter name",
        )
