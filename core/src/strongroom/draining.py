"""Makes all the writes that wait for one place, in the order in which they were accepted of each name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from strongroom._record import Record
from strongroom.applying import STOPPING, Applied, Applier
from strongroom.audit import AuditStage
from strongroom.contracts.backend import ReadResult
from strongroom.contracts.journal import EntriesRequest, Entry, EntryState, Settlement
from strongroom.crew import run_all
from strongroom.errors import AuditError, BackendUnavailableError, ClosedError
from strongroom.events import SecretUpdated
from strongroom.fallback import FallbackStore
from strongroom.model import AuditEvent, Principal, PrincipalSource, SecretName
from strongroom.resilience import GuardedBackend

CHUNK: Final = 256
"""How many writes that wait are taken in hand at a time."""
THREADS: Final = 4
"""How many writes, of as many names, are made at the same time."""


class CaughtUp(Record):
    """What became of the writes that waited for a backend."""

    made: int = 0
    set_aside: int = 0
    left: str = ""
    """Why some still wait; empty if none does."""


class Drain:
    """One pass over what waits. Whoever makes it holds the claim.

    Each round takes one write of each name, so that none overtakes another of its name, and notes what has become
    of all of them in one step. If the process dies in between, what was made is found to be made the next time.

    Args:
        store: The fallback store.
        audit: Records each write before and after it is made.
        changed: Told of each secret that has been changed; it must not wait.
        backend: Who makes the writes.
        target: What they must be bound to.
    """

    def __init__(
        self,
        store: FallbackStore,
        audit: AuditStage,
        changed: Callable[[SecretUpdated], object],
        backend: GuardedBackend,
        target: str,
    ) -> None:
        self._store = store
        self._audit = audit
        self._changed = changed
        self._backend = backend
        self._target = target
        self._applier = Applier(backend)
        self._left = ""
        self._made = 0
        self._set_aside = 0

    def run(self) -> CaughtUp:
        """Make what can be made; an error of the store's is raised.

        Raises:
            StrongroomError: The journal cannot be used.
        """
        request = EntriesRequest(backend=self._backend.name, target=self._target, waiting=True, limit=CHUNK)
        while not self._left and (entries := self._store.entries(request)):
            while entries and not self._left:
                entries = self._round(entries)
        return CaughtUp(made=self._made, set_aside=self._set_aside, left=self._left)

    def _round(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """Settle the first write of each name; return the others, bound to what has been made."""
        first: dict[SecretName, Entry] = {}
        for entry in entries:
            first.setdefault(entry.place.name, entry)
        outcomes = {entry.id: self._judged(entry) for entry in first.values()}
        ready = [entry for entry in first.values() if outcomes[entry.id] is None]
        outcomes |= self._sent(ready)
        settlements = [
            self._settlement(entry, applied) for entry in first.values() if (applied := outcomes[entry.id]) is not None
        ]
        if settlements:
            self._store.settle(settlements)
        for settlement in settlements:
            self._tell(settlement)
        made = {one.entry.id: one.version for one in settlements if one.done}
        return tuple(_rebound(entry, made) for entry in entries if entry.id not in outcomes)

    def _judged(self, entry: Entry) -> Applied | None:
        """Return why a write is not even to be tried, if so."""
        if entry.follows is not None:
            reason = f"it was made over entry {entry.follows}, which has not been made"
            return Applied(state=EntryState.CONFLICT, reason=reason)
        longest = self._store.rules.keys.journal_max_age
        if self._store.now() - entry.queued > longest:
            return Applied(state=EntryState.OVERDUE, reason=f"it has waited for more than {longest:g} s")
        return None

    def _sent(self, ready: list[Entry]) -> dict[str, Applied | None]:
        """Make writes of different names; ``None`` stands for one that could not be made now."""
        if not ready:
            return {}
        if not self._applier.is_conditional:
            # The backend could not tell later that one had been made already.
            self._store.settle(Settlement(entry=one.replace(state=EntryState.UNCLEAR)) for one in ready)
        begun = {entry.id: self._event(entry, phase="attempt") for entry in ready}
        try:
            self._audit.record(*begun.values(), durable=True)
        except (AuditError, ClosedError) as error:
            self._left = error.what
            return dict.fromkeys(begun)
        outcomes: dict[str, Applied | None] = {}
        results: dict[str, str] = {}
        run_all([partial(self._make, entry, outcomes, results) for entry in ready], threads=THREADS)
        ended = [
            self._event(entry, id=begun[entry.id].id, result=results[entry.id], **_told(outcomes[entry.id]))
            for entry in ready
        ]
        try:
            self._audit.record(*ended, durable=True)
        except (AuditError, ClosedError) as error:
            # They have been made all the same, and that is noted.
            self._left = self._left or error.what
        return outcomes

    def _make(self, entry: Entry, outcomes: dict[str, Applied | None], results: dict[str, str]) -> None:
        """Make one write; in one of several threads."""
        if self._left:
            outcomes[entry.id], results[entry.id] = None, BackendUnavailableError.codes[0]
            return
        try:
            applied = self._applier.apply(entry)
        except STOPPING as error:
            self._left = error.what
            results[entry.id] = error.code
            sent = isinstance(error, BackendUnavailableError) and not error.unsent
            outcomes[entry.id] = Applied(state=EntryState.UNCLEAR) if sent else None
            return
        outcomes[entry.id] = applied
        results[entry.id] = "ok" if applied.state is None else applied.state.value

    def _settlement(self, entry: Entry, applied: Applied) -> Settlement:
        if applied.state is not None:
            now = entry.replace(
                state=applied.state, reason=applied.reason, found=applied.found, found_created=applied.found_created
            )
            return Settlement(entry=now)
        copy = None
        if entry.value is not None and applied.version is not None:
            result = ReadResult(value=entry.value, version=applied.version, created=applied.created)
            if self._store.rules.rules(entry.place.name).keep_copy:
                copy = self._store.copy_of(self._backend, entry.place.name, result)
        return Settlement(entry=entry, done=True, version=applied.version, copy=copy, drop_copy=copy is None)

    def _tell(self, settlement: Settlement) -> None:
        entry = settlement.entry
        if settlement.done:
            self._made += 1
            self._changed(SecretUpdated(name=entry.place.name, change=entry.change, version=settlement.version))
        elif not entry.state.waits:
            self._set_aside += 1

    def _event(self, entry: Entry, **facts: object) -> AuditEvent:
        when = f"{entry.change}, accepted as entry {entry.id}"
        return self._audit.event(
            "replay",
            principal=_principal(entry.principal, entry.principal_source),
            base=None if entry.on_behalf_of is None else _principal(entry.on_behalf_of, ""),
            **({"key": entry.place.name, "backend": self._backend.name, "detail": when} | facts),
        )


def _told(applied: Applied | None) -> dict[str, object]:
    return {} if applied is None else {"version": applied.version, "request_id": applied.request_id}


def _principal(name: str, source: str) -> Principal:
    known = {one.value: one for one in PrincipalSource}
    return Principal(name=name, source=known.get(source, PrincipalSource.CONFIGURATION))


def _rebound(entry: Entry, made: dict[str, str | None]) -> Entry:
    """Return a write bound to the version that the one before it has made."""
    if entry.follows not in made:
        return entry
    return entry.replace(follows=None, expected=made[entry.follows])
