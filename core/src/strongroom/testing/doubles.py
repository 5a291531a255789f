"""Stand-ins: an audit sink that keeps events in memory, and a backend that fails on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from strongroom.contracts import (
    AnnotateRequest,
    AnnotateResult,
    AuditSink,
    AuditWrite,
    Backend,
    DeleteRequest,
    DeleteResult,
    DescribeRequest,
    DescribeResult,
    Describing,
    DestroyRequest,
    DestroyResult,
    Health,
    ListRequest,
    ListResult,
    LoadStateRequest,
    LoadStateResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    Recoverable,
    SaveStateRequest,
    StateStore,
    UndeleteRequest,
    UndeleteResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import AuditError, UnsupportedOperationError
from strongroom.model import AuditEvent

Result = TypeVar("Result")


class MemorySink(AuditSink):
    """Records events in a list, and refuses to while ``failing`` is true.

    Attributes:
        events: What has been recorded, oldest first.
        failing: Whether ``write`` raises ``AuditError``; set it as you need.
        closed: Whether ``close`` has been called.
    """

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.failing = False
        self.closed = False

    def write(self, request: AuditWrite) -> None:
        """Record all events of the request.

        Raises:
            AuditError: ``failing`` is set; nothing was recorded.
        """
        if self.failing:
            raise AuditError("the sink in memory was told to fail", hint="set its attribute failing to False")
        self.events.extend(request.events)

    def close(self) -> None:
        """Note that the sink was closed; its events stay."""
        self.closed = True


class FaultyBackend(Backend, StateStore, Recoverable, Describing):
    """Passes calls on to another backend, counts them, and fails when told to.

    It keeps states, deleted versions and notes if the other one does, and else refuses to.

    Args:
        wrapped: Who answers while no failure is set.
        error: What every call raises; ``None`` lets them through.

    Attributes:
        error: The same; set it to break or to mend the backend.
        calls: The names of the operations that were called, in order.
        before: Called with the operation's name before each call; a test can wait in it.
    """

    def __init__(self, wrapped: Backend, error: Exception | None = None) -> None:
        self.wrapped = wrapped
        self.error = error
        self.calls: list[str] = []
        self.before: Callable[[str], None] | None = None
        self.address = wrapped.address
        self.max_value_bytes = wrapped.max_value_bytes
        self.accepts_empty = wrapped.accepts_empty
        self.batch_size = wrapped.batch_size

    def read(self, request: ReadRequest) -> ReadResult:
        """Read, or fail."""
        return self._call("read", self.wrapped.read, request)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Read several, or fail."""
        return self._call("read_many", self.wrapped.read_many, request)

    def write(self, request: WriteRequest) -> WriteResult:
        """Write, or fail."""
        return self._call("write", self.wrapped.write, request)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete, or fail."""
        return self._call("delete", self.wrapped.delete, request)

    def list(self, request: ListRequest) -> ListResult:
        """List, or fail."""
        return self._call("list", self.wrapped.list, request)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """List versions, or fail."""
        return self._call("versions", self.wrapped.versions, request)

    def health(self) -> Health:
        """Answer how the other backend is, or fail."""
        return self._call("health", lambda _: self.wrapped.health(), None)

    def save_state(self, request: SaveStateRequest) -> None:
        """Keep a state, or fail."""
        self._call("save_state", self._store().save_state, request)

    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        """Return a state, or fail."""
        return self._call("load_state", self._store().load_state, request)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a version back, or fail."""
        return self._call("undelete", self._recovery().undelete, request)

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Destroy, or fail."""
        return self._call("destroy", self._recovery().destroy, request)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Describe, or fail."""
        return self._call("describe", self._notes().describe, request)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Annotate, or fail."""
        return self._call("annotate", self._notes().annotate, request)

    def after_fork(self) -> None:
        """Pass it on; this never fails."""
        self.wrapped.after_fork()

    def close(self) -> None:
        """Pass it on; this never fails."""
        self.wrapped.close()

    def _store(self) -> StateStore:
        if not isinstance(self.wrapped, StateStore):
            raise UnsupportedOperationError(f"{type(self.wrapped).__name__} keeps no states")
        return self.wrapped

    def _recovery(self) -> Recoverable:
        if not isinstance(self.wrapped, Recoverable):
            raise UnsupportedOperationError(f"{type(self.wrapped).__name__} keeps nothing that was deleted")
        return self.wrapped

    def _notes(self) -> Describing:
        if not isinstance(self.wrapped, Describing):
            raise UnsupportedOperationError(f"{type(self.wrapped).__name__} keeps no notes")
        return self.wrapped

    def _call(self, operation: str, function: Callable[[Any], Result], request: object) -> Result:
        self.calls.append(operation)
        if self.before is not None:
            self.before(operation)
        if self.error is not None:
            raise self.error
        return function(request)
