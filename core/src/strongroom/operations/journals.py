"""What people see of the journal and decide about it: writes that wait, and those that are set aside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from strongroom._record import Record
from strongroom.audit.stage import recorded_at_once
from strongroom.contracts.backend import Capability, ReadRequest
from strongroom.contracts.journal import ClaimRequest, EntriesRequest, Entry, EntryState, Settlement
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    ClosedError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.stages.changing import INTERRUPTED, Attempt, Changer

if TYPE_CHECKING:
    from strongroom.outages.fallback import FallbackStore

SHORTEST: Final = 8
"""How many characters of an id are enough, if only one entry's begins so."""
PAGE: Final = 256
"""How many entries, with their values, are in memory at a time."""
ABSENT_TEXT: Final = "absent"

_OURS: Final = "ours"
_THEIRS: Final = "theirs"
_RIGHTS: Final = {"set": Action.UPDATE, "rotate": Action.ROTATE, "delete": Action.DELETE}


class QueuedWrite(Record):
    """A write that was accepted during an outage, without its value."""

    id: str
    name: SecretName
    backend: str
    """The configured name of the backend that it is for."""
    target: str
    """What it is bound to: where that backend had the secret then."""
    change: str
    """``set``, ``rotate`` or ``delete``."""
    queued: datetime
    """When it was accepted, in UTC; if it was set aside and is to be made all the same, when that was decided."""
    age: float
    """How many seconds ago that was."""
    size: int
    """Bytes of its value; 0 for a delete."""
    principal: str
    """Who wrote."""
    on_behalf_of: str | None
    """Who took on that principal, if somebody did."""
    state: EntryState
    reason: str
    """Why it is set aside, or why it cannot be made where it is bound to; else empty."""
    expected: str | None
    """The version that it was made over; ``None`` if there was none, as far as was known."""
    follows: str | None
    """The id of the entry that it was made over, if that was not made yet."""
    found: str | None
    """In a conflict: the version that the backend had instead, or ``absent``."""
    found_created: datetime | None
    """When that version was written, if the backend said so."""
    elsewhere: bool = False
    """Whether it is bound to something else than what the backend's name stands for now: it is never made there."""


class Replayed(Record):
    """What has become of the writes that waited."""

    made: int
    set_aside: int
    """How many are set aside for a person to decide about."""
    waiting: int
    """How many still wait, those that are bound elsewhere among them."""
    left: str
    """Why; empty if none does."""


