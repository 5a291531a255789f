"""Leased credentials: made by reading, renewed, revoked; against a real server with a real database behind it."""

from __future__ import annotations

import json
import time

from collections.abc import Iterator
from typing import Any

import pytest

import strongroom

from engines import opened, read
from fakes import Answer, FakeVault, Sent
from logins import APPROLE, Tokens
from openbao import Server
from postgres import Database, database, made_users, offer_credentials
from strongroom.contracts import Lease, RenewLeaseRequest, RevokeLeaseRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidNameError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName
from strongroom.testing import LeasingContract, assert_hidden, report_of
from strongroom_vault.backend import VaultBackend
from strongroom_vault.dynamic import Dynamic

PATTERNS = ("database/creds/*", "pki/issue/*", "odd/**")
APP = "database/creds/app"
LEASED = {
    "request_id": "request-1",
    "lease_id": "database/creds/app/some-lease-id",
    "lease_duration": 3600,
    "renewable": True,
    "data": {"username": "u", "password": "p-marked"},
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    with database() as started:
        yield started


@pytest.fixture(scope="session")
def app(server: Server, postgres: Database) -> str:
    """The path of credentials for an hour."""
    return offer_credentials(server, postgres, "app")


@pytest.fixture(scope="session")
def pki(server: Server) -> str:
    """An authority for x.test; its role ``web`` makes certificates of ten minutes, ``leased`` does with a lease."""
    server.mount("pki", "pki")
    server.ok("POST", "pki/root/generate/internal", {"common_name": "x.test", "ttl": "1h"})
    body = {"allowed_domains": "x.test", "allow_subdomains": True, "max_ttl": "10m"}
    server.ok("POST", "pki/roles/web", body)
    server.ok("POST", "pki/roles/leased", {**body, "generate_lease": True})
    return "pki/issue/web"


@pytest.fixture
def backend(server: Server) -> Iterator[VaultBackend]:
    parameters = {"pki/issue/*": {"common_name": "any.x.test"}, "pki/issue/leased": {"common_name": "one.x.test"}}
    made = opened(server, "secret", dynamic=PATTERNS, parameters=parameters)
    yield made
    made.close()


@pytest.fixture
def faked(vault: FakeVault) -> Iterator[VaultBackend]:
    """A backend of a server that answers as the test tells it to."""
    made = opened(vault, "secret", dynamic=PATTERNS, attempts=3)
    yield made
    made.close()


def renewed(backend: VaultBackend, lease: Lease, seconds: float = 3600) -> Lease:
    return backend.renew_lease(RenewLeaseRequest(name=SecretName(APP), lease=lease, seconds=seconds)).lease


def revoke(backend: VaultBackend, lease: Lease) -> str | None:
    return backend.revoke_lease(RevokeLeaseRequest(name=SecretName(APP), lease=lease)).request_id


class TestContract(LeasingContract):
    """Users of a database keep the contract."""

    @pytest.fixture
    def backend(self, backend: VaultBackend) -> VaultBackend:
        return backend

    @pytest.fixture
    def leased_name(self, app: str) -> str:
        return app

    @pytest.fixture
    def plain_name(self) -> str:
        return "database/config/app"


class TestReading:
    """What a read of a leased name makes."""

    def test_all_that_the_server_says_of_it_is_one_object(self, backend: VaultBackend, app: str) -> None:
        result = read(backend, app)
        assert set(json.loads(result.value.reveal_text())) == {"username", "password"}
        assert result.lease is not None
        assert (result.lease.seconds, result.lease.renewable) == (3600, True)
        assert result.lease.id.startswith(f"{app}/")
        assert result.version == result.request_id

    def test_a_path_that_takes_parameters_gets_the_most_specific_ones(self, backend: VaultBackend, pki: str) -> None:
        from cryptography import x509

        def common_name(name: str) -> Any:
            text = json.loads(read(backend, name).value.reveal_text())["certificate"]
            return x509.load_pem_x509_certificate(text.encode()).subject.rfc4514_string()

        assert common_name(pki) == "CN=any.x.test"
        assert common_name("pki/issue/leased") == "CN=one.x.test"

    def test_a_certificate_without_a_lease_just_ends(self, backend: VaultBackend, pki: str) -> None:
        result = read(backend, pki)
        assert result.lease is not None
        assert (result.lease.id, result.lease.renewable) == ("", False)
        assert 590 <= result.lease.seconds <= 600
        left = json.loads(result.value.reveal_text())["expiration"] - time.time()
        assert result.lease.seconds <= left
        for operation in (renewed, revoke):
            with pytest.raises(UnsupportedOperationError):
                operation(backend, result.lease)

    def test_the_servers_clock_says_when_a_certificate_ends(self, vault: FakeVault, faked: VaultBackend) -> None:
        body = {"data": {"expiration": 1_000_600, "certificate": "c"}, "request_id": "1"}
        # 1,000,000 seconds after 1970.
        vault.answer("GET", "/v1/odd/x", body=body, headers={"Date": "Mon, 12 Jan 1970 13:46:40 GMT"})
        lease = read(faked, "odd/x").lease
        assert lease is not None
        assert lease.seconds == 599

    def test_a_certificate_with_a_lease_cannot_be_renewed(self, backend: VaultBackend, pki: str) -> None:
        lease = read(backend, "pki/issue/leased").lease
        assert lease is not None
        assert not lease.renewable
        with pytest.raises(UnsupportedOperationError):
            renewed(backend, lease)

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("database/creds/missing", SecretNotFoundError),
            ("pki/issue/missing", SecretNotFoundError),
            ("odd/nowhere/x", ConfigurationError),
        ],
    )
    def test_what_is_not_there_is_an_error(
        self, backend: VaultBackend, app: str, pki: str, name: str, error: Any
    ) -> None:
        with pytest.raises(error):
            read(backend, name)

    def test_a_path_that_needs_parameters_says_so(self, server: Server, pki: str) -> None:
        backend = opened(server, "secret", dynamic=PATTERNS)
        with pytest.raises(ConfigurationError, match="parameters"):
            read(backend, pki)
        backend.close()

    def test_wrong_parameters_are_an_error(self, server: Server, pki: str) -> None:
        backend = opened(server, "secret", dynamic=PATTERNS, parameters={pki: {"common_name": "elsewhere.test"}})
        with pytest.raises(BackendError, match="parameters"):
            read(backend, pki)
        backend.close()

    def test_what_is_only_stored_is_not_leased(self, server: Server) -> None:
        server.ok("POST", "secret/data/stored", {"data": {"value": "s3cret-marked"}})
        backend = opened(server, "secret", dynamic=("secret/data/*",))
        with pytest.raises(ConfigurationError, match="not leased") as caught:
            read(backend, "secret/data/stored")
        assert_hidden("s3cret-marked", report_of(caught.value, "strongroom_vault"), "the error")
        backend.close()

    def test_a_token_without_the_right_is_denied(self, server: Server, app: str) -> None:
        server.policy("no-creds", 'path "secret/*" { capabilities = ["read"] }')
        backend = opened(server, "secret", token=server.new_token("no-creds"), dynamic=PATTERNS)
        with pytest.raises(AccessDeniedError):
            read(backend, app)
        backend.close()

    def test_a_name_is_quoted_by_segment(self, vault: FakeVault, faked: VaultBackend) -> None:
        vault.answer("GET", "/v1/odd/", body=LEASED)
        read(faked, "odd/ä b?c/%2e")
        assert vault.requests[-1].path == "/v1/odd/%C3%A4%20b%3Fc/%252e"
        with pytest.raises(InvalidNameError):
            read(faked, "odd/no\u00a0break")

    def test_a_read_whose_answer_is_lost_is_not_sent_again(self, vault: FakeVault, faked: VaultBackend) -> None:
        """There may be a credential by then."""
        vault.answer("GET", "/v1/database/creds/app", reset=True)
        with pytest.raises(BackendUnavailableError):
            read(faked, APP)
        assert [one.path for one in vault.requests].count("/v1/database/creds/app") == 1


