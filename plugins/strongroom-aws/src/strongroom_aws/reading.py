"""Reading values, one or several at once."""

from __future__ import annotations

from typing import Any

from strongroom.contracts import ReadManyRequest, ReadManyResult, ReadRequest, ReadResult
from strongroom.errors import StrongroomError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names
from strongroom_aws.outcomes import Outcome, missing, outcome_of, refused, scheduled
from strongroom_aws.replies import Refusal
from strongroom_aws.seen import CURRENT, look
from strongroom_aws.values import received


class Reading:
    """Reads values.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names

    def read(self, request: ReadRequest) -> ReadResult:
        """Return one value; see ``Backend.read``."""
        name, version = request.name, request.version
        which: dict[str, Any] = {"VersionStage": CURRENT} if version is None else {"VersionId": version}
        what = f"reading {name}"
        answer = self._asker.ask(
            "GetSecretValue", {"SecretId": self._names.id_of(name), **which}, what=what, expects="VersionId"
        )
        if isinstance(answer, Refusal):
            raise self._refused(answer, name, version)
        return received(answer.data, name, answer.request_id)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several values; see ``Backend.read_many``."""
        raise NotImplementedError

    def _refused(self, refusal: Refusal, name: SecretName, version: str | None) -> StrongroomError:
        what = f"reading {name}"
        outcome = outcome_of(refusal)
        if outcome is Outcome.NOT_FOUND:
            return missing(name, version)
        if outcome is Outcome.STATE:
            seen = look(self._asker, self._names, name, what=what)
            if not isinstance(seen, Refusal) and seen.deleted is not None:
                return scheduled(name, seen.deleted.isoformat())
        return refused(refusal, what, name=name)
