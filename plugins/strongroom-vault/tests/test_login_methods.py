"""What each method sends, how often, and what its refusals are called."""

from __future__ import annotations

import threading

from typing import Any

import pytest

from fakes import Answer, FakeVault
from logins import WRONG, Given, granted, keeper_of, transport_to
from strongroom.errors import AuthenticationError, BackendError, BackendUnavailableError, ConfigurationError
from strongroom.testing import assert_hidden, in_forked_child, in_threads, marker_value, report_of
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.login import kubernetes
from strongroom_vault.login.approle import AppRoleLogin
from strongroom_vault.login.grants import Grant, Login
from strongroom_vault.login.methods import login_for
from strongroom_vault.replies import Reply
from strongroom_vault.settings import METHODS, AuthSettings
from strongroom_vault.target import Target, Trust

APPROLE = AuthSettings(method="approle", role_id=Given("r"), secret_id=Given("s"))
USERPASS = AuthSettings(method="userpass", username="ada", password=Given("pw"))
JWT = AuthSettings(method="jwt", jwt=Given("j.w.t\n"), role="web")
KUBERNETES = AuthSettings(method="kubernetes", jwt=Given("j.w.t"), role="web")
CERT = AuthSettings(method="cert")
WITH_CERTIFICATE = Trust(client_cert="client.pem")


def login(vault: FakeVault, way: AuthSettings | Login) -> Grant:
    """Log in once, with nothing around it."""
    target = Target(addresses=(vault.address,), tls=WITH_CERTIFICATE)
    way = way if isinstance(way, Login) else login_for(way, target)
    return way.grant(VaultAdapter(transport_to(vault.address), None).client())


@pytest.fixture
def vault(vault: FakeVault) -> FakeVault:
    vault.answer("POST", "/v1/auth/", 200, granted("new", num_uses=7, token_type="batch", renewable=False))
    return vault


@pytest.mark.parametrize(
    ("auth", "path", "sent"),
    [
        (APPROLE, "approle/login", {"role_id": "r", "secret_id": "s"}),
        (APPROLE.replace(secret_id=None), "approle/login", {"role_id": "r", "secret_id": None}),
        (APPROLE.replace(mount="/my/roles/"), "my/roles/login", {"role_id": "r", "secret_id": "s"}),
        (USERPASS, "userpass/login/ada", {"password": "pw"}),
        (USERPASS.replace(username="a/b ?#é"), "userpass/login/a%2Fb%20%3F%23%C3%A9", {"password": "pw"}),
        (USERPASS.replace(password=Given(" p w\n")), "userpass/login/ada", {"password": " p w"}),
        (JWT, "jwt/login", {"role": "web", "jwt": "j.w.t"}),
        (JWT.replace(role=None, mount="oidc"), "oidc/login", {"role": None, "jwt": "j.w.t"}),
        (KUBERNETES, "kubernetes/login", {"role": "web", "jwt": "j.w.t"}),
        (CERT, "cert/login", {}),
        (CERT.replace(role="web", mount="tls/cert"), "tls/cert/login", {"name": "web"}),
    ],
)
def test_one_request_gives_the_token(vault: FakeVault, auth: AuthSettings, path: str, sent: dict[str, Any]) -> None:
    assert not auth.problems()
    grant = login(vault, auth)
    (request,) = vault.requests
    assert (request.path, request.json) == (f"/v1/auth/{path}", sent)
    assert "x-vault-token" not in request.headers
    assert grant.token.reveal_text() == "new"
    assert (grant.ttl, grant.renewable, grant.uses, grant.batch) == (3600, False, 7, True)
    assert (grant.configured, grant.request_id) == (False, "request-of-the-login")


