"""From the master key to the keys that seal: each key has one use."""

from __future__ import annotations

import binascii
import hmac
import os

from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from strongroom.contracts import KeySource
from strongroom.errors import ConfigurationError, MasterKeyError
from strongroom.model import SecretValue
from strongroom_local.encoding import FORMAT_BYTES, fields, listed, spelled, u32, u64
from strongroom_local.files import check_key_file
from strongroom_local.header import Header, KeyKind, open_header, parse_header

if TYPE_CHECKING:
    from strongroom.contracts.journal import Place

MASTER_KEY_SIZE: Final = 32
_LABEL: Final = b"strongroom local store 1: "

# One derivation takes tens of milliseconds, so each is made once a process. The
# entries are found by a keyed digest: the master key itself is not kept.
_derived: dict[bytes, SecretValue] = {}
_MAX_DERIVED: Final = 8
_finder: list[bytes] = []


def expand(key: SecretValue, salt: bytes, label: bytes) -> bytes:
    """Return a 32-byte key for one use, by HKDF-SHA256.

    Args:
        key: The key to derive from.
        salt: What is specific to this store or derivation.
        label: The use; two uses never share one.
    """
    return HKDF(SHA256(), 32, salt, _LABEL + label).derive(key.reveal())


class Wrapping:
    """What a master key gives: the cipher that wraps the data key, and the check value."""

    __slots__ = ("check", "cipher")

    def __init__(self, root: SecretValue, salt: bytes) -> None:
        self.cipher = AESGCM(expand(root, salt, b"wrap"))
        self.check = expand(root, salt, b"check")


class JournalKeys:
    """The keys of the copies and of the journal. It shows none of them.

    Attributes:
        copy: Seals copies.
        entry: Seals entries of the journal.
        copy_start: What the associated data of every copy begins with.
        entry_start: What the associated data of every entry begins with.
    """

    __slots__ = ("_copies", "_entries", "_places", "_targets", "copy", "copy_start", "entry", "entry_start")

    def __init__(self, header: Header, data_key: SecretValue) -> None:
        def looked_up_by(label: bytes) -> HMAC:
            return HMAC(expand(data_key, header.store_id, label + b" look-up"), SHA256())

        self.copy = AESGCM(expand(data_key, header.store_id, b"copy"))
        self.entry = AESGCM(expand(data_key, header.store_id, b"journal"))
        self._copies = looked_up_by(b"copy")
        self._entries = looked_up_by(b"journal entry")
        self._places = looked_up_by(b"journal place")
        self._targets = looked_up_by(b"journal target")
        self.copy_start = listed(FORMAT_BYTES, b"copy", header.store_id, u32(header.key_id))
        self.entry_start = listed(FORMAT_BYTES, b"journal", header.store_id, u32(header.key_id))

    def find_copy(self, place: Place) -> bytes:
        """Return what a copy is looked up by: 32 bytes that tell nothing about its place."""
        return _found(self._copies, _spelled_place(place))

    def find_entry(self, entry: str) -> bytes:
        """Return what an entry is looked up by, given its id."""
        return _found(self._entries, spelled(entry))

    def find_place(self, place: Place) -> bytes:
        """Return what the entries of a secret are looked up by."""
        return _found(self._places, _spelled_place(place))

    def find_target(self, backend: str, target: str) -> bytes:
        """Return what the entries that are bound to a target are looked up by."""
        return _found(self._targets, fields(spelled(backend), spelled(target)))


def _spelled_place(place: Place) -> bytes:
    return fields(spelled(place.backend), spelled(place.target), spelled(place.name))


def _found(keyed: HMAC, content: bytes) -> bytes:
    state = keyed.copy()
    state.update(content)
    return state.finalize()


class StoreKeys:
    """The keys of one store in one key epoch. It shows none of them.

    Attributes:
        epoch: The key epoch that the keys belong to.
        header: The clear fields of the header that they came from.
        record: Seals records.
        name: Seals heads, which hold the names.
        digest: Seals the digest.
        state: Seals the states that the store keeps for the core.
        keyring: Seals the named keys.
        journal: The keys of the copies and of the journal.
        record_start: What the associated data of every record begins with.
        head_start: What the associated data of every head begins with.
        digest_start: What the associated data of the digest begins with.
        state_start: What the associated data of every state begins with.
        keyring_start: What the associated data of every named key begins with.
        last_digest: The digest that was sealed last: counter, sealed form, and what it holds.
        unsettled: How often any one key was used, at most, since a count of it was last
            committed here. Only who has the writer's turn changes it.
    """

    __slots__ = (
        "_keyring_lookup",
        "_lookup",
        "_row",
        "_state_lookup",
        "digest",
        "digest_start",
        "epoch",
        "head_start",
        "header",
        "journal",
        "keyring",
        "keyring_start",
        "last_digest",
        "name",
        "record",
        "record_start",
        "state",
        "state_start",
        "unsettled",
    )

    def __init__(self, header: Header, data_key: SecretValue) -> None:
        self.epoch = header.epoch
        self.header = header
        self.record = AESGCM(expand(data_key, header.store_id, b"record"))
        self.name = AESGCM(expand(data_key, header.store_id, b"name"))
        self.digest = AESGCM(expand(data_key, header.store_id, b"digest"))
        self.state = AESGCM(expand(data_key, header.store_id, b"state"))
        self.keyring = AESGCM(expand(data_key, header.store_id, b"keyring"))
        # A keyed state is made once and copied: hmac.digest() takes three times as long.
        self._lookup = HMAC(expand(data_key, header.store_id, b"look-up"), SHA256())
        self._row = HMAC(expand(data_key, header.store_id, b"row"), SHA256())
        self._state_lookup = HMAC(expand(data_key, header.store_id, b"state look-up"), SHA256())
        self._keyring_lookup = HMAC(expand(data_key, header.store_id, b"keyring look-up"), SHA256())
        self.journal = JournalKeys(header, data_key)
        self.last_digest: tuple[Any, ...] = (None, None)
        self.unsettled = 0
        self.record_start = listed(FORMAT_BYTES, b"record", header.store_id)
        self.head_start = listed(FORMAT_BYTES, b"head", header.store_id, u32(header.key_id))
        self.state_start = listed(FORMAT_BYTES, b"state", header.store_id, u32(header.key_id))
        self.keyring_start = listed(FORMAT_BYTES, b"keyring", header.store_id, u32(header.key_id))
        self.digest_start = listed(FORMAT_BYTES, b"digest", header.store_id, u32(header.key_id), u64(header.epoch))

    def find(self, name: str) -> bytes:
        """Return what a name is looked up by: 32 bytes that tell nothing about it."""
        return _found(self._lookup, name.encode())

    def find_state(self, key: str) -> bytes:
        """Return what a state is looked up by: 32 bytes that tell nothing about its key."""
        return _found(self._state_lookup, key.encode())

    def find_keyring(self, name: str) -> bytes:
        """Return what a named key is looked up by: 32 bytes that tell nothing about its name."""
        return _found(self._keyring_lookup, name.encode())

    def row_mac(self, content: bytes) -> int:
        """Return the HMAC of a row, which the digest adds up, as a number."""
        state = self._row.copy()
        state.update(content)
        return int.from_bytes(state.finalize(), "big")


