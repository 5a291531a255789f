"""Writes of an outage, accepted into the journal to be made later."""

from __future__ import annotations

import os

from typing import Final

from strongroom._record import Record
from strongroom.contracts.journal import Appended, Entry, EntryState, Place
from strongroom.errors import BackendUnavailableError, StrongroomError, VersionConflictError
from strongroom.fallback import QUEUED, FallbackStore, version_of
from strongroom.model import ABSENT, Absent, Principal, SecretName, SecretValue
from strongroom.resilience import GuardedBackend

ATTEMPTS: Final = 100
"""How often another write of the same name may come first, before it is an error."""


class Seen(Record):
    """What was last known of a secret before a write."""

    version: str | None
    """``None`` if there is none, or if nothing is known."""
    known: bool
    """Whether anything is known."""


class Wish(Record):
    """A change that somebody wants made."""

    change: str
    """``set``, ``rotate`` or ``delete``."""
    name: SecretName
    value: SecretValue | None
    expected: str | Absent | None
    """What the caller expects to be there; ``None`` for anything."""
    token: str
    principal: Principal
    base: Principal | None


class Queue:
    """Accepts writes for later. A name of which a write waits gets no other one before that.

    Args:
        store: The fallback store.
    """

    def __init__(self, store: FallbackStore) -> None:
        self._store = store

    def takes(self, backend: GuardedBackend, name: SecretName) -> bool:
        """Tell whether writes of a name may wait."""
        return self._store.covers(backend, name) and self._store.rules.rules(name).queue_writes

    def newest(self, backend: GuardedBackend, name: SecretName) -> Entry | None:
        """Return the newest write of a name that waits; a journal that cannot be read holds up nobody."""
        found: list[Entry | None] = [None]
        place = self._store.place(backend, name) if self._store.covers(backend, name) else None
        if place is not None:
            self._store.look_again()
            self._store.attempt(lambda: found.append(self._store.newest(place)), "the journal could not be read")
        return found[-1]

    def accept(self, wish: Wish, backend: GuardedBackend, seen: Seen, outage: BackendUnavailableError | None) -> Entry:
        """Accept a change, durably.

        Args:
            wish: The change.
            backend: The backend that is to make it.
            seen: What was last known of the secret.
            outage: Why it is not made at once; ``None`` if another write of the name waits.

        Returns:
            The entry.

        Raises:
            VersionConflictError: The newest write that waits is not what the caller expects.
            BackendUnavailableError: It is the outage, which also says why the change cannot wait.
        """
        place = self._store.place(backend, wish.name)
        if place is None:
            raise refused(outage, wish, backend, "nobody can say yet whose secrets its credentials lead to")
        for _ in range(ATTEMPTS):
            before = self._store.recall(place).entry
            if before is not None:
                check_expected(wish.name, wish.expected, before)
            entry = self._entry(wish, place, seen, before, outage)
            try:
                outcome = self._store.append(entry).outcome
            except StrongroomError as error:
                raise refused(outage, wish, backend, error.what) from error
            if outcome is Appended.YES:
                return entry
            if outcome is Appended.FULL:
                raise refused(outage, wish, backend, "the journal is full")
        raise refused(outage, wish, backend, "too many others write it at the same time")

    def _entry(
        self, wish: Wish, place: Place, seen: Seen, before: Entry | None, outage: BackendUnavailableError | None
    ) -> Entry:
        expected = None if isinstance(wish.expected, Absent) else wish.expected or seen.version
        unclear = before is None and outage is not None and not outage.unsent
        return Entry(
            id=wish.token,
            place=place,
            change=wish.change,
            value=wish.value,
            expected=None if before is not None else expected,
            follows=before.id if before is not None else None,
            queued=self._store.now(),
            principal=wish.principal.name,
            principal_source=wish.principal.source.value,
            on_behalf_of=wish.base.name if wish.base is not None else None,
            state=EntryState.UNCLEAR if unclear else EntryState.WAITING,
        )


def check_expected(name: SecretName, expected: str | Absent | None, waiting: Entry | None) -> None:
    """Refuse a change that is to be made over another version than the one that waits.

    Args:
        name: The secret's name.
        expected: What the caller expects.
        waiting: The newest write that waits, if one does.

    Raises:
        VersionConflictError: It is another.
    """
    if expected is None:
        return
    if waiting is None:
        if isinstance(expected, str) and expected.startswith(QUEUED):
            raise _conflict(name, expected, None, "the write that was accepted as this does not wait any more")
        return
    found = version_of(waiting) or ABSENT
    if found != expected:
        raise _conflict(name, expected, found, f"{name} has a write that waits")


def _conflict(name: SecretName, expected: str | Absent, found: str | Absent | None, what: str) -> VersionConflictError:
    def told(version: str | Absent) -> str:
        return version if isinstance(version, str) else version.value

    return VersionConflictError(
        f"{what}, and {told(expected)} was expected",
        expected=told(expected),
        found=None if found is None else told(found),
        name=name,
        hint="read it again and decide anew",
    )


def refused(
    outage: BackendUnavailableError | None, wish: Wish, backend: GuardedBackend, why: str
) -> BackendUnavailableError:
    """Return the error of a change that can be neither made nor accepted."""
    what = f"{outage.what}; " if outage is not None else ""
    error = BackendUnavailableError(
        f"{what}the {wish.change} of {wish.name} could not be queued either: {why}",
        code=outage.code if outage is not None else None,
        name=wish.name,
        backend=backend.name,
        hint="try again when the backend answers; `strongroom health` shows its state and the journal's",
    )
    if outage is not None:
        error.unsent, error.lasted = outage.unsent, outage.lasted
    else:
        error.unsent = True
    return error


def new_token() -> str:
    """Return a random UUID of version 4 (RFC 9562), as 36 characters."""
    # The module uuid would cost a command more than this.
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
