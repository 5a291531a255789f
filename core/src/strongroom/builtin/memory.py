"""The backend ``memory``: the shortest complete answer to the contract of a backend."""

from __future__ import annotations

import os
import threading

from datetime import UTC, datetime
from typing import Final

from strongroom._record import Record
from strongroom.builtin.memory_journal import MemoryJournal
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts.backend import (
    Backend,
    DeleteRequest,
    DeleteResult,
    ListRequest,
    ListResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.contracts.polling import CurrentVersionsRequest, CurrentVersionsResult, VersionPolling
from strongroom.contracts.recovery import (
    AnnotateRequest,
    AnnotateResult,
    DescribeRequest,
    DescribeResult,
    Describing,
    DestroyRequest,
    DestroyResult,
    Recoverable,
    UndeleteRequest,
    UndeleteResult,
)
from strongroom.contracts.state import (
    MAX_STATE_BYTES,
    LoadStateRequest,
    LoadStateResult,
    SaveStateRequest,
    StateStore,
)
from strongroom.errors import (
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import ABSENT, SecretName, SecretValue, SecretVersion

_ABSENT_TEXT: Final = ABSENT.value


class _Version(Record):
    """One version that was written; destroying takes its value away and leaves the rest as a tombstone."""

    number: int
    created: datetime
    value: SecretValue | None
    deleted: datetime | None = None

    @property
    def readable(self) -> bool:
        return self.value is not None and self.deleted is None


# Histories are never changed but replaced as a whole, in one step. So a reader needs no
# lock, and a child that is forked in the middle of a write finds the old one or the new one.
_History = tuple[_Version, ...]


class MemoryBackend(Backend, StateStore, Recoverable, Describing, VersionPolling, MemoryJournal):
    """Keeps secrets in this process, with every capability that the contract knows.

    A write makes version ``"1"``, ``"2"`` and so on; no number comes twice, not even
    after a delete. What is deleted can be brought back until it is destroyed; a
    version that is destroyed leaves a tombstone, a secret that is destroyed as a whole
    leaves nothing. A forked child has a copy of its own.

    It keeps copies and a journal for other backends, too.

    Args:
        settings: What is there from the start, and the limits.

    Raises:
        InvalidNameError: A seeded name is not one that a secret can have.
        ValueTooLargeError: A seeded value is over the limit.
    """

    keeps_deadlines = True
    versions_at_once = 10_000

    def __init__(self, settings: MemorySettings | None = None) -> None:
        super().__init__()
        settings = settings or MemorySettings()
        # Two backends in memory never hold the same secrets, so each has an address of its own.
        self.address = f"memory:{os.urandom(8).hex()}"
        self.max_value_bytes = settings.max_value_bytes
        self._keep = settings.keep_versions
        self._histories: dict[SecretName, _History] = {}
        self._notes: dict[SecretName, dict[str, str]] = {}
        # Of secrets that are destroyed as a whole: the last number of each.
        self._numbers: dict[SecretName, int] = {}
        self._states: dict[str, bytes] = {}
        self._lock = threading.Lock()
        for name, value in (settings.seed or {}).items():
            self.write(WriteRequest(name=SecretName(name), value=value))

    def read(self, request: ReadRequest) -> ReadResult:
        """Return the current version of a secret, or the one asked for.

        Raises:
            SecretNotFoundError: There is no such name or version.
            SecretDeletedError: It is deleted.
        """
        return _result(request.name, self._histories.get(request.name), request.version)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several secrets as they are at one moment."""
        histories = self._histories.copy()
        found: dict[SecretName, ReadResult] = {}
        errors: dict[SecretName, StrongroomError] = {}
        for name in request.names:
            try:
                found[name] = _result(name, histories.get(name), None)
            except SecretNotFoundError as error:
                errors[name] = error
        return ReadManyResult(found=found, errors=errors)

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return the current versions of several secrets as they are at one moment."""
        histories = self._histories.copy()
        alive = {name: history for name in request.names if _is_alive(history := histories.get(name, ()))}
        numbers = {name: str(history[-1].number) for name, history in alive.items()}
        return CurrentVersionsResult(versions=dict.fromkeys(request.names) | numbers, errors={})

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret.

        Raises:
            VersionConflictError: The current version is not the expected one.
            ValueTooLargeError: The value is over the limit.
        """
        self._check_size(request)
        with self._lock:
            history = self._histories.get(request.name, ())
            _check_expected(request, history)
            number = (history[-1].number if history else self._numbers.get(request.name, 0)) + 1
            written = _Version(number=number, created=datetime.now(UTC), value=request.value)
            self._histories[request.name] = (*history, written)[-self._keep :]
        return WriteResult(version=str(number), created=written.created)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret with all its versions, until they are brought back; their numbers stay taken."""
        with self._lock:
            history = self._histories.get(request.name, ())
            existed = _is_alive(history)
            if existed:
                now = datetime.now(UTC)
                self._histories[request.name] = tuple(
                    version.replace(deleted=version.deleted or now) for version in history
                )
        return DeleteResult(existed=existed)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a deleted version back.

        Raises:
            SecretNotFoundError: There is no such name or version.
            SecretDeletedError: It is destroyed.
        """
        with self._lock:
            history = _known(request.name, self._histories.get(request.name))
            found = _version_of(request.name, history, request.version)
            if found.value is None:
                raise _destroyed(request.name, found)
            self._histories[request.name] = tuple(
                version.replace(deleted=None) if version is found else version for version in history
            )
        return UndeleteResult(version=str(found.number))

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Take the values of versions away, or everything of a secret.

        Raises:
            SecretNotFoundError: Versions are named, and the secret has not got one of them.
        """
        with self._lock:
            history = self._histories.get(request.name, ())
            if request.versions:
                return self._destroy_versions(request, _known(request.name, history or None))
            if history:
                self._numbers[request.name] = history[-1].number
            self._histories.pop(request.name, None)
            self._notes.pop(request.name, None)
        return DestroyResult(existed=bool(history))

    def _destroy_versions(self, request: DestroyRequest, history: _History) -> DestroyResult:
        concerned = {_version_of(request.name, history, version).number for version in request.versions}
        existed = any(version.number in concerned and version.value is not None for version in history)
        now = datetime.now(UTC)
        self._histories[request.name] = tuple(
            _tombstone(version, now) if version.number in concerned else version for version in history
        )
        return DestroyResult(existed=existed)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is known of a secret beside its value.

        Raises:
            SecretNotFoundError: There is no such name.
        """
        history = _known(request.name, self._histories.get(request.name))
        return DescribeResult(
            metadata=dict(self._notes.get(request.name, {})),
            version=str(history[-1].number),
            created=history[0].created,
            updated=history[-1].created,
            facts=(("versions kept", str(len(history))),),
        )

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace the notes about a secret.

        Raises:
            SecretNotFoundError: There is no such name.
        """
        with self._lock:
            _known(request.name, self._histories.get(request.name))
            self._notes[request.name] = dict(request.metadata)
        return AnnotateResult()

    def list(self, request: ListRequest) -> ListResult:
        """Return every name below a prefix."""
        # A copy instead of the lock: a signal's handler may list while its own thread writes.
        alive = [name for name, history in self._histories.copy().items() if _is_alive(history)]
        return ListResult(names=tuple(sorted(name for name in alive if name.is_below(request.prefix))))

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions that are kept of a secret, tombstones among them.

        Raises:
            SecretNotFoundError: There is no such name.
        """
        history = _known(request.name, self._histories.get(request.name))
        return VersionsResult(versions=tuple(_described(version, history) for version in history))

    def save_state(self, request: SaveStateRequest) -> None:
        """Keep a state in place of the one before.

        Raises:
            ValueTooLargeError: It has more than ``MAX_STATE_BYTES``.
        """
        size = len(request.state)
        if size > MAX_STATE_BYTES:
            raise ValueTooLargeError(
                f"the state {request.key} has {size} bytes, more than {MAX_STATE_BYTES}",
                size=size,
                limit=MAX_STATE_BYTES,
            )
        self._states[request.key] = request.state

    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        """Return what is kept."""
        return LoadStateResult(state=self._states.get(request.key))

    def after_fork(self) -> None:
        """Take a new lock: the old one may be held by a thread that the child does not have."""
        self._lock = threading.Lock()
        self.start_in_child()

    def close(self) -> None:
        """Let go of every value and every state."""
        self._histories = {}
        self._notes = {}
        self._states = {}
        self.forget()

    def _check_size(self, request: WriteRequest) -> None:
        size, limit = len(request.value), self.max_value_bytes
        if limit is not None and size > limit:
            raise ValueTooLargeError(
                f"the value for {request.name} has {size} bytes, more than {limit}",
                size=size,
                limit=limit,
                name=request.name,
                hint="raise max_value_bytes or store less",
            )


def _is_alive(history: _History) -> bool:
    return bool(history) and history[-1].readable


def _known(name: SecretName, history: _History | None) -> _History:
    if history is None:
        raise SecretNotFoundError(f"there is no secret {name}", name=name, hint="check the name's spelling")
    return history


def _result(name: SecretName, history: _History | None, version: str | None) -> ReadResult:
    found = _version_of(name, _known(name, history), version)
    if found.value is None:
        raise _destroyed(name, found)
    if found.deleted is not None:
        raise _deleted(name, found)
    return ReadResult(value=found.value, version=str(found.number), created=found.created)


def _version_of(name: SecretName, history: _History, version: str | None) -> _Version:
    if version is None:
        return history[-1]
    for candidate in history:
        if str(candidate.number) == version:
            return candidate
    raise SecretNotFoundError(
        f"{name} has no version {version}", code="version_not_found", name=name, hint="list its versions"
    )


def _check_expected(request: WriteRequest, history: _History) -> None:
    expected = request.expect_version
    if expected is None:
        return
    found = str(history[-1].number) if _is_alive(history) else _ABSENT_TEXT
    wanted = _ABSENT_TEXT if expected is ABSENT else expected
    if wanted != found:
        raise VersionConflictError(
            f"{request.name} is at version {found}, not {wanted}",
            expected=wanted,
            found=found,
            name=request.name,
            hint="read it again and decide anew",
        )


def _tombstone(version: _Version, now: datetime) -> _Version:
    return version.replace(value=None, deleted=version.deleted or now)


def _deleted(name: SecretName, version: _Version) -> SecretDeletedError:
    when = version.deleted.isoformat() if version.deleted else None
    return SecretDeletedError(f"{name} was deleted", when=when, name=name, hint="undelete it, or write it again")


def _destroyed(name: SecretName, version: _Version) -> SecretDeletedError:
    return SecretDeletedError(
        f"version {version.number} of {name} was destroyed",
        code="destroyed",
        when=version.deleted.isoformat() if version.deleted else None,
        name=name,
        hint="write it again; nothing brings it back",
    )


def _described(version: _Version, history: _History) -> SecretVersion:
    if version.value is None:
        state = "destroyed"
    elif version.deleted is not None:
        state = "deleted"
    else:
        state = "current" if version is history[-1] else "superseded"
    return SecretVersion(version=str(version.number), created=version.created, state=state, deleted=version.deleted)
