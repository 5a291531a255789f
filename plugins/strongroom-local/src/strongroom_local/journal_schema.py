"""The tables of copies and of the journal, and every statement that reads or changes them."""

from __future__ import annotations

from typing import Final

COPIES: Final = {"copy": "CREATE TABLE copy (lookup BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID"}
"""The table of copies, which is made when the first is kept: a store may have none."""

JOURNAL: Final = {
    "journal": (
        "CREATE TABLE journal (position INTEGER PRIMARY KEY, entry BLOB NOT NULL, follows BLOB, place BLOB NOT NULL, "
        "target BLOB NOT NULL, waits INTEGER NOT NULL, size INTEGER NOT NULL, queued REAL NOT NULL, "
        "sealed BLOB NOT NULL)"
    ),
    "journal_entry": "CREATE UNIQUE INDEX journal_entry ON journal (entry)",
    "journal_follows": "CREATE INDEX journal_follows ON journal (follows) WHERE follows IS NOT NULL",
    "journal_place": "CREATE INDEX journal_place ON journal (place, waits, position)",
    "journal_queued": "CREATE INDEX journal_queued ON journal (waits, queued)",
    "journal_target": "CREATE INDEX journal_target ON journal (target, waits, position, size)",
}
"""The table of writes that wait and its indices, which are made with the first of them: a store may have none."""

HAS_TABLES: Final = (
    "SELECT s.epoch, (SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'copy'), "
    "(SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'journal'), s.counter, s.digest "
    "FROM store AS s WHERE s.id = 1"
)

# Of the copies.
COPY: Final = "SELECT sealed FROM copy WHERE lookup = ?"
ALL_COPIES: Final = "SELECT lookup, sealed FROM copy ORDER BY lookup"
COPY_LOOKUPS: Final = "SELECT lookup FROM copy"
ADD_COPY: Final = "INSERT INTO copy (lookup, sealed) VALUES (?, ?)"
SET_COPY: Final = "UPDATE copy SET sealed = ?2 WHERE lookup = ?1"
DROP_COPY: Final = "DELETE FROM copy WHERE lookup = ?"

# Of the journal. Whoever opens a row needs all of its columns.
_COLUMNS: Final = "position, entry, follows, place, target, waits, size, queued, sealed"
_ROWS: Final = f"SELECT {_COLUMNS} FROM journal"  # noqa: S608  # of fixed words
NEWEST: Final = f"{_ROWS} WHERE place = ? AND waits = 1 ORDER BY position DESC LIMIT 1"
OLDEST: Final = f"{_ROWS} WHERE waits = 1 ORDER BY queued"
# In their order from the index, without sorting all of them: so no index of targets is taken.
OLDEST_OF: Final = f"{_ROWS} WHERE waits = 1 AND +target = ? ORDER BY queued"
ALL_OF: Final = f"{_ROWS} WHERE target = ?"
ENTRY: Final = f"{_ROWS} WHERE entry = ?"
FOLLOWERS: Final = f"{_ROWS} WHERE follows = ? ORDER BY position"
ALL_ENTRIES: Final = f"{_ROWS} ORDER BY position"
AT: Final = f"{_ROWS} WHERE position = ?"
POSITIONS: Final = "SELECT position FROM journal ORDER BY position"
TOTALS: Final = "SELECT target, waits, count(*), sum(size) FROM journal GROUP BY target, waits"
ADD_ENTRY: Final = "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
SET_ENTRY: Final = (
    "UPDATE journal SET entry = ?2, follows = ?3, place = ?4, target = ?5, waits = ?6, size = ?7, "
    "queued = ?8, sealed = ?9 "
    "WHERE position = ?1"
)
DROP_ENTRY: Final = "DELETE FROM journal WHERE position = ?"

COPY_ODDITIES: Final = (
    (
        "SELECT count(*) FROM copy WHERE typeof(lookup) <> 'blob' OR typeof(sealed) <> 'blob'",
        "copies have a value of another type",
    ),
)
JOURNAL_ODDITIES: Final = (
    (
        "SELECT count(*) FROM journal WHERE typeof(entry) <> 'blob' OR typeof(follows) NOT IN ('blob', 'null') "
        "OR typeof(place) <> 'blob' OR typeof(target) <> 'blob' OR typeof(waits) <> 'integer' "
        "OR typeof(size) <> 'integer' OR typeof(queued) <> 'real' OR typeof(sealed) <> 'blob'",
        "entries of the journal have a value of another type",
    ),
)


def recall(copies: bool, journal: bool) -> str:
    """Return the statement that reads what is known of a secret: its copy, and its newest write that waits.

    Args:
        copies: Whether there is a table of copies.
        journal: Whether there is a journal.
    """
    columns = ", ".join(f"j.{column}" for column in _COLUMNS.split(", ")) if journal else "NULL"
    joins = "LEFT JOIN copy AS c ON c.lookup = ?1 " if copies else ""
    if journal:
        newest = "SELECT max(position) FROM journal WHERE place = ?2 AND waits = 1"
        joins += f"LEFT JOIN journal AS j ON j.position = ({newest}) "
    # The last two conditions are only there so that both parameters always are.
    return (
        f"SELECT s.epoch, {'c.sealed' if copies else 'NULL'}, {columns} FROM store AS s {joins}"  # noqa: S608  # as above
        "WHERE s.id = 1 AND ?1 IS NOT NULL AND ?2 IS NOT NULL"
    )


def entries(by_entry: bool, by_target: bool, waiting: bool) -> str:
    """Return the statement that reads entries from a position on, in their order.

    Args:
        by_entry: Whether only one entry is asked for.
        by_target: Whether only those of one target are.
        waiting: Whether only those that wait are.
    """
    conditions = ["position > :after"]
    conditions += ["entry = :entry"] if by_entry else []
    conditions += ["target = :target"] if by_target else []
    conditions += ["waits = 1"] if waiting else []
    return f"{_ROWS} WHERE {' AND '.join(conditions)} ORDER BY position"
