"""Every access to an open store runs here: under keys of the store's present epoch, or not at all."""

from __future__ import annotations

import sqlite3
import time

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from strongroom.contracts import ReadResult
from strongroom.errors import MasterKeyError, SecretDeletedError, SecretNotFoundError
from strongroom.model import SecretName, SecretValue
from strongroom_local import schema
from strongroom_local.changes import Change, EpochChanged
from strongroom_local.connection import Pool
from strongroom_local.encoding import moment
from strongroom_local.header import Header
from strongroom_local.keys import MasterKey, StoreKeys
from strongroom_local.sealing import LIVE, Head, check_link, open_current, open_head, open_record

Result = TypeVar("Result")

_KEY_PATIENCE: Final = 2.0
_OPENING_PATIENCE: Final = 0.8
_KEY_PAUSE: Final = 0.02
_ATTEMPTS: Final = 3


class Session:
    """An open store: its connections and its keys. Threads share it.

    Args:
        pool: The connections to the store's file.
        master: Where the master key comes from.

    Raises:
        MasterKeyError: The master key is missing, malformed or not the store's.
        StoreDamagedError: The file is not a store of this format.
        TamperedError: The header is not authentic.
    """

    def __init__(self, pool: Pool, master: MasterKey) -> None:
        self.pool = pool
        self.master = master
        self._configured = master
        self.keys = self._first()

    def adopt(self, master: MasterKey, keys: StoreKeys) -> None:
        """Go on with the keys that this session has just given the store.

        The configured key is still tried where the new one does not fit any more.
        """
        self.master = master
        self.keys = keys

    def unwrap(self, content: object) -> tuple[Header, SecretValue]:
        """Return a stored header's clear fields and the data key; errors are those of ``MasterKey.open``."""
        try:
            return self.master.open(content, self.pool.path)
        except MasterKeyError:
            if self.master is self._configured:
                raise
        return self._configured.open(content, self.pool.path)

    def _first(self) -> StoreKeys:
        """Load the keys of a store that is being opened.

        Header and key are read one after the other, and a change of keys may exchange both in
        between; or it has exchanged the header, and the key follows in a moment. A key that is
        simply wrong is read twice, and nobody waits for another one.
        """
        try:
            return self._loaded()
        except MasterKeyError:
            pass  # raised again below, unless it was a matter of time
        deadline = time.monotonic() + self.pool.patience(_OPENING_PATIENCE)
        while True:
            # Asked before: a change that is over by now is seen by the next attempt as a whole.
            changing = self.master.source.is_changing()
            try:
                return self._loaded()
            except MasterKeyError:
                if not changing or time.monotonic() > deadline:
                    raise
            time.sleep(_KEY_PAUSE)

    def _loaded(self) -> StoreKeys:
        rows = self.pool.fetch(schema.HEADER)
        if not rows:
            raise self.pool.damaged("its header is missing")
        content, epoch = rows[0]
        keys = StoreKeys(*self.unwrap(content))
        if keys.epoch != epoch:
            raise self.pool.damaged("its key epoch is not that of its header")
        return keys

    def reload(self, stale: StoreKeys) -> None:
        """Load the keys anew; a new key file may follow the change of keys by a moment.

        Args:
            stale: The keys that are not the store's any more.

        Raises:
            MasterKeyError: The configured key does not open the store any more.
        """
        deadline = time.monotonic() + self.pool.patience(_KEY_PATIENCE)
        while self.keys is stale:
            try:
                fresh = self._loaded()
                if fresh.header.key_id == stale.header.key_id:
                    fresh.unsettled = stale.unsettled
                self.keys = fresh
            except MasterKeyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_KEY_PAUSE)

    def current(self, name: SecretName) -> ReadResult:
        """Return the current version of a secret.

        Raises:
            SecretNotFoundError: There is no such name.
            SecretDeletedError: It is deleted.
            TamperedError: Head or record is not authentic.
        """
        keys = self.keys
        lookup = keys.find(name)
        rows = self.pool.fetch(schema.READ, (lookup,))
        if rows and rows[0][0] == keys.epoch:
            result = open_current(keys, lookup, rows[0])
            if result is not None:
                return result
            if rows[0][2] is None:
                self._prove_absent(name)
        # Step by step, for the reason why not.
        keys, head, rows = self.find(schema.READ, name)
        value, created = open_record(keys, head, head.version, rows[0][3])
        return ReadResult(value=value, version=str(head.version), created=moment(created))

    def current_of(self, names: Iterable[SecretName]) -> dict[SecretName, ReadResult]:
        """Return the current versions of several secrets, all of one moment, by one statement.

        Whatever is not as usual is left out: ``current`` finds the words for it.
        """
        keys = self.keys
        places = {keys.find(name): name for name in names}
        rows = self.pool.fetch(schema.read_many(len(places)), tuple(places)) if places else []
        found: dict[SecretName, ReadResult] = {}
        for epoch, lookup, *sealed in rows:
            name = places.get(lookup) if epoch == keys.epoch else None
            result = open_current(keys, lookup, (epoch, *sealed)) if name is not None else None
            if name is not None and result is not None:
                found[name] = result
        return found

    def fetch(
        self,
        statement: str,
        name: SecretName | None = None,
        *more: object,
        place: Callable[[StoreKeys, SecretName], bytes] = StoreKeys.find,
    ) -> tuple[StoreKeys, bytes, list[Any]]:
        """Run a statement whose first column is the key epoch.

        Args:
            statement: One of ``schema``.
            name: The secret whose look-up value is the first parameter, if one is.
            more: Further parameters.
            place: How the name becomes its look-up value.

        Returns:
            The keys, the look-up value and the rows, all of one epoch.
        """
        while True:
            keys = self.keys
            lookup = b"" if name is None else place(keys, name)
            rows = self.pool.fetch(statement, () if name is None else (lookup, *more))
            if rows and rows[0][0] == keys.epoch:
                return keys, lookup, rows
            if not rows:
                raise self.pool.damaged("its header is missing")
            self.reload(keys)

    def ask(
        self, statement: str, parameters: Callable[[StoreKeys], tuple[object, ...]] = lambda _: ()
    ) -> tuple[StoreKeys, tuple[Any, ...]]:
        """Run a statement that finds one row, whose first column is the key epoch.

        Args:
            statement: One of ``journal_schema``.
            parameters: Returns its parameters under certain keys.

        Returns:
            The keys and the row, both of one epoch.
        """
        while True:
            keys = self.keys
            rows = self.pool.fetch(statement, parameters(keys))
            if not rows:
                raise self.pool.damaged("its header is missing")
            if rows[0][0] == keys.epoch:
                return keys, rows[0]
            self.reload(keys)

    def find(self, statement: str, name: SecretName, *more: object) -> tuple[StoreKeys, Head, list[Any]]:
        """Return what a statement finds of a secret that is there.

        Args:
            statement: One of ``schema`` that selects epoch, current and sealed first.
            name: The secret's name.
            more: Further parameters.

        Raises:
            SecretNotFoundError: There is no such name.
            SecretDeletedError: It is deleted.
            TamperedError: The head is not authentic.
        """
        for _ in range(_ATTEMPTS):
            keys, lookup, rows = self.fetch(statement, name, *more)
            _, current, sealed, *_ = rows[0]
            if sealed is not None:
                head = open_head(keys, lookup, current, sealed)
                if head.state != LIVE:
                    raise _deleted(head)
                return keys, head, rows
            self._prove_absent(name)
        raise self.pool.damaged(f"its index has {name} and does not find it")

    def _prove_absent(self, name: SecretName) -> None:
        """Raise that a name is absent, having proved it; return if it came into being meanwhile."""
        keys, lookup, rows = self.fetch(schema.BEFORE, name)
        _, place, current, sealed = rows[0]
        before = open_head(keys, place, current, sealed)
        if place == lookup:
            return
        check_link(lookup, place, before)
        raise SecretNotFoundError(f"the local store has no secret {name}", name=name, hint="check the name's spelling")

    def change(self, name: SecretName, act: Callable[[Change], Result]) -> Result:
        """Run an act on one name as one writing transaction."""
        return self.transact(lambda cursor, keys: act(Change(cursor, keys, name, self.pool.path)))

    def transact(self, act: Callable[[sqlite3.Cursor, StoreKeys], Result]) -> Result:
        """Run an act as one writing transaction; it must raise ``EpochChanged`` for keys that are not the store's."""
        counted = False
        while True:
            keys = self.keys

            def step(cursor: sqlite3.Cursor, keys: StoreKeys = keys) -> Result:
                nonlocal counted
                before = keys.last_digest
                result = act(cursor, keys)
                counted = keys.last_digest is not before  # some acts find nothing to do, and write no digest
                return result

            def settle(keys: StoreKeys = keys) -> None:
                if counted:
                    keys.unsettled = 0

            try:
                return self.pool.change(step, settle)
            except EpochChanged:
                self.reload(keys)

    def snapshot(self, act: Callable[[sqlite3.Cursor, StoreKeys], Result]) -> Result:
        """Run an act on the whole store as it is at one moment."""

        def step(cursor: sqlite3.Cursor) -> Result:
            keys = self.keys
            check_epoch(cursor, keys)
            return act(cursor, keys)

        return self.patiently(lambda: self.pool.snapshot(step))

    def patiently(self, attempt: Callable[[], Result]) -> Result:
        """Repeat an attempt that found the keys changed, with the new ones."""
        while True:
            keys = self.keys
            try:
                return attempt()
            except EpochChanged:
                self.reload(keys)


def check_epoch(cursor: sqlite3.Cursor, keys: StoreKeys) -> None:
    """Refuse to go on within a transaction if the keys are not the store's any more.

    Raises:
        EpochChanged: They are not.
    """
    row = cursor.execute(schema.STORE).fetchone()
    if row is None or row[0] != keys.epoch:
        raise EpochChanged


def _deleted(head: Head) -> SecretDeletedError:
    return SecretDeletedError(
        f"{head.name} was deleted",
        when=moment(head.changed).isoformat(),
        name=head.name,
        hint="set it again to make a new version",
    )
