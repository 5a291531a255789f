"""What SQLite's errors mean for a user of the store."""

from __future__ import annotations

import sqlite3

from typing import Final

from strongroom.errors import (
    BackendError,
    BackendUnavailableError,
    StoreDamagedError,
    StrongroomError,
    TamperedError,
)

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
# A quota and a limit for the size of files come as a failed write.
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
_REFUSED: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})
_OURS: Final = frozenset({sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_ABORT, sqlite3.SQLITE_MISUSE})

FAULTS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What the ``sqlite3`` module raises: also the latter, where SQLite quotes a damaged file in its message."""


def translate(error: sqlite3.Error | UnicodeDecodeError, path: str) -> StrongroomError:
    """Return the strongroom error that an SQLite error stands for.

    Every statement of this plugin is fixed and correct, so that anything which
    is neither a lock, nor the disk, nor a right, is the file's own fault.

    Args:
        error: What the ``sqlite3`` module raised.
        path: The store's file, for the message.
    """
    # The low byte is the primary code; the sqlite3 module's own errors have none.
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in _BUSY:
        return busy(path)
    if primary == sqlite3.SQLITE_AUTH:
        return damaged(path, "somebody gave it a trigger or a view")  # the authorizer denies nothing else
    if code in _FULL or primary in _FULL:
        return BackendError(
            f"the disk refused to write {path} ({error}); the store is as it was",
            code="storage_full",
            hint="free some space and check the disk's quota",
        )
    if primary == sqlite3.SQLITE_IOERR:
        return BackendError(
            f"the system failed to read, write or lock {path} or a file beside it ({error})",
            hint="check the disk, its file system and the files that begin with the store's name",
        )
    if primary in _REFUSED:
        return BackendError(
            f"{path} may not be opened or written ({error})", hint="check the rights of the file and of its folder"
        )
    if primary in _OURS:
        return BackendError(f"SQLite gave up on {path} ({error})")
    return damaged(path, str(error) if isinstance(error, sqlite3.Error) else "SQLite cannot read its tables")


def busy(path: str) -> BackendUnavailableError:
    """Return the error for a store that others kept locked for too long."""
    return BackendUnavailableError(
        f"{path} is locked by another writer", code="busy", hint="try again, or raise busy_timeout"
    )


def damaged(path: str, reason: str) -> StoreDamagedError:
    """Return the error for a file that cannot be read as a store.

    Args:
        path: The store's file.
        reason: What is wrong with it, without a final stop.
    """
    return StoreDamagedError(
        f"{path} is damaged or no local store ({reason}); it was left as it is",
        hint="restore a backup made with `strongroom local backup`",
    )


def unwritten() -> StoreDamagedError:
    """Return the error for a row that was read and could not be written again."""
    return StoreDamagedError(
        "the local store is damaged: a row that it holds cannot be changed; nothing was written",
        hint="run `strongroom local verify`, and restore a backup",
    )


def tampered(what: str, name: str | None = None) -> TamperedError:
    """Return the error for something that is not authentic under the right key.

    Args:
        what: What is wrong, without a final stop.
        name: The secret concerned, if one is.
    """
    return TamperedError(what, hint="run `strongroom local verify`, and restore a backup", name=name)


def warn(problem: str) -> None:
    """Log a warning for whoever runs the program."""
    import logging  # costs more than a read, and is hardly ever needed

    logging.getLogger("strongroom.local").warning(problem)
