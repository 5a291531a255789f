"""Entries of the journal as the store keeps them: one sealed row for each write that waits or is set aside.

What a row shows is what SQL has to find and count by: look-up values, whether the write waits, how long its value
is, and when it was accepted. All of that is in the associated data: a row of which it was changed does not open.
"""

from __future__ import annotations

import sqlite3

from collections.abc import Iterator
from typing import Any

from strongroom.contracts.journal import Entry, EntryState
from strongroom.errors import StrongroomError
from strongroom_local import journal_schema as schema
from strongroom_local.digest import Digest
from strongroom_local.encoding import fields, listed, parted, spelled, u64, unspelled
from strongroom_local.faults import tampered
from strongroom_local.keys import StoreKeys
from strongroom_local.packing import (
    packed_moment,
    packed_place,
    packed_time,
    packed_value,
    unpacked_moment,
    unpacked_place,
    unpacked_time,
    unpacked_value,
)
from strongroom_local.schema import has_kept, put_row
from strongroom_local.sealing import LOOKUP_SIZE, seal, unseal

Row = tuple[Any, ...]
"""A row of the journal: position, look-up values of entry, of the one that it follows, of place and of target,
whether it waits, how many bytes its value has, when it was accepted, and its sealed content."""


def size_of(entry: Entry) -> int:
    """Return how many bytes an entry's value has."""
    return 0 if entry.value is None else len(entry.value)


def entry_row(keys: StoreKeys, entry: Entry) -> Row:
    """Return the row of an entry, sealed.

    Args:
        keys: The store's keys.
        entry: What to seal, with its position.
    """
    found = keys.journal
    clear = (
        entry.position,
        found.find_entry(entry.id),
        None if entry.follows is None else found.find_entry(entry.follows),
        found.find_place(entry.place),
        found.find_target(entry.place.backend, entry.place.target),
        int(entry.state.waits),
        size_of(entry),
        entry.queued + 0.0,  # SQLite knows no negative zero
    )
    return *clear, seal(found.entry, _packed(entry), _associated(keys, clear))


def open_entry(keys: StoreKeys, row: Row) -> Entry:
    """Return an entry from its row.

    Args:
        keys: The store's keys.
        row: All of its columns, as they came from the database.

    Raises:
        TamperedError: The row is not authentic.
    """
    *clear, sealed = row
    content = None
    if _is_like_one(clear) and type(sealed) is bytes:
        content = unseal(keys.journal.entry, sealed, 0, _associated(keys, clear))
    if content is None:
        raise tampered("an entry of the journal that the local store keeps is not authentic")
    return _unpacked(content, row[0])


def count(digest: Digest, row: Row) -> None:
    """Count a row that is new."""
    digest.add_entry(row[0], bool(row[5]), row[6], row[8])


def count_no_more(digest: Digest, row: Row) -> None:
    """Count a row no more that was opened."""
    digest.drop_entry(row[0], bool(row[5]), row[6], row[8])


def reencrypt_entries(cursor: sqlite3.Cursor, old: StoreKeys, new: StoreKeys, digest: Digest) -> int:
    """Rewrite every entry under new keys, within the transaction that is open.

    Args:
        cursor: The cursor on which the transaction is open.
        old: The keys that the rows are sealed with.
        new: The keys to seal them with.
        digest: The digest of the new rows.

    Returns:
        How many there are.

    Raises:
        TamperedError: One is not authentic.
    """
    if not has_kept(cursor)[1]:
        return 0
    positions = cursor.execute(schema.POSITIONS).fetchall()
    for position in positions:
        row = entry_row(new, open_entry(old, cursor.execute(schema.AT, position).fetchone()))
        put_row(cursor, schema.SET_ENTRY, row)
        count(digest, row)
    return len(positions)


def entry_problems(cursor: sqlite3.Cursor, keys: StoreKeys, counted: Digest) -> Iterator[str]:
    """Check each entry, and count its row as the digest counts it."""
    for row in cursor.execute(schema.ALL_ENTRIES):
        try:
            open_entry(keys, row)
        except StrongroomError as error:
            yield error.what
            continue
        count(counted, row)
        counted.journal.last = row[0]


def _is_like_one(clear: list[Any]) -> bool:
    """Tell whether the columns have the types that the store writes: a damaged file may hold any."""
    position, entry, follows, place, target, waits, size, queued = clear
    lookups = [entry, place, target, *([] if follows is None else [follows])]
    return (
        all(type(one) is bytes and len(one) == LOOKUP_SIZE for one in lookups)
        and all(type(one) is int and one >= 0 for one in (position, waits, size))
        and type(queued) is float
    )


def _associated(keys: StoreKeys, clear: Any) -> bytes:
    position, entry, follows, place, target, waits, size, queued = clear
    bound = listed(u64(position), entry, follows or b"", place, target, u64(waits), u64(size), packed_time(queued))
    return keys.journal.entry_start + bound


def _packed(entry: Entry) -> bytes:
    return fields(
        spelled(entry.id),
        *packed_place(entry.place),
        spelled(entry.change),
        _optional(entry.expected),
        _optional(entry.follows),
        packed_time(entry.queued),
        spelled(entry.principal),
        spelled(entry.principal_source),
        _optional(entry.on_behalf_of),
        spelled(entry.state.value),
        spelled(entry.reason),
        _optional(entry.found),
        packed_moment(entry.found_created),
        packed_value(entry.value),
    )


def _unpacked(content: bytes, position: int) -> Entry:
    identity, backend, target, name, change, expected, follows, queued, *rest = parted(content)
    principal, source, on_behalf_of, state, reason, found, found_created, value = rest
    return Entry(
        id=_text(identity),
        place=unpacked_place([backend, target, name]),
        change=_text(change),
        value=unpacked_value(value),
        expected=_optional_text(expected),
        follows=_optional_text(follows),
        queued=unpacked_time(queued),
        principal=_text(principal),
        principal_source=_text(source),
        on_behalf_of=_optional_text(on_behalf_of),
        state=EntryState(_text(state)),
        reason=_text(reason),
        found=_optional_text(found),
        found_created=unpacked_moment(found_created),
        position=position,
    )


def _text(found: bytes | None) -> str:
    return unspelled(found or b"")


def _optional(text: str | None) -> bytes | None:
    return None if text is None else spelled(text)


def _optional_text(found: bytes | None) -> str | None:
    return None if found is None else unspelled(found)
