"""What each method of the journal does within its transaction."""

from __future__ import annotations

import sqlite3

from typing import Any

from strongroom.contracts.journal import (
    Appended,
    AppendRequest,
    AppendResult,
    EntriesRequest,
    Entry,
    JournalStatus,
    JournalStatusRequest,
    RecallResult,
    Settlement,
)
from strongroom.errors import InvalidValueError, TamperedError
from strongroom_local import journal_schema as schema
from strongroom_local.copies import drop_copy, keep_copy, open_copy
from strongroom_local.digest import Digest
from strongroom_local.encoding import random_bytes
from strongroom_local.entries import Row, count, count_no_more, entry_row, open_entry, size_of
from strongroom_local.faults import tampered
from strongroom_local.keys import StoreKeys
from strongroom_local.revisions import Revision
from strongroom_local.schema import STORE, has_kept


def append(revision: Revision, request: AppendRequest) -> AppendResult:
    """Accept a write, unless that would be too much, or another one was accepted meanwhile.

    Args:
        revision: The change that this is a part of.
        request: The write, and how much there may be.

    Raises:
        TamperedError: The write that it follows is not authentic, or the journal is missing.
        InvalidValueError: There is an entry of this id already.
    """
    entry, held = request.entry, revision.digest.journal
    there = _check_table(has_kept(revision.cursor)[1], revision.digest)
    newest = _newest(revision, entry) if there else None
    if (None if newest is None else newest.id) != entry.follows:
        return AppendResult(outcome=Appended.MOVED)
    if held.entries >= request.max_entries or held.size + size_of(entry) > request.max_bytes:
        return AppendResult(outcome=Appended.FULL)
    if not there:
        for statement in schema.JOURNAL.values():
            revision.cursor.execute(statement)
    elif _row_of(revision, entry.id) is not None:
        raise InvalidValueError(f"there is an entry {entry.id} already", hint="give each its own random id")
    held.last += 1
    row = entry_row(revision.sealing(), entry.replace(position=held.last))
    revision.change(schema.ADD_ENTRY, row)
    count(revision.digest, row)
    return AppendResult(outcome=Appended.YES, position=held.last)


def settle(revision: Revision, settlement: Settlement, now: float) -> None:
    """Note what has become of an entry, unless it is not there any more.

    Args:
        revision: The change that this is a part of.
        settlement: What has become of it.
        now: The writer's time, in seconds since 1970 UTC.

    Raises:
        TamperedError: The entry is not authentic.
    """
    row = _row_of(revision, settlement.entry.id)
    if row is None:
        return
    old = open_entry(revision.keys, row)
    if not (settlement.done or settlement.dropped):
        kept = {"id": old.id, "place": old.place, "change": old.change, "position": old.position}
        _replace(revision, row, settlement.entry.replace(**kept))
        return
    revision.change(schema.DROP_ENTRY, (old.position,))
    count_no_more(revision.digest, row)
    if not settlement.done:
        return
    if settlement.copy is not None:
        keep_copy(revision, settlement.copy, now)
    elif settlement.drop_copy:
        drop_copy(revision, old.place)
    for follower in revision.cursor.execute(schema.FOLLOWERS, (row[1],)).fetchall():
        entry = _authentic(revision.keys, follower)
        # One that is not authentic is left to whoever comes to it: what was made is noted all the same.
        if entry is not None:
            _replace(revision, follower, entry.replace(follows=None, expected=settlement.version))


def entries(cursor: sqlite3.Cursor, keys: StoreKeys, request: EntriesRequest) -> tuple[Entry, ...]:
    """Return entries in their order, within a transaction that has checked the key epoch.

    Raises:
        TamperedError: One is not authentic, or there are not as many as there should be.
    """
    if not _counted(cursor, keys)[0]:
        return ()
    by_target = request.backend is not None and request.target is not None
    statement = schema.entries(request.id is not None, by_target, request.waiting)
    parameters = {
        "after": request.after,
        "entry": keys.journal.find_entry(request.id or ""),
        "target": keys.journal.find_target(request.backend or "", request.target or ""),
    }
    found: list[Entry] = []
    for row in cursor.execute(statement, parameters):
        if request.limit is not None and len(found) >= request.limit:
            break
        entry = open_entry(keys, row)
        if _is_bound(entry, request):
            found.append(entry)
    return tuple(found)


def status(cursor: sqlite3.Cursor, keys: StoreKeys, request: JournalStatusRequest) -> JournalStatus:
    """Count entries, within a transaction that has checked the key epoch.

    How many there are in all, the digest says; those of some targets are counted, and so are all. One that is not
    authentic counts, too: it must not keep anybody from looking for the others.

    Raises:
        TamperedError: There are not as many as there should be.
    """
    if request.backend is None and request.target is None:
        held = _digest(cursor, keys).journal
        return JournalStatus(
            waiting=held.waiting,
            set_aside=held.entries - held.waiting,
            size=held.size,
            oldest=_oldest(cursor, keys, schema.OLDEST) if held.waiting else None,
        )
    totals = _counted(cursor, keys)[1]
    targets = _targets(cursor, keys, request, {target for target, *_ in totals})
    asked = [total for total in totals if total[0] in targets]
    waiting = {target for target, waits, *_ in asked if waits}
    oldest = [_oldest(cursor, keys, schema.OLDEST_OF, target) for target in waiting]
    return JournalStatus(
        waiting=sum(number for _, waits, number, _ in asked if waits),
        set_aside=sum(number for _, waits, number, _ in asked if not waits),
        size=sum(size for *_, size in asked),
        oldest=min((one for one in oldest if one is not None), default=None),
    )