@pytest.mark.parametrize("auth", [APPROLE, USERPASS, JWT, KUBERNETES, CERT])
@pytest.mark.parametrize("status", [400, 401, 403])
def test_wrong_credentials_are_one_thing_whatever_the_server_calls_them(
    vault: FakeVault, auth: AuthSettings, status: int
) -> None:
    vault.answer("POST", "/v1/auth/", status, {"errors": ["permission denied"]})
    with pytest.raises(AuthenticationError) as caught:
        login(vault, auth)
    assert caught.value.hint
    assert len(vault.requests) == 1


@pytest.mark.parametrize(
    ("errors", "shown"),
    [
        (['no handler for route "auth/jwt/login". route entry not found.'], "no handler for route"),
        (["error validating token: invalid audience (aud) claim: ..."], "audience (aud) claim"),
        (['role "web" could not be found'], "could not be found"),
    ],
)
def test_what_is_wrong_is_said_as_far_as_it_repeats_nothing(vault: FakeVault, errors: list[str], shown: str) -> None:
    vault.answer("POST", "/v1/auth/", 400 if "route" not in shown else 404, {"errors": errors})
    with pytest.raises(
        AuthenticationError, match=rf"refused the login with JWT \({shown.replace('(', '.').replace(')', '.')}\)"
    ):
        login(vault, JWT)


@pytest.mark.parametrize("body", [{}, {"auth": None}, {"auth": {"mfa_requirement": {}, "client_token": ""}}, []])
def test_an_answer_without_a_token_is_an_error_that_says_so(vault: FakeVault, body: Any) -> None:
    vault.answer("POST", "/v1/auth/", 200, body)
    with pytest.raises(BackendError, match=r"holds no token|no Vault's"):
        login(vault, APPROLE)


def test_a_namespace_of_the_methods_own_is_sent(vault: FakeVault) -> None:
    for auth, namespace, sent in [
        (APPROLE, "team", "team"),
        (APPROLE.replace(namespace="/other/"), "team", "other"),
        (APPROLE.replace(namespace="root"), "team", None),
    ]:
        vault.requests.clear()
        from strongroom_vault.tokens import TokenKeeper

        TokenKeeper.open(auth, transport_to(vault.address, namespace=namespace)).current()
        assert vault.requests[0].headers.get("x-vault-namespace") == sent


def test_a_token_file_is_read_anew_at_each_login(vault: FakeVault) -> None:
    for auth in (JWT, KUBERNETES):
        source = Given("first")
        way = login_for(auth.replace(jwt=source), Target(addresses=(vault.address,)))
        login(vault, way)
        source.text = "second"
        login(vault, way)
        assert [request.json["jwt"] for request in vault.requests[-2:]] == ["first", "second"]


