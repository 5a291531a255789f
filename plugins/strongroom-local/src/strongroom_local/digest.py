"""The digest: what makes a removed, added or replayed row visible.

Each row has an HMAC; the digest holds their sum modulo 2^256, so that a change
costs the same whatever the store's size, and is sealed with the change counter.
"""

from __future__ import annotations

import struct

from typing import Final

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
_COUNTER: Final = struct.Struct(">HQ")  # as the last item of a list
_NO_RECORD: Final = bytes(8)
_MODULUS: Final = 1 << 256


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
    """

    __slots__ = ("_keys", "encryptions", "heads", "key_versions", "records", "total")

    def __init__(
        self,
        keys: StoreKeys,
        heads: int = 0,
        records: int = 0,
        encryptions: int = 0,
        total: int = 0,
        key_versions: int = 0,
    ) -> None:
        self._keys = keys
        self.heads = heads
        self.records = records
        self.encryptions = encryptions
        self.total = total
        self.key_versions = key_versions

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
        if content is None or len(content) not in {_CONTENT.size, _WITH_KEYS.size}:
            raise tampered("the digest of the local store is not authentic")
        heads, records, encryptions, total = _CONTENT.unpack_from(content)
        key_versions = int.from_bytes(content[_CONTENT.size :], "big")
        return cls(keys, heads, records, encryptions, int.from_bytes(total, "big"), key_versions)

    def under(self, keys: StoreKeys) -> Digest:
        """Return the same digest, to be sealed with keys of another epoch that the rows are sealed with, too."""
        return Digest(keys, self.heads, self.records, self.encryptions, self.total, self.key_versions)

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
        state = (self.heads, self.records, self.encryptions, self.total.to_bytes(32, "big"))
        content = _WITH_KEYS.pack(*state, self.key_versions) if self.key_versions else _CONTENT.pack(*state)
        sealed = seal(self._keys.digest, content, _associated(self._keys, counter))
        # The next change as a rule builds on this one, and need not open what was just sealed.
        held = (self.heads, self.records, self.encryptions, self.total, self.key_versions)
        self._keys.last_digest = (counter, sealed, *held)
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
