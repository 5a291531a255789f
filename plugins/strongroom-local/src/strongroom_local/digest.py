"""The digest: what makes a removed, added or replayed row visible.

Each row has an HMAC; the digest holds their sum modulo 2^256, so that a change
costs the same whatever the store's size, and is sealed with the change counter.
"""

from __future__ import annotations

import struct

from typing import Any, Final

from strongroom.errors import BackendError
from strongroom_local.encoding import u64
from strongroom_local.faults import tampered
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import seal, unseal

WARN_AT: Final = 1 << 31
REFUSE_AT: Final = 1 << 32

# heads, records, encryptions, sum
_CONTENT: Final = struct.Struct(">QQQ32s")
# The same and, in a store that has named keys, how many versions all of them have.
_WITH_KEYS: Final = struct.Struct(">QQQ32sQ")
# The same and, in a store that has had a journal: last position, entries, those that wait, size, claim key.
_WITH_JOURNAL: Final = struct.Struct(">QQQ32sQQQQQ32s")
_SIZES: Final = frozenset({_CONTENT.size, _WITH_KEYS.size, _WITH_JOURNAL.size})
_COUNTER: Final = struct.Struct(">HQ")  # as the last item of a list
_NO_RECORD: Final = bytes(8)
_MODULUS: Final = 1 << 256


NO_CLAIM_KEY: Final = bytes(32)


class JournalCount:
    """What the digest knows about the journal.

    Attributes:
        last: The position that was given last; none is ever given again.
        entries: How many entries there are.
        waiting: How many of them wait.
        size: How many bytes their values have together.
        claim_key: The key of the names of the files by which targets are claimed; no other is ever used,
            so that two processes mean the same file also while the data key is replaced.
    """

    __slots__ = ("claim_key", "entries", "last", "size", "waiting")

    def __init__(
        self, last: int = 0, entries: int = 0, waiting: int = 0, size: int = 0, claim_key: bytes = NO_CLAIM_KEY
    ) -> None:
        self.last = last
        self.entries = entries
        self.waiting = waiting
        self.size = size
        self.claim_key = claim_key

    def all(self) -> tuple[int, int, int, int, bytes]:
        """Return everything, in the order in which it is stored."""
        return self.last, self.entries, self.waiting, self.size, self.claim_key

    def add(self, waits: bool, size: int, sign: int = 1) -> None:
        """Count an entry, or count it no more.

        Args:
            waits: Whether it waits.
            size: How many bytes its value has.
            sign: 1, or -1 for no more.
        """
        self.entries += sign
        self.waiting += sign * waits
        self.size += sign * size


_NO_JOURNAL: Final = JournalCount().all()


