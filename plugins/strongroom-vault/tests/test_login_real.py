"""Logging in to a real server with each method that it carries, and what it says to wrong credentials."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from certificates import Authority
from logins import Given, read, transport_to
from openbao import Server, development_server, free_port
from strongroom.errors import AuthenticationError
from strongroom_vault.replies import RefusedError
from strongroom_vault.settings import AuthSettings
from strongroom_vault.target import Trust
from strongroom_vault.tokens import TokenKeeper

POLICY = 'path "secret/data/name*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("openbao")) as started:
        prepare(started)
        yield started


def prepare(server: Server) -> None:
    server.policy("reader", POLICY)
    server.ok("POST", "secret/data/name", {"data": {"value": "v"}})
    for method in ("approle", "userpass", "jwt", "kubernetes", "cert"):
        server.ok("POST", f"sys/auth/{method}", {"type": method})


def opened(server: Server, auth: AuthSettings, address: str | None = None, **target: Any) -> TokenKeeper:
    assert auth.problems() == []
    return TokenKeeper.open(auth, transport_to(address or server.address, timeout=10.0, **target))


def works(server: Server, auth: AuthSettings, address: str | None = None, **target: Any) -> None:
    """Log in, read, and see that the token is gone after the end."""
    keeper = opened(server, auth, address, **target)
    assert read(keeper).data["data"] == {"value": "v"}
    token = keeper.current()
    assert server.call("GET", "auth/token/lookup-self", token=token)[0] == 200
    keeper.close()
    assert server.call("GET", "auth/token/lookup-self", token=token)[0] == 403


def is_refused(server: Server, auth: AuthSettings, address: str | None = None, **target: Any) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        opened(server, auth, address, **target).current()
    return caught.value


def approle(server: Server, name: str, **role: Any) -> AuthSettings:
    """Make a role; ``secret`` is what is sent for a secret_id, and ``None`` asks for none."""
    secret = role.pop("secret", {})
    server.ok("POST", f"auth/approle/role/{name}", {"token_policies": ["reader"], **role})
    role_id = server.ok("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
    if secret is None:
        return AuthSettings(method="approle", role_id=Given(role_id))
    issued = server.ok("POST", f"auth/approle/role/{name}/secret-id", secret)["data"]["secret_id"]
    return AuthSettings(method="approle", role_id=Given(role_id), secret_id=Given(issued))


def wrapping_token(server: Server, role: str) -> str:
    path = f"auth/approle/role/{role}/secret-id"
    return str(server.ok("POST", path, {}, X_Vault_Wrap_TTL="60s")["wrap_info"]["token"])


class TestAppRole:
    def test_it_logs_in(self, server: Server) -> None:
        works(server, approle(server, "plain"))

    def test_a_role_may_need_no_secret_id(self, server: Server) -> None:
        works(server, approle(server, "open", secret=None, bind_secret_id=False, token_bound_cidrs=["127.0.0.0/8"]))

    def test_a_wrong_secret_id_is_refused(self, server: Server) -> None:
        error = is_refused(server, approle(server, "wrong").replace(secret_id=Given("nonsense")))
        assert "operator must issue a new one" in error.hint

    def test_a_secret_id_that_is_used_up_is_refused(self, server: Server) -> None:
        auth = approle(server, "limited", secret_id_num_uses=1)
        works(server, auth)
        assert "used up" in is_refused(server, auth).hint

    def test_a_method_that_is_not_mounted_is_refused(self, server: Server) -> None:
        assert "auth.mount" in is_refused(server, approle(server, "lost").replace(mount="elsewhere")).hint

    def test_what_is_wrapped_is_unwrapped_once(self, server: Server) -> None:
        auth = approle(server, "wrapped").replace(wrapped=True, secret_id=Given(wrapping_token(server, "wrapped")))
        keeper = opened(server, auth)
        server.ok("POST", "auth/token/revoke", {"token": keeper.current()})
        assert read(keeper).status == 200
        assert keeper.logins == 2
        assert "new wrapped secret_id" in is_refused(server, auth).hint

    def test_what_is_not_a_secret_id_is_refused(self, server: Server) -> None:
        token = server.ok("POST", "sys/wrapping/wrap", {"a": "b"}, X_Vault_Wrap_TTL="60s")["wrap_info"]["token"]
        auth = approle(server, "odd").replace(wrapped=True, secret_id=Given(token))
        assert "not a secret_id" in is_refused(server, auth).what


class TestUserpass:
    def test_it_logs_in(self, server: Server) -> None:
        server.ok("POST", "auth/userpass/users/ada", {"password": 'pw %&"', "token_policies": ["reader"]})
        works(server, AuthSettings(method="userpass", username="ada", password=Given('pw %&"\n')))

    def test_a_wrong_password_is_refused_and_does_not_lock_the_user_out(self, server: Server) -> None:
        server.ok("POST", "auth/userpass/users/bob", {"password": "right", "token_policies": ["reader"]})
        keeper = opened(server, AuthSettings(method="userpass", username="bob", password=Given("wrong")))
        for _ in range(10):
            with pytest.raises(AuthenticationError):
                keeper.current()
        works(server, AuthSettings(method="userpass", username="bob", password=Given("right")))


JWT_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def jwt_role(server: Server) -> None:
    public = JWT_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    server.ok("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [public.decode()], "default_role": "web"})
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["strongroom"], "token_policies": ["reader"]}
    server.ok("POST", "auth/jwt/role/web", role)


@pytest.mark.usefixtures("jwt_role")
class TestJWT:
    def signed(self, **claims: Any) -> str:
        now = int(time.time())
        content = {"sub": "me", "aud": "strongroom", "iat": now, "nbf": now - 5, "exp": now + 60, **claims}
        signing = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, content))
        numbers = decode_dss_signature(JWT_KEY.sign(signing.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signing}.{encoded(b''.join(number.to_bytes(32, 'big') for number in numbers))}"

    @pytest.mark.parametrize("role", [None, "web"])
    def test_it_logs_in(self, server: Server, role: str | None) -> None:
        works(server, AuthSettings(method="jwt", role=role, jwt=Given(self.signed() + "\n")))

    @pytest.mark.parametrize(
        ("claims", "reason"),
        [
            ({"exp": 1000, "nbf": 1, "iat": 1}, "expir"),
            ({"aud": "other"}, "audience"),
        ],
    )
    def test_a_wrong_one_is_refused_with_the_reason(self, server: Server, claims: dict[str, Any], reason: str) -> None:
        error = is_refused(server, AuthSettings(method="jwt", jwt=Given(self.signed(**claims))))
        assert reason in error.what

    def test_a_signature_of_somebody_else_is_refused(self, server: Server) -> None:
        head, body, signature = self.signed().split(".")
        forged = f"{head}.{body}.{signature[:-8]}AAAAAAAA"
        assert is_refused(server, AuthSettings(method="jwt", jwt=Given(forged)))


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


POD = ".".join(
    encoded(json.dumps(part).encode())
    for part in (
        {"alg": "RS256", "typ": "JWT"},
        {
            "sub": "system:serviceaccount:prod:web",
            "aud": ["api"],
            "iat": 1_700_000_000,
            "nbf": 1_700_000_000,
            "exp": 4_000_000_000,
            "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "web", "uid": "uid-1"}},
        },
        {"signature": "none"},
    )
)


@pytest.fixture(scope="module")
def api(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A Kubernetes API that knows this one token; ``api["known"]`` says whether it does."""
    state = {"known": True}
    with kubernetes_api(state) as address:
        configuration = {
            "kubernetes_host": address,
            "kubernetes_ca_cert": Authority(tmp_path_factory.mktemp("ca")).file.read_text(),
            "token_reviewer_jwt": POD,
            "disable_local_ca_jwt": True,
        }
        server.ok("POST", "auth/kubernetes/config", configuration)
        for name, namespace in (("web", "prod"), ("other", "dev")):
            role = {
                "bound_service_account_names": ["web"],
                "bound_service_account_namespaces": [namespace],
                "token_policies": ["reader"],
            }
            server.ok("POST", f"auth/kubernetes/role/{name}", role)
        yield state


