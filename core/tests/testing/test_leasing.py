"""The stand-in keeps the contract of leased credentials, and each mistake makes the check fail that is about it."""

from __future__ import annotations

import textwrap
import time

from collections.abc import Callable

import pytest

from strongroom.contracts import ReadRequest, RenewLeaseRequest
from strongroom.errors import SecretNotFoundError, UnsupportedOperationError
from strongroom.model import SecretName
from strongroom.testing import CredentialMaker, FakeClock, LeasingContract

pytest_plugins = ["pytester"]

MODULE = """
    import itertools
    import time

    import pytest

    from strongroom.contracts import Lease, ListResult, RenewLeaseResult, RevokeLeaseResult
    from strongroom.errors import SecretNotFoundError
    from strongroom.model import SecretName
    from strongroom.testing import CredentialMaker, LeasingContract

    class Broken(CredentialMaker):
        {mistake}

    class TestBroken(LeasingContract):
        @pytest.fixture
        def backend(self):
            return Broken(time.monotonic)

        @pytest.fixture
        def leased_name(self):
            return "creds/app"
"""
MISTAKES = {
    "nothing is leased": ("is_leased = lambda self, name: False", "test_it_tells_which_names_are_leased"),
    "all is leased": ("is_leased = lambda self, name: True", "test_it_tells_which_names_are_leased"),
    "no lease": (
        "read = lambda self, request: super().read(request).replace(lease=None)",
        "test_a_read_gives_a_lease",
    ),
    "the same credential again": (
        "read = lambda self, request: self.__dict__.setdefault('made_once', super().read(request))",
        "test_each_read_makes_another_credential",
    ),
    "another lease's id": (
        "renew_lease = lambda self, request: RenewLeaseResult(lease=request.lease.replace(id='another'))",
        "test_a_renewal_gives_the_same_lease_more_time",
    ),
    "no revocation": (
        "revoke_lease = lambda self, request: RevokeLeaseResult()",
        "test_a_revoked_lease_cannot_be_renewed",
    ),
    "a revocation of all": (
        "revoke_lease = lambda self, request: [setattr(one, 'revoked', 0.0) for one in self.made]",
        "test_revoking_one_leaves_the_other_alone",
    ),
    "an id that shows": (
        "renew_lease = lambda self, request: (_ for _ in ()).throw(SecretNotFoundError(request.lease.id))",
        "test_an_error_does_not_show_the_id",
    ),
    "a listed name": (
        "list = lambda self, request: ListResult(names=(SecretName('creds/app'),))",
        "test_no_leased_name_is_listed",
    ),
}


class TestStandIn(LeasingContract):
    """The stand-in itself."""

    @pytest.fixture
    def backend(self) -> CredentialMaker:
        return CredentialMaker(time.monotonic)

    @pytest.fixture
    def leased_name(self) -> str:
        return "creds/app"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_finds_the_mistake(failed_checks: Callable[..., set[str]], mistake: str) -> None:
    source, check = MISTAKES[mistake]
    # A class's methods find no `super()` in a lambda.
    source = source.replace("super().", "CredentialMaker.").replace("read(request)", "read(self, request)")
    assert check in failed_checks(textwrap.dedent(MODULE).replace("{mistake}", source))


def test_a_credential_ends_by_itself() -> None:
    clock = FakeClock()
    maker = CredentialMaker(clock, ttl=60, max_ttl=100)
    lease = maker.read(ReadRequest(name=SecretName("creds/app"))).lease
    assert lease is not None
    clock.advance(50)
    request = RenewLeaseRequest(name=SecretName("creds/app"), lease=lease, seconds=60)
    assert maker.renew_lease(request).lease.seconds == 50
    clock.advance(50)
    assert maker.alive() == []
    with pytest.raises(SecretNotFoundError):
        maker.renew_lease(request)


def test_one_that_cannot_be_renewed_says_so() -> None:
    maker = CredentialMaker(FakeClock(), renewable=False)
    lease = maker.read(ReadRequest(name=SecretName("creds/app"))).lease
    assert lease is not None
    with pytest.raises(UnsupportedOperationError):
        maker.renew_lease(RenewLeaseRequest(name=SecretName("creds/app"), lease=lease, seconds=1))