class Digest:
    """The digest as it changes within one transaction.

    Attributes:
        heads: How many rows the index has, its origin and deleted names included.
        records: How many records there are.
        encryptions: How often any one key was used since the data key is in use, at most.
        total: The sum of the rows' HMACs.
        key_versions: How many versions all named keys have. It only grows, and no authentic row
            has more than belong to it: whoever counts as many, each row once, has every row as it
            was last written, or another of as many versions that was given up.
        journal: What it knows about the journal.
    """

    __slots__ = ("_keys", "encryptions", "heads", "journal", "key_versions", "records", "total")

    def __init__(
        self,
        keys: StoreKeys,
        heads: int = 0,
        records: int = 0,
        encryptions: int = 0,
        total: int = 0,
        key_versions: int = 0,
        journal: tuple[int, int, int, int, bytes] = _NO_JOURNAL,
    ) -> None:
        self._keys = keys
        self.heads = heads
        self.records = records
        self.encryptions = encryptions
        self.total = total
        self.key_versions = key_versions
        self.journal = JournalCount(*journal)

    @classmethod
    def open(cls, keys: StoreKeys, counter: object, sealed: object) -> Digest:
        """Return the digest that was stored at a change counter.

        Raises:
            TamperedError: It is not authentic for this counter.
        """
        if type(counter) is int and (counter, sealed) == keys.last_digest[:2]:
            return cls(keys, *keys.last_digest[2:])
        content = None
        if type(sealed) is bytes and type(counter) is int and 0 <= counter < 1 << 63:
            content = unseal(keys.digest, sealed, 0, _associated(keys, counter))
        if content is None or len(content) not in _SIZES:
            raise tampered("the digest of the local store is not authentic")
        heads, records, encryptions, total, key_versions, *journal = _WITH_JOURNAL.unpack(
            content.ljust(_WITH_JOURNAL.size, b"\0")
        )
        return cls(keys, heads, records, encryptions, int.from_bytes(total, "big"), key_versions, tuple(journal))

    def under(self, keys: StoreKeys) -> Digest:
        """Return the same digest, to be sealed with keys of another epoch that the rows are sealed with, too."""
        return Digest(keys, *self._held())

    def _held(self) -> tuple[Any, ...]:
        return self.heads, self.records, self.encryptions, self.total, self.key_versions, self.journal.all()

    def _packed(self) -> bytes:
        state = (self.heads, self.records, self.encryptions, self.total.to_bytes(32, "big"))
        if self.journal.all() != _NO_JOURNAL:
            return _WITH_JOURNAL.pack(*state, self.key_versions, *self.journal.all())
        return _WITH_KEYS.pack(*state, self.key_versions) if self.key_versions else _CONTENT.pack(*state)

    def sealed(self, counter: int, uses: int) -> bytes:
        """Return the digest sealed for a change counter.

        Args:
            counter: The counter after this change.
            uses: How often this change uses the key that it uses most.

        Raises:
            BackendError: The keys have been used as often as is safe.
        """
        self.encryptions += uses
        if self.encryptions > REFUSE_AT:
            raise BackendError(
                "the local store's data key has been used 2^32 times and is not used again",
                hint="run `strongroom rekey --reencrypt`; reading goes on",
            )
        sealed = seal(self._keys.digest, self._packed(), _associated(self._keys, counter))
        # The next change as a rule builds on this one, and need not open what was just sealed.
        self._keys.last_digest = (counter, sealed, *self._held())
        return sealed

    def add_head(self, lookup: bytes, current: int | None, sealed: bytes) -> None:
        """Count a row of the index that is new."""
        self.heads += 1
        self._add(head_mac(self._keys, lookup, current, sealed))

    def change_head(self, lookup: bytes, old: tuple[int | None, bytes], new: tuple[int | None, bytes]) -> None:
        """Count a row of the index anew; ``old`` and ``new`` are its other columns."""
        self._add(head_mac(self._keys, lookup, *new) - head_mac(self._keys, lookup, *old))

    def add_record(self, number: int, body: bytes) -> None:
        """Count a record that is new."""
        self.records += 1
        self._add(record_mac(self._keys, number, body))

    def drop_record(self, number: int, body: bytes) -> None:
        """Count a record no more."""
        self.records -= 1
        self._add(-record_mac(self._keys, number, body))

    def add_state(self, lookup: bytes, sealed: bytes) -> None:
        """Count a state's row that is new."""
        self._add(state_mac(self._keys, lookup, sealed))

    def drop_state(self, lookup: bytes, sealed: bytes) -> None:
        """Count a state's row no more."""
        self._add(-state_mac(self._keys, lookup, sealed))

    def add_keyring(self, lookup: bytes, sealed: bytes, versions: int) -> None:
        """Count a named key's row that is new, and how many versions it holds."""
        self.key_versions += versions
        self._add(keyring_mac(self._keys, lookup, sealed))

    def drop_keyring(self, lookup: bytes, sealed: bytes, versions: int) -> None:
        """Count a named key's row no more."""
        self.key_versions -= versions
        self._add(-keyring_mac(self._keys, lookup, sealed))

    def add_copy(self, lookup: bytes, sealed: bytes) -> None:
        """Count a copy's row that is new."""
        self._add(copy_mac(self._keys, lookup, sealed))

    def drop_copy(self, lookup: bytes, sealed: bytes) -> None:
        """Count a copy's row no more."""
        self._add(-copy_mac(self._keys, lookup, sealed))

    def add_entry(self, position: int, waits: bool, size: int, sealed: bytes) -> None:
        """Count a row of the journal that is new."""
        self.journal.add(waits, size)
        self._add(entry_mac(self._keys, position, sealed))

    def drop_entry(self, position: int, waits: bool, size: int, sealed: bytes) -> None:
        """Count a row of the journal no more."""
        self.journal.add(waits, size, -1)
        self._add(-entry_mac(self._keys, position, sealed))

    def _add(self, change: int) -> None:
        self.total = (self.total + change) % _MODULUS


def _associated(keys: StoreKeys, counter: int) -> bytes:
    return keys.digest_start + _COUNTER.pack(8, counter)


def head_mac(keys: StoreKeys, lookup: bytes, current: int | None, sealed: bytes) -> int:
    """Return the HMAC of a row of the index that ``open_head`` accepts, as a number."""
    identity = _NO_RECORD if current is None else u64(current)
    return keys.row_mac(b"H" + lookup + identity + sealed)


def record_mac(keys: StoreKeys, number: int, body: bytes) -> int:
    """Return the HMAC of a record's row, as a number.

    Raises:
        TamperedError: No store has such a row: a damaged file may hold any type and any number.
    """
    if type(body) is not bytes or number < 0:
        raise tampered(f"the local store's record {number} is not one")
    return keys.row_mac(b"R" + u64(number) + body)


def state_mac(keys: StoreKeys, lookup: bytes, sealed: bytes) -> int:
    """Return the HMAC of a state's row that is authentic, as a number."""
    return keys.row_mac(b"S" + lookup + sealed)


def keyring_mac(keys: StoreKeys, lookup: bytes, sealed: bytes) -> int:
    """Return the HMAC of a named key's row that is authentic, as a number."""
    return keys.row_mac(b"K" + lookup + sealed)


def copy_mac(keys: StoreKeys, lookup: bytes, sealed: bytes) -> int:
    """Return the HMAC of a copy's row that is authentic, as a number."""
    return keys.row_mac(b"C" + lookup + sealed)


def entry_mac(keys: StoreKeys, position: int, sealed: bytes) -> int:
    """Return the HMAC of a row of the journal that is authentic, as a number; its other columns are bound to it."""
    return keys.row_mac(b"J" + u64(position) + sealed)