def _targets(cursor: sqlite3.Cursor, keys: StoreKeys, request: JournalStatusRequest, there: set[bytes]) -> set[bytes]:
    """Return the look-up values of the targets that are asked for, of those of which there are entries."""
    if request.backend is not None and request.target is not None:
        return {keys.journal.find_target(request.backend, request.target)}
    found = set()
    for target in there:
        opened = (_authentic(keys, row) for row in cursor.execute(schema.ALL_OF, (target,)))
        entry = next((one for one in opened if one is not None), None)
        # If nobody can say whose they are, they are anybody's, so that nobody takes them for none.
        if entry is None or _is_bound(entry, request):
            found.add(target)
    return found


def recalled(keys: StoreKeys, copies: bytes, row: Row) -> RecallResult:
    """Return what is known of a secret.

    Args:
        keys: The store's keys.
        copies: What its copy is looked up by.
        row: What ``journal_schema.recall`` has found.

    Raises:
        TamperedError: The write that waits is not authentic; or none waits, and the copy is not.
    """
    _, sealed, *found = row
    entry = None if found[0] is None else open_entry(keys, tuple(found))
    try:
        copy = None if sealed is None else open_copy(keys, copies, sealed)
    except TamperedError:
        if entry is None:
            raise
        copy = None  # it must not hide a write that is newer than it
    return RecallResult(copy=copy, entry=entry)


def claim_key(revision: Revision) -> bytes:
    """Return the key of the names of the files by which targets are claimed; one that is missing is made."""
    held = revision.digest.journal
    if not any(held.claim_key):
        revision.set_claim_key(random_bytes(len(held.claim_key)))
    return held.claim_key


def check_tables(keys: StoreKeys, row: Row) -> tuple[bool, bool]:
    """Tell whether there is a table of copies, and a journal.

    Args:
        keys: The store's keys.
        row: What ``journal_schema.HAS_TABLES`` has found.

    Raises:
        TamperedError: The journal is missing, or the digest is not authentic.
    """
    _, copies, journal, counter, sealed = row
    return bool(copies), bool(journal) or _check_table(False, Digest.open(keys, counter, sealed))


def _check_table(there: bool, digest: Digest) -> bool:
    if not there and digest.journal.entries:
        raise _incomplete()
    return there


def _incomplete() -> Exception:
    return tampered("the journal that the local store keeps does not have each entry that it should")


def _newest(revision: Revision, entry: Entry) -> Entry | None:
    """Return the newest write of the same secret that waits."""
    place = revision.keys.journal.find_place(entry.place)
    row = revision.cursor.execute(schema.NEWEST, (place,)).fetchone()
    return None if row is None else open_entry(revision.keys, row)


def _row_of(revision: Revision, identity: str) -> Row | None:
    if not _check_table(has_kept(revision.cursor)[1], revision.digest):
        return None
    row: Row | None = revision.cursor.execute(schema.ENTRY, (revision.keys.journal.find_entry(identity),)).fetchone()
    return row


def _replace(revision: Revision, old: Row, entry: Entry) -> None:
    row = entry_row(revision.sealing(), entry)
    revision.change(schema.SET_ENTRY, row)
    count_no_more(revision.digest, old)
    count(revision.digest, row)


def _digest(cursor: sqlite3.Cursor, keys: StoreKeys) -> Digest:
    _, counter, sealed = cursor.execute(STORE).fetchone()
    return Digest.open(keys, counter, sealed)


def _counted(cursor: sqlite3.Cursor, keys: StoreKeys) -> tuple[bool, list[tuple[Any, ...]]]:
    """Count the entries by target, and by whether they wait; tell first whether there is a journal at all.

    Raises:
        TamperedError: There are not as many as the digest says, or the digest is not authentic.
    """
    digest = _digest(cursor, keys)
    if not _check_table(has_kept(cursor)[1], digest):
        return False, []
    totals = cursor.execute(schema.TOTALS).fetchall()
    held = digest.journal
    # A damaged file may hold any type: the sum of such sizes is none, or no whole number.
    sound = all(waits in {0, 1} and type(size) is int for _, waits, _, size in totals)
    if not sound or _summed(totals) != (held.entries, held.waiting, held.size):
        raise _incomplete()
    return True, totals


def _summed(totals: list[tuple[Any, ...]]) -> tuple[int, int, int]:
    return (
        sum(number for _, _, number, _ in totals),
        sum(number for _, waits, number, _ in totals if waits),
        sum(size for *_, size in totals),
    )


def _oldest(cursor: sqlite3.Cursor, keys: StoreKeys, statement: str, *target: bytes) -> float | None:
    """Return when the oldest of those that wait was accepted, as far as they are authentic; ``None`` if none is."""
    none = True
    if has_kept(cursor)[1]:
        for row in cursor.execute(statement, target):
            none = False
            entry = _authentic(keys, row)
            if entry is not None:
                return entry.queued
    if none:
        raise _incomplete()
    return None


def _authentic(keys: StoreKeys, row: Row) -> Entry | None:
    try:
        return open_entry(keys, row)
    except TamperedError:
        return None


def _is_bound(entry: Entry, request: EntriesRequest | JournalStatusRequest) -> bool:
    return request.backend in {None, entry.place.backend} and request.target in {None, entry.place.target}
