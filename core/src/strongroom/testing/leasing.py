"""A stand-in that makes leased credentials, and the checks of backends that do."""

from __future__ import annotations

import itertools

from collections.abc import Callable

import pytest

from strongroom.contracts import (
    Backend,
    Lease,
    Leasing,
    ListRequest,
    ReadRequest,
    ReadResult,
    ReleaseLeaseRequest,
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
)
from strongroom.errors import SecretNotFoundError, StrongroomError, UnsupportedOperationError
from strongroom.model import SecretName, SecretValue
from strongroom.testing.leaks import report_of
from strongroom.testing.promises import must_override, promised_by


class MadeCredential:
    """A credential that :class:`CredentialMaker` has made.

    Attributes:
        name: Under which name.
        id: The lease's id; empty without one.
        made: When, on the maker's clock.
        ends: When it ends unless it is renewed or revoked.
        revoked: When it was revoked, if it was.
    """

    def __init__(self, name: SecretName, id: str, made: float, ends: float) -> None:
        self.name = name
        self.id = id
        self.made = made
        self.ends = ends
        self.revoked: float | None = None

    def is_alive(self, now: float) -> bool:
        """Tell whether it still works."""
        return self.revoked is None and now < self.ends


class CredentialMaker(Backend, Leasing):
    """A backend that makes a credential for each read, and keeps nothing else.

    Args:
        clock: Monotonic seconds.
        ttl: For how many seconds it grants a lease.
        max_ttl: How many seconds a credential lives at most, however often it is renewed.
        renewable: Whether its leases can be renewed.
        with_id: Whether they have an id; without one they can be neither renewed nor revoked.

    Attributes:
        made: Every credential, oldest first.
        calls: The names of the operations that were called, in order.
        errors: By name of operation (``read``, ``renew_lease``, ``revoke_lease``): what it raises instead of answering.
        before: Called with the operation's name before each call; a test can wait in it.
        leased: What is leased is below this name.
    """

    address = "credential-maker"

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        ttl: float = 600.0,
        max_ttl: float = float("inf"),
        renewable: bool = True,
        with_id: bool = True,
        leased: str = "creds",
    ) -> None:
        self.clock = clock
        self.ttl = ttl
        self.max_ttl = max_ttl
        self.renewable = renewable
        self.with_id = with_id
        self.leased = SecretName(leased)
        self.made: list[MadeCredential] = []
        self.calls: list[str] = []
        self.errors: dict[str, StrongroomError] = {}
        self.before: Callable[[str], object] | None = None
        self.is_closed = False
        # Single steps, since several threads may read, and a signal's handler within a read.
        self._numbers = itertools.count(1)
        self._by_version: dict[str, MadeCredential] = {}

    def alive(self) -> list[MadeCredential]:
        """Return the credentials that still work."""
        return [one for one in self.made if one.is_alive(self.clock())]

    def of(self, version: str) -> MadeCredential:
        """Return the credential with a version."""
        return self._by_version[version]

    def is_leased(self, name: SecretName) -> bool:
        """Tell whether the name is below ``leased``."""
        return name.is_below(self.leased)

    def read(self, request: ReadRequest) -> ReadResult:
        """Make a credential.

        Raises:
            SecretNotFoundError: The name is not a leased one.
        """
        self._called("read")
        if not self.is_leased(request.name):
            raise SecretNotFoundError(f"there is no {request.name}", name=request.name)
        now, number = self.clock(), next(self._numbers)
        seconds = min(self.ttl, self.max_ttl)
        one = MadeCredential(request.name, f"lease-{number}" if self.with_id else "", now, now + seconds)
        self._by_version[str(number)] = one
        self.made.append(one)
        return ReadResult(
            value=SecretValue(f"credential-{number}"),
            version=str(number),
            request_id=f"request-{number}",
            lease=Lease(id=one.id, seconds=seconds, renewable=self.renewable),
        )

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        """Let a credential live longer, up to its maximum.

        Raises:
            SecretNotFoundError: It has ended, or was revoked.
            UnsupportedOperationError: It cannot be renewed.
        """
        self._called("renew_lease")
        one, now = self._by_id(request.lease), self.clock()
        if one is None or not one.is_alive(now):
            raise SecretNotFoundError("there is no such lease", name=request.name)
        if not self.renewable:
            raise UnsupportedOperationError("the lease cannot be renewed", name=request.name)
        seconds = min(request.seconds, one.made + self.max_ttl - now)
        one.ends = now + seconds
        lease = request.lease.replace(seconds=seconds)
        return RenewLeaseResult(lease=lease, request_id=f"renewal-{len(self.calls)}")

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        """End a credential."""
        self._called("revoke_lease")
        one, now = self._by_id(request.lease), self.clock()
        if one is not None and one.is_alive(now):
            one.revoked = now
        return RevokeLeaseResult(request_id=f"revocation-{len(self.calls)}")

    def release_lease(self, request: ReleaseLeaseRequest) -> None:  # noqa: ARG002  # nothing ends with it
        """Note that it was called."""
        self._called("release_lease")

    def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True

    def _by_id(self, lease: Lease) -> MadeCredential | None:
        return next((one for one in self.made if one.id and one.id == lease.id), None)

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if self.before is not None:
            self.before(operation)
        if operation in self.errors:
            raise self.errors[operation].again()


