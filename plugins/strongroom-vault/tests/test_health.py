"""How the server is, whether our token is good, and whether the engine is there: soon, and without a token at first."""

from __future__ import annotations

import time

from typing import Any

import pytest

from engines import new_mount, opened, settings, text_of
from fakes import FakeVault
from logins import APPROLE, WRONG, granted
from openbao import Server, free_port
from strongroom.contracts import Health, HealthState
from strongroom_vault import health as examination
from strongroom_vault.backend import VaultBackend

BODY = {"initialized": True, "sealed": False, "standby": False, "version": "2.7.2", "cluster_name": "of-this-test"}
DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
TABLE = "/v1/sys/internal/ui/mounts/"


def health_of(vault: FakeVault, **further: Any) -> tuple[Health, dict[str, str]]:
    found = opened(vault, "secret", **further).health()
    return found, dict(found.facts)


@pytest.fixture
def table(vault: FakeVault) -> None:
    vault.answer("GET", TABLE, 200, {"data": {"path": "secret/", "options": {"version": "2"}}})


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("body", [BODY, b""], ids=["with a body", "without one"])
@pytest.mark.parametrize(
    ("status", "server", "state"),
    [
        (200, "active", HealthState.UP),
        (429, "standby", HealthState.UP),
        (473, "performance standby", HealthState.UP),
        (472, "disaster recovery secondary", HealthState.DOWN),
        (501, "not initialised", HealthState.DOWN),
        (503, "sealed", HealthState.DOWN),
        (418, "unknown", HealthState.DOWN),
        (500, "unknown", HealthState.DOWN),
    ],
)
def test_each_status_tells_a_state(vault: FakeVault, status: int, server: str, state: HealthState, body: Any) -> None:
    vault.answer("GET", "/v1/sys/health", status, body)
    found, facts = health_of(vault)
    assert (found.state, facts["server"]) == (state, server)
    assert facts.get("version") == ("2.7.2" if body else None)
    assert facts.get("cluster") == ("of-this-test" if body else None)
    assert bool(found.reason) is bool(found.hint) is (state is HealthState.DOWN)
    assert len(vault.sent("GET", "/v1/sys/health")) == 1


def test_a_server_that_refuses_connections_is_unreachable() -> None:
    class Nobody:
        address = f"http://127.0.0.1:{free_port()}"

    started = time.monotonic()
    found = opened(Nobody, "secret").health()
    assert (found.state, dict(found.facts)["server"]) == (HealthState.DOWN, "unreachable")
    assert found.reason
    assert time.monotonic() - started < 10


def test_a_server_that_says_nothing_is_unreachable_within_the_limit(
    vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "LIMIT", 0.3)
    vault.answer("GET", "/v1/sys/health", 200, BODY, delay=3.0)
    started = time.monotonic()
    found, facts = health_of(vault)
    assert (found.state, facts["server"]) == (HealthState.DOWN, "unreachable")
    assert time.monotonic() - started < 2


def test_which_node_is_active_does_not_have_to_be_found_out_for_it(
    vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "LIMIT", 0.3)
    vault.answer("GET", "/v1/sys/", 200, BODY, delay=3.0)
    started = time.monotonic()
    found, facts = health_of(vault, reads="active")
    assert (found.state, facts["server"]) == (HealthState.DOWN, "unreachable")
    assert time.monotonic() - started < 2


@pytest.mark.usefixtures("table")
def test_the_servers_state_is_asked_for_without_a_token(vault: FakeVault) -> None:
    vault.answer("GET", "/v1/sys/health", 503, BODY)
    found, _ = health_of(vault, auth=APPROLE, namespace="team")
    assert found.state is HealthState.DOWN
    assert [sent.path for sent in vault.requests] == ["/v1/sys/health"]
    assert "x-vault-token" not in vault.requests[0].headers
    # The server answers this in its root namespace only.
    assert "x-vault-namespace" not in vault.requests[0].headers