class JournalDesk(Changer):
    """The journal of writes that wait, as one principal; what ``SecretManager.journal`` returns.

    It shows what this principal may list, and never a value. An id may be given by its first eight or more
    characters, if only one entry's begins so.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may do.
        drop: Forgets every cached copy of a secret.
    """

    @recorded_at_once
    def list(self) -> tuple[QueuedWrite, ...]:
        """Return the writes that wait and those that are set aside, in the order in which they were accepted.

        Raises:
            ConfigurationError: There is no fallback store, and so no journal.
            BackendUnavailableError: The journal cannot be read now.
            TamperedError: An entry is not authentic; nothing is shown then, and nothing is made.
            ClosedError: The manager is closed.
        """
        store = self._store()
        with self._gate.recording_look("journal_list", "", backend=store.name) as facts:
            found = tuple(self._shown(entry) for entry in _all_of(store) if self._may_see(entry))
            facts.update(count=len(found))
        return found

    @recorded_at_once
    def show(self, id: str) -> QueuedWrite:
        """Return one of them.

        Args:
            id: The entry's id, or how it begins.

        Raises:
            SecretNotFoundError: There is no such entry, or this principal may not know of it.
            ConfigurationError: Several ids begin so, or it is too short; or there is no journal.
            BackendUnavailableError: The journal cannot be read now.
            TamperedError: An entry is not authentic.
            ClosedError: The manager is closed.
        """
        store = self._store()
        with self._gate.recording_look("journal_show", "", backend=store.name) as facts:
            entry = self._found(store, id)
            facts.update(key=entry.place.name, detail=_told(entry))
        return self._shown(entry)

    @recorded_at_once
    def replay(self, backend: str | None = None) -> Replayed:
        """Make what waits now, as far as backends answer; one that is known to be out of reach is asked again first.

        It needs no right of its own: each write was decided about when it was accepted, and is recorded as of
        whoever wrote.

        Args:
            backend: Only what waits for this one, by its configured name.

        Raises:
            ConfigurationError: There is no such backend, or no journal.
            BackendUnavailableError: The journal cannot be read now.
            AuditError: It could not be recorded; ``applied`` tells whether a write was made.
            ClosedError: The manager is closed.
        """
        store = self._store()
        known = self._parts.configuration.backends
        if backend is not None and backend not in known:
            raise ConfigurationError(f"there is no backend {backend!r}", hint=f"configured here: {', '.join(known)}")
        attempt = Attempt(self._parts, self._gate, "journal_replay", backend=backend)
        try:
            result = self._replayed(store, backend)
        except BaseException as error:
            try:
                attempt.end(result=error.code if isinstance(error, StrongroomError) else INTERRUPTED)
            except (AuditError, ClosedError) as failure:
                error.add_note(f"its outcome could not be recorded either: {failure.what}")
            raise
        _end(attempt, result)
        return result

    @recorded_at_once
    def drop(self, id: str) -> QueuedWrite:
        """Give up a write, whatever its state. What was made over it is set aside when its turn comes.

        It takes the right to what the write does: to update, to rotate or to delete its secret.

        Args:
            id: The entry's id, or how it begins.

        Returns:
            What has been given up.

        Raises:
            SecretNotFoundError: There is no such entry (any more), or this principal may not know of it.
            ConfigurationError: Several ids begin so, or it is too short; or there is no journal.
            AccessDeniedError: This principal may not change that secret so.
            BackendUnavailableError: The journal cannot be used now, or the entry is just being made (code ``busy``).
            TamperedError: An entry is not authentic.
            AuditError: It could not be recorded; ``applied`` tells whether it was dropped.
            ClosedError: The manager is closed.
        """
        store, entry = self._decided("journal_drop", id)
        with self._change("journal_drop", entry.place.name, entry.place.backend, detail=_told(entry)):
            self._remove(store, entry)
        return self._shown(entry)

    @recorded_at_once
    def resolve(self, id: str, keep: str) -> QueuedWrite | None:
        """Decide about a write that is set aside.

        With ``ours`` it waits again, over the version that was found in the conflict, and is tried at once. If the
        backend has moved on since, that is a conflict again: nothing is overwritten that nobody has seen. One that
        was set aside for another reason is tried as it is. With ``theirs`` it is given up, and the backend's version
        stays. It takes the right to what the write does, as for :meth:`drop`.

        Args:
            id: The entry's id, or how it begins.
            keep: ``ours`` or ``theirs``.

        Returns:
            The entry as it is now; ``None`` if it has been made, or given up.

        Raises:
            SecretNotFoundError: There is no such entry (any more), or this principal may not know of it.
            ConfigurationError: Several ids begin so, or it is too short; ``keep`` is neither; the entry is not set
                aside, or bound to something else than the backend is now; or there is no journal.
            AccessDeniedError: This principal may not change that secret so.
            VersionConflictError: A newer write of that secret waits, which would be overtaken.
            BackendUnavailableError: The journal cannot be used now, or others are just replaying it (code ``busy``).
            TamperedError: An entry is not authentic.
            AuditError: It could not be recorded; ``applied`` tells whether it was decided.
            ClosedError: The manager is closed.
        """
        if keep not in {_OURS, _THEIRS}:
            raise ConfigurationError(f"keep is {_OURS} or {_THEIRS}", hint="say which of the two versions is to stay")
        store, entry = self._decided("journal_resolve", id)
        with self._gate.recording_as("journal_resolve").recording_refusal(_RIGHTS[entry.change], entry.place.name):
            backend = self._resolvable(entry, keep)
        told = f"{_told(entry)}: {keep}"
        with self._change("journal_resolve", entry.place.name, entry.place.backend, detail=told):
            if backend is None:
                self._remove(store, entry)
            else:
                self._revive(store, entry, backend)
        if backend is None:
            return None
        self._parts.continuity.attendant.replay(backend)
        left = store.entries(EntriesRequest(id=entry.id))
        return self._shown(left[0]) if left else None

    # What is shown

    def _store(self) -> FallbackStore:
        """Return the fallback store.

        Raises:
            ConfigurationError: There is none.
        """
        self._parts.ensure_open()
        store = self._parts.continuity.store
        if store is None:
            raise ConfigurationError(
                "there is no journal, since no fallback store is configured",
                hint='name a backend of type = "local" under `fallback`, at the top of the configuration',
            )
        return store

    def _may_see(self, entry: Entry) -> bool:
        return self._gate.permits(Action.LIST, entry.place.name)

    def _shown(self, entry: Entry) -> QueuedWrite:
        elsewhere = self._elsewhere(entry)
        return QueuedWrite(
            id=entry.id,
            name=entry.place.name,
            backend=entry.place.backend,
            target=entry.place.target,
            change=entry.change,
            queued=datetime.fromtimestamp(entry.queued, UTC),
            age=max(0.0, self._parts.wall_clock() / 1e9 - entry.queued),
            size=0 if entry.value is None else len(entry.value),
            principal=entry.principal,
            on_behalf_of=entry.on_behalf_of,
            state=entry.state,
            reason=entry.reason or elsewhere,
            expected=entry.expected,
            follows=entry.follows,
            found=entry.found,
            found_created=entry.found_created,
            elsewhere=bool(elsewhere),
        )

    def _elsewhere(self, entry: Entry) -> str:
        """Return why an entry cannot be made where it is bound; empty if it can, or if nobody can say."""
        place = entry.place
        bound = f"the {entry.change} of {place.name} is bound to {place.target}"
        if place.backend not in self._parts.configuration.backends:
            return f"{bound}, and there is no backend {place.backend} now"
        try:
            present = self._parts.backend(place.backend).target()
        except StrongroomError:
            return ""  # whoever needs the backend itself is told
        return f"{bound}, and {place.backend} is {present} now" if present not in {None, place.target} else ""

    def _found(self, store: FallbackStore, id: str) -> Entry:
        """Return the entry whose id is this, or begins so, among those that the principal may know of."""
        if not isinstance(id, str) or len(id) < SHORTEST:
            raise ConfigurationError(
                f"an entry is named by at least {SHORTEST} characters of its id", hint="see `strongroom journal list`"
            )
        begun = [one for one in _all_of(store) if one.id.startswith(id) and self._may_know(one)]
        if len(begun) > 1:
            raise ConfigurationError("several entries' ids begin so", hint="give more characters of the one meant")
        if not begun:
            raise SecretNotFoundError("the journal has no such entry", hint="see `strongroom journal list`")
        return begun[0]

    def _may_know(self, entry: Entry) -> bool:
        return self._may_see(entry) or self._gate.permits(_RIGHTS[entry.change], entry.place.name)

    # What is decided

    def _decided(self, event: str, id: str) -> tuple[FallbackStore, Entry]:
        """Return an entry about which this principal may decide."""
        store = self._store()
        entry = self._found(store, id)
        gate, right = self._gate.recording_as(event), _RIGHTS[entry.change]
        gate.check(right, entry.place.name)
        gate.judge(right, entry.place.name)
        return store, entry

    def _remove(self, store: FallbackStore, entry: Entry) -> None:
        if not entry.state.waits:
            store.settle([Settlement(entry=entry, dropped=True)])
            return
        with _Claimed(store, entry):
            store.settle([Settlement(entry=self._still(store, entry), dropped=True)])

    def _still(self, store: FallbackStore, entry: Entry) -> Entry:
        """Return an entry as it is now that nobody else settles it."""
        found = store.entries(EntriesRequest(id=entry.id))
        if not found:
            raise SecretNotFoundError(
                f"the {entry.change} of {entry.place.name} is not in the journal any more",
                name=entry.place.name,
                hint="it has been made, or somebody else has dropped it",
            )
        return found[0]

    def _resolvable(self, entry: Entry, keep: str) -> GuardedBackend | None:
        """Return the backend that is to make a write all the same; ``None`` if the write is to be given up.

        Raises:
            StrongroomError: It cannot be decided so.
        """
        if entry.state.waits:
            raise ConfigurationError(
                f"the {entry.change} of {entry.place.name} waits, so there is nothing to decide",
                hint="`strongroom journal drop` gives it up, and `strongroom journal replay` makes it",
            )
        if keep == _THEIRS:
            return None
        elsewhere = self._elsewhere(entry)
        if elsewhere:
            raise ConfigurationError(elsewhere, hint="configure the backend as it was, or drop the entry")
        return self._parts.backend(entry.place.backend)

    def _revive(self, store: FallbackStore, entry: Entry, backend: GuardedBackend) -> None:
        """Let a write that is set aside wait again."""
        with _Claimed(store, entry):
            entry = self._still(store, entry)
            newest = store.recall(entry.place).entry
            if newest is not None and newest.id != entry.follows:
                raise VersionConflictError(
                    f"entry {newest.id} of {entry.place.name} was accepted later, and waits",
                    expected=entry.expected or ABSENT_TEXT,
                    found=newest.id,
                    name=entry.place.name,
                    hint="let that one be made first, or drop it",
                )
            # Over another version than before it is a new write. Else it may have been sent: that is looked into.
            in_doubt = entry.found is None and entry.expected is not None
            again = entry.replace(
                state=EntryState.UNCLEAR if in_doubt else EntryState.WAITING,
                queued=store.now(),
                reason="",
                found=None,
                found_created=None,
                follows=None if newest is None else entry.follows,
                expected=_base(entry, backend),
            )
            store.settle([Settlement(entry=again)])

    def _replayed(self, store: FallbackStore, only: str | None) -> Replayed:
        made = set_aside = here = 0
        # Each reason once, in their order.
        left: dict[str, None] = {}
        for name in self._parts.configuration.backends if only is None else (only,):
            if name == store.name or not store.status(name).waiting:
                continue
            try:
                backend = self._parts.backend(name)
                caught = self._parts.continuity.attendant.replay(backend)
            except StrongroomError as error:
                left[error.what] = None
                here += store.status(name).waiting
                continue
            made, set_aside = made + caught.made, set_aside + caught.set_aside
            here += store.status(name, backend.target()).waiting
            if caught.left:
                left[caught.left] = None
                # It is looked after from now on, as one is that has just failed.
                self._parts.continuity.attendant.attend(backend)
        waiting = store.status(only).waiting
        if waiting > here:
            left[f"{waiting - here} are bound to something else than their backends are now"] = None
        return Replayed(made=made, set_aside=set_aside, waiting=waiting, left="; ".join(left) if waiting else "")


