"""The guard around what a backend may offer besides reading and writing: each of the optional interfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from strongroom._apart import apart
from strongroom.contracts.backend import (
    Backend,
    DeleteRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
)
from strongroom.contracts.encrypting import Encrypting
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
from strongroom.errors import BackendError, BackendUnavailableError, StrongroomError, UnsupportedOperationError
from strongroom.model import SecretName
from strongroom.pacing import within
from strongroom.resilience.conditions import Condition
from strongroom.telemetry import Telemetry

if TYPE_CHECKING:
    from strongroom.contracts.service_rotation import (
        RotationStatusRequest,
        RotationStatusResult,
        SchedulesRequest,
        SchedulesResult,
        ServiceRotation,
        TriggerRotationRequest,
        TriggerRotationResult,
    )
    from strongroom.resilience.deadlines import TimedCalls

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
_JOURNAL: Final = 'name one that does under `fallback`, such as one of type = "local"'
_ROTATE: Final = "route the name to a backend whose service rotates secrets, such as AWS Secrets Manager"


class GuardedOptions:
    """A backend's optional interfaces with the core's checks, span and error translation around them.

    Args:
        backend: The backend itself.
        name: Its name in the configuration, used in errors, audit and spans.
        type: The name that its plugin registered.
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
        telemetry: Telemetry,
        condition: Condition | None = None,
        deadline: Callable[[str], float] | None = None,
    ) -> None:
        self.wrapped = backend
        self.name = name
        self.type = type
        self.condition = condition
        self._telemetry = telemetry
        self._deadline = deadline
        self._timed_calls: TimedCalls | None = None

    def offers(self, interface: type[Any]) -> bool:
        """Tell whether the backend implements one of the optional interfaces."""
        return isinstance(self.wrapped, interface)

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

    def journal(self, operation: str, request: Any, *, gives: type[Any] = object) -> Any:
        """Have copies or waiting writes of other backends' secrets kept or returned; see :class:`Journal`.

        Args:
            operation: The name of its method.
            request: What that takes.
            gives: What it returns.

        Raises:
            UnsupportedOperationError: The backend keeps none.
        """
        from strongroom.contracts.journal import Journal

        function = getattr(self._offering(Journal, "no copies and no journal for other backends", _JOURNAL), operation)
        # A claim that an outage keeps from being given up would keep all others from what waits.
        return self._call(operation, function, request, gives=gives, held_up=operation != "release")

    def may_change_yet(self, name: SecretName) -> bool:
        """Tell whether a write or delete of a name is under way that nobody waits for any more.

        Args:
            name: The secret's name.
        """
        left = () if self._timed_calls is None else self._timed_calls.requests_left_behind()
        return any(isinstance(one, WriteRequest | DeleteRequest) and one.name == name for one in left)

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
        # Its time runs out, and whoever renews waits longer each time by himself: no outage that is known holds it up.
        renew = leasing.renew_lease
        return self._call("renew_lease", renew, request, request.name, gives=RenewLeaseResult, held_up=False)

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        """End a lease; see :meth:`Leasing.revoke_lease`."""
        leasing = self._offering(Leasing, "no leases", _LEASE)
        revoke = leasing.revoke_lease
        return self._call("revoke_lease", revoke, request, request.name, gives=RevokeLeaseResult, held_up=False)

    def release_lease(self, request: ReleaseLeaseRequest) -> None:
        """Leave a lease to itself; see :meth:`Leasing.release_lease`."""
        leasing = self._offering(Leasing, "no leases", _LEASE)
        self._call("release_lease", leasing.release_lease, request, request.name, held_up=False)

    def check_crypt(self) -> None:
        """Refuse what needs a named key, if the backend has none.

        Raises:
            UnsupportedOperationError: The backend has no named keys.
        """
        self._offering(Encrypting, "no named keys", _ENCRYPT)

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

    def rotates(self, name: SecretName) -> bool:
        """Tell whether the backend's service rotates a secret; see :meth:`ServiceRotation.rotates`."""
        from strongroom.contracts.service_rotation import ServiceRotation

        if not isinstance(self.wrapped, ServiceRotation):
            return False
        return self._call("rotates", self.wrapped.rotates, name, name, gives=bool)

    def trigger_rotation(self, request: TriggerRotationRequest) -> TriggerRotationResult:
        """Have the service rotate a secret now; see :meth:`ServiceRotation.trigger_rotation`.

        Raises:
            UnsupportedOperationError: The backend's service rotates nothing, or the name is a leased one.
        """
        from strongroom.contracts.service_rotation import TriggerRotationResult

        self.refuse_leased(request.name, "rotating")
        trigger = self._service().trigger_rotation
        return self._call("trigger_rotation", trigger, request, request.name, gives=TriggerRotationResult)

    def rotation_status(self, request: RotationStatusRequest) -> RotationStatusResult:
        """Say how far a rotation has come; see :meth:`ServiceRotation.rotation_status`.

        Raises:
            UnsupportedOperationError: The backend's service rotates nothing, or the name is a leased one.
        """
        from strongroom.contracts.service_rotation import RotationStatusResult

        self.refuse_leased(request.name, "rotating")
        status = self._service().rotation_status
        return self._call("rotation_status", status, request, request.name, gives=RotationStatusResult)

    def schedules(self, request: SchedulesRequest) -> SchedulesResult:
        """List what the service rotates, without leased names; see :meth:`ServiceRotation.schedules`.

        Raises:
            UnsupportedOperationError: The backend's service rotates nothing.
            BackendError: A time has no offset from UTC, so nobody can tell when it is.
        """
        from strongroom.contracts.service_rotation import SchedulesResult

        found = self._call("schedules", self._service().schedules, request, gives=SchedulesResult)
        moments = (moment for one in found.schedules for moment in (one.last, one.next) if moment is not None)
        if any(moment.utcoffset() is None for moment in moments):
            # No name is said: whoever asks may not be allowed to know it.
            raise BackendError(
                f"{self.name} (type {self.type}) says when a secret is rotated without the offset from UTC",
                backend=self.name,
                hint="upgrade the distribution that offers it; `strongroom plugins` names it",
            )
        # What is stored under a leased name cannot be read by it.
        return found.replace(schedules=tuple(one for one in found.schedules if not self.is_leased(one.name)))

    def _recovery(self) -> Recoverable:
        return self._offering(Recoverable, "nothing that was deleted", _RECOVER)

    def _notes(self) -> Describing:
        return self._offering(Describing, "no notes about secrets", _DESCRIBE)

    def _service(self) -> ServiceRotation:
        from strongroom.contracts.service_rotation import ServiceRotation

        return self._offering(ServiceRotation, "no rotation of its service's", _ROTATE)

    def _offering(self, interface: type[Optional], lacks: str, hint: str) -> Optional:
        if not isinstance(self.wrapped, interface):
            raise UnsupportedOperationError(
                f"{self.name} (type {self.type}) keeps {lacks}", backend=self.name, hint=hint
            )
        return self.wrapped

    def _call(
        self,
        operation: str,
        function: Callable[[Request], Result],
        request: Request,
        name: str | None = None,
        *,
        gives: type[Any] = object,
        watched: bool = True,
        held_up: bool = True,
    ) -> Result:
        condition = self.condition if watched else None
        begun = None
        if condition is not None:
            begun = condition.admit() if held_up else condition.epoch
        with self._telemetry.span(operation, name=name, backend=self.name, backend_type=self.type):
            try:
                result = self._timed(operation, function, request)
                if not isinstance(result, gives):
                    # None for "there is no such secret", say: whatever it was meant to be, it is no answer.
                    raise TypeError(f"{gives.__name__} expected, {type(result).__name__} given")
            except StrongroomError as error:
                error.backend = error.backend or self.name
                if condition is not None:
                    condition.note(error, begun)
                raise
            # The plugin boundary: whatever a client library raises becomes one of ours.
            except Exception as error:
                raise BackendError(
                    f"{self.name} (type {self.type}) failed in {operation} with {type(error).__name__}",
                    name=name,
                    backend=self.name,
                    hint="see the error's cause; `strongroom doctor` checks the backend",
                ) from error
            if condition is not None:
                outages = _outages_in(result)
                condition.note(outages[0] if outages else None, begun)
                for one in outages:
                    one.backend, one.lasted = one.backend or self.name, outages[0].lasted
            return result

    def _timed(self, operation: str, function: Callable[[Request], Result], request: Request) -> Result:
        """Call a function of the backend's, for as long as the operation may take."""
        if self._deadline is None or operation == "close":
            return apart(function, request)
        with within(self._deadline(operation)):
            if self.wrapped.keeps_deadlines:
                return apart(function, request)
            if self._timed_calls is None:
                # Imported here: the backends that come with strongroom keep theirs.
                from strongroom.resilience.deadlines import TimedCalls

                # Two threads may make one at the same time: what either of them counts is little.
                self._timed_calls = TimedCalls(self.name, self._too_late)
            return apart(self._timed_calls.call, function, request)

    def _too_late(self, request: object, result: object) -> None:
        """Give a credential back that was made for somebody who has gone; any other answer is just thrown away."""
        lease = result.lease if isinstance(result, ReadResult) else None
        leasing = self.wrapped
        if lease is None or not lease.id or not isinstance(request, ReadRequest) or not isinstance(leasing, Leasing):
            return
        try:
            leasing.revoke_lease(RevokeLeaseRequest(name=request.name, lease=lease))
        # The plugin boundary, in a thread to which nobody listens: what is not given back ends by itself.
        except Exception:  # noqa: BLE001  # see above
            return


def _outages_in(result: object) -> list[BackendUnavailableError]:
    """Return why an answer about several secrets is none: that of each of them is an outage."""
    if not isinstance(result, ReadManyResult) or result.found:
        return []
    outages = [error for error in result.errors.values() if isinstance(error, BackendUnavailableError)]
    # First one that is not a limit of our own, if there is one.
    outages.sort(key=lambda error: error.own_limit)
    return outages if len(outages) == len(result.errors) else []
