"""Copies and a journal in memory: the shortest complete answer to the contract of a journal."""

from __future__ import annotations

import itertools
import threading

from strongroom.contracts.journal import (
    Appended,
    AppendRequest,
    AppendResult,
    ClaimRequest,
    ClaimResult,
    Copy,
    DropCopiesRequest,
    EntriesRequest,
    EntriesResult,
    Entry,
    Journal,
    JournalStatus,
    JournalStatusRequest,
    KeepCopiesRequest,
    Place,
    RecallRequest,
    RecallResult,
    Settlement,
    SettleRequest,
)


class MemoryJournal(Journal):
    """Keeps copies and waiting writes in this process. A forked child has copies of its own."""

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._copies: dict[Place, Copy] = {}
        # In their order: what is replaced keeps its place.
        self._entries: dict[str, Entry] = {}
        self._ids: dict[Place, list[str]] = {}
        self._bytes = 0
        self._claims: set[tuple[str, str]] = set()
        self._positions = 0

    def keep_copies(self, request: KeepCopiesRequest) -> None:
        """Keep copies, unless there is a newer one."""
        with self._guard:
            for copy in request.copies:
                self._keep_copy(copy, request.now)

    def _keep_copy(self, copy: Copy, now: float) -> None:
        old = self._copies.get(copy.place)
        if old is None or not copy.taken < old.taken <= now:
            self._copies[copy.place] = copy

    def drop_copies(self, request: DropCopiesRequest) -> None:
        """Forget copies."""
        with self._guard:
            for place in request.places:
                self._copies.pop(place, None)

    def recall(self, request: RecallRequest) -> RecallResult:
        """Return the copy of a secret, and the newest write of it that waits."""
        with self._guard:
            entry = None if request.copy_only else self._newest(request.place)
            return RecallResult(copy=self._copies.get(request.place), entry=entry)

    def _newest(self, place: Place) -> Entry | None:
        known = (self._entries[one] for one in reversed(self._ids.get(place, ())))
        return next((entry for entry in known if entry.state.waits), None)

    def append(self, request: AppendRequest) -> AppendResult:
        """Accept a write, unless that would be too much, or another one was accepted meanwhile."""
        entry = request.entry
        with self._guard:
            newest = self._newest(entry.place)
            if (newest.id if newest is not None else None) != entry.follows:
                return AppendResult(outcome=Appended.MOVED)
            if len(self._entries) >= request.max_entries or self._bytes + _size(entry) > request.max_bytes:
                return AppendResult(outcome=Appended.FULL)
            self._positions += 1
            self._entries[entry.id] = entry.replace(position=self._positions)
            self._ids.setdefault(entry.place, []).append(entry.id)
            self._bytes += _size(entry)
            return AppendResult(outcome=Appended.YES, position=self._positions)

    def entries(self, request: EntriesRequest) -> EntriesResult:
        """Return entries in their order."""
        with self._guard:
            asked = (one for one in self._entries.values() if _concerns(request, one))
            return EntriesResult(entries=tuple(itertools.islice(asked, request.limit)))

    def settle(self, request: SettleRequest) -> None:
        """Note what has become of entries."""
        with self._guard:
            for settlement in request.settlements:
                if settlement.entry.id in self._entries:
                    self._settle(settlement, request.now)

    def _settle(self, settlement: Settlement, now: float) -> None:
        entry = settlement.entry
        if not (settlement.done or settlement.dropped):
            self._entries[entry.id] = entry
            return
        self._remove(entry)
        if not settlement.done:
            return
        if settlement.copy is not None:
            self._keep_copy(settlement.copy, now)
        elif settlement.drop_copy:
            self._copies.pop(entry.place, None)
        for one in self._ids.get(entry.place, ()):
            if self._entries[one].follows == entry.id:
                self._entries[one] = self._entries[one].replace(follows=None, expected=settlement.version)

    def _remove(self, entry: Entry) -> None:
        self._bytes -= _size(self._entries.pop(entry.id))
        self._ids[entry.place].remove(entry.id)
        if not self._ids[entry.place]:
            del self._ids[entry.place]

    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        """Count entries."""
        with self._guard:
            asked = [
                one
                for one in self._entries.values()
                if request.backend in {None, one.place.backend} and request.target in {None, one.place.target}
            ]
        waiting = [one for one in asked if one.state.waits]
        return JournalStatus(
            waiting=len(waiting),
            set_aside=len(asked) - len(waiting),
            size=sum(map(_size, asked)),
            oldest=min((one.queued for one in waiting), default=None),
        )

    def claim(self, request: ClaimRequest) -> ClaimResult:
        """Become the one who makes the writes that wait for a target."""
        claim = (request.backend, request.target)
        with self._guard:
            granted = claim not in self._claims
            self._claims.add(claim)
            return ClaimResult(granted=granted)

    def release(self, request: ClaimRequest) -> None:
        """Give up a claim."""
        with self._guard:
            self._claims.discard((request.backend, request.target))

    def forget(self) -> None:
        """Let go of every value."""
        self._copies = {}
        self._entries = {}
        self._ids = {}
        self._bytes = 0

    def start_in_child(self) -> None:
        """Take a new lock in a forked child, where claims are the parent's."""
        self._guard = threading.RLock()
        self._claims = set()


def _size(entry: Entry) -> int:
    return 0 if entry.value is None else len(entry.value)


def _concerns(request: EntriesRequest, entry: Entry) -> bool:
    return (
        request.backend in {None, entry.place.backend}
        and request.target in {None, entry.place.target}
        and request.id in {None, entry.id}
        and (entry.state.waits or not request.waiting)
        and entry.position > request.after
    )
