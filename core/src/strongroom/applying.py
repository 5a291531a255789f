"""Makes one write that has waited, at most once, or says why it cannot be made.

Where the backend has check-and-set the write itself tells whether the secret is still as it was. Where
it has not, the secret is looked at before. A write of which nobody knows whether it was made is looked for before
anything is sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from strongroom._record import Record
from strongroom.contracts.backend import (
    Capability,
    DeleteRequest,
    ReadRequest,
    ReadResult,
    VersionsRequest,
    WriteRequest,
)
from strongroom.contracts.journal import Copy, Entry, EntryState, Place
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    InvalidNameError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import ABSENT, SecretVersion
from strongroom.resilience import GuardedBackend

MOST_VERSIONS: Final = 20
"""In how many versions a write is looked for that others may have replaced since."""
GONE: Final = frozenset({"deleted", "destroyed"})
"""States of versions that nobody can read."""

ABOUT_ONE: Final = (
    AccessDeniedError,
    InvalidNameError,
    InvalidValueError,
    SecretNotFoundError,
    TamperedError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
"""Errors that say of one write that it cannot be made. After any other one no write can be made, or nobody knows."""


class Applied(Record):
    """What has become of a write."""

    state: EntryState | None
    """Why it is set aside, or that it still waits; ``None`` if it is made."""
    version: str | None = None
    """If it is made: the version that it made, ``None`` for a delete."""
    created: datetime | None = None
    request_id: str | None = None
    reason: str = ""
    """Why it is not made."""
    found: str | None = None
    """As in :class:`Entry`; ``None`` also if nobody can say."""
    found_created: datetime | None = None


class Applier:
    """Makes writes that have waited for one backend.

    Args:
        backend: The backend.
        known: Returns the copy of a secret, if there is one. It helps where the same value may be called by
            another version in another process.
    """

    def __init__(self, backend: GuardedBackend, known: Callable[[Place], Copy | None] = lambda _: None) -> None:
        self._backend = backend
        self._known = known

    @property
    def is_conditional(self) -> bool:
        """Whether the backend itself refuses a write over another version than the expected one."""
        return Capability.CHECK_AND_SET in self._backend.capabilities

    @property
    def _has_versions(self) -> bool:
        return Capability.VERSIONS in self._backend.capabilities

    def tells_later(self, entry: Entry) -> bool:
        """Tell whether it will be seen that a write has been made, if the process dies before that is noted.

        If not, it has to be noted before that it may have been. A write over a version can be sent again where the
        backend has check-and-set; one over none could, too, if another had not deleted the secret meanwhile. After
        a delete there is no secret.

        Args:
            entry: The write.
        """
        return entry.value is None or (self.is_conditional and entry.expected is not None)

    def apply(self, entry: Entry) -> Applied:
        """Make a write, unless that has been done, or it must not be.

        Args:
            entry: The write; one that follows another must not be given.

        Returns:
            What has become of it. It still waits if the backend fails in a way that nobody knows, as a whole as far
            as one can tell.

        Raises:
            BackendUnavailableError: It could not be made now; whether it was is unclear, unless ``unsent`` is set.
            StrongroomError: Nothing can be made now, since our credentials are refused, say.
        """
        try:
            if entry.value is None:
                return self._delete(entry)
            if entry.state is EntryState.UNCLEAR or not self.is_conditional:
                return self._look_and_write(entry)
            return self._write(entry)
        except ABOUT_ONE as error:
            return Applied(state=EntryState.REFUSED, reason=error.what)
        except BackendError as error:
            return _unknown(error)

    def expire(self, entry: Entry, reason: str) -> Applied:
        """Tell of a write that has waited for too long whether it has been made all the same; nothing is sent.

        Args:
            entry: The write.
            reason: Why it is set aside if it has not.

        Raises:
            StrongroomError: Nobody can say that now, as for :meth:`apply`.
        """
        overdue = Applied(state=EntryState.OVERDUE, reason=reason)
        try:
            return self._found_made(entry, self._current(entry)) or overdue
        except ABOUT_ONE:
            return overdue
        except BackendError as error:
            if error.code != BackendError.codes[0]:
                raise
            return overdue.replace(reason=f"{reason}, and nobody can say whether it was made: {error.what}")

    # Writes

    def _look_and_write(self, entry: Entry) -> Applied:
        try:
            current = self._current(entry)
        except AccessDeniedError:
            if not (self.is_conditional and entry.expected is not None):
                raise
            # Whoever may write it need not be able to read it, and the write itself tells.
            return self._write(entry)
        if entry.state is EntryState.UNCLEAR:
            made = self._found_made(entry, current)
            if made is not None:
                return made
            if entry.expected is None and isinstance(current, SecretDeletedError):
                reason = f"it was sent, and {entry.place.backend} has a deleted secret, which may be this one"
                return _conflict(entry, current).replace(reason=reason)
        if not self.is_conditional and not self._is_as_expected(entry, current):
            return self._is_there(entry, current) or _conflict(entry, current)
        return self._write(entry)

    def _write(self, entry: Entry) -> Applied:
        assert entry.value is not None, "it is no delete"
        expected = ABSENT if entry.expected is None else entry.expected
        request = WriteRequest(
            name=entry.place.name,
            value=entry.value,
            expect_version=expected if self.is_conditional else None,
            token=entry.id,
        )
        try:
            result = self._backend.write(request)
        except VersionConflictError as error:
            return self._overtaken(entry, error)
        except BackendError as error:
            return self._after_failure(entry, error)
        return Applied(state=None, version=result.version, created=result.created, request_id=result.request_id)

    def _overtaken(self, entry: Entry, error: VersionConflictError) -> Applied:
        """Tell what became of a write that the backend refused since it has another version: maybe our own."""
        try:
            current = self._current(entry)
            return self._found_made(entry, current) or _conflict(entry, current)
        except ABOUT_ONE:
            # We are not let see what is there.
            return _conflict(entry, None).replace(found=error.found)

    def _after_failure(self, entry: Entry, error: BackendError) -> Applied:
        """Tell what became of a write or delete that has failed in a way that nobody knows."""
        if error.code != BackendError.codes[0]:
            raise error
        current = self._current(entry)
        return self._found_made(entry, current) or Applied(state=EntryState.REFUSED, reason=error.what)

    # Deletes

    def _delete(self, entry: Entry) -> Applied:
        current = self._current(entry)
        if not isinstance(current, ReadResult):
            return Applied(state=None)
        if not self._is_as_expected(entry, current):
            return _conflict(entry, current)
        try:
            result = self._backend.delete(DeleteRequest(name=entry.place.name))
        except BackendError as error:
            return self._after_failure(entry, error)
        return Applied(state=None, request_id=result.request_id)

    # What is there

    def _current(self, entry: Entry) -> ReadResult | SecretNotFoundError:
        """Return what the backend has, or the error that says that it has nothing."""
        try:
            return self._backend.read(ReadRequest(name=entry.place.name))
        except SecretNotFoundError as error:
            return error

    def _is_as_expected(self, entry: Entry, current: ReadResult | SecretNotFoundError) -> bool:
        version = current.version if isinstance(current, ReadResult) else None
        if version == entry.expected:
            return True
        if not isinstance(current, ReadResult) or entry.expected is None or self._has_versions:
            return False
        # Its versions say no more than which value it is, and maybe in the words of one process.
        copy = self._known(entry.place)
        return copy is not None and copy.version == entry.expected and copy.value == current.value

    def _is_there(self, entry: Entry, current: ReadResult | SecretNotFoundError) -> Applied | None:
        """Return the current version as what a write has made, if it is that, or no different."""
        if not isinstance(current, ReadResult):
            return None
        # The version that it was to be made over may have had the same value.
        moved = current.version != entry.expected or not self._has_versions
        if current.version == entry.id or (moved and entry.value == current.value):
            return Applied(state=None, version=current.version, created=current.created)
        return None

    def _found_made(self, entry: Entry, current: ReadResult | SecretNotFoundError) -> Applied | None:
        """Return what a change has made already, if it has."""
        if entry.value is None:
            return None if isinstance(current, ReadResult) else Applied(state=None)
        made = self._is_there(entry, current)
        if made is not None or not isinstance(current, ReadResult) or current.version == entry.expected:
            return made
        if not self._has_versions:
            return None
        return self._found_before(entry, current)

    def _found_before(self, entry: Entry, current: ReadResult) -> Applied | None:
        """Look for a write among the versions that another one has replaced since."""
        for version in self._replaced(entry):
            if version in {current.version, entry.expected}:
                continue
            try:
                result = self._backend.read(ReadRequest(name=entry.place.name, version=version))
            except SecretNotFoundError:
                continue
            made = self._is_there(entry, result)
            if made is not None:
                return made
        return None

    def _replaced(self, entry: Entry) -> list[str]:
        """Return versions that a write may have made and that are not current any more."""
        # Imported here: hardly a write is looked for so long after it was made.
        from strongroom.contracts.staging import StagesRequest, Staging

        name = entry.place.name
        if self._backend.offers(Staging):
            # Not each version has been the current one there: it may have been sent, and never made so.
            previous = self._backend.stages(StagesRequest(name=name)).previous
            return [] if previous is None else [previous]
        since = _since(entry.expected, self._backend.versions(VersionsRequest(name=name)).versions)
        return [one.version for one in since[-MOST_VERSIONS:]]


def _since(expected: str | None, versions: tuple[SecretVersion, ...]) -> tuple[SecretVersion, ...]:
    """Return the versions that came after one, the oldest first; or after the secret was last deleted."""
    before = [
        at for at, one in enumerate(versions) if (one.state in GONE if expected is None else one.version == expected)
    ]
    return versions[before[-1] + 1 :] if before else versions


def _unknown(error: BackendError) -> Applied:
    """Tell that nobody knows what became of a write, unless the backend says what is wrong with it as a whole."""
    if error.code != BackendError.codes[0]:
        raise error
    return Applied(state=EntryState.UNCLEAR, reason=error.what)


def _conflict(entry: Entry, current: ReadResult | StrongroomError | None) -> Applied:
    over = "no version" if entry.expected is None else f"version {entry.expected}"
    backend = entry.place.backend
    if current is None:
        reason = f"it was made over {over}, and {backend} has another"
        return Applied(state=EntryState.CONFLICT, reason=reason)
    if not isinstance(current, ReadResult):
        reason = f"it was made over {over}, and {backend} has none any more"
        return Applied(state=EntryState.CONFLICT, reason=reason, found=ABSENT.value)
    return Applied(
        state=EntryState.CONFLICT,
        reason=f"it was made over {over}, and {backend} has version {current.version}",
        found=current.version,
        found_created=current.created,
    )