class TestToken:
    @pytest.fixture(autouse=True)
    def well(self, vault: FakeVault) -> None:
        vault.answer("GET", "/v1/sys/health", 200, BODY)

    @pytest.mark.usefixtures("table")
    def test_how_long_it_lives_and_how_it_was_got(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/approle/login", 200, granted("token-1", ttl=3600) | {"request_id": "r"})
        found, facts = health_of(vault, auth=APPROLE)
        assert found.state is HealthState.UP
        assert (facts["method"], facts["token"], facts["mount"]) == ("approle", "logged in", "reachable")
        assert 3500 < int(facts["token_seconds_left"]) <= 3600
        assert "token-1" not in repr(found)

    def test_a_login_that_is_refused_is_told(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/approle/login", 400, WRONG)
        found, facts = health_of(vault, auth=APPROLE)
        assert (found.state, facts["server"], facts["method"]) == (HealthState.DOWN, "active", "approle")
        assert found.reason
        assert found.hint

    def test_a_login_that_hangs_ends_the_examination_in_time(
        self, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(examination, "LIMIT", 0.3)
        vault.answer("POST", "/v1/auth/approle/login", 200, granted("token-1"), delay=2.0)
        started = time.monotonic()
        found, facts = health_of(vault, auth=APPROLE)
        assert (found.state, facts["server"]) == (HealthState.DOWN, "active")
        assert "logging in" in found.reason
        assert time.monotonic() - started < 1.5

    def test_a_token_that_is_refused_is_told(self, vault: FakeVault) -> None:
        vault.answer("GET", TABLE, 403, {"errors": ["permission denied"]})
        found, _ = health_of(vault)
        assert found.state is HealthState.DOWN
        assert "token" in found.reason

    def test_what_is_closed_to_pages_says_nothing_about_secrets(self, vault: FakeVault) -> None:
        vault.answer("GET", TABLE, 403, DENIED)
        found, facts = health_of(vault)
        assert (found.state, facts["mount"]) == (HealthState.UP, "not told")

    def test_a_connection_that_breaks_then_is_told(self, vault: FakeVault) -> None:
        vault.answer("GET", TABLE, 200, reset=True)
        found, facts = health_of(vault, attempts=1)
        assert (found.state, facts["server"]) == (HealthState.DOWN, "active")

    @pytest.mark.usefixtures("table")
    def test_how_often_requests_were_sent_again(self, vault: FakeVault) -> None:
        vault.answer("GET", "/v1/secret/data/", 200, {"data": {"data": {"value": "x"}, "metadata": {"version": 1}}})
        vault.answer("GET", "/v1/secret/data/", 503, times=1)
        backend = opened(vault, "secret")
        text_of(backend, "app/key")
        assert dict(backend.health().facts)["retries"] == "1"


class TestRealServer:
    def test_all_is_well(self, server: Server) -> None:
        mount = new_mount(server, 2, below="ui/secrets")
        found = opened(server, mount).health()
        facts = dict(found.facts)
        assert (found.state, facts["server"], facts["mount"]) == (HealthState.UP, "active", "reachable")
        assert facts["version"] == server.ok("GET", "sys/health")["version"]

    def test_a_token_with_rights_to_secrets_alone_is_enough(self, server: Server) -> None:
        mount = new_mount(server, 2)
        server.policy("health-data", f'path "{mount}/data/*" {{ capabilities = ["read"] }}')
        found = opened(server, mount, token=server.new_token("health-data")).health()
        assert (found.state, dict(found.facts)["mount"]) == (HealthState.UP, "reachable")

    def test_an_engine_that_is_not_there_or_not_ours_is_told(self, server: Server) -> None:
        server.policy("health-none", 'path "somewhere/*" { capabilities = ["read"] }')
        for mount, token in (("nowhere", server.token), (new_mount(server, 2), server.new_token("health-none"))):
            found = opened(server, mount, token=token).health()
            assert found.state is HealthState.DEGRADED
            assert mount in found.reason
            assert "mount" in found.hint

    @pytest.mark.parametrize(
        ("kind", "said", "word"), [("1", 2, "kv_version"), ("2", 1, "kv_version"), ("", 2, "mount")]
    )
    def test_an_engine_that_is_not_as_configured_is_told(self, server: Server, kind: str, said: int, word: str) -> None:
        mount = new_mount(server, int(kind)) if kind else "healthy/transit"
        if not kind:
            server.mount(mount, "transit")
        found = opened(server, mount, kv_version=said).health()
        assert found.state is HealthState.DEGRADED
        assert mount in found.reason
        assert word in found.hint
        assert opened(server, mount, kv_version="detect").health().state is (
            HealthState.UP if kind else HealthState.DEGRADED
        )

    def test_a_bad_token_is_told(self, server: Server) -> None:
        found = opened(server, new_mount(server, 2), token="s.nobody").health()
        assert (found.state, dict(found.facts)["server"]) == (HealthState.DOWN, "active")
        assert "token" in found.reason

    def test_another_server_than_a_vault_is_told(self, server: Server) -> None:
        there = settings(server, "secret", address=f"{server.address}/ui")
        found = VaultBackend.open(there).health()
        assert found.state is HealthState.DOWN
        assert "address" in found.hint
