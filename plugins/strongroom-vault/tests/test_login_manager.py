"""What users see of logins: how many requests their reads cost, and what a failed login is called."""

from __future__ import annotations

import os

from collections.abc import Callable, Iterator

import pytest

import strongroom

from fakes import Answer, FakeVault
from logins import DENIED, REFUSED, WRONG, Tokens, granted
from strongroom.errors import AccessDeniedError, AuthenticationError, BackendUnavailableError, SecretNotFoundError
from strongroom.testing import assert_hidden, in_forked_child, in_threads, marker_value, report_of
from vaults import open_manager

Opener = Callable[..., strongroom.SecretManager]
LOGIN = {"method": "approle", "role_id": "some-role", "secret_id": "some-secret"}


@pytest.fixture
def tokens(vault: FakeVault) -> Tokens:
    return Tokens(vault)


@pytest.fixture
def manager(vault: FakeVault, tokens: Tokens) -> Iterator[strongroom.SecretManager]:
    with open_manager(vault.address, LOGIN) as opened:
        yield opened


def test_a_hundred_cold_reads_cost_a_hundred_requests_and_one_login(
    vault: FakeVault, manager: strongroom.SecretManager
) -> None:
    for number in range(100):
        assert manager.get(f"name-{number}").reveal_text() == "token-1"
    assert [sent.path for sent in vault.requests if sent.method != "GET"] == ["/v1/auth/approle/login"]
    assert len(vault.requests) == 101


def test_threads_that_start_together_cost_one_login(tokens: Tokens, manager: strongroom.SecretManager) -> None:
    in_threads(20, lambda number: manager.get(f"name-{number}"))
    assert tokens.logins == 1


def test_twenty_reads_with_tokens_of_five_uses(vault: FakeVault) -> None:
    tokens = Tokens(vault, num_uses=5)
    with open_manager(vault.address, LOGIN) as manager:
        for number in range(20):
            manager.get(f"name-{number}")
    assert tokens.logins <= 4


@pytest.mark.parametrize("text", [REFUSED, DENIED])
def test_denied_names_cost_one_login_at_most_and_are_told_from_missing_ones(
    vault: FakeVault, tokens: Tokens, manager: strongroom.SecretManager, text: object
) -> None:
    vault.answer("GET", "/v1/secret/data/denied", 403, text)
    vault.answer("GET", "/v1/secret/data/missing", 404, {"errors": []})
    for name in ("denied-1", "denied-2", "denied-3"):
        with pytest.raises(AccessDeniedError):
            manager.get(name)
    with pytest.raises(SecretNotFoundError):
        manager.get("missing")
    assert tokens.logins <= 2
    assert len(vault.sent("GET", "/v1/secret/data/denied")) <= 4


def test_wrong_credentials_are_neither_denied_nor_an_outage_and_are_not_shown_again_and_again(vault: FakeVault) -> None:
    vault.answer("POST", "/v1/auth/approle/login", 400, WRONG)
    with open_manager(vault.address, LOGIN) as manager:
        with pytest.raises(AuthenticationError, match="operator must issue a new one"):
            manager.get("name")
        for number in range(20):
            with pytest.raises(AuthenticationError):
                manager.get(f"name-{number}")
    assert len(vault.requests) == 1


def test_a_server_that_is_down_during_the_login_is_an_outage(vault: FakeVault) -> None:
    vault.down()
    with open_manager(vault.address, LOGIN, attempts=1) as manager, pytest.raises(BackendUnavailableError):
        manager.get("name")


def test_a_forked_child_logs_in_for_itself(vault: FakeVault, manager: strongroom.SecretManager) -> None:
    manager.get("name")

    def child() -> str:
        value = manager.get("name").reveal_text()
        manager.close()
        return value

    assert in_forked_child(child) == "token-2"
    assert manager.get("name").reveal_text() == "token-1"
    assert [s.headers["x-vault-token"] for s in vault.sent("POST", "/v1/auth/token/revoke")] == ["token-2"]


def test_no_error_log_or_report_shows_a_token_or_a_credential(
    vault: FakeVault, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, secret = (marker_value().replace("é", "e").replace('"', "'") for _ in range(2))
    caplog.set_level("DEBUG")
    login = LOGIN | {"secret_id": secret}
    vault.answer("POST", "/v1/auth/approle/login", 400, WRONG)
    vault.answer("POST", "/v1/auth/approle/login", 200, granted(token), times=1)
    vault.handle("GET", "/v1/secret/data/", lambda sent: Answer(403, REFUSED))
    with open_manager(vault.address, login) as manager:
        for name in ("first", "second"):
            with pytest.raises(AuthenticationError) as caught:
                manager.get(name)
            for marker in (token, secret):
                assert_hidden(marker, report_of(caught.value, "strongroom_vault") + caplog.text, "the error or the log")
                assert_hidden(marker, f"{manager.health()!r}{manager.stats()!r}{manager!r}", "what is told")


def test_the_token_of_the_environment_is_used_as_the_servers_own_command_does(
    vault: FakeVault, tokens: Tokens, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAULT_TOKEN", "of-vault")
    monkeypatch.setenv("BAO_TOKEN", "of-openbao")
    tokens.left |= {"of-vault": 100, "of-openbao": 100}
    with open_manager(vault.address, {}) as manager:
        assert manager.get("name").reveal_text() == "of-openbao"
    assert len(vault.requests) == 1
