"""A store in a folder of its own, with its key in a file, and what tests do with it."""

from __future__ import annotations

import base64
import os
import secrets
import sqlite3
import subprocess
import sys
import uuid

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import (
    DecryptRequest,
    DeleteRequest,
    EncryptRequest,
    KeySource,
    ListRequest,
    LoadStateRequest,
    ReadRequest,
    RewrapRequest,
    RotateKeyRequest,
    SaveStateRequest,
    SignRequest,
    VerifyRequest,
    VerifySignatureRequest,
    VersionsRequest,
    WriteRequest,
)
from strongroom.contracts.journal import (
    Appended,
    AppendRequest,
    AppendResult,
    ClaimRequest,
    Copy,
    DropCopiesRequest,
    EntriesRequest,
    Entry,
    JournalStatus,
    JournalStatusRequest,
    KeepCopiesRequest,
    Place,
    RecallRequest,
    RecallResult,
    Settlement,
    SettleRequest,
)
from strongroom.errors import ConfigurationError
from strongroom.model import SecretName, SecretValue
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings

WORKER = Path(__file__).with_name("worker.py")


class TextKey(KeySource):
    """A key that the test holds."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> SecretValue:
        return SecretValue(self.text)

    def describe(self) -> str:
        return "the test's own key"


class FileKey(KeySource):
    """A key in a file, read anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> SecretValue:
        try:
            return SecretValue(self._path.read_text().removesuffix("\n"))
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be read ({error.strerror})") from error

    def describe(self) -> str:
        return f"the file {self._path}"

    @property
    def path(self) -> str:
        return str(self._path)


def new_key() -> str:
    """Return a master key as ``strongroom init`` writes it."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Keys:
    """A store's named keys with shorter calls."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend

    def encrypt(self, key: str, content: bytes | str, associated_data: bytes = b"") -> str:
        request = EncryptRequest(key=SecretName(key), plaintext=SecretValue(content), associated_data=associated_data)
        return self.backend.encrypt(request).ciphertext

    def decrypt(self, key: str, ciphertext: str, associated_data: bytes = b"") -> bytes:
        request = DecryptRequest(key=SecretName(key), ciphertext=ciphertext, associated_data=associated_data)
        return self.backend.decrypt(request).plaintext.reveal()

    def rewrap(self, key: str, ciphertext: str, associated_data: bytes = b"") -> str:
        request = RewrapRequest(key=SecretName(key), ciphertext=ciphertext, associated_data=associated_data)
        return self.backend.rewrap(request).ciphertext

    def sign(self, key: str, message: bytes) -> str:
        return self.backend.sign(SignRequest(key=SecretName(key), message=SecretValue(message))).signature

    def verify(self, key: str, message: bytes, signature: str) -> bool:
        request = VerifySignatureRequest(key=SecretName(key), message=SecretValue(message), signature=signature)
        return self.backend.verify_signature(request).valid

    def rotate(self, key: str) -> str:
        return self.backend.rotate_key(RotateKeyRequest(key=SecretName(key))).key_version

    def problems(self) -> tuple[str, ...]:
        return self.backend.verify(VerifyRequest()).problems


class Kept:
    """Copies and writes that wait, with shorter calls: all of one backend, most of one target."""

    backend = "vault"
    target = "https://vault.example secret/"

    def __init__(self, backend: LocalBackend) -> None:
        self._store = backend

    def place(self, name: str, **facts: str) -> Place:
        return Place(**({"backend": self.backend, "target": self.target, "name": SecretName(name)} | facts))

    def copy(self, name: str, content: str = "copied", taken: float = 1.0, **facts: Any) -> Copy:
        plain = {"place": self.place(name), "value": SecretValue(content), "version": "1", "created": None}
        return Copy(**(plain | {"taken": taken} | facts))

    def entry(self, name: str, content: str | None = "written", **facts: Any) -> Entry:
        value = None if content is None else SecretValue(content)
        plain = {"change": "delete" if value is None else "set", "expected": "1", "queued": 2.0, "principal": "me"}
        return Entry(**({"id": str(uuid.uuid4()), "place": self.place(name), "value": value} | plain | facts))

    def keep(self, *copies: Copy) -> None:
        self._store.keep_copies(KeepCopiesRequest(copies=copies))

    def drop(self, *names: str) -> None:
        self._store.drop_copies(DropCopiesRequest(places=tuple(map(self.place, names))))

    def recall(self, name: str) -> RecallResult:
        return self._store.recall(RecallRequest(place=self.place(name)))

    def append(self, entry: Entry, max_entries: int = 1 << 20, max_bytes: int = 1 << 40) -> AppendResult:
        return self._store.append(AppendRequest(entry=entry, max_entries=max_entries, max_bytes=max_bytes))

    def queue(self, name: str, content: str | None = "written", **facts: Any) -> Entry:
        """Have a write wait over the newest one, and return it as it is kept."""
        newest = self.recall(name).entry
        entry = self.entry(name, content, **({"follows": None if newest is None else newest.id} | facts))
        result = self.append(entry)
        assert result.outcome is Appended.YES
        return entry.replace(position=result.position)

    def entries(self, **asked: Any) -> list[Entry]:
        return list(self._store.entries(EntriesRequest(**asked)).entries)

    def settle(self, *settlements: Settlement) -> None:
        self._store.settle(SettleRequest(settlements=settlements))

    def done(self, entry: Entry, **facts: Any) -> None:
        self.settle(Settlement(entry=entry, done=True, **({"version": "2"} | facts)))

    def status(self, **asked: str) -> JournalStatus:
        return self._store.journal_status(JournalStatusRequest(**asked))

    def claim(self, target: str = target, backend: str = backend) -> bool:
        return self._store.claim(ClaimRequest(backend=backend, target=target)).granted

    def release(self, target: str = target) -> None:
        self._store.release(ClaimRequest(backend=self.backend, target=target))


