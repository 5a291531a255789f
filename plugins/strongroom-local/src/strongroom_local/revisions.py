"""One change of copies and entries, within a transaction that holds the write lock."""

from __future__ import annotations

import sqlite3

from typing import Final

from strongroom_local import schema
from strongroom_local.changes import EpochChanged
from strongroom_local.digest import Digest
from strongroom_local.keys import StoreKeys


class Revision:
    """A change that is under way: it has read the digest, and writes it when all else has been written.

    Args:
        cursor: The cursor on which the transaction is open.
        keys: The keys as they were last loaded.

    Raises:
        EpochChanged: The keys are not the store's any more; nothing was written.
        TamperedError: The digest is not authentic.
    """

    def __init__(self, cursor: sqlite3.Cursor, keys: StoreKeys) -> None:
        row = cursor.execute(schema.STORE).fetchone()
        if row is None or row[0] != keys.epoch:
            raise EpochChanged
        _, counter, sealed = row
        self.cursor: Final = cursor
        self.keys: Final = keys
        self.digest: Final = Digest.open(keys, counter, sealed)
        self._counter: Final[int] = counter + 1
        self._seals = 0
        self._changed = False

    def change(self, statement: str, parameters: tuple[object, ...]) -> None:
        """Write exactly one row.

        Raises:
            StoreDamagedError: The row that was to be changed is not found any more.
        """
        schema.put_row(self.cursor, statement, parameters)
        self._changed = True

    def sealing(self) -> StoreKeys:
        """Return the keys for one more use of any of them.

        It is counted before anything is sealed, so that a transaction that fails is counted, too.
        """
        self._seals += 1
        self.keys.unsettled += 1
        return self.keys

    def finish(self) -> int:
        """Write the digest, unless nothing has changed.

        Returns:
            How often the store's keys have been used, this time included.

        Raises:
            BackendError: They have been used as often as is safe.
        """
        if self._changed:
            if not self._seals:
                self.sealing()
            sealed = self.digest.sealed(self._counter, self.keys.unsettled)
            schema.put_row(self.cursor, schema.SET_STORE, (self._counter, sealed))
        return self.digest.encryptions

    def set_claim_key(self, key: bytes) -> None:
        """Note the key of the names of the files by which targets are claimed."""
        self.digest.journal.claim_key = key
        self._changed = True
