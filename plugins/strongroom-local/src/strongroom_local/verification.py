"""The whole of a store checked, row by row and as a sum."""

from __future__ import annotations

import sqlite3

from collections.abc import Iterable, Iterator

from strongroom.contracts import VerifyResult
from strongroom.errors import StrongroomError
from strongroom_local import schema
from strongroom_local.digest import Digest
from strongroom_local.journal_schema import COPY_ODDITIES, JOURNAL_ODDITIES
from strongroom_local.keyrings import keyring_problems
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import LIVE, MAX_VERSION, ORIGIN, VERSION_BITS, Head, open_head, open_record
from strongroom_local.states import state_problems


def examine(cursor: sqlite3.Cursor, keys: StoreKeys, at_least: int | None = None) -> VerifyResult:
    """Check everything that a store holds, within the transaction that is open.

    Args:
        cursor: The cursor on which the transaction is open.
        keys: The store's keys.
        at_least: The change counter must not be below this.
    """
    _, counter, sealed = cursor.execute(schema.STORE).fetchone()
    examination = _Examination(cursor, keys)
    problems = [
        *_file_problems(cursor),
        *_odd_rows(cursor, schema.ODDITIES),
        *examination.head_problems(),
        *examination.record_problems(),
        *examination.optional_problems(),
    ]
    problems += examination.sum_problems(counter, sealed)
    if type(counter) is not int:
        counter = 0  # found above; nothing below can count with it
    if at_least is not None and counter < at_least:
        problems.append(f"the store has had {counter} changes, not {at_least}: it is an old copy")
    return VerifyResult(
        secrets=sum(head.state == LIVE for head in examination.heads.values()),
        records=examination.counted.records,
        counter=counter,
        problems=tuple(problems),
        store_id=keys.header.store_id.hex(),
    )


def _file_problems(cursor: sqlite3.Cursor) -> Iterator[str]:
    for (line,) in cursor.execute("PRAGMA integrity_check(20)").fetchall():
        if line != b"ok":
            yield f"SQLite finds that {line.decode(errors='replace')}"


def _odd_rows(cursor: sqlite3.Cursor, oddities: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Find rows that no store holds, whatever may be in them."""
    for statement, problem in oddities:
        count = cursor.execute(statement).fetchone()[0]
        if count:
            yield f"{count} {problem}"


class _Examination:
    """One pass over a store. The rows are counted as the digest counts them."""

    def __init__(self, cursor: sqlite3.Cursor, keys: StoreKeys) -> None:
        self._cursor = cursor
        self._keys = keys
        self.counted = Digest(keys)
        self.heads: dict[int, Head] = {}

    def head_problems(self) -> Iterator[str]:
        """Check each entry of the index and the chain."""
        expected = ORIGIN
        for lookup, current, sealed in self._cursor.execute(schema.HEADS):
            try:
                head = open_head(self._keys, lookup, current, sealed)
            except StrongroomError as error:
                yield error.what
                continue
            self.counted.add_head(lookup, current, sealed)
            if lookup != expected:
                yield f"the index does not have each entry that it should before {head.name}"
            expected = head.next
            self.heads[head.number] = head
        if expected != ORIGIN:
            yield "the index does not have each entry that it should at its end"

    def record_problems(self) -> Iterator[str]:
        """Check each record, and that each version that is kept has one."""
        missing = {number: _kept(head) for number, head in self.heads.items()}
        for identity, body in self._cursor.execute(schema.RECORDS):
            head, version = self.heads.get(identity >> VERSION_BITS), identity & MAX_VERSION
            if head is None or not head.first <= version <= head.version:
                yield f"there is a record {identity} that no secret has"
                continue
            missing[head.number] -= 1
            try:
                self.counted.add_record(identity, body)
                open_record(self._keys, head, version, body)
            except StrongroomError as error:
                yield error.what
        for number, count in missing.items():
            if count:
                yield f"{count} versions of {self.heads[number].name} are missing"

    def optional_problems(self) -> Iterator[str]:
        """Check each row of the tables that a store may have."""
        cursor, keys, counted = self._cursor, self._keys, self.counted
        if schema.has_states(cursor):
            yield from _odd_rows(cursor, schema.STATE_ODDITIES)
            yield from state_problems(cursor, keys, counted)
        if schema.has_keyrings(cursor):
            yield from _odd_rows(cursor, schema.KEYRING_ODDITIES)
            yield from keyring_problems(cursor, keys, counted)
        with_copies, with_journal = schema.has_kept(cursor)
        if with_copies or with_journal:
            # Imported here: most stores keep nothing for others, and verifying on opening is then to be as quick.
            from strongroom_local.copies import copy_problems
            from strongroom_local.entries import entry_problems

            if with_copies:
                yield from _odd_rows(cursor, COPY_ODDITIES)
                yield from copy_problems(cursor, keys, counted)
            if with_journal:
                yield from _odd_rows(cursor, JOURNAL_ODDITIES)
                yield from entry_problems(cursor, keys, counted)

    def sum_problems(self, counter: int, sealed: bytes) -> Iterator[str]:
        """Compare what was counted with the digest."""
        try:
            digest = Digest.open(self._keys, counter, sealed)
        except StrongroomError as error:
            yield error.what
            return
        counted = self.counted
        if (digest.heads, digest.records, digest.total) != (counted.heads, counted.records, counted.total):
            yield (
                f"the rows are not those that were written: {counted.heads} entries and {counted.records} records, "
                f"where the digest has {digest.heads} and {digest.records}, or others of the same number; "
                "or the states, the named keys, the copies or the journal are others"
            )
        if digest.key_versions != counted.key_versions:
            yield (
                f"the named keys have {counted.key_versions} versions in all, where the digest has "
                f"{digest.key_versions}: some are missing, or were put back to an earlier state"
            )
        yield from _journal_problems(digest, counted)
        if any(head.generation > counter for head in self.heads.values()):
            yield "a secret is newer than the store's change counter"


def _journal_problems(digest: Digest, counted: Digest) -> Iterator[str]:
    expected, found = digest.journal, counted.journal
    if (expected.entries, expected.waiting, expected.size) != (found.entries, found.waiting, found.size):
        yield (
            f"the journal has {found.entries} entries of {found.size} bytes, {found.waiting} of which wait, where the "
            f"digest has {expected.entries} of {expected.size} bytes, {expected.waiting} of which wait"
        )
    if found.last > expected.last:
        yield f"the journal has an entry {found.last}, where the digest has given no position above {expected.last}"


def _kept(head: Head) -> int:
    return head.version - head.first + 1 if head.state == LIVE else 0
