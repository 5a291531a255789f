"""What the service says of a secret beside its value."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from strongroom.contracts import Record
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names
from strongroom_aws.outcomes import refused_at, scheduled
from strongroom_aws.replies import Refusal
from strongroom_aws.values import utc

CURRENT: Final = "AWSCURRENT"
PENDING: Final = "AWSPENDING"
PREVIOUS: Final = "AWSPREVIOUS"


class Seen(Record):
    """A secret's description, as DescribeSecret gives it."""

    data: dict[str, Any]
    """All that was said, which holds no value."""
    request_id: str | None

    @property
    def stages(self) -> dict[str, str]:
        """The version that each label is on."""
        versions: dict[str, list[str]] = self.data.get("VersionIdsToStages") or {}
        return {label: version for version, labels in versions.items() for label in labels}

    @property
    def current(self) -> str | None:
        """The current version."""
        return self.stages.get(CURRENT)

    @property
    def previous(self) -> str | None:
        """The version that was current before."""
        return self.stages.get(PREVIOUS)

    @property
    def pending(self) -> str | None:
        """The version that may become current; a label that was left on one that is or has been so says nothing."""
        version = self.stages.get(PENDING)
        return None if version in (self.current, self.previous) else version

    @property
    def unfinished(self) -> str | None:
        """The current version, if the label of a pending one is left on it: its rotation is not at its end."""
        version = self.stages.get(PENDING)
        return version if version is not None and version == self.current else None

    @property
    def deleted(self) -> datetime | None:
        """The date that the service gives for its deletion, if it is scheduled for that."""
        return utc(self.data.get("DeletedDate"))


def look(
    asker: Asker,
    names: Names,
    name: SecretName,
    *,
    what: str,
    region: str | None = None,
    end: float | None = None,
) -> Seen | Refusal:
    """Ask for a secret's description.

    Args:
        asker: Asks.
        names: Spells the name.
        name: The secret's name.
        what: What is tried, for errors.
        region: The region to ask; the usual one unless given.
        end: When it is too late, on the asker's clock.
    """
    parameters = {"SecretId": names.id_of(name, region)}
    answer = asker.ask("DescribeSecret", parameters, what=what, expects="ARN", region=region, end=end)
    return answer if isinstance(answer, Refusal) else Seen(data=answer.data, request_id=answer.request_id)


def find(asker: Asker, names: Names, name: SecretName, *, what: str) -> Seen:
    """Ask for the description of a secret that has to be there.

    Args:
        asker: Asks.
        names: Spells the name.
        name: The secret's name.
        what: What is tried, for errors.

    Raises:
        SecretNotFoundError: There is no such secret.
        SecretDeletedError: It is scheduled for deletion.
    """
    seen = look(asker, names, name, what=what)
    if isinstance(seen, Refusal):
        raise refused_at(seen, what, name)
    if seen.deleted is not None:
        raise scheduled(name, seen.deleted.isoformat())
    return seen
