"""Connections to the store's file: how they open, are shared by threads and survive a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from strongroom.errors import ClosedError, StoreDamagedError, StrongroomError
from strongroom_local.faults import FAULTS, busy, damaged, translate
from strongroom_local.files import check_store_file, has_log, sync_log
from strongroom_local.forking import watch_forks
from strongroom_local.schema import check_format

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


def connect(path: str, timeout: float, mode: str = "rw") -> sqlite3.Connection:
    """Open a file with SQLite, never making one.

    Args:
        path: An absolute path.
        timeout: How many seconds to wait for another writer.
        mode: ``rw``, or ``ro`` to be unable to change it.
    """
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file://{quoted}?mode={mode}", timeout, isolation_level=None, check_same_thread=False, uri=True
    )
    connection.text_factory = bytes  # so that no text can fail to decode: the format has none
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Set what the store needs of each of its connections."""
    # Asked when SQLite prepares a statement, also anew after somebody changed the tables.
    connection.set_authorizer(_authorize)
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _authorize(_action: int, _first: str | None, _second: str | None, _database: str | None, inner: str | None) -> int:
    """Deny whatever a trigger or a view wants: a store has neither, so it is somebody else's."""
    return sqlite3.SQLITE_DENY if inner else sqlite3.SQLITE_OK


