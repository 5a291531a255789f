"""Reading from replica regions while the usual one has an outage."""

from __future__ import annotations

import logging

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from strongroom.contracts import ReadManyRequest, ReadManyResult, ReadRequest, ReadResult
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ClosedError,
    InvalidNameError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import SecretName
from strongroom_aws.asking import Asker, PacedError
from strongroom_aws.changes import OwnChanges
from strongroom_aws.outages import Outage
from strongroom_aws.reading import Reading

_LOGGER: Final = logging.getLogger("strongroom.aws")
_Result = TypeVar("_Result")


class Failover:
    """Reads from the usual region, and from the replicas in order while that has an outage.

    A replica is believed when it has the value, and then only if that is no older than what this process has written
    itself. That it has none, or does not let us, says nothing: it may lag behind, or have rights of its own. Nothing
    but reads ever goes to a replica.

    Args:
        asker: Knows the clock, the time limits and the regions.
        reading: Reads from a region.
        changes: What this process has changed.

    Attributes:
        outage: Whether the usual region has one.
    """

    def __init__(self, asker: Asker, reading: Reading, changes: OwnChanges) -> None:
        self._asker = asker
        self._reading = reading
        self._changes = changes
        self._replicas = asker.place.replicas
        self.outage = Outage(asker.clock, asker.timeout)

    def read(self, request: ReadRequest) -> ReadResult:
        """Return one value; see ``Backend.read``.

        Raises:
            BackendUnavailableError: The usual region has an outage, and no replica has an answer.
            StrongroomError: As ``Backend.read``: what the usual region answers counts.
        """
        if not self._replicas:
            return self._reading.read(request)
        end, asked_first = self._asker.limit, self.outage.enter()
        outage: BackendUnavailableError | None = None
        if asked_first:
            try:
                return self._ask_usual(lambda: self._reading.read_in(None, request, end=self._share(end)))
            except PacedError:
                raise
            except BackendUnavailableError as error:
                outage = error
        found = self._from_replicas(request, end)
        if found is not None:
            return found
        if outage is None:
            try:
                return self._ask_usual(lambda: self._reading.read_in(None, request, end=end))
            except BackendUnavailableError as error:
                outage = error
        raise self._told(outage) from outage

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several values; see ``Backend.read_many``. Only names that an outage concerns go to the replicas.

        Raises:
            BackendUnavailableError: The usual region has an outage, and no replica has an answer for any name.
            StrongroomError: As ``Backend.read_many``.
        """
        if not self._replicas:
            return self._reading.read_many(request)
        end = self._asker.limit
        found: dict[SecretName, ReadResult] = {}
        errors: dict[SecretName, StrongroomError] = {}
        if self.outage.enter():
            self._many_of_usual(request.names, self._share(end), found, errors)
            self._many_of_replicas(_outages(errors), end, found)
        else:
            self._many_of_replicas(request.names, end, found)
            self._many_of_usual([name for name in request.names if name not in found], end, found, errors)
        told = {
            name: self._told(error) if _is_outage(error) else error
            for name, error in errors.items()
            if name not in found
        }
        if not found and told and all(_is_outage(error) for error in told.values()):
            raise next(iter(told.values()))
        return ReadManyResult(found=found, errors=told)

    def after_fork(self) -> None:
        """Use locks of its own in a forked child."""
        self.outage.after_fork()
        self._changes.after_fork()

    def _ask_usual(self, ask: Callable[[], _Result], is_outage: Callable[[_Result], bool] = lambda _: False) -> _Result:
        """Ask the usual region, and note whether it has an outage, be it that an answer says so."""
        try:
            result = ask()
        except PacedError:
            self.outage.unknown()
            raise
        except BackendUnavailableError:
            self._failed()
            raise
        except (AccessDeniedError, SecretNotFoundError):
            # These are answers, too.
            self.outage.ended()
            raise
        except BaseException:
            self.outage.unknown()
            raise
        if is_outage(result):
            self._failed()
        else:
            self.outage.ended()
        return result

    def _failed(self) -> None:
        if self.outage.failed():
            _LOGGER.warning(
                "AWS Secrets Manager in %s has an outage: reads go to %s",
                self._asker.place.region,
                ", ".join(self._replicas),
            )

    def _share(self, end: float, others: int | None = None) -> float:
        """Return until when a region may be asked, so that the ones after it have their time as well.

        Args:
            end: When it is too late for all of them.
            others: How many come after it; all replicas unless given.
        """
        now = self._asker.clock()
        parties = 1 + (len(self._replicas) if others is None else others)
        return min(end, now + max((end - now) / parties, self._asker.longest))

    def _from_replicas(self, request: ReadRequest, end: float) -> ReadResult | None:
        for others, region in self._in_turn():
            try:
                found = self._reading.read_in(region, request, end=self._share(end, others))
            except (ClosedError, InvalidNameError):
                raise
            except StrongroomError:
                continue  # It is no authority on what there is, and on who may have it.
            if self._changes.allow(request, found):
                return found
        return None

    def _many_of_replicas(self, names: Iterable[SecretName], end: float, found: dict[SecretName, ReadResult]) -> None:
        left = list(names)
        for others, region in self._in_turn():
            if not left:
                return
            request = ReadManyRequest(names=tuple(left))
            try:
                result = self._reading.read_many_in(region, request, end=self._share(end, others))
            except ClosedError:
                raise
            except StrongroomError:
                continue  # as above
            found |= {
                name: one for name, one in result.found.items() if self._changes.allow(ReadRequest(name=name), one)
            }
            left = [name for name in left if name not in found]

    def _many_of_usual(
        self,
        names: Iterable[SecretName],
        end: float,
        found: dict[SecretName, ReadResult],
        errors: dict[SecretName, StrongroomError],
    ) -> None:
        request = ReadManyRequest(names=tuple(names))
        if not request.names:
            return
        try:
            result = self._ask_usual(lambda: self._reading.read_many_in(None, request, end=end), _is_without_answer)
        except StrongroomError as error:
            if not found and not _is_outage(error):
                raise
            errors |= {name: error.again() for name in request.names}
            return
        found |= result.found
        errors |= result.errors

    def _in_turn(self) -> Iterable[tuple[int, str]]:
        """Return the replicas, and how many come after each."""
        return zip(range(len(self._replicas) - 1, -1, -1), self._replicas, strict=True)

    def _told(self, outage: StrongroomError) -> StrongroomError:
        """Return an outage's error that says which replicas were asked in vain."""
        tried = ", ".join(self._replicas)
        return BackendUnavailableError(
            f"{outage.what}; replicas without a usable answer: {tried}",
            code=outage.code,
            hint=outage.hint,
            name=outage.name,
        )


def _is_outage(error: StrongroomError) -> bool:
    return isinstance(error, BackendUnavailableError) and not isinstance(error, PacedError)


def _is_without_answer(result: ReadManyResult) -> bool:
    """Tell whether an outage is all that has come of a batch, but for names that were never sent."""
    return not result.found and bool(_outages(result.errors))


def _outages(errors: dict[SecretName, StrongroomError]) -> list[SecretName]:
    """Return the names that an outage concerns."""
    return [name for name, error in errors.items() if _is_outage(error)]
