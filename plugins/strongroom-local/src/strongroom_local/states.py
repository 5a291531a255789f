"""States: what the core itself must remember, such as a detector's baseline.

They are no secrets and have no names: no read, list or version shows them. Each
is one sealed row in a table of its own, which is made when the first is kept.
"""

from __future__ import annotations

import sqlite3

from collections.abc import Iterator

from strongroom.errors import StoreDamagedError, StrongroomError
from strongroom_local import schema
from strongroom_local.changes import EpochChanged
from strongroom_local.digest import Digest
from strongroom_local.encoding import LENGTH, listed
from strongroom_local.faults import tampered
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import LOOKUP_SIZE, seal, unseal


def save(cursor: sqlite3.Cursor, keys: StoreKeys, key: str, state: bytes) -> int:
    """Keep a state in place of the one before, within a transaction that holds the write lock.

    Args:
        cursor: The cursor on which the transaction is open.
        keys: The keys as they were last loaded.
        key: What the state is kept under.
        state: What to keep.

    Returns:
        How often the store's keys have been used, this time included.

    Raises:
        EpochChanged: The keys are not the store's any more; nothing was written.
        TamperedError: The state before, or the digest, is not authentic.
        BackendError: The keys have been used as often as is safe.
    """
    row = cursor.execute(schema.STORE).fetchone()
    if row is None or row[0] != keys.epoch:
        raise EpochChanged
    _, counter, sealed_digest = row
    digest = Digest.open(keys, counter, sealed_digest)
    # Counted before anything is sealed, so that a transaction that fails is counted, too.
    keys.unsettled += 1
    lookup = keys.find_state(key)
    if not schema.has_states(cursor):
        cursor.execute(schema.STATES)
    old = _row(cursor, keys, lookup)
    sealed = _sealed(keys, lookup, key, state)
    if old is None:
        schema.put_row(cursor, schema.ADD_SAVED, (lookup, sealed))
    else:
        schema.put_row(cursor, schema.SET_SAVED, (lookup, sealed))
        digest.drop_state(lookup, old)
    digest.add_state(lookup, sealed)
    schema.put_row(cursor, schema.SET_STORE, (counter + 1, digest.sealed(counter + 1, keys.unsettled)))
    return digest.encryptions


def load(cursor: sqlite3.Cursor, keys: StoreKeys, key: str) -> bytes | None:
    """Return what is kept under a key, within a transaction that has checked the key epoch.

    Raises:
        TamperedError: It is not authentic.
    """
    lookup = keys.find_state(key)
    if not schema.has_states(cursor):
        return None
    sealed = _row(cursor, keys, lookup)
    return None if sealed is None else _opened(keys, lookup, sealed)[1]


def reencrypt_states(cursor: sqlite3.Cursor, old: StoreKeys, new: StoreKeys, digest: Digest) -> int:
    """Rewrite every state under new keys, within the transaction that is open.

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
    if not schema.has_states(cursor):
        return 0
    lookups = [lookup for (lookup,) in cursor.execute(schema.SAVED_LOOKUPS)]
    for lookup in lookups:
        sealed = cursor.execute(schema.SAVED, (lookup,)).fetchone()[0]
        key, state = _opened(old, lookup, sealed)
        schema.put_row(cursor, schema.DROP_SAVED, (lookup,))
        place = new.find_state(key)
        sealed = _sealed(new, place, key, state)
        schema.put_row(cursor, schema.ADD_SAVED, (place, sealed))
        digest.add_state(place, sealed)
    return len(lookups)


def state_problems(cursor: sqlite3.Cursor, keys: StoreKeys, counted: Digest) -> Iterator[str]:
    """Check each state, and count its row as the digest counts it."""
    for lookup, sealed in cursor.execute(schema.ALL_SAVED):
        try:
            _opened(keys, lookup, sealed)
        except StrongroomError as error:
            yield error.what
            continue
        counted.add_state(lookup, sealed)


def _row(cursor: sqlite3.Cursor, keys: StoreKeys, lookup: bytes) -> bytes | None:
    """Return an authentic row's sealed content, or nothing if there is no row.

    Raises:
        TamperedError: The row is not authentic, or it is missing and another one, which may have been it, is not.
        StoreDamagedError: The table has the row and does not find it.
    """
    row = cursor.execute(schema.SAVED, (lookup,)).fetchone()
    if row is None:
        for other, content in cursor.execute(schema.ALL_SAVED):
            _opened(keys, other, content)
            if other == lookup:
                raise StoreDamagedError(
                    "the local store is damaged: a state that it holds cannot be found",
                    hint="run `strongroom local verify`, and restore a backup",
                )
        return None
    _opened(keys, lookup, row[0])
    sealed: bytes = row[0]
    return sealed


def _sealed(keys: StoreKeys, lookup: bytes, key: str, state: bytes) -> bytes:
    return seal(keys.state, listed(key.encode()) + state, keys.state_start + listed(lookup))


def _opened(keys: StoreKeys, lookup: object, sealed: object) -> tuple[str, bytes]:
    """Return a state and what it is kept under.

    Raises:
        TamperedError: The row is not authentic.
    """
    content = None
    if type(sealed) is bytes and type(lookup) is bytes and len(lookup) == LOOKUP_SIZE:
        content = unseal(keys.state, sealed, 0, keys.state_start + listed(lookup))
    if content is None:
        raise tampered("a state that the local store keeps is not authentic")
    (size,) = LENGTH.unpack_from(content)
    end = LENGTH.size + size
    return content[LENGTH.size : end].decode(), content[end:]