def test_kubernetes_knows_where_its_token_is(vault: FakeVault, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = AuthSettings(method="kubernetes", role="web")
    monkeypatch.setattr(kubernetes, "SERVICE_ACCOUNT", str(tmp_path / "token"))
    with pytest.raises(ConfigurationError, match="service account"):
        login(vault, auth)
    (tmp_path / "token").write_text("of-the-pod")
    login(vault, auth)
    assert vault.requests[-1].json == {"role": "web", "jwt": "of-the-pod"}


def test_cert_without_a_client_certificate_asks_nobody(vault: FakeVault) -> None:
    with pytest.raises(ConfigurationError, match="needs a client certificate"):
        login(vault, login_for(CERT, Target(addresses=(vault.address,))))
    assert vault.requests == []


@pytest.mark.parametrize("auth", [APPROLE, JWT])
def test_a_login_that_may_use_something_up_is_not_repeated_blindly(vault: FakeVault, auth: AuthSettings) -> None:
    vault.answer("POST", "/v1/auth/", reset=True)
    keeper = keeper_of(vault, auth)
    keeper._transport = transport_to(vault.address, attempts=3)
    with pytest.raises(BackendUnavailableError):
        keeper.current()
    assert len(vault.requests) == 1


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_a_class(method: str) -> None:
    auth = AuthSettings(method=method, role_id=Given("r"), username="u", password=Given("p"), role="r", jwt=Given("j"))
    assert isinstance(login_for(auth, Target(addresses=("http://x",))), Login)


class TestWrapped:
    AUTH = APPROLE.replace(wrapped=True, secret_id=Given("wrapping-token"))

    @pytest.fixture
    def vault(self, vault: FakeVault) -> FakeVault:
        vault.answer(
            "POST", "/v1/sys/wrapping/unwrap", 400, {"errors": ["wrapping token is not valid or does not exist"]}
        )
        vault.answer("POST", "/v1/sys/wrapping/unwrap", 200, {"data": {"secret_id": "unwrapped"}}, times=1)
        return vault

    def test_it_is_unwrapped_once_for_all_logins(self, vault: FakeVault) -> None:
        way = AppRoleLogin(self.AUTH)
        for _ in range(3):
            login(vault, way)
        (unwrapping,) = vault.sent("POST", "/v1/sys/wrapping/unwrap")
        assert unwrapping.headers["x-vault-token"] == "wrapping-token"
        assert [sent.json["secret_id"] for sent in vault.sent("POST", "/v1/auth/")] == ["unwrapped"] * 3

    def test_it_is_unwrapped_once_for_all_threads(self, vault: FakeVault) -> None:
        way = AppRoleLogin(self.AUTH)
        in_threads(10, lambda _: login(vault, way))
        assert len(vault.sent("POST", "/v1/sys/wrapping/unwrap")) == 1

    def test_one_that_was_used_before_is_sent_once_and_says_what_to_do(self, vault: FakeVault) -> None:
        login(vault, self.AUTH)
        way = AppRoleLogin(self.AUTH)
        for _ in range(3):
            with pytest.raises(AuthenticationError, match="operator must issue a new wrapped secret_id"):
                login(vault, way)
        assert len(vault.sent("POST", "/v1/sys/wrapping/unwrap")) == 2
        assert len(vault.sent("POST", "/v1/auth/")) == 1

    def test_a_signals_handler_that_comes_amid_the_unwrapping_does_not_spoil_it(self, vault: FakeVault) -> None:
        way = AppRoleLogin(self.AUTH)
        transport = transport_to(vault.address)
        refused: list[str] = []
        send = transport.send

        def interrupted(method: str, path: str, **how: Any) -> Reply:
            reply = send(method, path, **how)
            if path.endswith("/unwrap") and not refused:
                with pytest.raises(BackendUnavailableError) as caught:
                    way.grant(client)
                refused.append(caught.value.code)
            return reply

        transport.send = interrupted  # type: ignore[method-assign]
        client = VaultAdapter(transport, None).client()
        way.grant(client)
        assert refused == ["busy"]
        assert len(vault.sent("POST", "/v1/sys/wrapping/unwrap")) == 1

    def test_a_new_one_is_unwrapped(self, vault: FakeVault) -> None:
        source = Given("first")
        way = AppRoleLogin(self.AUTH.replace(secret_id=source))
        login(vault, way)
        with_new = {"data": {"secret_id": "unwrapped-2"}}
        vault.answer("POST", "/v1/sys/wrapping/unwrap", 200, with_new, times=1)
        source.text = "second"
        login(vault, way)
        assert vault.requests[-1].json["secret_id"] == "unwrapped-2"

    def test_its_file_may_be_removed_afterwards(self, vault: FakeVault) -> None:
        source = Given("wrapping-token")
        way = AppRoleLogin(self.AUTH.replace(secret_id=source))
        login(vault, way)
        source.text = None
        login(vault, way)
        assert vault.requests[-1].json["secret_id"] == "unwrapped"

    def test_without_it_nobody_is_asked(self, vault: FakeVault) -> None:
        with pytest.raises(ConfigurationError):
            login(vault, self.AUTH.replace(secret_id=Given(None)))
        assert vault.requests == []

    def test_after_an_outage_it_is_sent_again(self, vault: FakeVault) -> None:
        way = AppRoleLogin(self.AUTH)
        vault.down()
        with pytest.raises(BackendUnavailableError):
            login(vault, way)
        vault.up()
        assert login(vault, way).token.reveal_text() == "new"

    def test_something_else_in_it_is_refused_and_not_unwrapped_again(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/sys/wrapping/unwrap", 200, {"data": {"password": "x"}})
        way = AppRoleLogin(self.AUTH)
        for _ in range(2):
            with pytest.raises(AuthenticationError, match="not a secret_id"):
                login(vault, way)
        assert len(vault.requests) == 1

    def test_a_child_uses_what_the_parent_unwrapped(self, vault: FakeVault) -> None:
        way = AppRoleLogin(self.AUTH)
        login(vault, way)

        def child() -> str:
            way.after_fork()
            return login(vault, way).token.reveal_text()

        assert in_forked_child(child) == "new"
        assert len(vault.sent("POST", "/v1/sys/wrapping/unwrap")) == 1

    def test_a_child_leaves_what_the_parent_is_unwrapping_to_the_parent(self, vault: FakeVault) -> None:
        arrived, go_on = threading.Event(), threading.Event()

        def slowly(_: Any) -> Answer:
            arrived.set()
            go_on.wait(10)
            return Answer(200, {"data": {"secret_id": "unwrapped"}})

        vault.handle("POST", "/v1/sys/wrapping/unwrap", slowly, times=1)
        way = AppRoleLogin(self.AUTH)
        parent = threading.Thread(target=login, args=(vault, way))
        parent.start()
        assert arrived.wait(10)

        def child() -> str:
            way.after_fork()
            return login(vault, way).token.reveal_text()

        assert in_forked_child(child).startswith("AuthenticationError: the process was forked")
        go_on.set()
        parent.join(10)
        assert len(vault.sent("POST", "/v1/sys/wrapping/unwrap")) == 1
        assert login(vault, way).token.reveal_text() == "new"


@pytest.mark.parametrize("answer", ["refused", "unreachable"])
@pytest.mark.parametrize("method", ["approle", "wrapped", "userpass", "jwt", "kubernetes"])
def test_no_error_shows_a_credential(vault: FakeVault, method: str, answer: str) -> None:
    marker = marker_value().replace("é", "e")
    source = Given(marker)
    auth = {
        "approle": AuthSettings(method="approle", role_id=source, secret_id=source),
        "wrapped": AuthSettings(method="approle", role_id=source, secret_id=source, wrapped=True),
        "userpass": AuthSettings(method="userpass", username="ada", password=source),
        "jwt": AuthSettings(method="jwt", jwt=source),
        "kubernetes": AuthSettings(method="kubernetes", role="web", jwt=source),
    }[method]
    vault.handle("POST", "/v1/", lambda sent: Answer(400, {"errors": [sent.body.decode(), WRONG]}))
    if answer == "unreachable":
        vault.down()
    with pytest.raises((AuthenticationError, BackendUnavailableError)) as caught:
        login(vault, auth)
    assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")
    assert_hidden(marker, repr(auth), "the settings")


def test_no_grant_shows_its_token(vault: FakeVault) -> None:
    assert "'new'" not in repr(login(vault, APPROLE).replace(request_id=None))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"method": "ldap"}, "method must be one of"),
        ({"method": "approle"}, "needs role_id"),
        ({"method": "approle", "role_id": Given("r"), "wrapped": True}, "needs secret_id"),
        ({"method": "userpass", "username": "ada"}, "needs password"),
        ({"method": "jwt"}, "needs jwt"),
        ({"method": "kubernetes"}, "needs role"),
        ({"method": "approle", "role_id": Given("r"), "renew": True}, "renew has no meaning"),
        ({"method": "cert", "jwt": Given("j")}, "jwt has no meaning"),
        ({"role": "web"}, "role has no meaning"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings: dict[str, Any], problem: str) -> None:
    (told,) = AuthSettings(**settings).problems()
    assert problem in told
