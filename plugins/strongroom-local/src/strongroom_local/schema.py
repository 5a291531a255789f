"""The tables of format 1, and every statement that reads or changes them."""

from __future__ import annotations

import os
import sqlite3

from collections.abc import Iterator
from itertools import compress, product
from typing import Any, Final

from strongroom_local.encoding import FORMAT
from strongroom_local.faults import damaged, unwritten
from strongroom_local.files import has_log
from strongroom_local.header import other_format
from strongroom_local.journal_schema import COPIES, HAS_TABLES, JOURNAL

APPLICATION_ID: Final = 0x53524D31  # "SRM1"

TABLES: Final = {
    "store": (
        "CREATE TABLE store (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, counter INTEGER NOT NULL, "
        "digest BLOB NOT NULL, header BLOB NOT NULL)"
    ),
    "head": "CREATE TABLE head (lookup BLOB PRIMARY KEY, current INTEGER, sealed BLOB NOT NULL) WITHOUT ROWID",
    "record": "CREATE TABLE record (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
}

STATES: Final = "CREATE TABLE state (lookup BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID"
"""The table of states, which is made when the first is kept: a store may have none."""

KEYRINGS: Final = "CREATE TABLE keyring (lookup BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID"
"""The table of named keys, which is made with the first of them: a store may have none."""

MASTER: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name, type"


_OPTIONAL: Final = ({"state": STATES}, {"keyring": KEYRINGS}, COPIES, JOURNAL)


def _expected() -> Iterator[list[tuple[bytes, ...]]]:
    """Yield what a store may hold: its three tables, and each of the optional ones or not."""
    for chosen in product((False, True), repeat=len(_OPTIONAL)):
        made = dict(TABLES)
        for tables in compress(_OPTIONAL, chosen):
            made |= tables
        yield [_described(name, made[name]) for name in sorted(made)]


def _described(name: str, statement: str) -> tuple[bytes, ...]:
    kind, table = ("table", name) if statement.startswith("CREATE TABLE") else ("index", name.partition("_")[0])
    return kind.encode(), name.encode(), table.encode(), statement.encode()


EXPECTED: Final = tuple(_expected())
"""What ``MASTER`` may return of a store: its three tables and nothing else but, maybe, those of states, of named keys,
of copies and of the journal."""

# Each statement that a transaction may start with returns the key epoch first,
# beside whatever else it reads, so that both are of one moment.
READ: Final = (
    "SELECT s.epoch, h.current, h.sealed, r.body FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup = ?1 LEFT JOIN record AS r ON r.id = h.current WHERE s.id = 1"
)
_READ_MANY: Final = (
    "SELECT s.epoch, h.lookup, h.current, h.sealed, r.body FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup IN ({}) LEFT JOIN record AS r ON r.id = h.current WHERE s.id = 1"
)
_HEADS_OF: Final = (
    "SELECT s.epoch, s.counter, h.lookup, h.current, h.sealed FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup IN ({}) WHERE s.id = 1"
)
READ_VERSION: Final = (
    "SELECT s.epoch, h.current, h.sealed, r.body FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup = ?1 LEFT JOIN record AS r ON r.id = ((h.current >> 32) << 32) + ?2 "
    "WHERE s.id = 1"
)
VERSIONS: Final = (
    "SELECT s.epoch, h.current, h.sealed, r.id, r.body FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup = ?1 "
    "LEFT JOIN record AS r ON r.id BETWEEN ((h.current >> 32) << 32) AND ((h.current >> 32) << 32) + 4294967295 "
    "WHERE s.id = 1 ORDER BY r.id"
)
BEFORE: Final = (
    "SELECT s.epoch, h.lookup, h.current, h.sealed FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup = (SELECT max(lookup) FROM head WHERE lookup <= ?1) WHERE s.id = 1"
)
LIST: Final = (
    "SELECT s.epoch, h.lookup, h.current, h.sealed FROM store AS s LEFT JOIN head AS h WHERE s.id = 1 ORDER BY h.lookup"
)
TARGET: Final = (
    "SELECT s.epoch, s.counter, s.digest, h.current, h.sealed FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup = ?1 WHERE s.id = 1"
)
STORE: Final = "SELECT epoch, counter, digest FROM store WHERE id = 1"
HEADER: Final = "SELECT header, epoch FROM store WHERE id = 1"

ADD_HEAD: Final = "INSERT INTO head (lookup, current, sealed) VALUES (?, ?, ?)"
SET_HEAD: Final = "UPDATE head SET current = ?2, sealed = ?3 WHERE lookup = ?1"
ADD_RECORD: Final = "INSERT INTO record (id, body) VALUES (?, ?)"
SET_RECORD: Final = "UPDATE record SET body = ?2 WHERE id = ?1"
DROP_RECORDS: Final = "DELETE FROM record WHERE id BETWEEN ? AND ? RETURNING id, body"
SET_STORE: Final = "UPDATE store SET counter = ?, digest = ? WHERE id = 1"
SET_KEYS: Final = "UPDATE store SET epoch = ?, counter = ?, digest = ?, header = ? WHERE id = 1"
ADD_STORE: Final = "INSERT INTO store (id, epoch, counter, digest, header) VALUES (1, ?, ?, ?, ?)"

HEADS: Final = "SELECT lookup, current, sealed FROM head ORDER BY lookup"
RECORDS: Final = "SELECT id, body FROM record ORDER BY id"
RECORD_IDS: Final = "SELECT id FROM record ORDER BY id"
RECORD: Final = "SELECT body FROM record WHERE id = ?"
DROP_HEADS: Final = "DELETE FROM head"

