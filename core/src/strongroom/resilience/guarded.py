"""The boundary to a backend: what every call to one passes through.

A backend's author implements the plain operation. The guard around it checks
what can be checked before the call, opens the one span, and turns whatever a
backend raises into the documented family of errors, the cause kept. What a
backend may offer besides reading and writing is guarded in ``guarding``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from strongroom.contracts.backend import (
    Backend,
    Capability,
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
from strongroom.contracts.health import Health, HealthState
from strongroom.contracts.leasing import Leasing
from strongroom.contracts.names import is_reserved
from strongroom.errors import (
    InvalidValueError,
    StrongroomError,
    UnsupportedOperationError,
    ValueTooLargeError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.conditions import Condition
from strongroom.resilience.options import GuardedOptions
from strongroom.telemetry import Telemetry, note_health
from strongroom.telemetry.names import BACKEND, BACKEND_TYPE

if TYPE_CHECKING:
    from strongroom.contracts.polling import CurrentVersionsRequest, CurrentVersionsResult
    from strongroom.contracts.staging import (
        DiscardRequest,
        DiscardResult,
        PromoteRequest,
        PromoteResult,
        StageRequest,
        StageResult,
        StagesRequest,
        StagesResult,
        Staging,
    )

_STAGE: Final = "route the name to a backend that does, such as AWS Secrets Manager"


class GuardedBackend(GuardedOptions, Backend):
    """A backend with the core's checks, span and error translation around it.

    Args:
        backend: The backend itself.
        name: Its name in the configuration, used in errors, audit and spans.
        type: The name that its plugin registered.
        capabilities: What its specification declares.
        telemetry: Opens the spans.
        condition: Lets calls through, and is told how they ended; nothing is held up unless given.
        deadline: Says for how many seconds an operation may take; for as long as the backend likes unless given.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        name: str,
        type: str,
        capabilities: frozenset[Capability],
        telemetry: Telemetry | None = None,
        condition: Condition | None = None,
        deadline: Callable[[str], float] | None = None,
    ) -> None:
        super().__init__(
            backend, name=name, type=type, telemetry=telemetry or Telemetry(), condition=condition, deadline=deadline
        )
        self._declared = capabilities
        self.address = backend.address
        self.max_value_bytes = backend.max_value_bytes
        self.accepts_empty = backend.accepts_empty
        self.batch_size = backend.batch_size

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]  # here it is always known
        """What the backend can do: what its specification declares, less what this one lacks."""
        own = self.wrapped.capabilities
        return self._declared if own is None else self._declared & own

    def target(self) -> str | None:
        """Return what a write that waits is bound to; see :meth:`Backend.target`."""
        return self.wrapped.target()

    def read(self, request: ReadRequest) -> ReadResult:
        """Read one secret; see :meth:`Backend.read`.

        Raises:
            UnsupportedOperationError: A version is asked for and the backend keeps none.
        """
        if request.version is not None:
            self._need(Capability.VERSIONS, "reading an older version")
        return self._call("read", self.wrapped.read, request, request.name, gives=ReadResult)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Read several secrets; see :meth:`Backend.read_many`."""
        return self._call("read_many", self.wrapped.read_many, request, gives=ReadManyResult)

    @property
    def versions_at_once(self) -> int:
        """How many names :meth:`current_versions` is given at most."""
        from strongroom.contracts.polling import VersionPolling

        return self.wrapped.versions_at_once if isinstance(self.wrapped, VersionPolling) else self.batch_size

    @property
    def versions_are_shared(self) -> bool:
        """Whether the versions of two processes may be compared; see :class:`VersionPolling`."""
        from strongroom.contracts.polling import VersionPolling

        return not isinstance(self.wrapped, VersionPolling) or self.wrapped.versions_are_shared

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return which versions are current; see :class:`VersionPolling`. Where that is not offered, secrets are read.

        Raises:
            BackendUnavailableError: No answer for any name.
        """
        from strongroom.resilience.polling import current_versions

        return self._call("current_versions", lambda asked: current_versions(self.wrapped, asked), request)

    def check_write(self, request: WriteRequest) -> None:
        """Refuse what the backend could not take, before anything is sent.

        Raises:
            UnsupportedOperationError: The backend cannot write, or not conditionally.
            ValueTooLargeError: The value is over its limit.
            InvalidValueError: The value is empty, and the backend cannot hold that.
        """
        self._need(Capability.WRITE, "writing")
        if request.expect_version is not None:
            self._need(Capability.CHECK_AND_SET, "writing only over an expected version")
        self._check_value(request.name, request.value)

    def check_write_value(self, name: SecretName, value: SecretValue) -> None:
        """Refuse a value that could not be written, as :meth:`check_write` does."""
        self._need(Capability.WRITE, "writing")
        self._check_value(name, value)

    def _check_value(self, name: SecretName, value: SecretValue) -> None:
        size = len(value)
        if self.max_value_bytes is not None and size > self.max_value_bytes:
            raise ValueTooLargeError(
                f"the value of {name} has {size} bytes, and {self.name} takes at most {self.max_value_bytes}",
                size=size,
                limit=self.max_value_bytes,
                name=name,
                backend=self.name,
                hint="store a smaller value, or route the name to another backend",
            )
        if size == 0 and not self.accepts_empty:
            raise InvalidValueError(
                f"{self.name} cannot hold an empty value for {name}",
                name=name,
                backend=self.name,
                hint="delete the secret instead, or route the name to a backend that can",
            )

    def write(self, request: WriteRequest) -> WriteResult:
        """Write one secret after :meth:`check_write`; see :meth:`Backend.write`."""
        self.check_write(request)
        return self._call("write", self.wrapped.write, request, request.name, gives=WriteResult)

    def check_delete(self) -> None:
        """Refuse a delete that the backend does not offer.

        Raises:
            UnsupportedOperationError: The backend cannot delete.
        """
        self._need(Capability.WRITE, "deleting")

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete one secret; see :meth:`Backend.delete`."""
        self.check_delete()
        return self._call("delete", self.wrapped.delete, request, request.name, gives=DeleteResult)

    def list(self, request: ListRequest) -> ListResult:
        """List names, without those that are leased; see :meth:`Backend.list`."""
        self._need(Capability.LIST, "listing")
        found = self._call("list", self.wrapped.list, request, gives=ListResult)
        if not is_reserved(request.prefix):
            found = found.replace(
                names=tuple(name for name in found.names if not is_reserved(name)),
                folders=tuple(name for name in found.folders if not is_reserved(name)),
            )
        if not self.offers(Leasing):
            return found
        # What is stored under such a name cannot be read by it.
        return found.replace(names=tuple(name for name in found.names if not self.is_leased(name)))

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """List a secret's versions; see :meth:`Backend.versions`."""
        self._need(Capability.VERSIONS, "listing versions")
        return self._call("versions", self.wrapped.versions, request, request.name, gives=VersionsResult)

    def health(self) -> Health:
        """Ask the backend how it is; a failure to answer is an answer."""
        try:
            # It is asked even if it is known to be out of reach: a probe is just this.
            found = self._call("health", lambda _: self.wrapped.health(), None, gives=Health, watched=False)
        except StrongroomError as error:
            found = Health(state=HealthState.DOWN, reason=error.what, hint=error.hint)
        note_health(found.state.value, found.figures, {BACKEND: self.name, BACKEND_TYPE: self.type})
        return found

    def after_fork(self) -> None:
        """Tell the backend that it is in a forked child."""
        self._timed_calls = None
        if self.condition is not None:
            self.condition.after_fork()
        self.wrapped.after_fork()

    def close(self) -> None:
        """Close the backend."""
        self._call("close", lambda _: self.wrapped.close(), None, watched=False)

    def check_stage(self, request: StageRequest) -> None:
        """Refuse a value that could not be kept as pending, before anything is sent.

        Raises:
            UnsupportedOperationError: The backend keeps no pending values, or the name is a leased one.
            ValueTooLargeError: The value is over its limit.
            InvalidValueError: The value is empty, and the backend cannot hold that.
        """
        self._staging(request.name)
        self._need(Capability.WRITE, "writing")
        self._check_value(request.name, request.value)

    def stage(self, request: StageRequest) -> StageResult:
        """Keep a value as the pending one after :meth:`check_stage`; see :meth:`Staging.stage`."""
        from strongroom.contracts.staging import StageResult

        self.check_stage(request)
        return self._call("stage", self._staging(request.name).stage, request, request.name, gives=StageResult)

    def stages(self, request: StagesRequest) -> StagesResult:
        """Return which versions are current, pending and previous; see :meth:`Staging.stages`."""
        from strongroom.contracts.staging import StagesResult

        return self._call("stages", self._staging(request.name).stages, request, request.name, gives=StagesResult)

    def promote(self, request: PromoteRequest) -> PromoteResult:
        """Make a version the current one; see :meth:`Staging.promote`."""
        from strongroom.contracts.staging import PromoteResult

        return self._call("promote", self._staging(request.name).promote, request, request.name, gives=PromoteResult)

    def discard(self, request: DiscardRequest) -> DiscardResult:
        """Give a pending version up; see :meth:`Staging.discard`."""
        from strongroom.contracts.staging import DiscardResult

        return self._call("discard", self._staging(request.name).discard, request, request.name, gives=DiscardResult)

    def _staging(self, name: SecretName) -> Staging:
        """Return the backend as one that keeps a pending value of a name.

        Raises:
            UnsupportedOperationError: It keeps none, or no versions at all, or the name is a leased one.
        """
        from strongroom.contracts.staging import Staging

        self.refuse_leased(name, "staging")
        self._need(Capability.VERSIONS, "keeping a pending value beside the current one")
        return self._offering(Staging, "no pending value beside the current one", _STAGE)

    def _need(self, capability: Capability, operation: str) -> None:
        if capability not in self.capabilities:
            raise UnsupportedOperationError(
                f"{self.name} (type {self.type}) does not support {operation}",
                backend=self.name,
                hint="route the name to a backend that does; `strongroom plugins` lists them",
            )
