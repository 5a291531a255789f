"""Reads and durable writes of the local store, at 1,000, 10,000 and 100,000 secrets.

Each figure is measured in turns with the bare work underneath: one row of plain
SQLite and one AES-256-GCM call. Two peers follow: keyring's encrypted file, and
the common home-made store, one JSON file that is encrypted as a whole. Needs
`keyring`, `keyrings.alt` and `pycryptodome` beside strongroom and its local store.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import sqlite3
import statistics
import tempfile
import time

from collections.abc import Callable, Iterator
from pathlib import Path

from _common import arguments, show
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from keyrings.alt.file import EncryptedKeyring

from strongroom.contracts import KeySource, ReadRequest, VerifyRequest, WriteRequest
from strongroom.errors import SecretNotFoundError
from strongroom.model import SecretName, SecretValue
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings

SIZES = (1_000, 10_000, 100_000)
VALUE = "correct horse battery staple, 40 chars.."
READS, WRITES = 400, 60
Call = Callable[[int], object]


class Key(KeySource):
    """A new random key."""

    def __init__(self) -> None:
        self._text = base64.b64encode(secrets.token_bytes(32)).decode()

    def read(self) -> SecretValue:
        return SecretValue(self._text)

    def describe(self) -> str:
        return "the benchmark's own key"


def names_of(size: int) -> list[SecretName]:
    return [SecretName(f"team{number % 50}/service/secret-{number}") for number in range(size)]


def in_turns(calls: list[Call], number: int, repeat: int) -> list[float]:
    """Return the median time of each call in microseconds; the calls take turns, so that all meet the same machine.

    A call gets another index each time, spread over the whole store.
    """
    times: list[list[float]] = [[] for _ in calls]
    index = 0
    for _ in range(repeat):
        for call, taken in zip(calls, times, strict=True):
            for _ in range(number):
                index += 7919
                start = time.perf_counter_ns()
                call(index)
                taken.append((time.perf_counter_ns() - start) / 1000)
    return [statistics.median(taken) for taken in times]


class Plain:
    """The bare work: a table with a binary key, synced like the store, and one cipher call."""

    def __init__(self, folder: Path, size: int) -> None:
        self._connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE plain (key BLOB PRIMARY KEY, value BLOB)")
        self._cipher = AESGCM(secrets.token_bytes(32))
        self._keys = [secrets.token_bytes(32) for _ in range(size)]
        self._connection.execute("BEGIN")
        for key in self._keys:
            self._connection.execute("INSERT INTO plain VALUES (?, ?)", (key, self._sealed()))
        self._connection.execute("COMMIT")
        self.close = self._connection.close

    def _sealed(self) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, VALUE.encode(), None)

    def read(self, index: int) -> bytes:
        key = self._keys[index % len(self._keys)]
        sealed = self._connection.execute("SELECT value FROM plain WHERE key = ?", (key,)).fetchone()[0]
        return self._cipher.decrypt(sealed[:12], sealed[12:], None)

    def update(self, index: int) -> None:
        key = self._keys[index % len(self._keys)]
        self._connection.execute("UPDATE plain SET value = ? WHERE key = ?", (self._sealed(), key))

    def insert(self, _: int) -> None:
        self._connection.execute("INSERT INTO plain VALUES (?, ?)", (secrets.token_bytes(32), self._sealed()))


class Local:
    """The local store, called as the core calls it."""

    def __init__(self, folder: Path, size: int) -> None:
        settings = LocalSettings(path=str(folder / "store" / "secrets.db"), master_key=Key())
        create_store(settings)
        self.backend = LocalBackend.open(settings)
        self._requests = [ReadRequest(name=name) for name in names_of(size)]
        self._value = SecretValue(VALUE)
        self._absent = SecretName("team/absent")
        self._new = 0
        start = time.perf_counter()
        for request in self._requests:
            self.backend.write(WriteRequest(name=request.name, value=self._value))
        self.built = (time.perf_counter() - start) / size * 1e6
        self.close = self.backend.close

    def read(self, index: int) -> object:
        return self.backend.read(self._requests[index % len(self._requests)])

    def miss(self, index: int) -> object:
        with contextlib.suppress(SecretNotFoundError):
            return self.backend.read(ReadRequest(name=SecretName(f"absent/{index}")))
        return None

    def update(self, index: int) -> object:
        name = self._requests[index % len(self._requests)].name
        return self.backend.write(WriteRequest(name=name, value=self._value))

    def insert(self, index: int) -> object:
        self._new += 1
        return self.backend.write(WriteRequest(name=SecretName(f"new/{index}/{self._new}"), value=self._value))


class WholeFile:
    """One JSON file that is read, and written anew, as a whole."""

    def __init__(self, folder: Path, size: int) -> None:
        self._path = folder / "whole.json"
        self._cipher = AESGCM(secrets.token_bytes(32))
        self._names = names_of(size)
        self._save(dict.fromkeys(self._names, VALUE))

    def _save(self, content: dict[SecretName, str]) -> None:
        nonce = secrets.token_bytes(12)
        draft = self._path.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(nonce + self._cipher.encrypt(nonce, json.dumps(content).encode(), None))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def _load(self) -> dict[SecretName, str]:
        sealed = self._path.read_bytes()
        content: dict[SecretName, str] = json.loads(self._cipher.decrypt(sealed[:12], sealed[12:], None))
        return content

    def read(self, index: int) -> str:
        return self._load()[self._names[index % len(self._names)]]

    def update(self, index: int) -> None:
        content = self._load()
        content[self._names[index % len(self._names)]] = VALUE
        self._save(content)


class Keyring:
    """keyring's encrypted file. It derives its key at each call and rewrites the whole, so it stays small here."""

    def __init__(self, folder: Path, size: int) -> None:
        self._keyring = EncryptedKeyring()
        self._keyring.file_path = str(folder / "keyring.cfg")
        self._keyring.keyring_key = "correct horse battery staple"
        self._names = names_of(size)
        for name in self._names:
            self._keyring.set_password("strongroom", name, VALUE)

    def read(self, index: int) -> object:
        return self._keyring.get_password("strongroom", self._names[index % len(self._names)])

    def update(self, index: int) -> object:
        return self._keyring.set_password("strongroom", self._names[index % len(self._names)], VALUE)


