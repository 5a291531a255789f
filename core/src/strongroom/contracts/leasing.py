"""An optional interface of backends that make credentials for whoever reads, and take them back after a while."""

from __future__ import annotations

from abc import ABC, abstractmethod

from strongroom._record import Record
from strongroom.model import SecretName


class Lease(Record):
    """For how long a credential lives that was made for this reader."""

    id: str
    """The backend's own id of it; empty for one that just ends, and can be neither renewed nor revoked.

    It opens the way to the credential, so no event, span, log or error may hold it.
    """
    seconds: float
    """How long it lives, counted from when the request was sent."""
    renewable: bool = False
    """Whether asking may make it live longer."""

    def __repr__(self) -> str:
        return f"<Lease of {self.seconds:g} s: id hidden>"


class RenewLeaseRequest(Record):
    """Let a lease live longer."""

    name: SecretName
    lease: Lease
    """As the backend gave it, or as the renewal before gave it."""
    seconds: float
    """How long it is to live from now on; the backend may grant less."""


class RenewLeaseResult(Record):
    """What a renewal gave."""

    lease: Lease
    extensible: bool | None = None
    """Whether it may be made to live longer still although less was granted than asked for, as when it ends with
    something that has not been prolonged itself so far. ``None``: what is less than asked for is its maximum."""
    request_id: str | None = None


class RevokeLeaseRequest(Record):
    """End a lease, and the credential with it."""

    name: SecretName
    lease: Lease


class RevokeLeaseResult(Record):
    """What a revocation did."""

    request_id: str | None = None


class ReleaseLeaseRequest(Record):
    """Leave a lease to itself: somebody else has got the credential."""

    name: SecretName
    lease: Lease


class Leasing(ABC):
    """Makes credentials that live for a while; a :class:`Backend` may implement it, too.

    A read of a leased name makes a new credential, and its result says so in
    ``ReadResult.lease``. The core keeps it for all readers of this process, renews
    it, has it replaced before its end and revokes it when the manager is closed.
    No leased name is listed: whoever reads all that is would make credentials.
    """

    @abstractmethod
    def is_leased(self, name: SecretName) -> bool:
        """Tell whether a read of this name makes a credential. It must be quick and ask nobody."""

    @abstractmethod
    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        """Let a lease live longer.

        Raises:
            SecretNotFoundError: There is no such lease any more: it has ended, or was revoked.
            UnsupportedOperationError: It cannot be renewed.
            AccessDeniedError: The backend does not let us.
            AuthenticationError: Our own credentials were refused.
            BackendUnavailableError: No answer; an outage.
        """

    @abstractmethod
    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        """End a lease and its credential; one that has ended already is no error.

        Raises:
            AccessDeniedError: The backend does not let us.
            AuthenticationError: Our own credentials were refused.
            BackendUnavailableError: No answer; an outage.
        """

    def release_lease(self, request: ReleaseLeaseRequest) -> None:
        """See to it that closing does not end a lease, since somebody else uses the credential from now on.

        Override it if what ``close`` does would end it.
        """
        return
