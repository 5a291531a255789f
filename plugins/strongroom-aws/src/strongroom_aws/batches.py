"""One request for several values, and an answer for each name of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from strongroom.contracts import ReadManyResult, ReadRequest, ReadResult, Record
from strongroom.errors import (
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    InvalidNameError,
    StrongroomError,
)
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names, name_within
from strongroom_aws.paging import pages
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.seen import CURRENT
from strongroom_aws.values import received


class Way(Record):
    """How what a batch is made of is asked for."""

    region: str | None
    """The region to ask; ``None`` for the usual one."""
    end: float | None
    """When it is too late, on the asker's clock."""
    asker: Asker
    read: Callable[[ReadRequest], ReadResult]
    """Reads one value."""
    refused: Callable[[Refusal, SecretName], StrongroomError]
    """Tells what the refusal of one name's value means."""


class Asked:
    """Names by what they are sent as, and back.

    Args:
        names: Spells them.
        wanted: The names.
        region: The region to ask; the usual one unless given.

    Attributes:
        unspeakable: Why a name cannot be sent.
    """

    def __init__(self, names: Names, wanted: Iterable[SecretName], region: str | None = None) -> None:
        self.unspeakable: dict[SecretName, StrongroomError] = {}
        self._names: dict[str, list[SecretName]] = {}
        for name in wanted:
            try:
                self._names.setdefault(names.id_of(name, region), []).append(name)
            except InvalidNameError as error:
                self.unspeakable[name] = error.with_traceback(None)

    def chunks(self, size: int) -> Iterator[list[str]]:
        """Yield what can be asked for together, so much at a time, and then what has to be alone.

        The secret of an ARN may have, in another account, a name that is asked for as well. In one answer they
        could be taken for each other.
        """
        alone = [one for one in self._names if name_within(one) in self._names]
        together = [one for one in self._names if one not in alone]
        for start in range(0, len(together), size):
            yield together[start : start + size]
        for one in alone:
            yield [one]

    def names_of(self, ids: Iterable[str]) -> list[SecretName]:
        """Return the names that are sent as these."""
        return [name for one in ids for name in self._names[one]]

    def answered(self, id: str, name: str = "") -> list[SecretName]:
        """Return the names that a part of an answer is for.

        Args:
            id: The ARN in it, or whatever it calls the secret.
            name: The secret's name in the service, if it says that.
        """
        ids = dict.fromkeys((id, name or name_within(id)))
        return [found for one in ids if one for found in self._names.get(one, ())]


class Batch:
    """The answers to a reading of several names, as far as they have come.

    Args:
        asked: What is asked for.
        way: How.

    Attributes:
        outage: What would be the same for every further name, once that has come up.
    """

    def __init__(self, asked: Asked, way: Way) -> None:
        self._asked = asked
        self._way = way
        self._found: dict[SecretName, ReadResult] = {}
        self._errors = asked.unspeakable
        self.outage: StrongroomError | None = None

    def read_together(self, ids: list[str]) -> Refusal | None:
        """Read what these stand for in one request; return why that is refused, if it is.

        Names of which the answer holds an old version are left without one.
        """
        stale: set[SecretName] = set()
        try:
            for answer in self._answers(ids):
                if isinstance(answer, Refusal):
                    return answer
                stale.update(self._take(answer))
        except StrongroomError as error:
            self.outage = error.with_traceback(None)
            return None
        for name in self._missing(ids):
            if name not in stale:
                self._fail(name, BackendError(f"AWS Secrets Manager gave no answer for {name} in a batch", name=name))
        return None

    def read_singly(self, ids: list[str]) -> None:
        """Read those of these that have no answer yet, in a request for each."""
        for name in self._missing(ids) if self.outage is None else ():
            try:
                self._found[name] = self._way.read(ReadRequest(name=name))
            except (AuthenticationError, BackendUnavailableError) as error:
                # The others are not made to wait for the same.
                self.outage = error.with_traceback(None)
                return
            except StrongroomError as error:
                self._fail(name, error)

    def result(self, wanted: Iterable[SecretName]) -> ReadManyResult:
        """Return all answers.

        Raises:
            StrongroomError: There is none, for any name.
        """
        if self.outage is not None:
            if not self._found and not self._errors:
                raise self.outage
            for name in wanted:
                if name not in self._found and name not in self._errors:
                    self._errors[name] = self.outage.again()
        return ReadManyResult(found=self._found, errors=self._errors)

    def _answers(self, ids: list[str]) -> Iterator[Reply | Refusal]:
        way, parameters = self._way, {"SecretIdList": ids}
        what = f"reading {len(ids)} secrets"
        return pages(way.asker, "BatchGetSecretValue", parameters, what=what, region=way.region, end=way.end)

    def _take(self, answer: Reply) -> list[SecretName]:
        """Take the answers of one page; return the names of which it holds an old version."""
        stale: list[SecretName] = []
        for entry in answer.data.get("SecretValues", ()):
            names = self._asked.answered(entry.get("ARN", ""), entry.get("Name", ""))
            # The service gives the current version; an emulator was seen to give the one before.
            if CURRENT not in entry.get("VersionStages", (CURRENT,)):
                stale += names
            elif "VersionId" in entry:
                for name in names:
                    self._take_value(entry, name, answer.request_id)
        for entry in answer.data.get("Errors", ()):
            refusal = Refusal(code=str(entry.get("ErrorCode")), status=400, request_id=answer.request_id)
            for name in self._asked.answered(entry.get("SecretId", "")):
                self._fail(name, self._way.refused(refusal, name))
        return stale

    def _take_value(self, entry: dict[str, Any], name: SecretName, request_id: str | None) -> None:
        try:
            self._found[name] = received(entry, name, request_id, place=self._way.region)
        except StrongroomError as error:
            self._fail(name, error)

    def _missing(self, ids: Iterable[str]) -> list[SecretName]:
        return [name for name in self._asked.names_of(ids) if name not in self._found and name not in self._errors]

    def _fail(self, name: SecretName, error: StrongroomError) -> None:
        # Kept without its traceback, whose frames may hold other names' values.
        self._errors[name] = error.with_traceback(None)
