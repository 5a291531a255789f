"""Named keys as the store keeps them: one sealed row for each name, with all its versions.

They are no secrets: no read, list or version shows them, and their names are a
name space of their own. They stand in a table that is made with the first of
them. A named key that is lost takes with it what was encrypted with it, so the
digest holds how many versions all of them have: none comes into being, and none
is said to be absent, before the rows have been counted.
"""

from __future__ import annotations

import sqlite3

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from strongroom.errors import BackendError, SecretNotFoundError, StoreDamagedError, StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom_local import schema
from strongroom_local.changes import EpochChanged
from strongroom_local.digest import Digest
from strongroom_local.encoding import LENGTH, listed, random_bytes
from strongroom_local.faults import tampered
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import LOOKUP_SIZE, seal, unseal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_SIZE: Final = 32
"""Of the key that encrypts and of the seed of the one that signs."""
PAIR_SIZE: Final = 2 * KEY_SIZE

MAX_KEYRINGS: Final = 10_000
MAX_KEY_VERSIONS: Final = 10_000


class Keyring:
    """A named key, opened: all its versions. It shows nothing of them, and they are wiped with it.

    Args:
        name: The key's name.
        sealed: The row that it was opened from.
        content: Encryption key and signing seed of each version, one after the other.

    Attributes:
        newest: The number of the newest version; all from 1 on are there.
        durable: Whether the row is known to be on the disk, whatever happens to the machine.
    """

    __slots__ = ("_pairs", "_signers", "durable", "name", "newest", "sealed")

    def __init__(self, name: str, sealed: bytes, content: SecretValue) -> None:
        self.name = name
        self.sealed = sealed
        self._pairs = _pairs(content.reveal())
        self._signers: dict[int, Ed25519PrivateKey] = {}
        self.newest = len(self._pairs)
        self.durable = False

    def encryption_key(self, version: int) -> SecretValue:
        """Return the key from which each message's own is derived.

        Args:
            version: One that is there.
        """
        return self._pairs[version - 1][0]

    def signer(self, version: int) -> Ed25519PrivateKey:
        """Return the key that signs.

        Args:
            version: One that is there.
        """
        found = self._signers.get(version)
        if found is None:
            # Imported here: it takes milliseconds, and hardly any use of a store signs.
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            found = self._signers[version] = Ed25519PrivateKey.from_private_bytes(self._pairs[version - 1][1].reveal())
        return found


class AlreadyMade(Exception):  # noqa: N818  # a signal to read it, caught within the plugin
    """Somebody else has made the named key meanwhile."""


def open_keyring(keys: StoreKeys, lookup: object, sealed: object) -> Keyring:
    """Return a named key from its row.

    Args:
        keys: The store's keys.
        lookup: The row's look-up value.
        sealed: The row's sealed content.

    Raises:
        TamperedError: The row is not authentic.
    """
    name, content = _opened(keys, lookup, sealed)
    assert isinstance(sealed, bytes)  # noqa: S101  # or it would not have opened
    return Keyring(name, sealed, content)


def make(cursor: sqlite3.Cursor, keys: StoreKeys, name: SecretName) -> tuple[Keyring, int]:
    """Make a named key with its first version, within a transaction that holds the write lock.

    Args:
        cursor: The cursor on which the transaction is open.
        keys: The keys as they were last loaded.
        name: The new key's name.

    Returns:
        The named key, and how often the store's keys have been used, this time included.

    Raises:
        EpochChanged: The keys are not the store's any more; nothing was written.
        AlreadyMade: There is one; nothing was written.
        TamperedError: A named key that the store should have is missing or not authentic, or the digest is not.
        BackendError: There are as many as a store takes, or the store's keys have been used as often as is safe.
    """
    table = _Table(cursor, keys, name)
    if table.found is not None:
        raise AlreadyMade
    if table.keyrings >= MAX_KEYRINGS:
        raise BackendError(
            f"the local store has {MAX_KEYRINGS:,} named keys, and takes no more", name=name, hint="use fewer names"
        )
    # Counted before anything is sealed, so that a transaction that fails is counted, too.
    keys.unsettled += 1
    if not schema.has_keyrings(cursor):
        cursor.execute(schema.KEYRINGS)
    return table.add(SecretValue(random_bytes(PAIR_SIZE)))