Row = tuple[str, float, float]


def of_size(folder: Path, size: int, repeat: int) -> Iterator[Row]:
    """Yield the figures at one size: of strongroom, of the bare work and of the whole file."""
    plain, local, whole = Plain(folder, size), Local(folder, size), WholeFile(folder, size)
    label = f"{size:,} secrets: "
    row, read, miss = in_turns([plain.read, local.read, local.miss], READS, repeat)
    yield label + "read one row of SQLite, one decryption", row, 1.0
    yield label + "read", read, read / row
    yield label + "read of an absent name", miss, miss / row
    update, insert, ours, new = in_turns([plain.update, plain.insert, local.update, local.insert], WRITES, repeat)
    yield label + "update one row of SQLite, synced", update, 1.0
    yield label + "insert one row into SQLite, synced", insert, insert / update
    yield label + "write a version, synced", ours, ours / update
    yield label + "write a new name, synced", new, new / update
    yield label + "each write while building", local.built, local.built / update
    few = 20 if size <= 10_000 else 3
    whole_read, whole_update = in_turns([whole.read, whole.update], few, 1)
    yield label + "whole file: read", whole_read, whole_read / row
    yield label + "whole file: write, synced", whole_update, whole_update / update
    start = time.perf_counter()
    assert not local.backend.verify(VerifyRequest()).problems
    verify = (time.perf_counter() - start) * 1e6
    yield label + "verify everything", verify, verify / row
    local.close()
    plain.close()


def of_keyring(folder: Path) -> Iterator[Row]:
    """Yield the figures of keyring's encrypted file at 100 secrets, beside ours at the same size."""
    keyring, local = Keyring(folder, 100), Local(folder, 100)
    theirs, ours = in_turns([keyring.read, local.read], 10, 3)
    yield "100 secrets: read", ours, 1.0
    yield "100 secrets: keyring's encrypted file: read", theirs, theirs / ours
    theirs, ours = in_turns([keyring.update, local.update], 10, 3)
    yield "100 secrets: write, synced", ours, 1.0
    yield "100 secrets: keyring's encrypted file: write, not synced", theirs, theirs / ours
    local.close()


def main() -> None:
    options = arguments(__doc__)
    rows: list[Row] = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            rows += of_size(Path(folder), size, options.repeat)
    with tempfile.TemporaryDirectory() as folder:
        rows += of_keyring(Path(folder))
    show("The local store against the bare work and against peers", rows, "us", as_json=options.json)


if __name__ == "__main__":
    main()
