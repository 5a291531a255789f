"""The backend: secrets in one encrypted SQLite file."""

from __future__ import annotations

import os

from typing import Final, Self

from strongroom.contracts import (
    MAX_STATE_BYTES,
    Backend,
    BackupRequest,
    BackupResult,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    DeleteRequest,
    DeleteResult,
    Health,
    HealthState,
    ListRequest,
    ListResult,
    LoadStateRequest,
    LoadStateResult,
    Maintenance,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    RekeyRequest,
    RekeyResult,
    SaveStateRequest,
    StateStore,
    VerifyRequest,
    VerifyResult,
    VersionPolling,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import SecretNotFoundError, StrongroomError, ValueTooLargeError
from strongroom.model import SecretName, SecretVersion
from strongroom_local import schema
from strongroom_local.chain import chained
from strongroom_local.changes import Change
from strongroom_local.connection import Pool, Trace
from strongroom_local.digest import WARN_AT, Digest
from strongroom_local.encoding import moment
from strongroom_local.faults import tampered, warn
from strongroom_local.files import absolute, folder_warning
from strongroom_local.keys import MasterKey, StoreKeys
from strongroom_local.named_keys import Keyrings, NamedKeys
from strongroom_local.polling import AT_ONCE, Polling
from strongroom_local.safekeeping import Safekeeping, Shelf
from strongroom_local.sealing import LIVE, Head, open_record
from strongroom_local.session import Session
from strongroom_local.settings import LocalSettings

MAX_VALUE_BYTES: Final = 16 * 1024 * 1024
_REENCRYPT: Final = "run `strongroom rekey --reencrypt`"


class LocalBackend(Backend, Maintenance, StateStore, VersionPolling, NamedKeys, Safekeeping):
    """Keeps secrets, keys that encrypt and sign, and what others need in an outage, in one encrypted SQLite file.

    ``docs/local-store-format.md`` describes the file. Threads and processes may
    use one store at the same time. ``open`` is the way to get one.

    Args:
        settings: The store's settings.
        session: The store, opened.
    """

    max_value_bytes = MAX_VALUE_BYTES
    batch_size = 500
    versions_at_once = AT_ONCE
    keeps_deadlines = True

    def __init__(self, settings: LocalSettings, session: Session) -> None:
        self.address = f"local:{session.pool.path}"
        self._keep = settings.keep_versions
        self._session = session
        self._warned = False
        self._polling = Polling(session)
        self._keyrings = Keyrings(session, self._warn_if_worn)
        self._shelf = Shelf(session, self._warn_if_worn)

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
        pool = Pool(absolute(settings.path), settings.busy_timeout, trace)
        try:
            backend = cls(settings, Session(pool, master))
            if settings.verify_on_open:
                backend._refuse_problems()
        except BaseException:
            pool.leave()
            raise
        if problem := folder_warning(pool.path):
            warn(problem)
        return backend

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a version of a secret: one statement and two decryptions, unless it is absent."""
        if request.version is None:
            return self._session.current(request.name)
        return self._read_version(request.name, request.version)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several secrets as they are at one moment: one statement for all that are there."""
        found = self._session.current_of(request.names)
        # The others one by one: to prove that they are absent, or to say what is wrong.
        rest = super().read_many(ReadManyRequest(names=tuple(name for name in request.names if name not in found)))
        return ReadManyResult(found=found | rest.found, errors=rest.errors)

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return current versions: one statement while the store does not change, and else one more for all names."""
        return self._polling.current_versions(request)

    def _read_version(self, name: SecretName, version: str) -> ReadResult:
        # Only the canonical spelling names a version; int() alone would take others.
        number = int(version) if version.isascii() and version.isdigit() and len(version) <= 10 else 0
        keys, head, rows = self._session.find(schema.READ_VERSION, name, number)
        if str(number) != version or not head.first <= number <= head.version:
            raise SecretNotFoundError(
                f"the local store has no version {version} of {name}",
                code="version_not_found",
                name=name,
                hint=f"versions {head.first} to {head.version} are kept",
            )
        value, created = open_record(keys, head, number, rows[0][3])
        return ReadResult(value=value, version=version, created=moment(created))

    def write(self, request: WriteRequest) -> WriteResult:
        """Make a new version the current one, durably, in one transaction."""
        size = len(request.value)
        if size > MAX_VALUE_BYTES:
            raise ValueTooLargeError(
                f"the value of {request.name} has {size:,} bytes, more than {MAX_VALUE_BYTES:,}",
                size=size,
                limit=MAX_VALUE_BYTES,
                name=request.name,
            )

        def store(change: Change) -> tuple[Head, int]:
            change.expect(request.expect_version)
            return change.store(request.value, self._keep), change.digest.encryptions

        head, encryptions = self._session.change(request.name, store)
        self._warn_if_worn(encryptions)
        return WriteResult(version=str(head.version), created=moment(head.changed))

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Remove every version; a sealed entry with the last version's number and the time stays."""
        return DeleteResult(existed=self._session.change(request.name, Change.delete))

    def list(self, request: ListRequest) -> ListResult:
        """Return the names below a prefix, having proved that none is missing."""
        keys, _, rows = self._session.fetch(schema.LIST)
        names = [SecretName(head.name) for head in chained(keys, (row[1:] for row in rows)) if head.state == LIVE]
        return ListResult(names=tuple(sorted(name for name in names if name.is_below(request.prefix))))

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions that are kept, oldest first; each is checked."""
        keys, head, rows = self._session.find(schema.VERSIONS, request.name)
        bodies = {row[3] - head.base: row[4] for row in rows if row[3] is not None}
        if sorted(bodies) != list(range(head.first, head.version + 1)):
            raise tampered(f"the local store does not have each version of {head.name} that it should", head.name)
        return VersionsResult(versions=tuple(_version(keys, head, number, body) for number, body in bodies.items()))

    def health(self) -> Health:
        """Say whether the store can be read, and whether its keys have been used too often."""
        try:
            keys, _, rows = self._session.fetch(schema.STORE)
            digest = Digest.open(keys, *rows[0][1:])
        except StrongroomError as error:
            return Health(state=HealthState.DOWN, reason=error.what, hint=error.hint)
        facts = (
            ("path", self._session.pool.path),
            ("changes", str(rows[0][1])),
            ("records", str(digest.records)),
            ("encryptions", str(digest.encryptions)),
            *((("journal", str(digest.journal.entries)),) if digest.journal.entries else ()),
        )
        figures = (("store_bytes", _size(self._session.pool.path)), ("key_uses", float(digest.encryptions)))
        found = Health(state=HealthState.UP, facts=facts, figures=figures)
        if digest.encryptions < WARN_AT:
            return found
        return found.replace(state=HealthState.DEGRADED, reason=_worn(digest.encryptions), hint=_REENCRYPT)

    def verify(self, request: VerifyRequest) -> VerifyResult:
        """Check every row, the chain of names and the digest."""
        from strongroom_local.verification import examine

        return self._session.snapshot(lambda cursor, keys: examine(cursor, keys, request.at_least))

    def backup(self, request: BackupRequest) -> BackupResult:
        """Copy the store as it is at one moment, after checking it; the copy is checked as well."""
        from strongroom_local.maintenance import back_up

        return back_up(self._session, request)

    def rekey(self, request: RekeyRequest) -> RekeyResult:
        """Lock the store with a new master key, and encrypt it anew if asked; all or nothing."""
        from strongroom_local.rekeying import change_keys

        return change_keys(self._session, request)

    def save_state(self, request: SaveStateRequest) -> None:
        """Keep a state in place of the one before, durably, in one transaction; no list shows it."""
        from strongroom_local.states import save

        size = len(request.state)
        if size > MAX_STATE_BYTES:
            raise ValueTooLargeError(
                f"the state {request.key} has {size:,} bytes, more than {MAX_STATE_BYTES:,}",
                size=size,
                limit=MAX_STATE_BYTES,
            )
        self._warn_if_worn(self._session.transact(lambda cursor, keys: save(cursor, keys, request.key, request.state)))

    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        """Return a state that is authentic; that there is none is not proved, as it is for a name."""
        from strongroom_local.states import load

        return LoadStateResult(state=self._session.snapshot(lambda cursor, keys: load(cursor, keys, request.key)))

    def after_fork(self) -> None:
        """Forget in the child what it inherited: nothing as a rule, since a fork closes all connections before."""
        self._session.pool.forget()
        self._shelf.claims.forget()
        self._keyrings.forget()

    def close(self) -> None:
        """Move the write-ahead log into the file and close it; named keys are wiped and claims given up."""
        self._shelf.claims.close()
        self._session.pool.close()
        self._keyrings.close()

    def _warn_if_worn(self, encryptions: int) -> None:
        if encryptions >= WARN_AT and not self._warned:
            self._warned = True
            warn(f"{_worn(encryptions)}: {_REENCRYPT}")

    def _refuse_problems(self) -> None:
        problems = self.verify(VerifyRequest()).problems
        if problems:
            raise tampered(f"{self._session.pool.path} does not verify: {problems[0]}")


def _version(keys: StoreKeys, head: Head, number: int, body: object) -> SecretVersion:
    _, created = open_record(keys, head, number, body)
    state = "current" if number == head.version else "superseded"
    return SecretVersion(version=str(number), created=moment(created), state=state)


def _size(path: str) -> float:
    """Return how many bytes of the disk a store takes, with what SQLite keeps beside it for the time being."""
    found = 0
    for file in (path, f"{path}-wal", f"{path}-shm"):
        try:
            found += os.stat(file).st_size
        except OSError:
            continue  # it is not there now
    return float(found)


def _worn(encryptions: int) -> str:
    return f"the local store's data key has been used {encryptions:,} times, of at most 2^32"
