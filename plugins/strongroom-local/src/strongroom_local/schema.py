"""The tables of format 1, and every statement that reads or changes them."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x53524D31  # "SRM1"

TABLES: Final = {
    "store": (
        "CREATE TABLE store (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, counter INTEGER NOT NULL, "
        "digest BLOB NOT NULL, header BLOB NOT NULL)"
    ),
    "head": "CREATE TABLE head (lookup BLOB PRIMARY KEY, current INTEGER, sealed BLOB NOT NULL) WITHOUT ROWID",
    "record": "CREATE TABLE record (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
}

# Each statement that a transaction may start with returns the key epoch first,
# beside whatever else it reads, so that both are of one moment.
READ: Final = (
    "SELECT s.epoch, h.current, h.sealed, r.body FROM store AS s "
    "LEFT JOIN head AS h ON h.lookup = ?1 LEFT JOIN record AS r ON r.id = h.current WHERE s.id = 1"
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
STATE: Final = "SELECT epoch, counter, digest FROM store WHERE id = 1"
HEADER: Final = "SELECT header, epoch FROM store WHERE id = 1"

ADD_HEAD: Final = "INSERT INTO head (lookup, current, sealed) VALUES (?, ?, ?)"
SET_HEAD: Final = "UPDATE head SET current = ?2, sealed = ?3 WHERE lookup = ?1"
ADD_RECORD: Final = "INSERT INTO record (id, body) VALUES (?, ?)"
SET_RECORD: Final = "UPDATE record SET body = ?2 WHERE id = ?1"
DROP_RECORDS: Final = "DELETE FROM record WHERE id BETWEEN ? AND ? RETURNING id, body"
SET_STATE: Final = "UPDATE store SET counter = ?, digest = ? WHERE id = 1"
SET_KEYS: Final = "UPDATE store SET epoch = ?, counter = ?, digest = ?, header = ? WHERE id = 1"
ADD_STORE: Final = "INSERT INTO store (id, epoch, counter, digest, header) VALUES (1, ?, ?, ?, ?)"

HEADS: Final = "SELECT lookup, current, sealed FROM head ORDER BY lookup"
RECORDS: Final = "SELECT id, body FROM record ORDER BY id"
RECORD_IDS: Final = "SELECT id FROM record ORDER BY id"
RECORD: Final = "SELECT body FROM record WHERE id = ?"
DROP_HEADS: Final = "DELETE FROM head"
