"""A consistent copy of a store that is in use."""

from __future__ import annotations

import os
import sqlite3

from strongroom.contracts import BackupRequest, BackupResult, VerifyResult
from strongroom.errors import ConfigurationError
from strongroom_local.connection import connect, prepare
from strongroom_local.creation import draft_of
from strongroom_local.faults import tampered
from strongroom_local.files import absolute, refuse_existing
from strongroom_local.keys import StoreKeys
from strongroom_local.schema import check_format
from strongroom_local.session import Session
from strongroom_local.verification import examine


def back_up(session: Session, request: BackupRequest) -> BackupResult:
    """Copy a store as it is at one moment; writers are not held up.

    Args:
        session: The open store.
        request: Where the copy is to be.

    Raises:
        ConfigurationError: There is something at the path, or no folder for it.
        TamperedError: The store does not verify; nothing was written.
        BackendError: The disk is full (code ``storage_full``).
    """
    path = absolute(request.path)
    refuse_existing(path)
    if not os.path.isdir(os.path.dirname(path)):
        raise ConfigurationError(f"there is no folder {os.path.dirname(path)}", hint="make it first")

    def copy(cursor: sqlite3.Cursor, keys: StoreKeys) -> VerifyResult:
        refuse_problems(examine(cursor, keys), session.pool.path)
        with draft_of(path) as draft:
            _copy(cursor.connection, draft)
            return _checked(draft, keys)

    result = session.snapshot(copy)
    return BackupResult(path=path, secrets=result.secrets, counter=result.counter, store_id=result.store_id)


def refuse_problems(result: VerifyResult, path: str) -> None:
    """Refuse to build on a store that does not verify.

    Raises:
        TamperedError: There is a problem; the first is named.
    """
    if result.problems:
        raise tampered(f"{path} does not verify ({result.problems[0]}), so nothing was done")


def _copy(source: sqlite3.Connection, path: str) -> None:
    target = connect(path, 0.0)
    try:
        # The copy is checked, synced and named only when it is complete.
        target.execute("PRAGMA journal_mode = MEMORY")
        target.execute("PRAGMA synchronous = OFF")
        source.backup(target)
    finally:
        target.close()


def _checked(path: str, keys: StoreKeys) -> VerifyResult:
    connection = connect(path, 0.0)
    try:
        prepare(connection)
        check_format(connection, path)
        result = examine(connection.cursor(), keys)
    finally:
        connection.close()
    refuse_problems(result, path)
    return result