class _Claimed:
    """Nobody makes what waits for an entry's target within the ``with`` block."""

    def __init__(self, store: FallbackStore, entry: Entry) -> None:
        self._store = store
        self._place = entry.place
        self._claim = ClaimRequest(backend=entry.place.backend, target=entry.place.target)

    def __enter__(self) -> None:
        if not self._store.claim(self._claim):
            raise BackendUnavailableError(
                f"what waits for {self._place.backend} is just being made",
                code="busy",
                name=self._place.name,
                backend=self._store.name,
                hint="try again in a moment",
            )

    def __exit__(self, *exception: object) -> None:
        self._store.release(self._claim)


def _all_of(store: FallbackStore) -> Iterator[Entry]:
    """Yield all entries in their order."""
    after = 0
    while page := store.entries(EntriesRequest(after=after, limit=PAGE)):
        yield from page
        after = page[-1].position


def _told(entry: Entry) -> str:
    return f"the {entry.change} accepted as entry {entry.id}"


def _base(entry: Entry, backend: GuardedBackend) -> str | None:
    """Return the version over which a write that is set aside is to be made; ``None`` for none."""
    if entry.found is None:
        return entry.expected
    if not {Capability.CHECK_AND_SET, Capability.VERSIONS} & backend.capabilities:
        # Another process may call the same value by another version there: it is what is there at this moment.
        try:
            return backend.read(ReadRequest(name=entry.place.name)).version
        except SecretNotFoundError:
            return None
    return None if entry.found == ABSENT_TEXT else entry.found


def _end(attempt: Attempt, result: Replayed) -> None:
    """Record the outcome of a replay."""
    told = f"made {result.made}, set aside {result.set_aside}, waiting {result.waiting}"
    try:
        attempt.end(count=result.made, detail=told)
    except (AuditError, ClosedError) as error:
        raise AuditError(
            f"the replay has {told}, but that could not be recorded: {error.what}",
            applied=result.made > 0,
            hint="`strongroom audit report` lists the open attempt; mend the sink first",
        ) from error