class LeasingContract:
    """Everything that a backend promises which makes leased credentials; derive your test class from this.

    Override the fixtures ``backend`` and ``leased_name``. The leases must be such as
    can be renewed and revoked.

    Example:
        .. code-block:: python

            class TestLeasing(LeasingContract):
                @pytest.fixture
                def backend(self):
                    return AcmeBackend(acme_client.fake())

                @pytest.fixture
                def leased_name(self):
                    return "database/creds/app"
    """

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test; every author overrides this."""
        # Not an abstract method, which would keep pytest from making the class: it tells an author what is missing.
        must_override(self, "the fixture `backend`", "it returns the backend under test, a new one for each check")

    @pytest.fixture
    def leased_name(self) -> str:
        """Return a name of which each read makes a credential; every author overrides this."""
        # As above.
        must_override(self, "the fixture `leased_name`", "it returns a name of which each read makes a credential")

    @pytest.fixture
    def plain_name(self) -> str:
        """Return a name that is not leased."""
        return "not/leased"

    @promised_by(Leasing.is_leased)
    def test_it_tells_which_names_are_leased(self, backend: Backend, leased_name: str, plain_name: str) -> None:
        """The backend is ``Leasing``, and tells a leased name from another.

        By that the core knows, before any call, that a read makes a credential.
        """
        assert isinstance(backend, Leasing)
        assert backend.is_leased(SecretName(leased_name))
        assert not backend.is_leased(SecretName(plain_name))

    @promised_by(Lease)
    def test_a_read_gives_a_lease(self, backend: Backend, leased_name: str) -> None:
        """A read of a leased name has a lease with an id and a time to live.

        Without them the core could neither renew nor revoke the credential, and would serve it beyond its end.
        """
        lease = _made(backend, leased_name)[1]
        assert lease.id
        assert lease.seconds > 0

    @promised_by(Leasing)
    def test_each_read_makes_another_credential(self, backend: Backend, leased_name: str) -> None:
        """Each read gives another value, version and lease.

        Revoking one reader's credential must not take another one's.
        """
        (first, lease), (second, other) = _made(backend, leased_name), _made(backend, leased_name)
        assert first.version != second.version
        assert lease.id != other.id
        assert first.value.reveal() != second.value.reveal()

    @promised_by(Leasing.renew_lease)
    def test_a_renewal_gives_the_same_lease_more_time(self, backend: Backend, leased_name: str) -> None:
        """A renewal keeps the lease's id, and grants no more time than was asked for.

        The core plans the next renewal by what was granted, and revokes by the id in the end.
        """
        lease = _made(backend, leased_name)[1]
        assert lease.renewable, "the check needs a lease that can be renewed"
        renewed = _renewed(backend, leased_name, lease)
        assert renewed.id == lease.id
        # Whoever takes the time from its end gets a little more or less, as floating-point numbers go.
        assert 0 < round(renewed.seconds, 3) <= lease.seconds

    @promised_by(Leasing.renew_lease)
    def test_a_revoked_lease_cannot_be_renewed(self, backend: Backend, leased_name: str) -> None:
        """Renewing a lease that was revoked raises ``SecretNotFoundError``.

        The core takes that as the sign that the credential is lost, and makes another.
        """
        lease = _made(backend, leased_name)[1]
        _revoke(backend, leased_name, lease)
        with pytest.raises(SecretNotFoundError):
            _renewed(backend, leased_name, lease)

    @promised_by(Leasing.revoke_lease)
    def test_revoking_one_leaves_the_other_alone(self, backend: Backend, leased_name: str) -> None:
        """After one lease was revoked, another of the same name can be renewed.

        Each credential belongs to one process, and ends with that.
        """
        lease, other = _made(backend, leased_name)[1], _made(backend, leased_name)[1]
        _revoke(backend, leased_name, lease)
        assert _renewed(backend, leased_name, other).seconds > 0

    @promised_by(Leasing.revoke_lease)
    def test_revoking_twice_is_no_error(self, backend: Backend, leased_name: str) -> None:
        """Revoking a lease a second time raises nothing.

        Whoever does not know whether the first attempt arrived may repeat it.
        """
        lease = _made(backend, leased_name)[1]
        _revoke(backend, leased_name, lease)
        _revoke(backend, leased_name, lease)

    @promised_by(Lease)
    def test_an_error_does_not_show_the_id(self, backend: Backend, leased_name: str) -> None:
        """The error of a renewal does not show the lease's id.

        The id opens the way to the credential, and errors are logged.
        """
        lease = _made(backend, leased_name)[1]
        _revoke(backend, leased_name, lease)
        with pytest.raises(StrongroomError) as caught:
            _renewed(backend, leased_name, lease)
        # As a whole: it may begin with the name.
        assert lease.id not in report_of(caught.value)

    @promised_by(Leasing)
    def test_no_leased_name_is_listed(self, backend: Backend, leased_name: str) -> None:
        """A leased name is not listed.

        Whoever reads all that is listed would make credentials that nobody has asked for.
        """
        _made(backend, leased_name)
        try:
            listed = backend.list(ListRequest()).names
        except UnsupportedOperationError:
            return  # then none can be
        assert SecretName(leased_name) not in listed


def _made(backend: Backend, name: str) -> tuple[ReadResult, Lease]:
    result = backend.read(ReadRequest(name=SecretName(name)))
    assert result.lease is not None, "a read of a leased name says for how long its answer lives"
    return result, result.lease


def _renewed(backend: Backend, name: str, lease: Lease) -> Lease:
    assert isinstance(backend, Leasing)
    request = RenewLeaseRequest(name=SecretName(name), lease=lease, seconds=lease.seconds)
    return backend.renew_lease(request).lease


def _revoke(backend: Backend, name: str, lease: Lease) -> None:
    assert isinstance(backend, Leasing)
    backend.revoke_lease(RevokeLeaseRequest(name=SecretName(name), lease=lease))
