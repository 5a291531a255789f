"""A change of keys: of the master key, which wraps the data key, or of both."""

from __future__ import annotations

import hmac
import sqlite3

from typing import Final

from strongroom.contracts import RekeyRequest, RekeyResult
from strongroom.errors import MasterKeyError, StrongroomError
from strongroom.model import SecretValue
from strongroom_local import schema
from strongroom_local.copies import reencrypt_copies
from strongroom_local.digest import Digest
from strongroom_local.encoding import random_bytes
from strongroom_local.entries import reencrypt_entries
from strongroom_local.faults import warn
from strongroom_local.header import DATA_KEY_SIZE, SALT_SIZE, Header, KeyKind, seal_header
from strongroom_local.keyrings import reencrypt_keyrings
from strongroom_local.keys import MasterKey, StoreKeys, Wrapping
from strongroom_local.maintenance import refuse_problems
from strongroom_local.reencryption import reencrypt
from strongroom_local.session import Session, check_epoch
from strongroom_local.states import reencrypt_states
from strongroom_local.verification import examine

_OTHERS: Final = (reencrypt_states, reencrypt_keyrings, reencrypt_copies, reencrypt_entries)
"""What rewrites the rows of the tables that a store may have; each returns how many there are."""


def change_keys(session: Session, request: RekeyRequest) -> RekeyResult:
    """Change a store's keys in one transaction, after checking the store.

    Args:
        session: The open store; it goes on with the new keys.
        request: Which keys to change.

    Raises:
        MasterKeyError: The old or the new key is missing, malformed or wrong; nothing changed.
        TamperedError: The store does not verify; nothing changed.
        BackendError: The disk is full; nothing changed.
    """

    def attempt() -> RekeyResult:
        rekeying = _Rekeying(session, request)
        keys, result = session.pool.change(rekeying.run)
        session.adopt(rekeying.master, keys)
        return result

    result = session.patiently(attempt)
    if not _moved(session):
        warn(
            f"{session.pool.path} or its log may still hold the old header, as others were using it: "
            "it goes when the store is next written to and closed by the last of them"
        )
    return result


def _moved(session: Session) -> bool:
    """Tell whether the old header is gone; this waits for nobody, as the key's file is still to be exchanged."""
    try:
        return session.pool.checkpoint()
    except StrongroomError:
        return False  # the change itself is durable


class _Rekeying:
    """The new header is prepared before the write lock is taken: its derivation is slow by design."""

    def __init__(self, session: Session, request: RekeyRequest) -> None:
        self._session = session
        self._request = request
        self._old = session.keys
        self.master = session.master
        if request.new_key is not None:
            kind = KeyKind.PASSPHRASE if request.passphrase else KeyKind.KEY
            self.master = MasterKey(request.new_key, kind)
        self._header = self._new_header()
        self._wrapping = self._wrapped()

    def _new_header(self) -> Header:
        old = self._old.header
        same_kind = self.master.kind is old.kind
        return Header(
            store_id=old.store_id,
            kind=self.master.kind,
            salt=random_bytes(SALT_SIZE),
            iterations=old.iterations if same_kind else self.master.kind.default_iterations,
            epoch=old.epoch + 1,
            key_id=old.key_id + self._request.reencrypt,
        )

    def _wrapped(self) -> Wrapping:
        return self.master.wrapping(self._header.salt, self._header.iterations)

    def run(self, cursor: sqlite3.Cursor) -> tuple[StoreKeys, RekeyResult]:
        check_epoch(cursor, self._old)
        path = self._session.pool.path
        refuse_problems(examine(cursor, self._old), path)
        content = cursor.execute(schema.HEADER).fetchone()[0]
        _, data_key = self._session.unwrap(content)
        if self._request.reencrypt:
            data_key = SecretValue(random_bytes(DATA_KEY_SIZE))
        content = seal_header(self._header, self._wrapping, data_key)
        keys = self._opened(content, data_key)
        records = self._rewrite(cursor, keys, content)
        refuse_problems(examine(cursor, keys), path)
        return keys, RekeyResult(key_epoch=keys.epoch, records=records)

    def _opened(self, content: bytes, data_key: SecretValue) -> StoreKeys:
        """Open the new header as the next process will, with the new key read again."""
        header, unwrapped = self.master.open(content, self._session.pool.path)
        if not hmac.compare_digest(unwrapped.reveal(), data_key.reveal()):
            raise MasterKeyError("the new master key does not open what it locked; nothing changed")
        return StoreKeys(header, unwrapped)

    def _rewrite(self, cursor: sqlite3.Cursor, keys: StoreKeys, content: bytes) -> int:
        _, counter, sealed = cursor.execute(schema.STORE).fetchone()
        digest = Digest.open(self._old, counter, sealed)
        records = 0
        if self._request.reencrypt:
            last, claim_key = digest.journal.last, digest.journal.claim_key
            digest = reencrypt(cursor, self._old, keys)
            digest.journal.last, digest.journal.claim_key = last, claim_key
            others = [rewrite(cursor, self._old, keys, digest) for rewrite in _OTHERS]
            records, uses = digest.records, max(digest.heads, digest.records, *others)
        else:
            self._old.unsettled += 1
            uses = self._old.unsettled
            digest = digest.under(keys)
        state = (keys.epoch, counter + 1, digest.sealed(counter + 1, uses), content)
        schema.put_row(cursor, schema.SET_KEYS, state)
        return records