class TestKubernetes:
    def test_it_logs_in(self, server: Server, api: dict[str, Any]) -> None:
        api["known"] = True
        works(server, AuthSettings(method="kubernetes", role="web", jwt=Given(POD)))

    def test_a_token_that_kubernetes_does_not_know_is_refused(self, server: Server, api: dict[str, Any]) -> None:
        api["known"] = False
        error = is_refused(server, AuthSettings(method="kubernetes", role="web", jwt=Given(POD)))
        assert "Kubernetes API" in error.hint

    def test_a_role_for_another_namespace_is_refused(self, server: Server, api: dict[str, Any]) -> None:
        api["known"] = True
        error = is_refused(server, AuthSettings(method="kubernetes", role="other", jwt=Given(POD)))
        assert "namespace not authorized" in error.what


@contextlib.contextmanager
def kubernetes_api(state: dict[str, Any]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            user = {"username": "system:serviceaccount:prod:web", "uid": "uid-1"}
            status = {"authenticated": state["known"], "audiences": asked["spec"].get("audiences")}
            answer = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "status": status | ({"user": user} if state["known"] else {"error": "unknown"}),
            }
            body = json.dumps(answer).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as api:
        threading.Thread(target=api.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{api.server_address[1]}"
        finally:
            api.shutdown()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, Authority]]:
    """A server that also listens with TLS, where, and the authority that both sides trust."""
    folder = tmp_path_factory.mktemp("openbao")
    authority, port = Authority(folder), free_port()
    issued = authority.issue("server")
    (folder / "tls.hcl").write_text(
        f'listener "tcp" {{\n address = "127.0.0.1:{port}"\n tls_cert_file = "{issued.certificate}"\n'
        f' tls_key_file = "{issued.key}"\n tls_client_ca_file = "{authority.file}"\n}}\n'
    )
    with development_server(folder, f"-config={folder / 'tls.hcl'}") as server:
        prepare(server)
        role = {"certificate": authority.file.read_text(), "token_policies": ["reader"]}
        server.ok("POST", "auth/cert/certs/web", role | {"allowed_common_names": ["web"]})
        yield server, f"https://127.0.0.1:{port}", authority


