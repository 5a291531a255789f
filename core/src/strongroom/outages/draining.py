"""Makes all the writes that wait for one place, in the order in which they were accepted of each name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from strongroom._record import Record
from strongroom.audit.stage import AuditStage
from strongroom.contracts.backend import ReadResult
from strongroom.contracts.journal import Copy, EntriesRequest, Entry, EntryState, Place, Settlement
from strongroom.crew import run_all
from strongroom.errors import AuditError, BackendUnavailableError, ClosedError, StrongroomError, TamperedError
from strongroom.events.updates import SecretUpdated
from strongroom.model import ABSENT, AuditEvent, Principal, PrincipalSource, SecretName
from strongroom.outages.applying import Applied, Applier
from strongroom.outages.fallback import FallbackStore
from strongroom.resilience.guarded import GuardedBackend

CHUNK: Final = 256
"""How many writes that wait are taken in hand at a time."""
THREADS: Final = 4
"""How many writes, of as many names, are made at the same time."""
MOST_PUT_OFF: Final = 8
"""How many writes in a row may fail without anybody knowing why, before it is the backend that fails."""


class CaughtUp(Record):
    """What became of the writes that waited for a backend."""

    made: int = 0
    set_aside: int = 0
    left: str = ""
    """Why some still wait; empty if none does."""


class _Done(Record):
    """What has become of one write in a round, and what the trail says of it."""

    applied: Applied
    result: str


class Drain:
    """One pass over what waits. Whoever makes it holds the claim.

    Each round takes one write of each name, so that none overtakes another of its name, and notes what has become
    of all of them in one step. If the process dies in between, what was made is found to be made the next time.

    A write that cannot be made for a reason of its own is set aside, and what was made over it with it; the others
    go on. An error that is about all of them ends the pass, and everything else waits. A write with which the
    backend fails for no known reason is put off until the next pass. One that is not authentic ends the pass, too:
    what was accepted before it is made, and what comes behind it waits, since nobody can say what it was about.

    Args:
        store: The fallback store.
        audit: Records each write before and after it is made.
        changed: Told of each secret that has been changed, or that is not read as changed any more since the write
            is set aside; it must not wait.
        backend: Who makes the writes.
        target: What they must be bound to.
        is_over: Tells whether nothing is to be begun any more.
    """

    def __init__(
        self,
        store: FallbackStore,
        audit: AuditStage,
        changed: Callable[[SecretUpdated], object],
        backend: GuardedBackend,
        target: str,
        *,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._audit = audit
        self._changed = changed
        self._backend = backend
        self._target = target
        self._is_over = is_over
        self._applier = Applier(backend, self._copy)
        self._left = ""
        self._made = 0
        self._set_aside = 0
        self._not_made: dict[str, Entry] = {}
        """Those that are still there after this pass was at them, as they are now and without their values."""
        self._put_off = ""
        self._put_off_in_a_row = 0

    def run(self) -> CaughtUp:
        """Make what can be made; an error of the store's is raised.

        Raises:
            StrongroomError: The journal cannot be used.
        """
        after = 0
        while not self._left and (entries := self._next(after)):
            after = entries[-1].position
            while entries and not self._left:
                entries = self._round(entries)
        return CaughtUp(made=self._made, set_aside=self._set_aside, left=self._left or self._put_off)

    def _next(self, after: int) -> tuple[Entry, ...]:
        """Return the next ones that wait; fewer of them if one of many is not authentic.

        Raises:
            TamperedError: The very next one is not.
        """
        limit = CHUNK
        while True:
            request = EntriesRequest(
                backend=self._backend.name, target=self._target, waiting=True, after=after, limit=limit
            )
            try:
                return self._store.entries(request)
            except TamperedError:
                if limit == 1:
                    raise
                limit //= 4

    def _round(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Settle the first write of each name; return the others, bound to what has been made."""
        first: dict[SecretName, Entry] = {}
        for entry in entries:
            first.setdefault(entry.place.name, entry)
        followers = [entry for entry in first.values() if entry.follows is not None]
        settlements = [one for entry in followers if (one := self._behind(entry)) is not None]
        settlements += self._sent([entry for entry in first.values() if entry.follows is None and self._is_free(entry)])
        if settlements:
            self._store.settle(settlements)
        for settlement in settlements:
            self._tell(settlement)
        made = {one.entry.id: one.version for one in settlements if one.done}
        begun = {entry.id for entry in first.values()}
        return tuple(_rebound(entry, made) for entry in entries if entry.id not in begun)

    def _behind(self, entry: Entry) -> Settlement | None:
        """Set a write aside that was made over one that has not been made; ``None`` if that one still waits."""
        assert entry.follows is not None, "the others are made"
        leader = self._not_made.get(entry.follows) or self._looked_up(entry.follows)
        if leader is not None and leader.state.waits:
            self._note_not_made(entry)
            self._put_off = self._put_off or f"entry {leader.id} still waits, and another was made over it"
            return None
        reason = f"it was made over entry {entry.follows}, which has not been made"
        now = entry.replace(state=EntryState.CONFLICT, reason=reason)
        if leader is not None:
            # What the backend had instead of that one it has instead of this one, too.
            now = now.replace(expected=leader.expected, found=leader.found, found_created=leader.found_created)
        self._note_not_made(now)
        return Settlement(entry=now)

    def _is_free(self, entry: Entry) -> bool:
        """Tell whether no change of its name is under way that was given up and may come after this one yet."""
        if not self._backend.may_change_yet(entry.place.name):
            return True
        self._note_not_made(entry)
        self._put_off = self._put_off or f"a call about {entry.place.name} is under way that has not answered in time"
        return False

    def _looked_up(self, id: str) -> Entry | None:
        found = self._store.entries(EntriesRequest(id=id))
        return found[0] if found else None

    def _note_not_made(self, entry: Entry) -> None:
        self._not_made[entry.id] = entry.replace(value=None)

    def _copy(self, place: Place) -> Copy | None:
        return self._store.recall(place, copy_only=True).copy

    # One write of each of several names

    def _sent(self, ready: list[Entry]) -> list[Settlement]:
        """Make writes of different names; return what is to be noted."""
        if not ready:
            return []
        overdue = {entry.id for entry in ready if self._store.now() - entry.queued > self._longest}
        marked = self._marked([entry for entry in ready if entry.id not in overdue])
        begun = {entry.id: self._event(entry, phase="attempt") for entry in ready}
        done: dict[str, _Done] = {}
        try:
            self._audit.record(*begun.values(), durable=True)
        except (AuditError, ClosedError) as error:
            self._left = error.what
        else:
            run_all([partial(self._make, entry, entry.id in overdue, done) for entry in ready], threads=THREADS)
            self._record_ends(ready, begun, done)
        settled = [self._settlement(entry, done[entry.id].applied if done else None) for entry in ready]
        noted = {entry.id: EntryState.UNCLEAR if entry.id in marked else entry.state for entry in ready}
        # What has certainly not been sent is no more in doubt than it was.
        return [one for one in settled if one.done or one.entry.state is not noted[one.entry.id]]

    @property
    def _longest(self) -> float:
        return self._store.rules.keys.journal_max_age

    def _marked(self, entries: list[Entry]) -> set[str]:
        """Note which writes may have been made from now on; return their ids.

        Without that one could not tell later, if the process dies, whether the value that is there is ours or one
        that somebody else has written. After a delete there is none.
        """
        doubtful = [entry for entry in entries if entry.state is EntryState.WAITING and entry.value is not None]
        if doubtful:
            self._store.settle(Settlement(entry=entry.replace(state=EntryState.UNCLEAR)) for entry in doubtful)
        return {entry.id for entry in doubtful}

    def _make(self, entry: Entry, is_overdue: bool, done: dict[str, _Done]) -> None:
        """Make one write; in one of several threads."""
        if not self._left and self._is_over():
            self._left = "the manager is closed"
        if self._left:
            done[entry.id] = _Done(applied=Applied(state=entry.state), result=BackendUnavailableError.codes[0])
            return
        try:
            if is_overdue:
                applied = self._applier.expire(entry, f"it has waited for more than {self._longest:g} s")
            else:
                applied = self._applier.apply(entry)
        except StrongroomError as error:
            self._left = error.what
            state = EntryState.UNCLEAR if self._applier.has_sent(entry) else entry.state
            done[entry.id] = _Done(applied=Applied(state=state), result=error.code)
            return
        self._note_put_off(applied)
        done[entry.id] = _Done(applied=applied, result="ok" if applied.state is None else applied.state.value)

    def _note_put_off(self, applied: Applied) -> None:
        """Go on behind a write with which the backend fails, unless it fails with each."""
        if applied.state is None or not applied.state.waits:
            self._put_off_in_a_row = 0
            return
        self._put_off = applied.reason
        self._put_off_in_a_row += 1
        if self._put_off_in_a_row >= MOST_PUT_OFF:
            self._left = applied.reason

    def _settlement(self, entry: Entry, applied: Applied | None) -> Settlement:
        if applied is None or applied.state is not None:
            return Settlement(entry=self._not_made_now(entry, applied or Applied(state=entry.state)))
        copy = None
        if entry.value is not None and applied.version is not None:
            result = ReadResult(value=entry.value, version=applied.version, created=applied.created)
            if self._store.rules.rules(entry.place.name).keep_copy:
                copy = self._store.copy_of(self._backend, entry.place.name, result)
        return Settlement(entry=entry, done=True, version=applied.version, copy=copy, drop_copy=copy is None)

    def _not_made_now(self, entry: Entry, applied: Applied) -> Entry:
        assert applied.state is not None, "it is not made"
        now = entry.replace(state=applied.state)
        if not applied.state.waits:
            now = now.replace(reason=applied.reason, found=applied.found, found_created=applied.found_created)
        self._note_not_made(now)
        return now

    def _tell(self, settlement: Settlement) -> None:
        entry = settlement.entry
        if settlement.done:
            self._made += 1
            self._changed(SecretUpdated(name=entry.place.name, change=entry.change, version=settlement.version))
        elif not entry.state.waits:
            self._set_aside += 1
            # Reads do not give it any more, but what the backend has.
            version = None if entry.found == ABSENT.value else entry.found
            self._changed(SecretUpdated(name=entry.place.name, change=entry.change, version=version))

    # The trail

    def _record_ends(self, entries: list[Entry], begun: dict[str, AuditEvent], done: dict[str, _Done]) -> None:
        ended = [
            self._event(entry, id=begun[entry.id].id, result=done[entry.id].result, **_told(entry, done[entry.id]))
            for entry in entries
        ]
        try:
            self._audit.record(*ended, durable=True)
        except (AuditError, ClosedError) as error:
            # They have been made all the same, and that is noted.
            self._left = self._left or error.what

    def _event(self, entry: Entry, **facts: object) -> AuditEvent:
        return self._audit.event(
            "replay",
            principal=_principal(entry.principal, entry.principal_source),
            base=None if entry.on_behalf_of is None else _principal(entry.on_behalf_of, ""),
            **({"key": entry.place.name, "backend": self._backend.name, "detail": _detail(entry)} | facts),
        )


def _detail(entry: Entry) -> str:
    return f"{entry.change}, accepted as entry {entry.id}"


def _told(entry: Entry, done: _Done) -> dict[str, object]:
    applied = done.applied
    because = f": {applied.reason}" if applied.reason else ""
    return {
        "version": applied.version,
        "request_id": applied.request_id,
        "detail": _detail(entry) + because,
    }


def _principal(name: str, source: str) -> Principal:
    known = {one.value: one for one in PrincipalSource}
    return Principal(name=name, source=known.get(source, PrincipalSource.CONFIGURATION))


def _rebound(entry: Entry, made: dict[str, str | None]) -> Entry:
    """Return a write bound to the version that the one before it has made."""
    if entry.follows not in made:
        return entry
    return entry.replace(follows=None, expected=made[entry.follows])
