"""One side of a move: a manager, and a place in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Final, TypeVar

from strongroom._record import Record
from strongroom.crew import run_all
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    SuspiciousActivityError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.model import ABSENT, Absent, Secret, SecretName, SecretValue, SecretVersion
from strongroom.moving.histories import READABLE, Seen
from strongroom.moving.marks import Marker
from strongroom.moving.places import Place

if TYPE_CHECKING:
    from strongroom.manager import SecretManager
    from strongroom.operations.writing import Written

Made = TypeVar("Made")

TRIES: Final = 3
"""How often a history is read at most that goes on changing below us."""
OUTAGES: Final = 10
"""How many calls in a row may meet an outage, or a detector that blocks them, until the move stops."""
ENDING: Final = (BackendUnavailableError, SuspiciousActivityError)
"""What ends a move if there is nothing else any more."""
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-.")
_PLAIN_LENGTH: Final = 128


class Look(Record):
    """What one side holds of a secret, with its values as long as they are needed."""

    seen: Seen
    values: tuple[SecretValue, ...]
    """As ``seen.marks``."""


class Leased(Record):
    """A read makes a credential for this reader. If one has been made, it is given back at the end."""


Looked = Look | Leased | StrongroomError | None
"""What is there, why that is not known, or nothing if there is no such secret."""


class Outages:
    """Counts calls in a row that met an outage, or a detector that blocked them."""

    def __init__(self) -> None:
        self._met = 0
        self._were_blocked = False

    def note(self, error: StrongroomError | None) -> None:
        """Note how a call has ended.

        Raises:
            BackendUnavailableError: Too many have met an outage, one after the other.
            SuspiciousActivityError: The same of those that were blocked.
        """
        if not isinstance(error, ENDING):
            self._met = 0
            return
        blocked = isinstance(error, SuspiciousActivityError)
        # What ends a move is told in one sentence, so each kind counts by itself.
        self._met = self._met + 1 if blocked is self._were_blocked else 1
        self._were_blocked = blocked
        if self._met < OUTAGES:
            return
        if isinstance(error, SuspiciousActivityError):
            # To go on asking would only make it worse.
            raise SuspiciousActivityError(
                f"stopped after {OUTAGES} calls in a row that were blocked, the last of which said: {error.what}",
                hint=f"{error.hint}; then run the same command again, and what has been copied is not copied again",
            ) from error
        raise BackendUnavailableError(
            f"stopped after {OUTAGES} calls in a row without an answer, the last of which said: {error.what}",
            code=error.code,
            backend=error.backend,
            hint="run the same command again when it answers; what has been copied is not copied again",
        ) from error


class Side:
    """One side of a move: a manager all of whose names are in one backend, and the folder that is concerned.

    Args:
        manager: See :func:`strongroom.moving.places.configuration_at`.
        place: The backend and the folder.
        marker: Marks values; the same one for both sides.
        makes: Tells whether a read of a whole name makes a credential.
        workers: How many calls to make at the same time.
        versions: Whether histories are concerned, and not only current versions.

    Attributes:
        outages: Counts the calls that come to nothing, one after the other.
    """

    def __init__(
        self,
        manager: SecretManager,
        place: Place,
        marker: Marker,
        makes: Callable[[str], bool],
        *,
        workers: int = 8,
        versions: bool = False,
    ) -> None:
        self.manager = manager
        self.place = place
        self.outages = Outages()
        self._marker = marker
        self._makes = makes
        self.workers = workers
        self.versions = versions
        self._compares: bool | None = None

    @property
    def is_conditional(self) -> bool:
        """Whether writes are made to depend on the version that is there; known once one has been checked."""
        return self._compares is not False

    def names(self) -> set[str]:
        """Return what is below the folder, each name without the folder.

        Raises:
            StrongroomError: The backend cannot list, or this principal may not.
        """
        return {self.place.rest_of(name) for name in self.manager.list(self.place.folder)}

    def has_plain_name(self, rest: str) -> bool:
        """Tell whether any backend can spell a name."""
        return len(self.place.folder) + len(rest) < _PLAIN_LENGTH and _PLAIN.issuperset(f"{self.place.folder}{rest}")

    def makes(self, rest: str) -> bool:
        """Tell whether a name stands for credentials that are made by reading; known once the side has been listed."""
        named = self._attempt(partial(self.place.name_of, rest))
        return not isinstance(named, StrongroomError) and self._makes(named)

    def look(self, names: Sequence[str]) -> dict[str, Looked]:
        """Read some secrets, and all their versions if these are concerned. What a read would make is not read.

        Args:
            names: Without the folder.

        Returns:
            For each what is there, or why that is not known.

        Raises:
            BackendUnavailableError: The backend is out of reach; it need not be asked further.
            UnsupportedOperationError: It keeps no versions, and these are concerned.
            AuditError: What is read cannot be recorded.
        """
        leased: dict[str, Looked] = {rest: Leased() for rest in names if self.makes(rest)}
        others = [rest for rest in names if rest not in leased]
        return leased | (self._look_at_versions(others) if self.versions else self.look_at_current(others))

    def look_at_current(self, names: Sequence[str]) -> dict[str, Looked]:
        """Read the current versions of some secrets; otherwise as :meth:`look`."""
        found: dict[str, Looked] = {}
        whole: dict[str, SecretName] = {}
        for rest in names:
            named = self._attempt(partial(self.place.name_of, rest))
            if isinstance(named, StrongroomError):
                found[rest] = named
            else:
                whole[rest] = named
        batch = self.manager.get_many(whole.values(), concurrency=self.workers)
        leased = self._leased()
        for rest, name in whole.items():
            error = batch.errors.get(name)
            self._settle(error)
            if error is None:
                found[rest] = self._whole(batch.found[name], leased)
            else:
                found[rest] = None if isinstance(error, SecretNotFoundError) else error
        return found

    def _whole(self, secret: Secret, leased: set[SecretName]) -> Looked:
        if secret.name in leased:
            return Leased()
        if secret.place is not None:
            return _elsewhere(secret)
        marks = (self._marker.mark(secret.value),)
        return Look(
            seen=Seen(marks=marks, version=secret.version, created=secret.created),
            values=(secret.value,),
        )

    def _leased(self) -> set[SecretName]:
        return {status.name for status in self.manager.leases()}

    def _look_at_versions(self, names: Sequence[str]) -> dict[str, Looked]:
        found: dict[str, Looked] = {}

        def one(rest: str) -> None:
            found[rest] = self._look_at_history(rest)

        run_all([partial(one, rest) for rest in names], threads=self.workers)
        return found

    def _look_at_history(self, rest: str) -> Looked:
        result = self._attempt(partial(self._history, rest))
        if isinstance(result, UnsupportedOperationError):
            raise result
        self._settle(result if isinstance(result, StrongroomError) else None)
        return None if isinstance(result, SecretNotFoundError) else result

    def _history(self, rest: str) -> Look | Leased:
        name = self.place.name_of(rest)
        for _ in range(TRIES):
            try:
                return self._history_now(name)
            except SecretNotFoundError as error:
                # Where a write drops the oldest version, it may do so after that has been listed.
                if error.code != "version_not_found":
                    raise
        raise VersionConflictError(
            f"{name} was changed each time its versions were read",
            expected="as listed",
            found=None,
            name=name,
            hint="run the same command again",
        )

    def _history_now(self, name: SecretName) -> Look | Leased:
        listed = self.manager.versions(name)
        readable = [one for one in listed if one.state in READABLE]
        current = [one for one in readable if one.state == "current"]
        if not current:
            raise SecretNotFoundError(f"{name} is deleted", name=name)
        # Where an older version has been made the current one again, it is what the history has come to.
        ordered = [one for one in readable if one is not current[-1]] + current[-1:]
        values = tuple(self.manager.get(name, version=one.version).value for one in ordered)
        if name in self._leased():
            return Leased()
        counted = all(one.version.isdecimal() for one in listed)
        seen = Seen(
            marks=tuple(map(self._marker.mark, values)),
            version=current[-1].version,
            created=current[-1].created,
            # Where they have other names than numbers, the backend keeps so many that none has been dropped.
            whole=not counted or int(listed[0].version) == 1,
            unbroken=_unbroken(listed),
            counted=counted,
        )
        return Look(seen=seen, values=values)

    def check(self, rest: str, value: SecretValue, expected: str | Absent) -> None:
        """Refuse what could not be written, and write nothing.

        Args:
            rest: The name without the folder.
            value: What is to be written.
            expected: Over which version.

        Raises:
            StrongroomError: It could not be written.
        """
        name = self.place.name_of(rest)
        # What is written is read back, so it takes the right to read. That is what this asks for; nothing is cached.
        self.manager.invalidate(name)
        if self.is_conditional:
            try:
                self.manager.check_set(name, value, expect_version=expected)
            except UnsupportedOperationError:
                pass  # it may be that the backend cannot compare versions, and else the next check says what
            else:
                self._compares = True
                return
        self.manager.check_set(name, value)
        self._compares = False

    def write(self, rest: str, value: SecretValue, expected: str | Absent) -> Written:
        """Write a secret, over the version that is expected if the backend can compare them.

        Raises:
            StrongroomError: It was not written, or that is not known.
        """
        return self.manager.set(
            self.place.name_of(rest), value, expect_version=expected if self.is_conditional else None
        )

    def version(self, rest: str, version: str) -> Look:
        """Return one version of a secret.

        Raises:
            StrongroomError: It cannot be read.
        """
        secret = self.manager.get(self.place.name_of(rest), version=version)
        marks = (self._marker.mark(secret.value),)
        return Look(seen=Seen(marks=marks, version=secret.version), values=(secret.value,))

    def expected(self, seen: Seen | None) -> str | Absent:
        """Return over which version to write what was seen so."""
        return seen.version if seen is not None else ABSENT

    def _attempt(self, make: Callable[[], Made]) -> Made | StrongroomError:
        try:
            return make()
        except StrongroomError as error:
            return error

    def _settle(self, error: StrongroomError | None) -> None:
        if isinstance(error, AuditError):
            raise error
        self.outages.note(error)


def _unbroken(listed: Sequence[SecretVersion]) -> int:
    return sum(1 for _ in takewhile(lambda one: one.state in READABLE, reversed(listed)))


def _elsewhere(secret: Secret) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{secret.name} was answered by {secret.place}, which may lag behind",
        name=secret.name,
        backend=secret.backend,
        hint="wait until the usual place answers",
    )
