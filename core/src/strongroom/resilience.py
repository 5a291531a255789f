"""The boundary to a backend: what every call to one passes through.

A backend's author implements the plain operation. The guard around it checks
what can be checked before the call, opens the one span, and turns whatever a
backend raises into the documented family of errors, the cause kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

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
from strongroom.contracts.encrypting import Encrypting
from strongroom.contracts.health import Health, HealthState
from strongroom.contracts.leasing import (
    Leasing,
    ReleaseLeaseRequest,
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
)
from strongroom.contracts.maintenance import Maintenance
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
from strongroom.contracts.state import LoadStateRequest, LoadStateResult, SaveStateRequest, StateStore
from strongroom.errors import (
    BackendError,
    InvalidValueError,
    StrongroomError,
    UnsupportedOperationError,
    ValueTooLargeError,
)
from strongroom.model import SecretName
from strongroom.telemetry import Telemetry

Request = TypeVar("Request")
Result = TypeVar("Result")
Optional = TypeVar("Optional")
"""One of the interfaces that a backend may implement besides its own."""

_MAINTAIN: Final = "name a local store with --backend; any other is maintained where it runs"
_KEEP_STATES: Final = 'name a backend that does under `state`, such as one of type = "local"'
_LEASE: Final = "route the name to a backend that makes credentials, such as a Vault"
_ENCRYPT: Final = "route the key's name to a backend that has, such as a Vault or a local store"
_RECOVER: Final = "route the name to a backend that keeps deleted versions, such as a Vault with KV version 2"
_DESCRIBE: Final = "route the name to a backend that does, such as a Vault with KV version 2"


class GuardedBackend(Backend):
    """A backend with the core's checks, span and error translation around it.

    Args:
        backend: The backend itself.
        name: Its name in the configuration, used in errors, audit and spans.
        type: The name that its plugin registered.
        capabilities: What its specification declares.
        telemetry: Opens the spans.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        name: str,
        type: str,
        capabilities: frozenset[Capability],
        telemetry: Telemetry | None = None,
    ) -> None:
        self.wrapped = backend
        self.name = name
        self.type = type
        self._declared = capabilities
        self.address = backend.address
        self.max_value_bytes = backend.max_value_bytes
        self.accepts_empty = backend.accepts_empty
        self.batch_size = backend.batch_size
        self._telemetry = telemetry or Telemetry()

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]  # here it is always known
        """What the backend can do: what its specification declares, less what this one lacks."""
        own = self.wrapped.capabilities
        return self._declared if own is None else self._declared & own

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
        size = len(request.value)
        if self.max_value_bytes is not None and size > self.max_value_bytes:
            raise ValueTooLargeError(
                f"the value of {request.name} has {size} bytes, and {self.name} takes at most {self.max_value_bytes}",
                size=size,
                limit=self.max_value_bytes,
                name=request.name,
                backend=self.name,
                hint="store a smaller value, or route the name to another backend",
            )
        if size == 0 and not self.accepts_empty:
            raise InvalidValueError(
                f"{self.name} cannot hold an empty value",
                name=request.name,
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
            return self._call("health", lambda _: self.wrapped.health(), None, gives=Health)
        except StrongroomError as error:
            return Health(state=HealthState.DOWN, reason=error.what, hint=error.hint)

    def after_fork(self) -> None:
        """Tell the backend that it is in a forked child."""
        self.wrapped.after_fork()

    def close(self) -> None:
        """Close the backend."""
        self._call("close", lambda _: self.wrapped.close(), None)

    def maintain(self, operation: str, act: Callable[[Maintenance], Result]) -> Result:
        """Let a function verify, back up or re-key a backend that keeps its own file.

        Args:
            operation: What it does, for the span and for errors.
            act: Takes the backend's :class:`~strongroom.contracts.Maintenance`.

        Raises:
            UnsupportedOperationError: The backend keeps no file of its own.
        """
        return self._call(operation, act, self._offering(Maintenance, f"no file of its own to {operation}", _MAINTAIN))

    def save_state(self, request: SaveStateRequest) -> None:
        """Keep a state of the core's; see :meth:`StateStore.save_state`.

        Raises:
            UnsupportedOperationError: The backend keeps no states.
        """
        self._call("save_state", self._offering(StateStore, "no states", _KEEP_STATES).save_state, request)

    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        """Return a state of the core's; see :meth:`StateStore.load_state`.

        Raises:
            UnsupportedOperationError: The backend keeps no states.
        """
        store = self._offering(StateStore, "no states", _KEEP_STATES)
        return self._call("load_state", store.load_state, request, gives=LoadStateResult)

    def is_leased(self, name: SecretName) -> bool:
        """Tell whether a read of this name makes a credential that lives for a while."""
        return isinstance(self.wrapped, Leasing) and self.wrapped.is_leased(name)

    def refuse_leased(self, name: SecretName, operation: str) -> None:
        """Refuse an operation that has no meaning for a credential which each read makes anew.

        Args:
            name: The secret's name.
            operation: What is refused, such as ``writing``.

        Raises:
            UnsupportedOperationError: The name is a leased one.
        """
        if self.is_leased(name):
            raise UnsupportedOperationError(
                f"{name} is a credential that {self.name} makes when it is read, so {operation} it is not possible",
                name=name,
                backend=self.name,
                hint="read it; `invalidate` gives it up, and the next read makes another",
            )

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        """Let a lease live longer; see :meth:`Leasing.renew_lease`."""
        leasing = self._offering(Leasing, "no leases", _LEASE)
        return self._call("renew_lease", leasing.renew_lease, request, request.name, gives=RenewLeaseResult)

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        """End a lease; see :meth:`Leasing.revoke_lease`."""
        leasing = self._offering(Leasing, "no leases", _LEASE)
        return self._call("revoke_lease", leasing.revoke_lease, request, request.name, gives=RevokeLeaseResult)

    def check_crypt(self) -> None:
        """Refuse what needs a named key, if the backend has none.

        Raises:
            UnsupportedOperationError: The backend has no named keys.
        """
        self._offering(Encrypting, "no named keys", _ENCRYPT)

    def release_lease(self, request: ReleaseLeaseRequest) -> None:
        """Leave a lease to itself; see :meth:`Leasing.release_lease`."""
        leasing = self._offering(Leasing, "no leases", _LEASE)
        self._call("release_lease", leasing.release_lease, request, request.name)

    def crypt(self, operation: str, request: Any, *, gives: type[Result]) -> Result:
        """Encrypt, sign or the like; see :class:`Encrypting`.

        Args:
            operation: The name of its method.
            request: What that takes.
            gives: What it returns.

        Raises:
            UnsupportedOperationError: The backend has no named keys.
        """
        function = getattr(self._offering(Encrypting, "no named keys", _ENCRYPT), operation)
        result: Result = self._call(operation, function, request, request.key, gives=gives)
        return result

    def check_recovery(self) -> None:
        """Refuse an undelete or destroy that the backend does not offer.

        Raises:
            UnsupportedOperationError: The backend keeps nothing that was deleted.
        """
        self._recovery()

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a deleted version back; see :meth:`Recoverable.undelete`."""
        return self._call("undelete", self._recovery().undelete, request, request.name, gives=UndeleteResult)

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions for good; see :meth:`Recoverable.destroy`."""
        return self._call("destroy", self._recovery().destroy, request, request.name, gives=DestroyResult)

    def check_notes(self) -> None:
        """Refuse to look at notes, or to change them, where the backend has none.

        Raises:
            UnsupportedOperationError: The backend keeps no notes about secrets.
        """
        self._notes()

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is noted about a secret; see :meth:`Describing.describe`."""
        return self._call("describe", self._notes().describe, request, request.name, gives=DescribeResult)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace the notes about a secret; see :meth:`Describing.annotate`."""
        return self._call("annotate", self._notes().annotate, request, request.name, gives=AnnotateResult)

    def offers(self, interface: type[Any]) -> bool:
        """Tell whether the backend implements one of the optional interfaces."""
        return isinstance(self.wrapped, interface)

    def _recovery(self) -> Recoverable:
        return self._offering(Recoverable, "nothing that was deleted", _RECOVER)

    def _notes(self) -> Describing:
        return self._offering(Describing, "no notes about secrets", _DESCRIBE)

    def _offering(self, interface: type[Optional], lacks: str, hint: str) -> Optional:
        if not isinstance(self.wrapped, interface):
            raise UnsupportedOperationError(
                f"{self.name} (type {self.type}) keeps {lacks}", backend=self.name, hint=hint
            )
        return self.wrapped

    def _need(self, capability: Capability, operation: str) -> None:
        if capability not in self.capabilities:
            raise UnsupportedOperationError(
                f"{self.name} (type {self.type}) does not support {operation}",
                backend=self.name,
                hint="route the name to a backend that does; `strongroom plugins` lists them",
            )

    def _call(
        self,
        operation: str,
        function: Callable[[Request], Result],
        request: Request,
        name: str | None = None,
        *,
        gives: type[Any] = object,
    ) -> Result:
        with self._telemetry.span(operation, name=name, backend=self.name, backend_type=self.type):
            try:
                result = function(request)
                if not isinstance(result, gives):
                    # None for "there is no such secret", say: whatever it was meant to be, it is no answer.
                    raise TypeError(f"{gives.__name__} expected, {type(result).__name__} given")
                return result
            except StrongroomError as error:
                error.backend = error.backend or self.name
                raise
            # The plugin boundary: whatever a client library raises becomes one of ours.
            except Exception as error:
                raise BackendError(
                    f"{self.name} (type {self.type}) failed in {operation} with {type(error).__name__}",
                    name=name,
                    backend=self.name,
                    hint="see the error's cause; `strongroom doctor` checks the backend",
                ) from error