class Opened:
    """A backend with shorter calls."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.close = backend.close
        self.keys = Keys(backend)
        self.kept = Kept(backend)

    def put(self, name: str, content: str | bytes, expect: Any = None) -> str:
        request = WriteRequest(name=SecretName(name), value=SecretValue(content), expect_version=expect)
        return self.backend.write(request).version

    def get(self, name: str, version: str | None = None) -> str:
        return self.backend.read(ReadRequest(name=SecretName(name), version=version)).value.reveal_text()

    def delete(self, name: str) -> bool:
        return self.backend.delete(DeleteRequest(name=SecretName(name))).existed

    def names(self, prefix: str = "") -> list[str]:
        return list(self.backend.list(ListRequest(prefix=prefix)).names)

    def versions(self, name: str) -> list[str]:
        return [version.version for version in self.backend.versions(VersionsRequest(name=SecretName(name))).versions]

    def problems(self, at_least: int | None = None) -> tuple[str, ...]:
        return self.backend.verify(VerifyRequest(at_least=at_least)).problems

    def counter(self) -> int:
        return self.backend.verify(VerifyRequest()).counter

    def save(self, key: str, state: bytes) -> None:
        self.backend.save_state(SaveStateRequest(key=key, state=state))

    def load(self, key: str) -> bytes | None:
        return self.backend.load_state(LoadStateRequest(key=key)).state

    def everything(self) -> dict[str, str]:
        """Return every secret's value by name."""
        return {name: self.get(name) for name in self.names()}


class StoreFolder:
    """A store on disk; what is opened on it is closed by the fixture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "secrets.db"
        self.key_path = folder / "master.key"
        self.made: dict[str, tuple[str, str]] = {}
        """A ciphertext and a signature by each of the named keys that a fixture made."""
        self._opened: list[Opened] = []

    def set_key(self, text: str) -> None:
        """Replace the key file at once, as ``strongroom rekey`` does."""
        draft = self.key_path.with_suffix(".new")
        draft.touch(0o600)
        draft.write_text(text + "\n")
        draft.replace(self.key_path)

    def settings(self, **changes: Any) -> LocalSettings:
        defaults = {"path": str(self.path), "master_key": FileKey(self.key_path)}
        return LocalSettings(**(defaults | changes))

    def create(self, **changes: Any) -> None:
        create_store(self.settings(**changes))

    def open(self, trace: Any = None, **changes: Any) -> Opened:
        """Return a backend as a process of its own would have it."""
        opened = Opened(LocalBackend.open(self.settings(**changes), trace))
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    def fill(self, content: dict[str, str]) -> None:
        """Write secrets and close the store, so that its file holds everything."""
        opened = self.open()
        for name, value in content.items():
            opened.put(name, value)
        self.close()

    def database(self) -> sqlite3.Connection:
        """Open the file with plain SQLite, as somebody without the key would."""
        return sqlite3.connect(self.path, isolation_level=None)

    def keyrings(self) -> dict[bytes, bytes]:
        """Return the rows of the named keys."""
        connection = self.database()
        found = dict(connection.execute("SELECT lookup, sealed FROM keyring ORDER BY lookup"))
        connection.close()
        return found

    def check_made(self, opened: Opened) -> None:
        """Check that everything which a fixture made is still of use."""
        for key, (ciphertext, signature) in self.made.items():
            assert opened.keys.decrypt(key, ciphertext) == f"content of {key}".encode()
            assert opened.keys.verify(key, b"message", signature)

    def edit(self, *statements: str) -> None:
        """Change the file with plain SQLite and leave everything in it."""
        connection = self.database()
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def worker(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a process that uses the store; ``worker.py`` has the commands."""
        command = [sys.executable, str(WORKER), str(self.path), str(self.key_path), *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=WORKER.parent, **options
        )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[StoreFolder]:
    """Return a folder with a key and no store yet."""
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    store = StoreFolder(place)
    store.set_key(new_key())
    yield store
    store.close()


@pytest.fixture
def store(home: StoreFolder) -> StoreFolder:
    """Return a folder with an empty store."""
    home.create()
    return home


@pytest.fixture
def passphrase_of() -> Callable[[str], KeySource]:
    """Return what makes a key source of a text."""
    return TextKey


@pytest.fixture
def opened(store: StoreFolder) -> Opened:
    """Return an empty store, open."""
    return store.open()


@pytest.fixture
def keys(store: StoreFolder) -> Keys:
    """Return the named keys of an empty store."""
    return store.open().keys


@pytest.fixture
def with_keys(store: StoreFolder) -> StoreFolder:
    """Return a closed store with a secret and two named keys, and what was made with each."""
    opened = store.open()
    opened.put("app/secret", "value")
    for key in ("app/orders", "app/letters"):
        store.made[key] = opened.keys.encrypt(key, f"content of {key}"), opened.keys.sign(key, b"message")
    store.close()
    return store


def run(*processes: subprocess.Popen[str]) -> list[str]:
    """Wait for processes that must succeed, and return what they printed."""
    answers = [process.communicate(timeout=60) for process in processes]
    for process, (_, errors) in zip(processes, answers, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in answers]


def leftovers(folder: Path) -> list[str]:
    """Return the files beside store and key."""
    return sorted(set(os.listdir(folder)) - {"secrets.db", "master.key"})
