"""The backend: secrets in one encrypted SQLite file."""

from __future__ import annotations

import time

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

from strongroom.contracts import (
    Backend,
    BackupRequest,
    BackupResult,
    DeleteRequest,
    DeleteResult,
    Health,
    HealthState,
    ListRequest,
    ListResult,
    Maintenance,
    ReadRequest,
    ReadResult,
    RekeyRequest,
    RekeyResult,
    VerifyRequest,
    VerifyResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import (
    MasterKeyError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    ValueTooLargeError,
)
from strongroom.model import SecretName, SecretVersion

from strongroom_local import schema
from strongroom_local.changes import Change, EpochChanged
from strongroom_local.connection import Pool, Trace
from strongroom_local.digest import REFUSE_AT, WARN_AT, Digest
from strongroom_local.faults import damaged, tampered
from strongroom_local.files import folder_warning
from strongroom_local.keys import MasterKey, StoreKeys
from strongroom_local.plugin import LocalSettings
from strongroom_local.sealing import DELETED, LIVE, ORIGIN, Head, check_link, open_head, open_record

Result = TypeVar("Result")

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
_KEY_PATIENCE: Final = 2.0
_KEY_PAUSE: Final = 0.02


class LocalBackend(Backend, Maintenance):
    """Keeps secrets in one encrypted SQLite file.

    ``docs/local-store-format.md`` describes the file. Threads and processes may
    use one store at the same time.

    Args:
        settings: The store's settings.
        pool: The connections to its file.
        keys: The keys that the master key opened.
    """

    max_value_bytes = MAX_VALUE_BYTES

    def __init__(self, settings: LocalSettings, pool: Pool, master: MasterKey, keys: StoreKeys) -> None:
        self.address = f"local:{settings.path}"
        self._settings = settings
        self._pool = pool
        self._master = master
        self._keys = keys
        self._warned = False

    @classmethod
    def open(cls, settings: LocalSettings, trace: Trace | None = None) -> Self:
        """Open a store that is there; it never makes one.

        Args:
            settings: The store's settings.
            trace: Called with the text of each SQL statement, which holds no value.

        Raises:
            ConfigurationError: There is no such file.
            MasterKeyError: The master key is missing, malformed or not the store's.
            StoreDamagedError: The file is not a store of this format.
            TamperedError: The header is not authentic, or ``verify_on_open`` found something.
            BackendError: A file is open to others (code ``insecure_permissions``).
        """
        master = MasterKey.of(settings.master_key, settings.passphrase)
        pool = Pool(settings.path, settings.busy_timeout, trace)
        try:
            backend = cls(settings, pool, master, load_keys(pool, master))
            if settings.verify_on_open:
                backend._refuse_problems()
        except BaseException:
            pool.close()
            raise
        _warn_of(folder_warning(settings.path))
        return backend

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a version of a secret; one statement and two decryptions unless it is absent."""
        name = request.name
        if request.version is not None:
            return self._read_version(name, request.version)
        keys, lookup, rows = self._look_up(schema.READ, name)
        _, current, sealed, body = rows[0]
        if sealed is None:
            return self._missing(name, lookup, request)
        head = open_head(keys, lookup, current, sealed)
        if head.state != LIVE:
            raise _deleted(head)
        return _result(keys, head, head.version, body)

    def _read_version(self, name: SecretName, version: str) -> ReadResult:
        # Only the canonical spelling is a version; int() would take more.
        number = int(version) if version.isascii() and version.isdigit() and len(version) <= 10 else 0
        keys, lookup, rows = self._look_up(schema.READ_VERSION, name, number)
        _, current, sealed, body = rows[0]
        if sealed is None:
            return self._missing(name, lookup, ReadRequest(name=name, version=version))
        head = open_head(keys, lookup, current, sealed)
        if head.state != LIVE:
            raise _deleted(head)
        if str(number) != version or not head.first <= number <= head.version:
            raise SecretNotFoundError(
                f"the local store has no version {version} of {name}",
                code="version_not_found",
                name=name,
                hint=f"versions {head.first} to {head.version} are kept",
            )
        return _result(keys, head, number, body)

    def write(self, request: WriteRequest) -> WriteResult:
        """Make a new version, durably."""
        size = len(request.value)
        if size > MAX_VALUE_BYTES:
            raise ValueTooLargeError(
                f"the value of {request.name} has {size:,} bytes, more than {MAX_VALUE_BYTES:,}",
                size=size,
                limit=MAX_VALUE_BYTES,
                name=request.name,
            )

        def store(change: Change) -> Head:
            change.expect(request.expect_version)
            return change.store(request.value, self._settings.keep_versions)

        head = self._change(request.name, store)
        return WriteResult(version=str(head.version), created=_moment(head.changed))

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Remove every version of a secret; what is kept is its name, sealed, and its last version's number."""
        return DeleteResult(existed=self._change(request.name, Change.delete))

    def list(self, request: ListRequest) -> ListResult:
        """Return the names below a prefix, and prove that none is missing."""
        keys, rows = self._fetch(schema.LIST)
        heads = chained(keys, (row[1:] for row in rows))
        names = [SecretName(head.name) for _, head in heads if head.state == LIVE]
        return ListResult(names=tuple(sorted(name for name in names if name.is_below(request.prefix))))

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions that are kept, oldest first; each is checked."""
        name = request.name
        keys, lookup, rows = self._look_up(schema.VERSIONS, name)
        if rows[0][2] is None:
            self._missing(name, lookup, ReadRequest(name=name))
        head = open_head(keys, lookup, *rows[0][1:3])
        if head.state != LIVE:
            raise _deleted(head)
        bodies = {number - head.base: body for _, _, _, number, body in rows if number is not None}
        if set(bodies) != set(range(head.first, head.version + 1)):
            raise tampered(f"the versions of {name} in the local store are not complete", name)
        return VersionsResult(versions=tuple(_version(keys, head, number, bodies[number]) for number in sorted(bodies)))

    def health(self) -> Health:
        """Say whether the store can be read, and whether its keys have been used too often."""
        try:
            keys, rows = self._fetch(schema.STATE)
            digest = Digest.open(keys, *rows[0][1:])
        except StrongroomError as error:
            return Health(state=HealthState.DOWN, reason=error.what, hint=error.hint)
        facts = (
            ("path", self._settings.path),
            ("changes", str(rows[0][1])),
            ("records", str(digest.records)),
            ("encryptions", str(digest.encryptions)),
        )
        if digest.encryptions < WARN_AT:
            return Health(state=HealthState.UP, facts=facts)
        return Health(state=HealthState.DEGRADED, reason=_worn(digest.encryptions), hint=_REENCRYPT, facts=facts)

    def verify(self, request: VerifyRequest) -> VerifyResult:
        """Check every row, the chain of names and the digest."""
        from strongroom_local.audit import examine

        def check(connection: Any) -> VerifyResult:
            self._same_epoch(connection)
            return examine(connection, self._keys, at_least=request.at_least)

        return self._patiently(lambda: self._pool.snapshot(check))

    def backup(self, request: BackupRequest) -> BackupResult:
        """Copy the store as it is at one moment, after checking it; the copy is checked as well."""
        from strongroom_local.maintenance import back_up

        return self._patiently(lambda: back_up(self._pool, self._keys, request.path))

    def rekey(self, request: RekeyRequest) -> RekeyResult:
        """Lock the store with a new master key, and encrypt it anew if asked; all or nothing."""
        from strongroom_local.maintenance import change_keys

        self._keys, result = self._patiently(lambda: change_keys(self._pool, self._keys, self._master, request))
        return result

    def after_fork(self) -> None:
        """Do nothing more: connections are closed before a fork, and what is left is forgotten in the child."""

    def close(self) -> None:
        """Move the write-ahead log into the file and close it."""
        self._pool.close()

    def _look_up(self, statement: str, name: SecretName, *more: object) -> tuple[StoreKeys, bytes, Any]:
        """Run a statement on a name under keys of the store's epoch."""
        while True:
            keys = self._keys
            lookup = keys.find(name)
            rows = self._pool.fetch(statement, (lookup, *more))
            if not rows:
                raise damaged(self._settings.path, "its header is missing")
            if rows[0][0] == keys.epoch:
                return keys, lookup, rows
            self._reload()

    def _fetch(self, statement: str) -> tuple[StoreKeys, Any]:
        """Run a statement on the whole store under keys of its epoch."""
        while True:
            keys = self._keys
            rows = self._pool.fetch(statement)
            if not rows:
                raise damaged(self._settings.path, "its header is missing")
            if rows[0][0] == keys.epoch:
                return keys, rows
            self._reload()

    def _change(self, name: SecretName, act: Callable[[Change], Result]) -> Result:
        """Run an act on a name in one writing transaction."""
        noted: list[Digest] = []

        def step(connection: Any) -> Result:
            change = Change(connection, self._keys, name, self._settings.path)
            noted.append(change.digest)
            return act(change)

        result = self._patiently(lambda: self._pool.change(step))
        self._watch_use(noted[-1].encryptions)
        return result

    def _patiently(self, act: Callable[[], Result]) -> Result:
        """Repeat an act that found the keys changed, with the new ones."""
        while True:
            try:
                return act()
            except EpochChanged:
                self._reload()

    def _same_epoch(self, connection: Any) -> None:
        if connection.execute(schema.STATE).fetchone()[0] != self._keys.epoch:
            raise EpochChanged

    def _reload(self) -> None:
        """Load the keys anew; a new key file may follow the change of keys by a moment."""
        deadline = time.monotonic() + _KEY_PATIENCE
        while True:
            try:
                self._keys = load_keys(self._pool, self._master)
                return
            except MasterKeyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_KEY_PAUSE)

    def _missing(self, name: SecretName, lookup: bytes, request: ReadRequest) -> ReadResult:
        """Prove that a name is absent, or read it again if it came into being meanwhile."""
        keys, now, rows = self._look_up(schema.BEFORE, name)
        _, place, current, sealed = rows[0]
        if place == now or now != lookup:
            return self.read(request)
        check_link(lookup, place, open_head(keys, place, current, sealed))
        raise SecretNotFoundError(f"the local store has no secret {name}", name=name, hint="check the name's spelling")

    def _refuse_problems(self) -> None:
        problems = self.verify(VerifyRequest()).problems
        if problems:
            raise tampered(f"{self._settings.path} does not verify: {problems[0]}")

    def _watch_use(self, encryptions: int) -> None:
        if encryptions >= WARN_AT and not self._warned:
            self._warned = True
            _warn_of(f"{_worn(encryptions)}: {_REENCRYPT}")