class TestLeases:
    """What renewing and revoking send, and what the answers mean."""

    @pytest.fixture
    def lease(self, vault: FakeVault, faked: VaultBackend) -> Lease:
        vault.answer("GET", "/v1/database/creds/app", body=LEASED)
        lease = read(faked, APP).lease
        assert lease is not None
        return lease

    def test_a_renewal_asks_for_as_much_as_is_wanted(self, vault: FakeVault, faked: VaultBackend, lease: Lease) -> None:
        vault.answer("PUT", "/v1/sys/leases/renew", body={**LEASED, "lease_duration": 1200, "renewable": False})
        assert renewed(faked, lease, 3000.4) == Lease(id=lease.id, seconds=1200, renewable=False)
        assert vault.requests[-1].json == {"lease_id": lease.id, "increment": 3000}

    def test_renewing_and_revoking_may_be_sent_twice(self, vault: FakeVault, faked: VaultBackend, lease: Lease) -> None:
        vault.answer("PUT", "/v1/sys/leases/renew", body=LEASED)
        vault.answer("PUT", "/v1/sys/leases/renew", reset=True, times=1)
        vault.answer("PUT", "/v1/sys/leases/revoke", 204)
        vault.answer("PUT", "/v1/sys/leases/revoke", reset=True, times=1)
        assert renewed(faked, lease).seconds == 3600
        assert revoke(faked, lease) is None

    @pytest.mark.parametrize(
        ("status", "said", "error"),
        [
            (400, "lease not found", SecretNotFoundError),
            (400, "lease expired", SecretNotFoundError),
            (400, "lease is not renewable", UnsupportedOperationError),
            (400, "something else", BackendError),
            (403, "1 error occurred:\n\t* permission denied\n\n", AccessDeniedError),
            (503, "sealed", BackendUnavailableError),
        ],
    )
    def test_a_refused_renewal_says_why_and_not_of_which_lease(
        self, vault: FakeVault, faked: VaultBackend, lease: Lease, status: int, said: str, error: Any
    ) -> None:
        vault.answer("GET", "/v1/auth/token/lookup-self", body={"data": {"ttl": 0}})
        vault.answer("PUT", "/v1/sys/leases/renew", status, {"errors": [said + (lease.id if status == 400 else "")]})
        with pytest.raises(error) as caught:
            renewed(faked, lease)
        assert_hidden("some-lease-id", report_of(caught.value, "strongroom_vault"), "the error")

    def test_revoking_what_has_ended_is_no_error(self, vault: FakeVault, faked: VaultBackend, lease: Lease) -> None:
        vault.answer("PUT", "/v1/sys/leases/revoke", 400, {"errors": ["lease not found"]})
        revoke(faked, lease)

    def test_a_revocation_has_happened_when_it_returns(
        self, backend: VaultBackend, app: str, postgres: Database
    ) -> None:
        result = read(backend, app)
        user = json.loads(result.value.reveal_text())["username"]
        assert user in made_users(postgres)
        assert result.lease is not None
        revoke(backend, result.lease)
        assert user not in made_users(postgres)