class MasterKey:
    """Where the master key comes from; it is read anew whenever it is needed.

    Args:
        source: The setting's source.
        kind: Whether that holds a key or a passphrase.
    """

    def __init__(self, source: KeySource, kind: KeyKind) -> None:
        self.source = source
        self.kind = kind

    @classmethod
    def of(cls, master_key: KeySource | None, passphrase: KeySource | None) -> MasterKey:
        """Return the one that the settings name.

        Raises:
            ConfigurationError: They name none or both.
        """
        if master_key is not None and passphrase is None:
            return cls(master_key, KeyKind.KEY)
        if passphrase is not None and master_key is None:
            return cls(passphrase, KeyKind.PASSPHRASE)
        raise ConfigurationError("the local store needs exactly one of master_key and passphrase")

    def wrapping(self, salt: bytes, iterations: int) -> Wrapping:
        """Read the key and derive what wraps the data key.

        Args:
            salt: The header's salt.
            iterations: The header's number of PBKDF2 iterations.

        Raises:
            MasterKeyError: The key is not there or is not one.
            BackendError: The key's file can be read by others (code ``insecure_permissions``).
        """
        return Wrapping(_stretched(self._read(), salt, iterations), salt)

    def open(self, content: object, path: str) -> tuple[Header, SecretValue]:
        """Return a stored header's clear fields and the data key that it wraps.

        Args:
            content: The header as it came from the database.
            path: The store's file, for messages.

        Raises:
            StoreDamagedError: It is not a header.
            MasterKeyError: The key is missing, malformed or not the store's.
            TamperedError: The key is right and the header is not authentic.
        """
        header = parse_header(content, path)
        if header.kind is not self.kind:
            kind = "a master key" if header.kind is KeyKind.KEY else "a passphrase"
            raise MasterKeyError(f"{path} opens with {kind}", hint="set that one in the configuration")
        assert isinstance(content, bytes)  # noqa: S101  # parse_header has seen to it
        return header, open_header(content, self.wrapping(header.salt, header.iterations), path)

    def _read(self) -> SecretValue:
        if self.source.path is not None:
            check_key_file(self.source.path)
        try:
            value = self.source.read()
        except ConfigurationError as error:
            raise MasterKeyError(
                f"the local store's master key is missing: {error.what}", code="master_key_missing", hint=error.hint
            ) from error
        key = _decoded(value) if self.kind is KeyKind.KEY else value
        if key is None or not len(key):
            raise MasterKeyError(
                f"{self.source.describe()} holds no {'32 bytes in base64' if key is None else 'passphrase'}",
                code="master_key_invalid",
                hint="`strongroom init` makes a key; so does `openssl rand -base64 32`",
            )
        return key


def _decoded(value: SecretValue) -> SecretValue | None:
    """Return the key behind its base64; the error is raised elsewhere, away from the text."""
    try:
        key = binascii.a2b_base64(value.reveal().removesuffix(b"\n"), strict_mode=True)
    except ValueError:
        return None
    return SecretValue(key) if len(key) == MASTER_KEY_SIZE else None


def _stretched(key: SecretValue, salt: bytes, iterations: int) -> SecretValue:
    """Run PBKDF2-HMAC-SHA256, once a process for each key, salt and number of iterations."""
    if not _finder:
        # No secret of the store: it only keeps the cache's keys apart from other processes'.
        _finder.append(os.urandom(32))
    finder = hmac.digest(_finder[0], salt + u32(iterations) + key.reveal(), "sha256")
    root = _derived.get(finder)
    if root is None:
        # cryptography brings its own OpenSSL, which does this in half of hashlib's time.
        root = SecretValue(PBKDF2HMAC(SHA256(), 32, salt, iterations).derive(key.reveal()))
        if len(_derived) >= _MAX_DERIVED:
            _derived.clear()
        _derived[finder] = root
    return root