def close_unchanged(connection: sqlite3.Connection, path: str) -> None:
    """Close a connection and leave the log as it is.

    SQLite moves the log into the file and removes it when the last connection is
    closed. So another one stays until then, which cannot write.

    Args:
        connection: What to close.
        path: Its file.
    """
    guard = None
    if has_log(path):
        try:
            guard = connect(path, 0.0, "ro")
            guard.execute("PRAGMA schema_version").fetchone()  # takes SQLite's lock, and keeps it
        except FAULTS:
            pass  # not even the lock may be had; closing cannot have it for itself, then
    connection.close()
    if guard is not None:
        guard.close()


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
        self._all: dict[sqlite3.Connection, weakref.ref[sqlite3.Cursor]] = {}
        """Every connection, with the cursor that whoever uses it holds."""
        self._place: tuple[int, int] | None = None
        """Device and inode of the file that was opened first."""
        self._gate = threading.RLock()
        self._turn = threading.Lock()
        self._closed = False
        self._draining = False
        """Whether connections that come back are closed: after ``close``, and while a fork waits."""
        self._wrote = False
        self._refused = False
        """Whether the file was found damaged, so that closing must not even move its log."""
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
            cursor = self._open().cursor()
            self._all[cursor.connection] = weakref.ref(cursor)
        return cursor

    def _open(self) -> sqlite3.Connection:
        status = check_store_file(self.path)
        if status.st_size == 0:
            raise damaged(self.path, "it is empty")  # to SQLite, that is a new database
        if self._place is None:
            self._place = status.st_dev, status.st_ino
        self._check_place(status)
        try:
            connection = connect(self.path, self._timeout)
            try:
                prepare(connection)
                check_format(connection, self.path)
            except BaseException:
                close_unchanged(connection, self.path)
                raise
        except FAULTS as error:
            raise self._translated(error) from error
        if self._trace is not None:
            connection.set_trace_callback(self._trace)
        return connection

    def _check_place(self, status: os.stat_result) -> None:
        """Refuse to go on with a file that has no name any more: what is written to it would be lost."""
        if (status.st_dev, status.st_ino) != self._place:
            raise self._replaced()

    def _translated(self, error: sqlite3.Error | UnicodeDecodeError) -> StrongroomError:
        found = translate(error, self.path)
        self._refused = self._refused or isinstance(found, StoreDamagedError)
        return found

    def damaged(self, reason: str) -> StoreDamagedError:
        """Return the error for a file that cannot be read as a store, and change nothing in it from now on.

        Args:
            reason: What is wrong with it, without a final stop.
        """
        self._refused = True
        return damaged(self.path, reason)

    def _replaced(self) -> StoreDamagedError:
        return StoreDamagedError(
            f"{self.path} was replaced or removed while it was open; nothing was written",
            hint="stop every program that has it open, and start them again",
        )

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
            raise self._translated(error) from error
        finally:
            self._idle.append(cursor)
            if self._draining:
                self._close_idle()

    def change(self, step: Callable[[sqlite3.Cursor], Result], done: Callable[[], None] | None = None) -> Result:
        """Run a step as one writing transaction: all of it is durable, or none has happened.

        Threads queue up here: between connections SQLite only sleeps and tries again.

        Args:
            step: What to run.
            done: Called after the commit, before the next thread has its turn.

        Raises:
            StoreDamagedError: The file was replaced since it was opened.
            StrongroomError: SQLite refused; see ``faults.translate``.
        """
        turn = self._turn  # a forked child has another
        if not turn.acquire(timeout=self.patience(self._timeout)):
            raise busy(self.path)
        try:
            result = self._transaction(
                "BEGIN IMMEDIATE", lambda cursor: self._in_place(step(cursor)), self.patience(self._timeout)
            )
            self._wrote = True
            if done is not None:
                done()
            return result
        finally:
            turn.release()

    def _in_place(self, result: Result) -> Result:
        self.check_in_place()
        return result

    def check_in_place(self) -> None:
        """Refuse to go on with a file that was replaced or removed since it was opened.

        Raises:
            StoreDamagedError: It was.
        """
        try:
            status = os.lstat(self.path)
        except OSError as error:
            raise self._replaced() from error
        self._check_place(status)

    def sync_log(self) -> None:
        """Have on the disk what is in the write-ahead log, whoever wrote it.

        Raises:
            BackendError: The system failed to.
        """
        sync_log(self.path)

    def snapshot(self, step: Callable[[sqlite3.Cursor], Result]) -> Result:
        """Run a step on the store as it is at one moment."""
        return self._transaction("BEGIN", step)

    @staticmethod
    def patience(seconds: float) -> float:
        """Return how long to wait for others: not for longer than the operation that this thread is in may take.

        Args:
            seconds: How many seconds it may be otherwise.
        """
        from strongroom.pacing import time_left  # imported already by whoever has set a limit

        left = time_left()
        return seconds if left is None else min(seconds, left)

    def _begin(self, cursor: sqlite3.Cursor, begin: str, patience: float) -> None:
        if patience >= self._timeout:
            cursor.execute(begin)
            return
        cursor.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        try:
            cursor.execute(begin)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")

    def _transaction(
        self, begin: str, step: Callable[[sqlite3.Cursor], Result], patience: float | None = None
    ) -> Result:
        cursor = self.take()
        try:
            self._begin(cursor, begin, self._timeout if patience is None else patience)
            try:
                result = step(cursor)
                cursor.execute("COMMIT")
            finally:
                # A failed commit leaves the transaction open; some errors end it by themselves.
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
        except FAULTS as error:
            raise self._translated(error) from error
        except StoreDamagedError:
            self._refused = True
            raise
        finally:
            self.give(cursor)
        return result

    def checkpoint(self) -> bool:
        """Move all that is in the write-ahead log into the file, if nobody is in the way just now.

        Returns:
            Whether the log is empty.

        Raises:
            StrongroomError: SQLite refused; see ``faults.translate``.
        """
        cursor = self.take()
        try:
            cursor.execute("PRAGMA busy_timeout = 0")  # or it waits for each reader
            try:
                busy: int = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")
        except FAULTS as error:
            raise self._translated(error) from error
        finally:
            self.give(cursor)
        return busy == 0

    def close(self) -> None:
        """Close every connection that is not in use, and the others as they come back."""
        if not self._closed and self._wrote and not self._refused:
            try:
                self.checkpoint()
            except StrongroomError:
                pass  # what is in the log is durable; the next one to close moves it
        self._closed = self._draining = True
        self._close_idle()
        self._drop_lost()

    def leave(self) -> None:
        """Close without changing anything: the store was refused."""
        self._refused = True
        self.close()

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
        self._drop(connection)

    def _drop(self, connection: sqlite3.Connection) -> None:
        if self._refused:
            close_unchanged(connection, self.path)
        else:
            connection.close()
        self._all.pop(connection, None)

    def _drop_lost(self) -> None:
        """Close connections that nobody holds: an exception of a signal handler may come before any ``try``."""
        for connection, cursor in list(self._all.items()):
            if cursor() is None:
                self._drop(connection)

    def before_fork(self) -> None:
        """Close all connections and let nobody open one until the fork is over."""
        self._gate.acquire()
        deadline = time.monotonic() + _FORK_WAIT
        self._draining = True
        self._close_idle()
        self._drop_lost()
        while self._all and time.monotonic() < deadline:
            time.sleep(0.001)
            self._close_idle()
            self._drop_lost()

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
        self._idle, self._all = [], {}
        self._draining = self._closed
        self._gate = threading.RLock()
        self._turn = threading.Lock()
