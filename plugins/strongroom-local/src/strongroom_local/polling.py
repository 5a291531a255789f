"""Saying which versions are current, for as little as one statement while nothing changes."""

from __future__ import annotations

import sqlite3

from typing import Any, Final

from strongroom.contracts import CurrentVersionsRequest, CurrentVersionsResult, Record
from strongroom.model import SecretName
from strongroom_local import schema
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import LIVE, open_head
from strongroom_local.session import Session

AT_ONCE: Final = 10_000 if sqlite3.sqlite_version_info >= (3, 32) else 900
"""How many names one statement takes: SQLite's limit was raised in 3.32."""


class _Seen(Record):
    """The current versions at one moment."""

    keys: StoreKeys
    counter: int
    """The store's change counter then: as long as it is the same, so are all versions."""
    versions: dict[SecretName, str | None]


class Polling:
    """Remembers the versions that were asked for last, so that nothing is read while the store does not change.

    Args:
        session: The open store.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: _Seen | None = None

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return current versions; see ``VersionPolling.current_versions``.

        What is said of a name that is there is authentic. That a name is absent is not proved, as a read proves it.

        Raises:
            TamperedError: The index has an entry that is not authentic.
        """
        names = request.names
        if not names:
            return CurrentVersionsResult(versions={}, errors={})
        seen = self._seen
        if seen is None or not seen.versions.keys() >= set(names) or not self._is_present(seen):
            # In one step: another thread may have another idea of what was asked for last.
            seen = self._seen = self._read(names)
        return CurrentVersionsResult(versions={name: seen.versions[name] for name in names}, errors={})

    def _is_present(self, seen: _Seen) -> bool:
        keys, _, rows = self._session.fetch(schema.STORE)
        return keys is seen.keys and rows[0][1] == seen.counter

    def _read(self, names: tuple[SecretName, ...]) -> _Seen:
        keys, places, rows = self._rows(names)
        versions: dict[SecretName, str | None] = dict.fromkeys(names)
        for _, _, lookup, current, sealed in rows:
            if lookup in places:
                head = open_head(keys, lookup, current, sealed)
                versions[places[lookup]] = str(head.version) if head.state == LIVE else None
        return _Seen(keys=keys, counter=rows[0][1], versions=versions)

    def _rows(self, names: tuple[SecretName, ...]) -> tuple[StoreKeys, dict[bytes, SecretName], list[Any]]:
        """Return the keys, the names by look-up value, and the rows with their heads, all of one epoch."""
        while True:
            keys = self._session.keys
            places = {keys.find(name): name for name in names}
            rows = self._session.pool.fetch(schema.heads_of(len(places)), tuple(places))
            if not rows:
                raise self._session.pool.damaged("its header is missing")
            if rows[0][0] == keys.epoch:
                return keys, places, rows
            self._session.reload(keys)