def rotate(cursor: sqlite3.Cursor, keys: StoreKeys, name: SecretName) -> tuple[Keyring, int]:
    """Give a named key one version more; arguments, result and errors are those of ``make``.

    Raises:
        SecretNotFoundError: There is no such key, which is proved.
    """
    table = _Table(cursor, keys, name)
    if table.found is None:
        raise absent(name)
    old_name, content = _opened(keys, table.lookup, table.found)
    if len(content) // PAIR_SIZE >= MAX_KEY_VERSIONS:
        raise BackendError(
            f"the named key {old_name} has {MAX_KEY_VERSIONS:,} versions, and takes no more",
            name=name,
            hint="use another name from now on",
        )
    keys.unsettled += 1
    return table.change(content)


def prove_absent(cursor: sqlite3.Cursor, keys: StoreKeys, name: SecretName) -> bool:
    """Tell whether a named key is absent, within a transaction that has checked the key epoch.

    Returns:
        Whether it is; if it is not, all named keys are as they were last written.

    Raises:
        TamperedError: A named key that the store should have is missing or not authentic, or the digest is not.
    """
    return _Table(cursor, keys, name).found is None


def absent(name: SecretName) -> SecretNotFoundError:
    """Return the error for a named key that is proved absent."""
    return SecretNotFoundError(
        f"the local store has no key named {name}", name=name, hint="encrypting or signing with a name makes its key"
    )


