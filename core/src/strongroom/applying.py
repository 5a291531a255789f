"""Makes one write that has waited, at most once, or says why it cannot be made.

Where the backend has check-and-set the write itself tells whether the secret is still as it was. Where
it has not, the secret is looked at before. A write of which nobody knows whether it was made is looked for before
anything is sent again.
"""

from __future__ import annotations

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
from strongroom.contracts.journal import Entry, EntryState
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.model import ABSENT
from strongroom.resilience import GuardedBackend

MOST_VERSIONS: Final = 20
"""In how many versions a write is looked for that others may have replaced since."""

STOPPING: Final = (BackendUnavailableError, AuthenticationError)
"""Errors that are not about one write: no other one can be made either."""


class Applied(Record):
    """What has become of a write."""

    state: EntryState | None
    """Why it is set aside; ``None`` if it is made."""
    version: str | None = None
    """If it is made: the version that it made, ``None`` for a delete."""
    created: datetime | None = None
    request_id: str | None = None
    reason: str = ""
    found: str | None = None
    found_created: datetime | None = None


class Applier:
    """Makes writes that have waited for one backend.

    Args:
        backend: The backend.
    """

    def __init__(self, backend: GuardedBackend) -> None:
        self._backend = backend

    @property
    def is_conditional(self) -> bool:
        """Whether the backend itself refuses a write over another version than the expected one."""
        return Capability.CHECK_AND_SET in self._backend.capabilities

    def apply(self, entry: Entry) -> Applied:
        """Make a write, unless that has been done, or it must not be.

        Args:
            entry: The write; one that follows another must not be given.

        Raises:
            BackendUnavailableError: It could not be made now; whether it was is unclear, unless ``unsent`` is set.
            AuthenticationError: Our credentials are refused, so no write can be made.
        """
        try:
            if entry.state is EntryState.UNCLEAR:
                made = self._found_made(entry)
                if made is not None:
                    return made
            return self._delete(entry) if entry.value is None else self._write(entry)
        except STOPPING:
            raise
        except StrongroomError as error:
            return Applied(state=EntryState.REFUSED, reason=error.what)

    def _write(self, entry: Entry) -> Applied:
        assert entry.value is not None, "it is no delete"
        expected = ABSENT if entry.expected is None else entry.expected
        if not self.is_conditional:
            current = self._current(entry)
            if (current.version if current is not None else None) != entry.expected:
                return self._found_made(entry) or _conflict(entry, current)
        request = WriteRequest(
            name=entry.place.name,
            value=entry.value,
            expect_version=expected if self.is_conditional else None,
            token=entry.id,
        )
        try:
            result = self._backend.write(request)
        except VersionConflictError as error:
            return self._found_made(entry) or _conflict(entry, self._current(entry), error)
        return Applied(state=None, version=result.version, created=result.created, request_id=result.request_id)

    def _delete(self, entry: Entry) -> Applied:
        current = self._current(entry)
        if current is None:
            return Applied(state=None)
        if current.version != entry.expected:
            return _conflict(entry, current)
        result = self._backend.delete(DeleteRequest(name=entry.place.name))
        return Applied(state=None, request_id=result.request_id)

    def _current(self, entry: Entry) -> ReadResult | None:
        try:
            return self._backend.read(ReadRequest(name=entry.place.name))
        except SecretNotFoundError:
            return None

    def _found_made(self, entry: Entry) -> Applied | None:
        """Return the version that a write has made already, if there is one."""
        current = self._current(entry)
        if entry.value is None:
            return Applied(state=None) if current is None else None
        if current is not None and self._is_made_by(entry, current):
            return Applied(state=None, version=current.version, created=current.created)
        if current is None or current.version == entry.expected:
            return None
        return self._found_among_versions(entry)

    def _is_made_by(self, entry: Entry, result: ReadResult) -> bool:
        if result.version == entry.id:
            return True
        moved = result.version != entry.expected or Capability.VERSIONS not in self._backend.capabilities
        return moved and entry.value == result.value

    def _found_among_versions(self, entry: Entry) -> Applied | None:
        """Look for a write in the versions since the one that it was made over: others may have replaced it."""
        if Capability.VERSIONS not in self._backend.capabilities:
            return None
        kept = self._backend.versions(VersionsRequest(name=entry.place.name)).versions
        places = [at for at, one in enumerate(kept) if one.version == entry.expected]
        since = kept[places[-1] + 1 :] if places else kept
        for one in reversed(since[-MOST_VERSIONS:]):
            if one.version == entry.id:
                return Applied(state=None, version=one.version, created=one.created)
            try:
                result = self._backend.read(ReadRequest(name=entry.place.name, version=one.version))
            except SecretNotFoundError:
                continue
            if self._is_made_by(entry, result):
                return Applied(state=None, version=result.version, created=result.created)
        return None


def _conflict(entry: Entry, current: ReadResult | None, error: VersionConflictError | None = None) -> Applied:
    found = current.version if current is not None else (error.found if error is not None and error.found else "absent")
    if current is None:
        found = "absent"
    made_over = "no version" if entry.expected is None else f"version {entry.expected}"
    return Applied(
        state=EntryState.CONFLICT,
        reason=f"it was made over {made_over}, and {entry.place.backend} has {found}",
        found=found,
        found_created=current.created if current is not None else None,
    )
