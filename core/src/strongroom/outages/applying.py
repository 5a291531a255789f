"""Makes one write that has waited, at most once, or says why it cannot be made.

Where the backend has check-and-set the write itself tells whether the secret is still as it was. Where
it has not, the secret is looked at before. A write of which nobody knows whether it was made is looked for before
anything is sent again. Only such a one is looked for: what was certainly never sent is not what is there, though
somebody else may have written the same value. Two who count on from the same number must not both be told that they
have counted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from strongroom._record import Record
from strongroom.contracts.backend import (
    Capability,
    DeleteRequest,
    DeleteResult,
    ReadRequest,
    ReadResult,
    VersionsRequest,
    WriteRequest,
    WriteResult,
)
from strongroom.contracts.journal import Copy, Entry, EntryState, Place
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
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
from strongroom.resilience.guarded import GuardedBackend

Made = TypeVar("Made", WriteResult, DeleteResult)

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
        # The ids of writes that may have been made since; threads only add and take away their own.
        self._sent: set[str] = set()

    @property
    def is_conditional(self) -> bool:
        """Whether the backend itself refuses a write over another version than the expected one."""
        return Capability.CHECK_AND_SET in self._backend.capabilities

    @property
    def _has_versions(self) -> bool:
        return Capability.VERSIONS in self._backend.capabilities

    def apply(self, entry: Entry) -> Applied:
        """Make a write, unless that has been done, or it must not be.

        Args:
            entry: The write; one that follows another must not be given.

        Returns:
            What has become of it. It still waits if the backend fails in a way that nobody knows, as a whole as far
            as one can tell.

        Raises:
            BackendUnavailableError: It could not be made now, or the backend is not what it is bound to, or was not
                all the time; :meth:`has_sent` tells whether it may have been made.
            StrongroomError: Nothing can be made now, since our credentials are refused, say.
        """
        self._check_target(entry)
        applied = self._tried(entry)
        # Whatever it was, it may have come from another place.
        self._check_target(entry)
        return applied

    def has_sent(self, entry: Entry) -> bool:
        """Tell whether a write has been sent, and was not certainly left undone."""
        return entry.id in self._sent

    def _tried(self, entry: Entry) -> Applied:
        try:
            if entry.value is None:
                return self._delete(entry)
            if entry.state is EntryState.UNCLEAR or not self.is_conditional:
                return self._look_and_write(entry)
            return self._write(entry)
        except ABOUT_ONE as error:
            return Applied(state=EntryState.REFUSED, reason=error.what)
        except BackendError as error:
            if error.code != BackendError.codes[0]:
                raise
            return Applied(state=EntryState.UNCLEAR if self.has_sent(entry) else entry.state, reason=error.what)

    def expire(self, entry: Entry, reason: str) -> Applied:
        """Tell of a write that has waited for too long whether it has been made all the same; nothing is sent.

        Args:
            entry: The write.
            reason: Why it is set aside if it has not.

        Raises:
            StrongroomError: Nobody can say that now, as for :meth:`apply`.
        """
        overdue = Applied(state=EntryState.OVERDUE, reason=reason)
        if entry.state is EntryState.WAITING and entry.value is not None:
            return overdue
        try:
            applied = self._found_made(entry, self._current(entry)) or overdue
        except ABOUT_ONE:
            applied = overdue
        except BackendError as error:
            if error.code != BackendError.codes[0]:
                raise
            applied = overdue.replace(reason=f"{reason}, and nobody can say whether it was made: {error.what}")
        self._check_target(entry)
        return applied

    def _check_target(self, entry: Entry) -> None:
        """Refuse a write if the backend is not what it is bound to, now that other credentials are in use, say."""
        if self._backend.target() == entry.place.target:
            return
        error = BackendUnavailableError(
            f"{entry.place.backend} is not certain to be any more what waiting writes are bound to",
            backend=entry.place.backend,
            hint="`strongroom journal show` says what that is",
        )
        error.own_limit = True
        raise error

    # Writes

    def _look_and_write(self, entry: Entry) -> Applied:
        # Over no version it does not: what it has made may be deleted by then, and would come back.
        write_tells = self.is_conditional and entry.expected is not None
        try:
            current = self._current(entry)
        except AccessDeniedError:
            if not write_tells:
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
        if not write_tells and not self._is_as_expected(entry, current):
            return _conflict(entry, current)
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
            result = self._change(entry, lambda: self._backend.write(request))
        except VersionConflictError as error:
            return self._overtaken(entry, error)
        except BackendError as error:
            return self._after_failure(entry, error)
        return Applied(state=None, version=result.version, created=result.created, request_id=result.request_id)

    def _overtaken(self, entry: Entry, error: VersionConflictError) -> Applied:
        """Tell what became of a write that the backend refused since it has another version: maybe our own."""
        try:
            current = self._current(entry)
            made = self._found_made(entry, current) if entry.state is EntryState.UNCLEAR else None
            return made or _conflict(entry, current)
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
            result = self._change(entry, lambda: self._backend.delete(DeleteRequest(name=entry.place.name)))
        except BackendError as error:
            return self._after_failure(entry, error)
        return Applied(state=None, request_id=result.request_id)

    # What is sent

    def _change(self, entry: Entry, send: Callable[[], Made]) -> Made:
        """Send a change where it is bound to, and note so unless it was certainly not made."""
        self._check_target(entry)
        self._sent.add(entry.id)
        try:
            return send()
        except VersionConflictError:
            self._sent.discard(entry.id)
            raise
        except BackendUnavailableError as error:
            if error.unsent:
                self._sent.discard(entry.id)
            raise

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
