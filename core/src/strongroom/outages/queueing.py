"""Writes of an outage, accepted into the journal to be made later.

Of one name there is one change at a time in a process, from the look into the journal to its end. So what goes out
to the backend directly never overtakes what was accepted before it, and at most one write of a name, the first in
the queue, is one of which nobody knows whether it was made.
"""

from __future__ import annotations

import os
import threading

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from strongroom._record import Record
from strongroom.contracts.backend import DeleteResult, WriteResult
from strongroom.contracts.journal import Appended, Copy, Entry, EntryState, Place, RecallResult
from strongroom.errors import BackendUnavailableError, SecretDeletedError, StrongroomError, VersionConflictError
from strongroom.model import ABSENT, Absent, SecretName
from strongroom.outages.fallback import FallbackStore
from strongroom.outages.standins import QUEUED, version_of
from strongroom.outcomes import Accepted, Wish
from strongroom.resilience.guarded import GuardedBackend

Made = TypeVar("Made", WriteResult, DeleteResult)

ATTEMPTS: Final = 100
"""How often another write of the same name may come first, before it is an error."""
_TRY_LATER: Final = "try again when the backend answers; `strongroom health` shows its state and the journal's"


class Known(Record):
    """What is known of a secret without asking its backend."""

    version: str | None
    """``None`` if there is none, or if nothing is known."""
    entry: Entry | None
    """The newest write of it that waits."""