class TestCertificate:
    def settings(self, authority: Authority, client: str) -> Trust:
        issued = authority.issue(client)
        return Trust(
            verify=True,
            ca_file=str(authority.file),
            client_cert=str(issued.certificate),
            client_key=str(issued.key),
        )

    @pytest.mark.parametrize("role", [None, "web"])
    def test_it_logs_in(self, tls: tuple[Server, str, Authority], role: str | None) -> None:
        server, address, authority = tls
        works(server, AuthSettings(method="cert", role=role), address, tls=self.settings(authority, "web"))

    def test_somebody_elses_certificate_is_refused(self, tls: tuple[Server, str, Authority]) -> None:
        server, address, authority = tls
        assert is_refused(server, AuthSettings(method="cert"), address, tls=self.settings(authority, "mallory"))

    def test_another_role_is_refused(self, tls: tuple[Server, str, Authority]) -> None:
        server, address, authority = tls
        auth = AuthSettings(method="cert", role="no-such")
        assert is_refused(server, auth, address, tls=self.settings(authority, "web"))

    def test_where_tls_ends_before_the_server_the_login_is_refused(
        self, tls: tuple[Server, str, Authority], tmp_path: Path
    ) -> None:
        server, _, _ = tls
        authority = Authority(tmp_path)
        error = is_refused(server, AuthSettings(method="cert"), tls=self.settings(authority, "web"))
        assert "ends TLS" in error.hint


