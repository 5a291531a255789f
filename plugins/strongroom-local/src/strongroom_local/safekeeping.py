"""Copies of other backends' secrets, and writes that wait for them: what the store keeps for others in an outage."""

from __future__ import annotations

import hmac
import sqlite3

from collections.abc import Callable
from typing import Final, TypeVar

from strongroom.contracts.journal import (
    AppendRequest,
    AppendResult,
    ClaimRequest,
    ClaimResult,
    DropCopiesRequest,
    EntriesRequest,
    EntriesResult,
    Journal,
    JournalStatus,
    JournalStatusRequest,
    KeepCopiesRequest,
    RecallRequest,
    RecallResult,
    SettleRequest,
)
from strongroom_local import journal_schema as schema
from strongroom_local.claims import Claims
from strongroom_local.encoding import fields, spelled
from strongroom_local.keys import StoreKeys
from strongroom_local.revisions import Revision
from strongroom_local.session import Session

Result = TypeVar("Result")

NOTHING: Final = RecallResult(copy=None, entry=None)


class Shelf:
    """What an open store keeps for others. Threads share it.

    Args:
        session: The store.
        count: Told how often the store's own keys have been used, after each change.
    """

    def __init__(self, session: Session, count: Callable[[int], None]) -> None:
        self.session = session
        self.claims = Claims(session.pool.path)
        self._count = count
        self._tables = False, False
        self._claim_key = b""

    def change(self, act: Callable[[Revision], Result]) -> Result:
        """Run an act as one writing transaction."""

        def step(cursor: sqlite3.Cursor, keys: StoreKeys) -> tuple[Result, int]:
            revision = Revision(cursor, keys)
            result = act(revision)
            return result, revision.finish()

        result, encryptions = self.session.transact(step)
        self._count(encryptions)
        return result

    def recall(self, request: RecallRequest) -> RecallResult:
        """Return what is known of a secret: one statement, and one decryption of each thing that is known."""
        while True:
            known = self._known_tables()
            found = self._recalled(request, *known)
            if found != NOTHING or all(known) or self._known_tables() == known:
                return found
            # A table that has been made meanwhile may have what the other one has lost since.

    def _known_tables(self) -> tuple[bool, bool]:
        """Return whether there is a table of copies, and one of the journal."""
        from strongroom_local.journal import check_tables

        if not all(self._tables):
            # A table that is there stays.
            keys, row = self.session.ask(schema.HAS_TABLES)
            self._tables = check_tables(keys, row)
        return self._tables

    def _recalled(self, request: RecallRequest, copies: bool, journal: bool) -> RecallResult:
        from strongroom_local.journal import recalled

        journal = journal and not request.copy_only
        if not (copies or journal):
            return NOTHING

        def parameters(keys: StoreKeys) -> tuple[bytes, bytes]:
            return keys.journal.find_copy(request.place), keys.journal.find_place(request.place)

        keys, row = self.session.ask(schema.recall(copies, journal), parameters)
        return recalled(keys, keys.journal.find_copy(request.place), row)

    def claim(self, request: ClaimRequest) -> bool:
        """Lock the file of a target, and tell whether nobody else has locked it."""
        return self.claims.take(self._name_of(request))

    def release(self, request: ClaimRequest) -> None:
        """Unlock the file of a target. Without the key for its name, none has been locked here."""
        if self._claim_key:
            self.claims.give(self._name_of(request))

    def _name_of(self, request: ClaimRequest) -> str:
        """Return what the file of a claim is called after: the same in all processes, also after a change of keys."""
        from strongroom_local.journal import claim_key

        if not self._claim_key:
            self._claim_key = self.change(claim_key)
        content = fields(spelled(request.backend), spelled(request.target))
        return hmac.digest(self._claim_key, content, "sha256").hex()[:32]


class Safekeeping(Journal):
    """The part of the backend that keeps copies and a journal; ``docs/local-store-format.md`` describes both."""

    _shelf: Shelf

    def keep_copies(self, request: KeepCopiesRequest) -> None:
        """Keep copies, durably, in one transaction, unless there are newer ones."""
        from strongroom_local.copies import keep_copy

        def keep(revision: Revision) -> None:
            for copy in request.copies:
                keep_copy(revision, copy, request.now)

        self._shelf.change(keep)

    def drop_copies(self, request: DropCopiesRequest) -> None:
        """Forget copies, durably, in one transaction."""
        from strongroom_local.copies import drop_copy

        def drop(revision: Revision) -> None:
            for place in request.places:
                drop_copy(revision, place)

        self._shelf.change(drop)

    def recall(self, request: RecallRequest) -> RecallResult:
        """Return the copy of a secret, and the newest write of it that waits; that there is none is not proved."""
        return self._shelf.recall(request)

    def append(self, request: AppendRequest) -> AppendResult:
        """Accept a write, durably, in one transaction, unless that would be too much or it comes too late."""
        from strongroom_local.journal import append

        return self._shelf.change(lambda revision: append(revision, request))

    def entries(self, request: EntriesRequest) -> EntriesResult:
        """Return entries in their order, having counted that none is missing."""
        from strongroom_local.journal import entries

        found = self._shelf.session.snapshot(lambda cursor, keys: entries(cursor, keys, request))
        return EntriesResult(entries=found)

    def settle(self, request: SettleRequest) -> None:
        """Note what has become of entries, durably, in one transaction."""
        from strongroom_local.journal import settle

        def note(revision: Revision) -> None:
            for settlement in request.settlements:
                settle(revision, settlement, request.now)

        self._shelf.change(note)

    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        """Return how many entries there are, and when the oldest of those that wait was accepted."""
        from strongroom_local.journal import status

        return self._shelf.session.snapshot(lambda cursor, keys: status(cursor, keys, request))

    def claim(self, request: ClaimRequest) -> ClaimResult:
        """Lock the file of a target, unless somebody has locked it; the system unlocks it when this process ends."""
        return ClaimResult(granted=self._shelf.claim(request))

    def release(self, request: ClaimRequest) -> None:
        """Unlock the file of a target."""
        self._shelf.release(request)
