"""Which versions of a secret are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from strongroom.contracts import VersionsRequest, VersionsResult
from strongroom.errors import AccessDeniedError
from strongroom.model import SecretVersion
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names
from strongroom_aws.outcomes import refused_at
from strongroom_aws.paging import pages
from strongroom_aws.replies import Refusal
from strongroom_aws.seen import CURRENT, PENDING, PREVIOUS, find
from strongroom_aws.settings import PAGE_SIZE
from strongroom_aws.values import utc

_OWN: Final = "STRONGROOM_"
"""What the labels begin with under which our own writes and rotations put a version that is not current yet."""
_AGES: Final = (PREVIOUS, CURRENT)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class History:
    """Lists versions.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions of a secret; see ``Backend.versions``. A request for each hundred, and one before.

        What only waits to become current is left out: it has never been the secret's value and may never be.
        The one before tells whether the secret is scheduled for deletion, which a list of versions does not.
        """
        name = request.name
        what = f"listing the versions of {name}"
        try:
            find(self._asker, self._names, name, what=what)
        except AccessDeniedError:
            pass  # who may list versions need not have the right to the description as well
        parameters = {"SecretId": self._names.id_of(name), "IncludeDeprecated": True, "MaxResults": PAGE_SIZE}
        entries: list[dict[str, Any]] = []
        request_id: str | None = None
        for answer in pages(self._asker, "ListSecretVersionIds", parameters, what=what, expects="Versions"):
            if isinstance(answer, Refusal):
                raise refused_at(answer, what, name)
            entries += answer.data["Versions"]
            request_id = answer.request_id
        kept = {entry["VersionId"]: entry for entry in entries if not _is_waiting(entry)}
        return VersionsResult(
            versions=tuple(_version(entry) for entry in sorted(kept.values(), key=_age)), request_id=request_id
        )


def _labels(entry: dict[str, Any]) -> list[str]:
    return entry.get("VersionStages") or []


def _is_waiting(entry: dict[str, Any]) -> bool:
    """Tell whether a version has labels, and only such as what is not current yet has."""
    labels = _labels(entry)
    return bool(labels) and all(label == PENDING or label.startswith(_OWN) for label in labels)


def _age(entry: dict[str, Any]) -> tuple[datetime, int]:
    """Return what puts versions in the order of the writes.

    Of those that were made in the same instant the current one is the last and the one before it the last but one;
    else they stay in the order in which the service gives them.
    """
    labels = _labels(entry)
    rank = max((_AGES.index(label) + 1 for label in labels if label in _AGES), default=0)
    return utc(entry.get("CreatedDate")) or _LONG_AGO, rank


def _version(entry: dict[str, Any]) -> SecretVersion:
    return SecretVersion(
        version=entry["VersionId"],
        created=utc(entry.get("CreatedDate")),
        state="current" if CURRENT in _labels(entry) else "superseded",
    )