class TestAWS:
    def test_a_server_without_the_method_refuses(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        assert "auth.mount" in is_refused(server, AuthSettings(method="aws")).hint


class TestLives:
    """A real server's tokens: short lives, few uses, and what a policy denies."""

    def test_a_short_token_is_renewed_up_to_its_longest_life_and_then_replaced(self, server: Server) -> None:
        keeper = opened(server, approle(server, "short", token_ttl="2s", token_max_ttl="4s"))
        seen, end = set(), time.monotonic() + 7
        while time.monotonic() < end:
            assert read(keeper).status == 200
            seen.add(keeper.current())
            time.sleep(0.02)
        keeper.close()
        assert 2 <= keeper.logins == len(seen) <= 4
        assert keeper.renewals >= 2

    def test_a_periodic_token_lives_on_without_another_login(self, server: Server) -> None:
        keeper = opened(server, approle(server, "periodic", token_period="1s"))
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert read(keeper).status == 200
            time.sleep(0.05)
        keeper.close()
        assert keeper.logins == 1

    def test_batch_tokens_are_replaced_without_a_failed_read(self, server: Server) -> None:
        keeper = opened(server, approle(server, "batch", token_ttl="1s", token_type="batch"))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert read(keeper).status == 200
            time.sleep(0.05)
        keeper.close()
        assert 3 <= keeper.logins <= 8
        assert keeper.renewals == 0

    def test_twenty_reads_with_five_uses_a_token_take_four_logins(self, server: Server) -> None:
        keeper = opened(server, approle(server, "few", token_num_uses=5))
        for _ in range(20):
            assert read(keeper).status == 200
        assert keeper.logins == 4

    def test_a_revoked_token_is_cured_and_a_denial_is_not(self, server: Server) -> None:
        keeper = opened(server, approle(server, "revoked"))
        server.ok("POST", "auth/token/revoke", {"token": keeper.current()})
        assert read(keeper).status == 200
        for _ in range(3):
            with pytest.raises(RefusedError):
                read(keeper, "other")
        assert keeper.logins == 2

    def test_a_root_token_is_not_renewed_and_goes_on_working(self, server: Server) -> None:
        keeper = opened(server, AuthSettings(token=Given(server.token), renew=True))
        assert read(keeper).status == 200
        end = time.monotonic() + 5
        while keeper.due() != float("inf"):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert read(keeper).status == 200
        assert ("token_renewable", "no") in keeper.facts()
        keeper.close()
        assert server.call("GET", "auth/token/lookup-self")[0] == 200

    def test_a_configured_token_is_renewed_if_that_is_asked_for(self, server: Server) -> None:
        server.policy("renewer", 'path "auth/token/renew-self" { capabilities = ["update"] }')
        token = server.new_token("reader", "renewer", period="1s")
        keeper = opened(server, AuthSettings(token=Given(token), renew=True))
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert read(keeper).status == 200
            time.sleep(0.05)
        keeper.close()
        assert keeper.renewals >= 3

    def test_in_a_namespace_everything_about_the_token_happens_there(self, server: Server) -> None:
        server.ok("POST", "sys/namespaces/team", {})
        server.ok("POST", "sys/auth/approle", {"type": "approle"}, X_Vault_Namespace="team")
        role = {"token_policies": ["default"], "token_ttl": "1s", "token_period": "1s"}
        server.ok("POST", "auth/approle/role/app", role, X_Vault_Namespace="team")
        role_id = server.ok("GET", "auth/approle/role/app/role-id", X_Vault_Namespace="team")["data"]["role_id"]
        issued = server.ok("POST", "auth/approle/role/app/secret-id", {}, X_Vault_Namespace="team")["data"]
        auth = AuthSettings(method="approle", role_id=Given(role_id), secret_id=Given(issued["secret_id"]))
        keeper = opened(server, auth.replace(namespace="team/"))
        token = keeper.current()
        time.sleep(2)
        assert keeper.renewals >= 2
        keeper.close()
        assert server.call("GET", "auth/token/lookup-self", token=token, X_Vault_Namespace="team")[0] == 403
