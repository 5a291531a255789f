"""Connections to the store's file: how they open, are shared by threads and survive a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import time

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from strongroom.errors import ClosedError, StrongroomError
from strongroom_local.encoding import FORMAT
from strongroom_local.faults import FAULTS, busy, damaged, translate
from strongroom_local.files import check_store_file
from strongroom_local.forking import watch_forks
from strongroom_local.header import other_format
from strongroom_local.schema import APPLICATION_ID, TABLES

# Connections that a forked child inherited. Without a holder they would close themselves.
_inherited: list[sqlite3.Connection] = []

Result = TypeVar("Result")
Trace = Callable[[str], None]

_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)
_FORK_WAIT: Final = 5.0


def connect(path: str, timeout: float) -> sqlite3.Connection:
    """Open a file with SQLite, never making one.

    Args:
        path: An absolute path.
        timeout: How many seconds to wait for another writer.
    """
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{quoted}?mode=rw", timeout, isolation_level=None, check_same_thread=False, uri=True
    )
    connection.text_factory = bytes  # so that no text can fail to decode: the format has none
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Set what the store needs of each of its connections."""
    for pragma in _PRAGMAS:
        connection.execute(pragma)


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
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master"))
    if found != {name.encode(): text.encode() for name, text in TABLES.items()}:
        raise damaged(path, "its tables are not those of a store")


def _is_cut(path: str, page_size: int) -> bool:
    """Tell whether the last page is not whole, for which SQLite would make up the rest.

    A full disk may leave it so, too; then the write-ahead log still holds the page.
    """
    if os.path.getsize(path) % page_size == 0:
        return False
    try:
        return os.path.getsize(path + "-wal") == 0
    except FileNotFoundError:
        return True


def _single(connection: sqlite3.Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()[0]


class Pool:
    """Connections that threads take in turn; there are as many as were needed at once.

    SQLite forbids a connection to cross a fork, and keeps what it knows about a
    file's locks for the whole process. So all are closed before a fork, which
    waits for running calls, and opened again on demand on both sides.

    Args:
        path: The store's file, absolute.
        timeout: How many seconds to wait for another writer.
        trace: Called with each statement, for tests and for the curious.
    """

    def __init__(self, path: str, timeout: float, trace: Trace | None = None) -> None:
        self.path = path
        self._timeout = timeout
        self._trace = trace
        self._idle: list[sqlite3.Cursor] = []
        self._all: list[sqlite3.Connection] = []
        self._gate = threading.RLock()
        self._turn = threading.Lock()
        self._closed = False
        self._draining = False
        """Whether connections that come back are closed: after ``close``, and while a fork waits."""
        self._wrote = False
        self._process = os.getpid()
        watch_forks(self)

    def take(self) -> sqlite3.Cursor:
        """Return the cursor of a connection for the calling thread alone; it must come back by ``give``.

        Raises:
            ClosedError: The pool is closed.
            StrongroomError: The file cannot be opened, or is not a store.
        """
        try:
            return self._idle.pop()
        except IndexError:
            pass
        if self._closed:
            raise ClosedError("the local store is closed", hint="open it again")
        with self._gate:
            connection = self._open()
            self._all.append(connection)
        return connection.cursor()

    def _open(self) -> sqlite3.Connection:
        check_store_file(self.path)
        if os.path.getsize(self.path) == 0:
            raise damaged(self.path, "it is empty")  # to SQLite, that is a new database
        try:
            connection = connect(self.path, self._timeout)
            try:
                prepare(connection)
                check_format(connection, self.path)
            except BaseException:
                connection.close()
                raise
        except FAULTS as error:
            raise translate(error, self.path) from error
        if self._trace is not None:
            connection.set_trace_callback(self._trace)
        return connection

    def give(self, cursor: sqlite3.Cursor) -> None:
        """Take a connection back."""
        if cursor.connection.in_transaction:
            self._discard(cursor)  # its rollback failed, so its next user could not begin
            return
        self._idle.append(cursor)
        if self._draining:
            self._close_idle()

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Run one statement as a transaction of its own and return its rows.

        Raises:
            StrongroomError: SQLite refused; see ``faults.translate``.
        """
        # What nearly every read does: take() and give() without their rare cases.
        try:
            cursor = self._idle.pop()
        except IndexError:
            cursor = self.take()
        try:
            return cursor.execute(statement, parameters).fetchall()
        except FAULTS as error:
            raise translate(error, self.path) from error
        finally:
            self._idle.append(cursor)
            if self._draining:
                self._close_idle()

    def change(self, step: Callable[[sqlite3.Cursor], Result]) -> Result:
        """Run a step as one writing transaction: all of it is durable, or none has happened.

        Threads queue up here: between connections SQLite only sleeps and tries again.

        Raises:
            StrongroomError: SQLite refused; see ``faults.translate``.
        """
        turn = self._turn  # a forked child has another
        if not turn.acquire(timeout=self._timeout):
            raise busy(self.path)
        try:
            self._wrote = True
            return self._transaction("BEGIN IMMEDIATE", step)
        finally:
            turn.release()

    def snapshot(self, step: Callable[[sqlite3.Cursor], Result]) -> Result:
        """Run a step on the store as it is at one moment."""
        return self._transaction("BEGIN", step)

    def _transaction(self, begin: str, step: Callable[[sqlite3.Cursor], Result]) -> Result:
        cursor = self.take()
        try:
            cursor.execute(begin)
            try:
                result = step(cursor)
                cursor.execute("COMMIT")
            finally:
                # A failed commit leaves the transaction open; some errors end it by themselves.
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
        except FAULTS as error:
            raise translate(error, self.path) from error
        finally:
            self.give(cursor)
        return result

    def checkpoint(self) -> None:
        """Move all that is in the write-ahead log into the file, if nobody is in the way."""
        self.fetch("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection that is not in use, and the others as they come back."""
        if not self._closed and self._wrote:
            try:
                self.checkpoint()
            except StrongroomError:
                pass  # what is in the log is durable; the next one to close moves it
        self._closed = self._draining = True
        self._close_idle()

    def _close_idle(self) -> None:
        while True:
            try:
                cursor = self._idle.pop()
            except IndexError:
                return
            self._discard(cursor)

    def _discard(self, cursor: sqlite3.Cursor) -> None:
        connection = cursor.connection
        cursor.close()  # or SQLite keeps the files open until the cursor is gone as well
        connection.close()
        self._all.remove(connection)

    def before_fork(self) -> None:
        """Close all connections and let nobody open one until the fork is over."""
        self._gate.acquire()
        deadline = time.monotonic() + _FORK_WAIT
        self._draining = True
        self._close_idle()
        while self._all and time.monotonic() < deadline:
            time.sleep(0.001)
            self._close_idle()

    def after_fork_in_parent(self) -> None:
        """Let connections be opened again."""
        self._draining = self._closed
        self._gate.release()

    def forget(self) -> None:
        """Drop, in a forked child, every inherited connection without closing it; elsewhere do nothing.

        There are some only if the fork did not wait, or ran no hooks before it.
        """
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        _inherited.extend(self._all)
        self._idle, self._all = [], []
        self._draining = self._closed
        self._gate = threading.RLock()
        self._turn = threading.Lock()