# Of the states, where there is a table of them.
HAS_STATES: Final = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'state'"
SAVED: Final = "SELECT sealed FROM state WHERE lookup = ?"
ALL_SAVED: Final = "SELECT lookup, sealed FROM state ORDER BY lookup"
SAVED_LOOKUPS: Final = "SELECT lookup FROM state"
ADD_SAVED: Final = "INSERT INTO state (lookup, sealed) VALUES (?, ?)"
SET_SAVED: Final = "UPDATE state SET sealed = ?2 WHERE lookup = ?1"
DROP_SAVED: Final = "DELETE FROM state WHERE lookup = ?"

# Of the named keys, where there is a table of them. A table that is there stays.
HAS_KEYRINGS: Final = (
    "SELECT s.epoch, (SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'keyring') "
    "FROM store AS s WHERE s.id = 1"
)
READ_KEYRING: Final = "SELECT s.epoch, k.sealed FROM store AS s LEFT JOIN keyring AS k ON k.lookup = ?1 WHERE s.id = 1"
ALL_KEYRINGS: Final = "SELECT lookup, sealed FROM keyring ORDER BY lookup"
KEYRING_LOOKUPS: Final = "SELECT lookup FROM keyring"
ADD_KEYRING: Final = "INSERT INTO keyring (lookup, sealed) VALUES (?, ?)"
SET_KEYRING: Final = "UPDATE keyring SET sealed = ?2 WHERE lookup = ?1"
DROP_KEYRING: Final = "DELETE FROM keyring WHERE lookup = ?"

# Each finds what no store of this format holds. SQLite compares a text with no
# blob, while both come back as bytes: without these, nothing would tell them apart.
ODDITIES: Final = (
    ("SELECT count(*) FROM store WHERE id <> 1", "rows in the store's own table are too many"),
    (
        "SELECT count(*) FROM store WHERE typeof(epoch) <> 'integer' OR typeof(counter) <> 'integer' "
        "OR typeof(digest) <> 'blob' OR typeof(header) <> 'blob'",
        "rows in the store's own table have a value of another type",
    ),
    (
        "SELECT count(*) FROM head WHERE typeof(lookup) <> 'blob' OR typeof(current) NOT IN ('integer', 'null') "
        "OR typeof(sealed) <> 'blob'",
        "entries of the index have a value of another type",
    ),
    ("SELECT count(*) FROM record WHERE typeof(body) <> 'blob'", "records have a value of another type"),
)
STATE_ODDITIES: Final = (
    (
        "SELECT count(*) FROM state WHERE typeof(lookup) <> 'blob' OR typeof(sealed) <> 'blob'",
        "states have a value of another type",
    ),
)
KEYRING_ODDITIES: Final = (
    (
        "SELECT count(*) FROM keyring WHERE typeof(lookup) <> 'blob' OR typeof(sealed) <> 'blob'",
        "named keys have a value of another type",
    ),
)


def read_many(count: int) -> str:
    """Return the statement that reads so many names at once, each by its look-up value."""
    return _READ_MANY.format(", ".join("?" * count))


def heads_of(count: int) -> str:
    """Return the statement that reads the heads of so many names at once, and the store's change counter."""
    return _HEADS_OF.format(", ".join("?" * count))


def has_states(cursor: sqlite3.Cursor) -> bool:
    """Tell whether the store has the table of states, within the transaction that is open."""
    return bool(cursor.execute(HAS_STATES).fetchone()[0])


def has_keyrings(cursor: sqlite3.Cursor) -> bool:
    """Tell whether the store has the table of named keys, within the transaction that is open."""
    row = cursor.execute(HAS_KEYRINGS).fetchone()
    return row is not None and bool(row[1])


def has_kept(cursor: sqlite3.Cursor) -> tuple[bool, bool]:
    """Tell whether the store has the table of copies, and a journal, within the transaction that is open."""
    row = cursor.execute(HAS_TABLES).fetchone()
    return (False, False) if row is None else (bool(row[1]), bool(row[2]))


def put_row(cursor: sqlite3.Cursor, statement: str, parameters: tuple[object, ...]) -> None:
    """Run a statement that must write exactly one row.

    Raises:
        StoreDamagedError: It did not: the row that it was to change is not found any more.
    """
    if cursor.execute(statement, parameters).rowcount != 1:
        raise unwritten()


def check_format(connection: sqlite3.Connection, path: str) -> None:
    """Refuse a file that is not a store of this format, without changing it.

    Raises:
        StoreDamagedError: It is not one.
    """
    version = _single(connection, "PRAGMA user_version")
    if _single(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise damaged(path, "it has no mark of one")
    if version != FORMAT:
        raise other_format(path, version)
    if _single(connection, "PRAGMA journal_mode") != b"wal":
        raise damaged(path, "its journal mode was changed")
    if _is_cut(path, _single(connection, "PRAGMA page_size")):
        raise damaged(path, "its end is missing")
    if connection.execute(MASTER).fetchall() not in EXPECTED:
        raise damaged(path, "its tables are not those of a store")


def _is_cut(path: str, page_size: int) -> bool:
    """Tell whether the last page is not whole, for which SQLite would make up the rest.

    A full disk may leave it so, too; then the write-ahead log still holds the page.
    """
    return os.path.getsize(path) % page_size != 0 and not has_log(path)


def _single(connection: sqlite3.Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()[0]