def reencrypt_keyrings(cursor: sqlite3.Cursor, old: StoreKeys, new: StoreKeys, digest: Digest) -> int:
    """Rewrite every named key's row under new keys of the store; the named keys stay the same.

    Args:
        cursor: The cursor on which the transaction is open.
        old: The keys that the rows are sealed with.
        new: The keys to seal them with.
        digest: The digest of the new rows.

    Returns:
        How many there are.

    Raises:
        TamperedError: One is not authentic.
    """
    if not schema.has_keyrings(cursor):
        return 0
    lookups = [lookup for (lookup,) in cursor.execute(schema.KEYRING_LOOKUPS)]
    for lookup in lookups:
        _, sealed = cursor.execute(schema.READ_KEYRING, (lookup,)).fetchone()
        name, content = _opened(old, lookup, sealed)
        schema.put_row(cursor, schema.DROP_KEYRING, (lookup,))
        place = new.find_keyring(name)
        sealed = _sealed(new, place, name, content)
        schema.put_row(cursor, schema.ADD_KEYRING, (place, sealed))
        digest.add_keyring(place, sealed, len(content) // PAIR_SIZE)
    return len(lookups)


def keyring_problems(cursor: sqlite3.Cursor, keys: StoreKeys, counted: Digest) -> Iterator[str]:
    """Check each named key, and count its row as the digest counts it."""
    for lookup, sealed in cursor.execute(schema.ALL_KEYRINGS):
        try:
            _, content = _opened(keys, lookup, sealed)
        except StrongroomError as error:
            yield error.what
            continue
        counted.add_keyring(lookup, sealed, len(content) // PAIR_SIZE)


class _Table:
    """All named keys, checked to be as they were last written, and the row of one.

    Attributes:
        lookup: Where the row of that one is, or would be.
        found: The row; ``None`` if there is none, which is proved.
        keyrings: How many there are.
    """

    def __init__(self, cursor: sqlite3.Cursor, keys: StoreKeys, name: SecretName) -> None:
        self._cursor = cursor
        self._keys = keys
        self._name = name
        row = cursor.execute(schema.STORE).fetchone()
        if row is None or row[0] != keys.epoch:
            raise EpochChanged
        _, self._counter, sealed = row
        self._digest = Digest.open(keys, self._counter, sealed)
        self.lookup = keys.find_keyring(name)
        self.found: bytes | None = None
        self.keyrings = 0
        versions = self._count() if schema.has_keyrings(cursor) else 0
        if versions != self._digest.key_versions:
            raise tampered("the local store does not have each version of its named keys that it should", name)

    def _count(self) -> int:
        """Count the versions of all named keys, each of which is authentic and there once."""
        self.found = self._cursor.execute(schema.READ_KEYRING, (self.lookup,)).fetchone()[1]
        versions, seen, last = 0, False, b""
        for lookup, sealed in self._cursor.execute(schema.ALL_KEYRINGS):
            versions += len(_opened(self._keys, lookup, sealed)[1]) // PAIR_SIZE
            self.keyrings += 1
            # They come in order. One that is there twice, the second time as a text say, would cover up for another.
            if lookup <= last:
                raise tampered("a named key of the local store is there twice")
            last = lookup
            seen = seen or lookup == self.lookup
        if seen is (self.found is None):
            raise StoreDamagedError(
                "the local store is damaged: a named key that it holds cannot be found",
                hint="run `strongroom local verify`, and restore a backup",
                name=self._name,
            )
        return versions

    def add(self, content: SecretValue) -> tuple[Keyring, int]:
        """Write the row that was not there."""
        sealed = _sealed(self._keys, self.lookup, self._name, content)
        schema.put_row(self._cursor, schema.ADD_KEYRING, (self.lookup, sealed))
        return self._finished(sealed, content)

    def change(self, content: SecretValue) -> tuple[Keyring, int]:
        """Write the row that was there with one version more than the content has."""
        assert self.found is not None  # noqa: S101  # the caller has seen to it
        self._digest.drop_keyring(self.lookup, self.found, len(content) // PAIR_SIZE)
        longer = SecretValue(content.reveal() + random_bytes(PAIR_SIZE))
        sealed = _sealed(self._keys, self.lookup, self._name, longer)
        schema.put_row(self._cursor, schema.SET_KEYRING, (self.lookup, sealed))
        return self._finished(sealed, longer)

    def _finished(self, sealed: bytes, content: SecretValue) -> tuple[Keyring, int]:
        self._digest.add_keyring(self.lookup, sealed, len(content) // PAIR_SIZE)
        counter = self._counter + 1
        digest = self._digest.sealed(counter, self._keys.unsettled)
        schema.put_row(self._cursor, schema.SET_STORE, (counter, digest))
        return Keyring(self._name, sealed, content), self._digest.encryptions


def _pairs(content: bytes) -> list[tuple[SecretValue, SecretValue]]:
    middles = range(KEY_SIZE, len(content), PAIR_SIZE)
    return [
        (SecretValue(content[middle - KEY_SIZE : middle]), SecretValue(content[middle : middle + KEY_SIZE]))
        for middle in middles
    ]


def _sealed(keys: StoreKeys, lookup: bytes, name: str, content: SecretValue) -> bytes:
    return seal(keys.keyring, listed(name.encode()) + content.reveal(), keys.keyring_start + listed(lookup))


def _opened(keys: StoreKeys, lookup: object, sealed: object) -> tuple[str, SecretValue]:
    """Return a named key's name and all its versions.

    Raises:
        TamperedError: The row is not authentic.
    """
    content = None
    if type(sealed) is bytes and type(lookup) is bytes and len(lookup) == LOOKUP_SIZE:
        content = unseal(keys.keyring, sealed, 0, keys.keyring_start + listed(lookup))
    if content is None:
        raise tampered("a named key of the local store is not authentic")
    (size,) = LENGTH.unpack_from(content)
    end = LENGTH.size + size
    return content[LENGTH.size : end].decode(), SecretValue(content[end:])
