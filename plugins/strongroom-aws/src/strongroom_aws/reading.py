"""Reading values, one or several at once."""

from __future__ import annotations

import itertools
import logging

from typing import Any, Final

from strongroom.contracts import ReadManyRequest, ReadManyResult, ReadRequest, ReadResult
from strongroom.errors import AuthenticationError, BackendUnavailableError, StrongroomError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.batches import Asked, Batch, Way
from strongroom_aws.names import Names, is_version, name_within
from strongroom_aws.outcomes import Outcome, missing, outcome_of, refused, scheduled
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.seen import CURRENT, look
from strongroom_aws.settings import BATCH_SIZE
from strongroom_aws.values import received

ONE_BY_ONE: Final = 300.0
"""For how many seconds names are read one by one after a batch was denied."""
_LOGGER: Final = logging.getLogger("strongroom.aws")


class Reading:
    """Reads values.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names
        self._denied_until: dict[str | None, float] = {}
        self._denials = itertools.count()

    def read(self, request: ReadRequest) -> ReadResult:
        """Return one value; see ``Backend.read``."""
        return self.read_in(None, request)

    def read_in(self, region: str | None, request: ReadRequest, *, end: float | None = None) -> ReadResult:
        """Return one value from a region.

        Args:
            region: A region with a replica, which the answer then names as its place; ``None`` for the usual place.
            request: What to read.
            end: When it is too late, on the asker's clock; the time limit of the settings unless given.

        Raises:
            StrongroomError: As ``Backend.read``; a replica that is not there is 'not found', too.
        """
        name, version = request.name, request.version
        if version is not None and not is_version(version):
            raise missing(name, version)
        which: dict[str, Any] = {"VersionStage": CURRENT} if version is None else {"VersionId": version}
        sent_as, what = self._names.id_of(name, region), f"reading {name}"

        def ask() -> Reply | Refusal:
            parameters = {"SecretId": sent_as, **which}
            return self._asker.ask("GetSecretValue", parameters, what=what, expects="VersionId", region=region, end=end)

        answer = ask()
        if isinstance(answer, Refusal):
            error = self._refused(answer, name, version, region, end)
            if error is not None:
                raise error
            answer = ask()
        if isinstance(answer, Refusal):
            raise refused(answer, what, name=name)
        if not _is_of(answer.data, sent_as, version):
            del answer  # it holds a value, and another secret's
            raise BackendUnavailableError(
                f"AWS Secrets Manager gave an answer that is not the one for {what}", code="unavailable", name=name
            )
        return received(answer.data, name, answer.request_id, place=region)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several values; see ``Backend.read_many``."""
        return self.read_many_in(None, request)

    def read_many_in(self, region: str | None, request: ReadManyRequest, *, end: float | None = None) -> ReadManyResult:
        """Return several values from a region, with an answer for each name.

        Twenty take one request. If that is denied, which the service does apart from reading, they are read one
        by one, and so are all that are read within the next five minutes.

        Args:
            region: As for :meth:`read_in`.
            request: What to read.
            end: As for :meth:`read_in`.

        Raises:
            StrongroomError: No name has an answer of its own: an outage, or credentials that are not accepted.
        """
        asked = Asked(self._names, request.names, region)
        batch = Batch(asked, self._way(region, end))
        for ids in asked.chunks(BATCH_SIZE):
            if len(ids) > 1 and batch.outage is None and not self._is_denied(region):
                refusal = batch.read_together(ids)
                if refusal is not None:
                    batch.outage = self._without_batch(refusal, len(ids), region)
            batch.read_singly(ids)
        return batch.result(request.names)

    def _way(self, region: str | None, end: float | None) -> Way:
        return Way(
            region=region,
            end=end,
            asker=self._asker,
            read=lambda request: self.read_in(region, request, end=end),
            refused=lambda refusal, name: self._understood(refusal, name, region, end),
        )

    def _is_denied(self, region: str | None) -> bool:
        until = self._denied_until.get(region)
        return until is not None and self._asker.clock() < until

    def _without_batch(self, refusal: Refusal, size: int, region: str | None) -> StrongroomError | None:
        """Return why names cannot be read one by one either, after they could not be read at once.

        That request is about no single name: whatever is wrong with one is told when it is read.
        """
        error = refused(refusal, f"reading {size} secrets")
        if isinstance(error, AuthenticationError):
            return error
        if outcome_of(refusal) is Outcome.DENIED:
            self._denied_until[region] = self._asker.clock() + ONE_BY_ONE
            if next(self._denials) == 0:
                _LOGGER.warning(
                    "AWS does not allow secretsmanager:BatchGetSecretValue, so secrets are read one by one;"
                    " `strongroom policy render --for aws` writes the IAM policy that allows it"
                )
        return None

    def _understood(self, refusal: Refusal, name: SecretName, region: str | None, end: float | None) -> StrongroomError:
        try:
            error = self._refused(refusal, name, None, region, end)
            return error or refused(refusal, f"reading {name}", name=name)
        except StrongroomError as error:
            # Why it was refused has to be asked for, and that was not answered.
            return error

    def _refused(
        self, refusal: Refusal, name: SecretName, version: str | None, region: str | None, end: float | None
    ) -> StrongroomError | None:
        """Return what a refusal means; ``None`` if what was in the way of a read is over, and so it may be repeated."""
        what = f"reading {name}"
        outcome = outcome_of(refusal)
        if outcome is Outcome.NOT_FOUND:
            return missing(name, version)
        if outcome is Outcome.STATE:
            seen = look(self._asker, self._names, name, what=what, region=region, end=end)
            if isinstance(seen, Refusal):
                return (
                    missing(name, version)
                    if outcome_of(seen) is Outcome.NOT_FOUND
                    else refused(refusal, what, name=name)
                )
            return scheduled(name, seen.deleted.isoformat()) if seen.deleted is not None else None
        return refused(refusal, what, name=name)


def _is_of(data: dict[str, Any], id: str, version: str | None) -> bool:
    """Tell whether an answer is for what was asked, as far as it says: whatever stands between may mix them up."""
    right = data.get("Name", id) in (id, name_within(id)) or data.get("ARN") == id
    return right and version in (None, data["VersionId"])
