"""Every record and every name encrypted anew, under a new data key."""

from __future__ import annotations

import sqlite3

from strongroom_local import schema
from strongroom_local.digest import Digest
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import (
    MAX_VERSION,
    ORIGIN,
    STARTS,
    VERSION_BITS,
    Head,
    open_head,
    open_record,
    record_clear,
    seal_head,
    seal_record,
)


def reencrypt(cursor: sqlite3.Cursor, old: StoreKeys, new: StoreKeys) -> Digest:
    """Rewrite every row within the transaction that is open.

    Args:
        cursor: The cursor on which the transaction is open.
        old: The keys that the rows are sealed with.
        new: The keys to seal them with.

    Returns:
        The digest of the new rows.

    Raises:
        TamperedError: A row is not authentic.
    """
    heads = [open_head(old, *row) for row in cursor.execute(schema.HEADS)]
    digest = Digest(new)
    names = {head.number: head for head in heads}
    for (identity,) in cursor.execute(schema.RECORD_IDS).fetchall():
        body = cursor.execute(schema.RECORD, (identity,)).fetchone()[0]
        body = _record(identity, names[identity >> VERSION_BITS], body, old, new)
        schema.put_row(cursor, schema.SET_RECORD, (identity, body))
        digest.add_record(identity, body)
    _write_heads(cursor, heads, new, digest)
    return digest


def _record(identity: int, head: Head, body: bytes, old: StoreKeys, new: StoreKeys) -> bytes:
    version = identity & MAX_VERSION
    value, created = open_record(old, head, version, body)
    clear = record_clear(new, version, value.type, created)
    return seal_record(new, identity, head.name, clear, value)


def _write_heads(cursor: sqlite3.Cursor, heads: list[Head], new: StoreKeys, digest: Digest) -> None:
    """Write the index anew: new keys give new look-up values, and so another order."""
    placed = sorted((_place(new, head), head.number, head) for head in heads)
    following = [place for place, _, _ in placed[1:]] + [ORIGIN]
    cursor.execute(schema.DROP_HEADS)
    for (place, _, head), following_place in zip(placed, following, strict=True):
        head.next = following_place
        sealed = seal_head(new, place, head)
        schema.put_row(cursor, schema.ADD_HEAD, (place, head.current, sealed))
        digest.add_head(place, head.current, sealed)


def _place(keys: StoreKeys, head: Head) -> bytes:
    return ORIGIN if head.state == STARTS else keys.find(head.name)