class FakeTokens:
    """A token whose time is told by the test."""

    def __init__(self) -> None:
        self.serial = 1
        self.left = float("inf")

    def tenure(self) -> tuple[int, float]:
        return self.serial, self.left


class TestTokenLife:
    """The server ends a lease with the token that it was granted under."""

    def test_a_lease_lives_no_longer_than_its_token(self, vault: FakeVault, faked: VaultBackend) -> None:
        tokens, now = FakeTokens(), [1000.0]
        dynamic = Dynamic(faked._dynamic._adapter, tokens, PATTERNS, {}, clock=lambda: now[0])
        vault.answer("GET", "/v1/database/creds/app", body=LEASED)
        vault.answer("PUT", "/v1/sys/leases/renew", body=LEASED)
        tokens.left = 600.0
        lease = read(dynamic, APP).lease  # type: ignore[arg-type]  # it has the one method that this needs
        assert lease is not None
        assert lease.seconds == 600
        # The token is renewed, and the lease with it.
        tokens.left = 5000.0
        assert renewed(dynamic, lease).seconds == 3600  # type: ignore[arg-type]  # as above
        # There is another token, and the old one goes its way.
        now[0], tokens.serial, tokens.left = 1100.0, 2, 9000.0
        assert renewed(dynamic, lease).seconds == 3600  # type: ignore[arg-type]  # as above
        now[0] = 5000.0
        assert renewed(dynamic, lease).seconds == 1000  # type: ignore[arg-type]  # as above
        now[0] = 7000.0
        assert renewed(dynamic, lease).seconds == 0  # type: ignore[arg-type]  # as above

    def test_one_that_its_token_limits_can_live_longer_as_long_as_that_is_in_use(
        self, vault: FakeVault, faked: VaultBackend
    ) -> None:
        tokens = FakeTokens()
        dynamic = Dynamic(faked._dynamic._adapter, tokens, PATTERNS, {}, clock=lambda: 1000.0)
        vault.answer("GET", "/v1/database/creds/app", body=LEASED)
        vault.answer("PUT", "/v1/sys/leases/renew", body=LEASED)
        tokens.left = 600.0
        lease = read(dynamic, APP).lease  # type: ignore[arg-type]  # it has the one method that this needs
        assert lease is not None

        def renewal(seconds: float) -> tuple[float, bool | None]:
            assert lease is not None
            result = dynamic.renew_lease(RenewLeaseRequest(name=SecretName(APP), lease=lease, seconds=seconds))
            return result.lease.seconds, result.extensible

        tokens.left = 580.0
        assert renewal(600) == (580, True)
        # The server has granted less than asked for: that is the lease's own maximum.
        assert renewal(7200) == (580, False)
        # The token has been replaced, and ends.
        tokens.serial, tokens.left = 2, 9000.0
        assert renewal(600) == (580, False)

    def test_one_that_was_made_while_the_token_was_replaced_ends_with_the_earlier_end(
        self, vault: FakeVault, faked: VaultBackend
    ) -> None:
        tokens = FakeTokens()
        dynamic = Dynamic(faked._dynamic._adapter, tokens, PATTERNS, {}, clock=lambda: 1000.0)
        tokens.left = 300.0

        def replaced(_: Sent) -> Answer:
            tokens.serial, tokens.left = 2, 5000.0
            return Answer(200, LEASED)

        vault.handle("GET", "/v1/database/creds/app", replaced)
        vault.answer("PUT", "/v1/sys/leases/renew", body=LEASED)
        lease = read(dynamic, APP).lease  # type: ignore[arg-type]  # it has the one method that this needs
        assert lease is not None
        assert lease.seconds == 300
        assert renewed(dynamic, lease).seconds == 300  # type: ignore[arg-type]  # as above

    def test_a_token_of_few_uses_is_not_spent_to_know_it(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, num_uses=2)
        vault.answer("GET", "/v1/database/creds/app", body=LEASED)
        backend = opened(vault, "secret", auth=APPROLE, dynamic=PATTERNS)
        read(backend, APP)
        read(backend, APP)
        assert tokens.logins == 1
        backend.close()


class TestManager:
    """With the core, against the real server."""

    def test_each_one_is_kept_and_revoked_at_the_end(
        self, server: Server, postgres: Database, pki: str, app: str
    ) -> None:
        path = offer_credentials(server, postgres, "managed", ttl="2s", max_ttl="3s")
        before = set(made_users(postgres))
        backend = opened(server, "secret", dynamic=PATTERNS)
        with strongroom.open({"audit": "none"}, backends={"bao": backend}) as manager:
            first = manager.get(path)
            assert manager.get(path, field="username").reveal_text() in made_users(postgres)
            assert manager.get(path).version == first.version
            end = time.monotonic() + 20
            while manager.get(path).version == first.version:
                assert time.monotonic() < end, "it was not replaced"
                time.sleep(0.02)
            with pytest.raises(UnsupportedOperationError):
                manager.set(path, "x")
        assert set(made_users(postgres)) == before