class Queue:
    """Accepts writes for later. A name of which a write waits gets no other one before that. Threads share it.

    Args:
        store: The fallback store.
    """

    def __init__(self, store: FallbackStore) -> None:
        self._store = store
        self.after_fork()

    def after_fork(self) -> None:
        """Wait for nobody in a forked child: whoever is at it is the parent's."""
        # Reentrant, since a signal's handler may write while its own thread is in here.
        self._lock = threading.RLock()
        self._turns: dict[tuple[str, SecretName], tuple[threading.RLock, int]] = {}

    def takes(self, backend: GuardedBackend, name: SecretName) -> bool:
        """Tell whether writes of a name may wait."""
        return self._store.covers(backend, name) and self._store.rules.rules(name).queue_writes

    def known(self, backend: GuardedBackend, name: SecretName, cached: str | None) -> Known:
        """Return what is known of a secret; a journal that cannot be read holds up nobody.

        Args:
            backend: Its backend.
            name: Its name.
            cached: The version that is in the cache; ``None`` if none is.
        """
        place = self._store.place(backend, name) if self._store.covers(backend, name) else None
        if place is None:
            return Known(version=cached, entry=None)
        found: list[RecallResult] = []
        self._store.attempt(lambda: found.append(self._store.recall(place)), "the journal could not be read")
        recalled = found[0] if found else RecallResult(copy=None, entry=None)
        return Known(version=cached or self._last_version(place, recalled.copy), entry=recalled.entry)

    def _last_version(self, place: Place, copy: Copy | None) -> str | None:
        noted = self._store.noted(place)
        if copy is not None and (noted is None or copy.taken > noted.when):
            return copy.version
        return noted.version if noted is not None else None

    def note(self, backend: GuardedBackend, name: SecretName, version: str | None) -> None:
        """Remember which version a backend has; ``None`` for none."""
        place = self._store.place(backend, name) if self._store.covers(backend, name) else None
        if place is not None:
            self._store.note(place, version)

    def version_before(
        self, backend: GuardedBackend, name: SecretName, cached: str | None, ask: Callable[[], str]
    ) -> tuple[str, BackendUnavailableError | None]:
        """Return the version over which a change is to be made that needs one.

        Args:
            backend: The secret's backend.
            name: Its name.
            cached: The version that is in the cache; ``None`` if none is.
            ask: Asks the backend.

        Returns:
            The version, and why it is not the backend's answer, if it is not.

        Raises:
            SecretDeletedError: A delete of it waits.
            BackendUnavailableError: An outage, and no version is known, or its writes may not wait.
            StrongroomError: Whatever the backend answers.
        """
        known = self.known(backend, name, cached)
        if known.entry is not None:
            return _version_to_follow(known.entry), None
        try:
            version = ask()
        except BackendUnavailableError as error:
            if known.version is None or not self.takes(backend, name):
                raise
            # Without its traceback, whose frames would live on with this one.
            outage = error.again()
            # That was a question; of the change itself nothing is sent.
            outage.unsent = True
            return known.version, outage
        self.note(backend, name, version)
        return version, None

    def change(self, wish: Wish, backend: GuardedBackend, make: Callable[[str], Made]) -> Made | Accepted:
        """Have a change made; in an outage, or behind another one that waits, accept it for later, durably.

        Args:
            wish: The change.
            backend: The backend that is to make it.
            make: Makes it, under the token that it is given.

        Raises:
            VersionConflictError: What waits is not what the caller expects, or the backend says so.
            BackendUnavailableError: It is an outage, and why the change cannot wait.
            StrongroomError: Whatever the backend answers.
        """
        token = new_token()
        with self._turn(backend, wish.name):
            takes = self.takes(backend, wish.name)
            for _ in range(ATTEMPTS):
                known = self.known(backend, wish.name, wish.cached)
                check_expected(wish.name, wish.expected, known.entry)
                # Before anything is sent: other credentials may lead elsewhere by the time that it has failed.
                place = self._store.place(backend, wish.name) if takes else None
                outage, sent = wish.outage, False
                if known.entry is None and outage is None:
                    try:
                        made = make(token)
                    except BackendUnavailableError as error:
                        if not takes:
                            raise
                        outage, sent = error.again(), not error.unsent
                    else:
                        self.note(backend, wish.name, made.version if isinstance(made, WriteResult) else None)
                        return made
                if not takes:
                    raise outage or _held_up(wish, backend, known.entry)
                accepted = self._accept(wish, backend, token, known, outage, unclear=sent, place=place)
                if accepted is not None:
                    return accepted
        raise refused(None, wish, backend, "too many others write it at the same time")

    @contextmanager
    def _turn(self, backend: GuardedBackend, name: SecretName) -> Iterator[None]:
        """Wait until no other thread changes a name."""
        key = (backend.name, name)
        with self._lock:
            lock, users = self._turns.get(key) or (threading.RLock(), 0)
            self._turns[key] = lock, users + 1
        turns = self._turns
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = turns[key]
                if users > 1:
                    turns[key] = lock, users - 1
                else:
                    del turns[key]

    def _accept(
        self,
        wish: Wish,
        backend: GuardedBackend,
        token: str,
        known: Known,
        outage: BackendUnavailableError | None,
        *,
        unclear: bool,
        place: Place | None,
    ) -> Accepted | None:
        """Accept a change; ``None`` if what it was to follow has been made meanwhile, and there is no outage."""
        place = place or self._store.place(backend, wish.name)
        if place is None:
            raise refused(
                outage,
                wish,
                backend,
                "nobody can say yet whose secrets its credentials lead to",
                hint=f"name the account in the table of {backend.name}, or read a secret before an outage",
            )
        before = known.entry
        for _ in range(ATTEMPTS):
            entry = self._entry(wish, token, place, known.version, before, unclear=unclear)
            try:
                outcome = self._store.append(entry).outcome
                if outcome is Appended.MOVED:
                    before = self._store.recall(place).entry
            except StrongroomError as error:
                raise refused(outage, wish, backend, error.what, hint=error.hint) from error
            if outcome is Appended.YES:
                existed = before.value is not None if before is not None else known.version is not None
                return Accepted(id=entry.id, version=version_of(entry), existed=existed)
            if outcome is Appended.FULL:
                raise refused(outage, wish, backend, "the journal is full", hint=_FULL)
            if before is None and outage is None:
                return None
            _check_still(wish, backend, before, outage, unclear=unclear)
        raise refused(outage, wish, backend, "too many others write it at the same time")

    def _entry(
        self, wish: Wish, token: str, place: Place, seen: str | None, before: Entry | None, *, unclear: bool
    ) -> Entry:
        expected = None if isinstance(wish.expected, Absent) else wish.expected or seen
        return Entry(
            id=token,
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


_FULL: Final = (
    "look what waits or is set aside with `strongroom journal list`, and decide about the latter; "
    "or raise journal_entries or journal_bytes under [resilience]"
)


def _version_to_follow(entry: Entry) -> str:
    version = version_of(entry)
    if version is None:
        name = entry.place.name
        raise SecretDeletedError(
            f"{name} is deleted; the delete waits for {entry.place.backend} as entry {entry.id} of the journal",
            name=name,
            backend=entry.place.backend,
            hint="`strongroom journal show` tells more",
        )
    return version


def _check_still(
    wish: Wish,
    backend: GuardedBackend,
    before: Entry | None,
    outage: BackendUnavailableError | None,
    *,
    unclear: bool,
) -> None:
    """Refuse a change if what waits, since another process has accepted it, is not what the caller expects."""
    try:
        check_expected(wish.name, wish.expected, before)
    except VersionConflictError as error:
        if not unclear:
            raise
        # It may have been made, and a conflict would say that it was not.
        raise refused(outage, wish, backend, error.what, hint=error.hint) from error


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
            raise _conflict(name, expected, None, f"the write of {name} that was accepted does not wait any more")
        return
    found = version_of(waiting) or ABSENT
    if found != expected:
        raise _conflict(name, expected, found, f"a {waiting.change} of {name} waits")


def _conflict(name: SecretName, expected: str | Absent, found: str | Absent | None, what: str) -> VersionConflictError:
    def told(version: str | Absent) -> str:
        return version if isinstance(version, str) else version.value

    there = "" if found is None else f" and leaves {told(found)}"
    return VersionConflictError(
        f"{what}{there}, and {told(expected)} was expected",
        expected=told(expected),
        found=None if found is None else told(found),
        name=name,
        hint="read it again and decide anew",
    )


def _held_up(wish: Wish, backend: GuardedBackend, waiting: Entry | None) -> BackendUnavailableError:
    """Return the error of a change that must not overtake what waits, and must not wait itself."""
    assert waiting is not None, "without it the change would have been tried"
    error = BackendUnavailableError(
        f"a {waiting.change} of {wish.name} waits to be made first, as entry {waiting.id} of the journal, and further"
        " changes of it may not be queued",
        code="busy",
        name=wish.name,
        backend=backend.name,
        hint="`strongroom journal replay` makes it as soon as the backend answers",
    )
    error.unsent = error.own_limit = True
    return error


def refused(
    outage: BackendUnavailableError | None, wish: Wish, backend: GuardedBackend, why: str, *, hint: str = ""
) -> BackendUnavailableError:
    """Return the error of a change that can be neither made nor accepted.

    Args:
        outage: Why it was not made; ``None`` if another one waits to be made first.
        wish: The change.
        backend: Its backend.
        why: Why it was not accepted.
        hint: What to do; to wait for the backend unless given.
    """
    what = outage.what if outage is not None else f"another write of {wish.name} waits to be made first"
    error = BackendUnavailableError(
        f"{what}; the {wish.change} of {wish.name} could not be queued either: {why}",
        code=outage.code if outage is not None else None,
        name=wish.name,
        backend=backend.name,
        hint=hint or _TRY_LATER,
    )
    error.unsent = outage is None or outage.unsent
    error.lasted = outage.lasted if outage is not None else None
    return error


def new_token() -> str:
    """Return a random UUID of version 4 (RFC 9562), as 36 characters."""
    # The module uuid would cost a command more than this.
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
