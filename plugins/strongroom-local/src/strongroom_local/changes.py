"""What a write and a delete do within their transaction."""

from __future__ import annotations

import sqlite3
import time

from strongroom.errors import BackendError, VersionConflictError
from strongroom.model import ABSENT, Absent, SecretName, SecretValue
from strongroom_local import schema
from strongroom_local.digest import Digest
from strongroom_local.faults import damaged
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import (
    DELETED,
    LIVE,
    MAX_NUMBER,
    MAX_VERSION,
    Head,
    check_link,
    open_head,
    record_clear,
    seal_head,
    seal_record,
)


class EpochChanged(Exception):  # noqa: N818  # a signal to load the keys anew, caught within the plugin
    """The store's keys were changed by somebody else since they were loaded."""


def now() -> int:
    """Return the time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Change:
    """One change of one name, within a transaction that holds the write lock.

    Args:
        cursor: The cursor on which the transaction is open.
        keys: The keys as they were last loaded.
        name: The secret's name.
        path: The store's file, for messages.

    Raises:
        EpochChanged: The keys are not the store's any more; nothing was written.
        TamperedError: What the change would build on is not authentic.
    """

    def __init__(self, cursor: sqlite3.Cursor, keys: StoreKeys, name: SecretName, path: str) -> None:
        self._cursor = cursor
        self._keys = keys
        self.name = name
        self._lookup = keys.find(name)
        row = cursor.execute(schema.TARGET, (self._lookup,)).fetchone()
        if row is None:
            raise damaged(path, "its header is missing")
        epoch, counter, digest, self._current, self._sealed = row
        if epoch != keys.epoch:
            raise EpochChanged
        self.digest = Digest.open(keys, counter, digest)
        self.counter = counter + 1
        self.head: Head | None = None
        if self._sealed is not None:
            self.head = open_head(keys, self._lookup, self._current, self._sealed)

    @property
    def version(self) -> str | None:
        """The current version; ``None`` if there is none."""
        return str(self.head.version) if self.head is not None and self.head.state == LIVE else None

    def expect(self, version: str | Absent | None) -> None:
        """Go on only if the current version is the expected one.

        Raises:
            VersionConflictError: It is another.
        """
        if version is None or version == (self.version or ABSENT):
            return
        expected = "absent" if isinstance(version, Absent) else version
        found = self.version or "absent"
        raise VersionConflictError(
            f"{self.name} has version {found} and not {expected}" if self.version else f"{self.name} is {found}",
            expected=expected,
            found=found,
            name=self.name,
            hint="read it again and decide anew",
        )

    def store(self, value: SecretValue, keep: int) -> Head:
        """Make a new version the current one.

        Args:
            value: The new version's value.
            keep: How many of the newest versions to keep.

        Returns:
            The name's head after the change.
        """
        # Counted before anything is sealed, so that a transaction that fails is counted, too.
        self._keys.unsettled += 2 if self.head is None else 1
        head = self._first() if self.head is None else self._next(self.head, keep)
        if head.version > MAX_VERSION or head.number > MAX_NUMBER:
            raise BackendError("the local store has no number left for this version", name=self.name)
        number = head.base + head.version
        clear = record_clear(self._keys, head.version, value.type, head.changed)
        body = seal_record(self._keys, number, self.name, clear, value)
        schema.put_row(self._cursor, schema.ADD_RECORD, (number, body))
        self.digest.add_record(number, body)
        if self.head is not None:
            self._drop_versions(self.head.first, head.first - 1)
        self._finish(head)
        return head

    def delete(self) -> bool:
        """Remove every version, and keep a head that says so.

        Returns:
            Whether there was something to delete.
        """
        if self.head is None:
            self._before()
            return False
        if self.head.state == DELETED:
            return False
        old = self.head
        self._keys.unsettled += 1
        head = Head(self.name, old.number, old.version, old.version + 1, self.counter, now(), DELETED, old.next)
        self._drop_versions(old.first, old.version)
        self._finish(head)
        return True

    def _first(self) -> Head:
        """Return the head of a new name, after linking it into the chain of names."""
        place, current, sealed, before = self._before()
        head = Head(self.name, self.digest.heads, 1, 1, self.counter, now(), LIVE, before.next)
        before.next = self._lookup
        self._set_head(place, (current, sealed), before)
        return head

    def _next(self, old: Head, keep: int) -> Head:
        version = old.version + 1
        first = max(old.first, version - keep + 1)
        return Head(self.name, old.number, version, first, self.counter, now(), LIVE, old.next)

    def _before(self) -> tuple[bytes, int | None, bytes, Head]:
        """Return the entry before the name's place, which proves that the name is not there."""
        _, place, current, sealed = self._cursor.execute(schema.BEFORE, (self._lookup,)).fetchone()
        before = open_head(self._keys, place, current, sealed)
        check_link(self._lookup, place, before)
        return place, current, sealed, before

    def _drop_versions(self, first: int, last: int) -> None:
        if first > last or self.head is None:
            return
        limits = (self.head.base + first, self.head.base + last)
        for number, body in self._cursor.execute(schema.DROP_RECORDS, limits).fetchall():
            self.digest.drop_record(number, body)

    def _finish(self, head: Head) -> None:
        """Write the name's own head and the digest."""
        if self.head is not None:
            self._set_head(self._lookup, (self._current, self._sealed), head)
        else:
            sealed = seal_head(self._keys, self._lookup, head)
            schema.put_row(self._cursor, schema.ADD_HEAD, (self._lookup, head.current, sealed))
            self.digest.add_head(self._lookup, head.current, sealed)
        digest = self.digest.sealed(self.counter, self._keys.unsettled)
        schema.put_row(self._cursor, schema.SET_STORE, (self.counter, digest))

    def _set_head(self, lookup: bytes, old: tuple[int | None, bytes], head: Head) -> None:
        sealed = seal_head(self._keys, lookup, head)
        schema.put_row(self._cursor, schema.SET_HEAD, (lookup, head.current, sealed))
        self.digest.change_head(lookup, old, (head.current, sealed))
