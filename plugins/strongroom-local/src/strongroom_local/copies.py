"""Copies of other backends' secrets, as the store keeps them: one sealed row for each, in a table of their own.

They are no secrets of the store's own: no read, list or version shows them.
"""

from __future__ import annotations

import sqlite3

from collections.abc import Iterator

from strongroom.contracts.journal import Copy, Place
from strongroom.errors import StrongroomError, TamperedError
from strongroom.model import SecretValue
from strongroom_local import journal_schema as schema
from strongroom_local.digest import Digest
from strongroom_local.encoding import fields, listed, parted, spelled, unspelled
from strongroom_local.faults import tampered, warn
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
from strongroom_local.revisions import Revision
from strongroom_local.schema import has_kept, put_row
from strongroom_local.sealing import LOOKUP_SIZE, seal, unseal


def keep_copy(revision: Revision, copy: Copy, now: float) -> None:
    """Keep a copy in place of the one before, unless that is authentic and newer, but not from a clock that was wrong.

    Args:
        revision: The change that this is a part of.
        copy: What to keep.
        now: The writer's time, in seconds since 1970 UTC.
    """
    if not has_kept(revision.cursor)[0]:
        for statement in schema.COPIES.values():
            revision.cursor.execute(statement)
    lookup = revision.keys.journal.find_copy(copy.place)
    row = revision.cursor.execute(schema.COPY, (lookup,)).fetchone()
    before = None if row is None else _known(revision.keys, lookup, row[0])
    if before is not None and copy.taken < before.taken <= now:
        return
    sealed = _sealed(revision.sealing(), lookup, copy)
    revision.change(schema.ADD_COPY if row is None else schema.SET_COPY, (lookup, sealed))
    if before is not None:
        revision.digest.drop_copy(lookup, row[0])
    revision.digest.add_copy(lookup, sealed)


def drop_copy(revision: Revision, place: Place) -> None:
    """Forget a copy, if there is one.

    Args:
        revision: The change that this is a part of.
        place: What it is a copy of.
    """
    if not has_kept(revision.cursor)[0]:
        return
    lookup = revision.keys.journal.find_copy(place)
    row = revision.cursor.execute(schema.COPY, (lookup,)).fetchone()
    if row is not None:
        revision.change(schema.DROP_COPY, (lookup,))
        if _known(revision.keys, lookup, row[0]) is not None:
            revision.digest.drop_copy(lookup, row[0])


def _known(keys: StoreKeys, lookup: bytes, sealed: object) -> Copy | None:
    """Return the copy that is to go; ``None`` if it is not authentic.

    Nothing waits for that one, since others are kept, and writes noted, in the same step. It was not counted, and what
    was counted in its place stays so: the digest's sum tells for good that somebody was at it.
    """
    try:
        return open_copy(keys, lookup, sealed)
    except TamperedError as error:
        warn(f"{error.what}, and is replaced or dropped: {error.hint}")
        return None


def reencrypt_copies(cursor: sqlite3.Cursor, old: StoreKeys, new: StoreKeys, digest: Digest) -> int:
    """Rewrite every copy under new keys, within the transaction that is open.

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
    if not has_kept(cursor)[0]:
        return 0
    lookups = [lookup for (lookup,) in cursor.execute(schema.COPY_LOOKUPS)]
    for lookup in lookups:
        copy = open_copy(old, lookup, cursor.execute(schema.COPY, (lookup,)).fetchone()[0])
        put_row(cursor, schema.DROP_COPY, (lookup,))
        place = new.journal.find_copy(copy.place)
        sealed = _sealed(new, place, copy)
        put_row(cursor, schema.ADD_COPY, (place, sealed))
        digest.add_copy(place, sealed)
    return len(lookups)


def copy_problems(cursor: sqlite3.Cursor, keys: StoreKeys, counted: Digest) -> Iterator[str]:
    """Check each copy, and count its row as the digest counts it."""
    for lookup, sealed in cursor.execute(schema.ALL_COPIES):
        try:
            open_copy(keys, lookup, sealed)
        except StrongroomError as error:
            yield error.what
            continue
        counted.add_copy(lookup, sealed)


def open_copy(keys: StoreKeys, lookup: object, sealed: object) -> Copy:
    """Return a copy from its row.

    Args:
        keys: The store's keys.
        lookup: The row's look-up value.
        sealed: The row's sealed content.

    Raises:
        TamperedError: The row is not authentic.
    """
    content = None
    if type(sealed) is bytes and type(lookup) is bytes and len(lookup) == LOOKUP_SIZE:
        content = unseal(keys.journal.copy, sealed, 0, keys.journal.copy_start + listed(lookup))
    if content is None:
        raise tampered("a copy that the local store keeps is not authentic")
    *place, version, created, taken, value = parted(content)
    return Copy(
        place=unpacked_place(place),
        value=_required(unpacked_value(value)),
        version=unspelled(version or b""),
        created=unpacked_moment(created),
        taken=unpacked_time(taken),
    )


def _sealed(keys: StoreKeys, lookup: bytes, copy: Copy) -> bytes:
    content = fields(
        *packed_place(copy.place),
        spelled(copy.version),
        packed_moment(copy.created),
        packed_time(copy.taken),
        packed_value(copy.value),
    )
    return seal(keys.journal.copy, content, keys.journal.copy_start + listed(lookup))


def _required(value: SecretValue | None) -> SecretValue:
    assert value is not None, "a copy always has a value"
    return value
