"""Saying which versions are current.

ListSecrets would say it of a hundred secrets in one request and without values, but may not know changes of the last
five minutes, as the service's own documentation says. DescribeSecret knows better, and takes a request for each secret.
So twenty at a time are asked for with BatchGetSecretValue, a twentieth of the requests and of what they cost, and the
values in its answer are thrown away as it comes. A secret that cannot be asked for in this way is described.
"""

from __future__ import annotations

from typing import Final

from strongroom.contracts import CurrentVersionsRequest, CurrentVersionsResult
from strongroom.errors import AuthenticationError, BackendUnavailableError, StrongroomError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.batches import Asked
from strongroom_aws.names import Names
from strongroom_aws.outcomes import Outcome, outcome_of, refused
from strongroom_aws.paging import pages
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.seen import CURRENT, look
from strongroom_aws.settings import BATCH_SIZE

ONE_BY_ONE: Final = 300.0
"""For how many seconds secrets are described one by one after a batch was denied."""


class Polling:
    """Asks which versions are current, in the usual region only: a replica may lag behind.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names
        self._denied_until: float | None = None

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return current versions, with a request for each twenty; see ``VersionPolling.current_versions``.

        While there is an outage, and reads go to replicas, nobody can say which they are, and that is no failure.
        """
        asked = Asked(self._names, request.names)
        poll = _Poll(self._asker, self._names, asked)
        try:
            for ids in asked.chunks(BATCH_SIZE):
                if len(ids) > 1 and not self._is_denied() and not poll.ask_together(ids):
                    self._denied_until = self._asker.clock() + ONE_BY_ONE
                poll.ask_singly(ids)
        except (AuthenticationError, BackendUnavailableError) as error:
            if not isinstance(error, BackendUnavailableError) or not self._asker.place.replicas:
                raise
        return poll.result()

    def _is_denied(self) -> bool:
        return self._denied_until is not None and self._asker.clock() < self._denied_until


class _Poll:
    """What has come so far of asking for some names."""

    def __init__(self, asker: Asker, names: Names, asked: Asked) -> None:
        self._asker = asker
        self._names = names
        self._asked = asked
        self._versions: dict[SecretName, str | None] = {}
        self._errors: dict[SecretName, StrongroomError] = asked.unspeakable
        self._values_fetched = False
        self._request_id: str | None = None

    def result(self) -> CurrentVersionsResult:
        return CurrentVersionsResult(
            versions=self._versions,
            errors=self._errors,
            values_fetched=self._values_fetched,
            request_id=self._request_id,
        )

    def ask_together(self, ids: list[str]) -> bool:
        """Ask for what these stand for in one request; tell whether the service allows that.

        What is not told so is left without an answer.

        Raises:
            AuthenticationError: Our credentials are not accepted.
        """
        parameters, what = {"SecretIdList": ids}, f"looking for the versions of {len(ids)} secrets"
        for answer in pages(self._asker, "BatchGetSecretValue", parameters, what=what):
            if isinstance(answer, Refusal):
                error = refused(answer, what)
                if isinstance(error, AuthenticationError):
                    raise error
                return outcome_of(answer) is not Outcome.DENIED
            self._take(answer)
        return True

    def _take(self, answer: Reply) -> None:
        self._request_id = answer.request_id or self._request_id
        for entry in answer.data.get("SecretValues", ()):
            self._values_fetched = True
            # First of all: nothing here has a use for it.
            for value in ("SecretString", "SecretBinary"):
                entry.pop(value, None)
            # The service gives the current version; an emulator was seen to give the one before.
            if CURRENT in entry.get("VersionStages", (CURRENT,)) and "VersionId" in entry:
                for name in self._asked.answered(entry.get("ARN", ""), entry.get("Name", "")):
                    self._versions[name] = str(entry["VersionId"])
        for entry in answer.data.get("Errors", ()):
            refusal = Refusal(code=str(entry.get("ErrorCode")), status=400, request_id=answer.request_id)
            for name in self._asked.answered(entry.get("SecretId", "")):
                self._refused(refusal, name)

    def _refused(self, refusal: Refusal, name: SecretName) -> None:
        outcome = outcome_of(refusal)
        if outcome is Outcome.NOT_FOUND:
            self._versions[name] = None
        elif outcome is not Outcome.STATE:  # most probably it is scheduled for deletion: its description tells
            self._errors[name] = refused(refusal, f"looking for the version of {name}", name=name)

    def ask_singly(self, ids: list[str]) -> None:
        """Describe those of these that have no answer yet, in a request for each."""
        for name in self._asked.names_of(ids):
            if name not in self._versions and name not in self._errors:
                self._describe(name)

    def _describe(self, name: SecretName) -> None:
        what = f"looking for the version of {name}"
        try:
            seen = look(self._asker, self._names, name, what=what)
        except (AuthenticationError, BackendUnavailableError):
            raise  # it would be the same for every further name
        except StrongroomError as error:
            self._errors[name] = error.with_traceback(None)
            return
        self._request_id = seen.request_id or self._request_id
        if not isinstance(seen, Refusal):
            self._versions[name] = seen.current if seen.deleted is None else None
        elif outcome_of(seen) is Outcome.NOT_FOUND:
            self._versions[name] = None
        else:
            self._errors[name] = refused(seen, what, name=name)
