"""A backend in memory that keeps a pending value beside the current one."""

from __future__ import annotations

import itertools
import threading

from strongroom.contracts import (
    Backend,
    DeleteRequest,
    DeleteResult,
    DiscardRequest,
    DiscardResult,
    PromoteRequest,
    PromoteResult,
    ReadRequest,
    ReadResult,
    StageRequest,
    StageResult,
    StagesRequest,
    StagesResult,
    Staging,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import SecretNotFoundError, VersionConflictError
from strongroom.model import ABSENT, SecretName, SecretValue, SecretVersion


class Kept:
    """One secret: its values by their versions, and which of them has which part."""

    def __init__(self) -> None:
        self.values: dict[str, SecretValue] = {}
        self.current: str | None = None
        self.pending: str | None = None
        self.previous: str | None = None
        self.unfinished: str | None = None

    def make_current(self, version: str) -> None:
        if version != self.current:
            self.previous, self.current = self.current, version
            self.unfinished = None
        if version == self.pending:
            self.pending = None


class StagedBackend(Backend, Staging):
    """Reads, writes, deletes, lists versions and stages; a staged version has its token as its name."""

    def __init__(self) -> None:
        self.address = "memory:staged"
        self.kept: dict[SecretName, Kept] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def read(self, request: ReadRequest) -> ReadResult:
        kept = self._known(request.name)
        version = self._version(request.name, request.version or str(kept.current))
        return ReadResult(value=kept.values[version], version=version)

    def write(self, request: WriteRequest) -> WriteResult:
        with self._lock:
            kept = self.kept.get(request.name, Kept())
            found = kept.current or ABSENT.value
            if request.expect_version not in {None, ABSENT if kept.current is None else kept.current}:
                raise conflict(request.name, str(request.expect_version), found)
            version = str(next(self._numbers))
            kept.values[version] = request.value
            kept.make_current(version)
            self.kept[request.name] = kept
            return WriteResult(version=version)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        return DeleteResult(existed=self.kept.pop(request.name, None) is not None)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        kept = self._known(request.name)
        states = {kept.current: "current", kept.pending: "pending"}
        return VersionsResult(
            versions=tuple(SecretVersion(version=one, state=states.get(one, "superseded")) for one in kept.values)
        )

    def stage(self, request: StageRequest) -> StageResult:
        with self._lock:
            kept = self._known(request.name)
            if request.token == kept.pending and kept.values[request.token] == request.value:
                return StageResult(version=request.token)
            if kept.pending != request.expect_pending or request.token in kept.values:
                raise conflict(request.name, str(request.expect_pending), str(kept.pending))
            kept.values[request.token] = request.value
            kept.pending = request.token
            kept.unfinished = None
            return StageResult(version=request.token)

    def stages(self, request: StagesRequest) -> StagesResult:
        kept = self._known(request.name)
        return StagesResult(
            current=kept.current, pending=kept.pending, previous=kept.previous, unfinished=kept.unfinished
        )

    def promote(self, request: PromoteRequest) -> PromoteResult:
        with self._lock:
            kept = self._known(request.name)
            version = self._version(request.name, request.version)
            if kept.current not in {version, request.expect_current}:
                raise conflict(request.name, request.expect_current, str(kept.current))
            kept.make_current(version)
            kept.unfinished = version if request.keep_unfinished else None
            return PromoteResult()

    def discard(self, request: DiscardRequest) -> DiscardResult:
        with self._lock:
            kept = self._known(request.name)
            existed = request.version in {kept.pending, kept.unfinished}
            if kept.pending == request.version:
                kept.pending = None
            elif existed:
                kept.unfinished = None
            return DiscardResult(existed=existed)

    def _known(self, name: SecretName) -> Kept:
        kept = self.kept.get(name)
        if kept is None:
            raise SecretNotFoundError(f"there is no secret {name}", name=name)
        return kept

    def _version(self, name: SecretName, version: str) -> str:
        if version not in self._known(name).values:
            raise SecretNotFoundError(f"{name} has no version {version}", code="version_not_found", name=name)
        return version


def conflict(name: SecretName, expected: str, found: str) -> VersionConflictError:
    """Return the error of a change over another version than the expected one."""
    return VersionConflictError(f"{name} is at {found}, not {expected}", expected=expected, found=found, name=name)
