"""Proxies: the configured one, the one of VAULT_*, or what the standard variables say."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from certificates import Authority
from fakes import FakeVault
from strongroom.errors import BackendError, BackendUnavailableError
from strongroom_vault.pools import proxy_for
from strongroom_vault.settings import TLSSettings, VaultSettings
from strongroom_vault.target import resolve
from strongroom_vault.transport import Transport


class Proxy(ThreadingHTTPServer):
    """Passes on what it is told to: CONNECT, or requests for a whole URL; no bytes are changed."""

    daemon_threads = True

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.passwords: list[str | None] = []
        self.refuse = 0
        super().__init__(("127.0.0.1", 0), _Pass)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Pass(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def _pass(self) -> None:
        self.server.lines.append(self.requestline)
        self.server.passwords.append(self.headers.get("Proxy-Authorization"))
        if self.server.refuse:
            self.send_error(self.server.refuse)
            return
        self.close_connection = True
        tunnel = self.command == "CONNECT"
        parts = urlsplit(f"//{self.path}" if tunnel else self.path)
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as upstream:
            if tunnel:
                self.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                head = f"{self.command} {parts.path} HTTP/1.1\r\n{self.headers}".replace("\n", "\r\n")
                upstream.sendall(head.replace("\r\r", "\r").encode())
            with contextlib.suppress(OSError):
                _shovel(self.connection, upstream)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _shovel(one: socket.socket, two: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([one, two], [], [], 10.0)
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (two if source is one else one).sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as started:
        threading.Thread(target=started.serve_forever, args=(0.01,), daemon=True).start()
        yield started
        started.shutdown()


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy",
                 "no_proxy", "REQUEST_METHOD"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[FakeVault, Authority]]:
    authority = Authority(tmp_path)
    made = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with FakeVault(tls=context) as started:
        started.answer("GET", "/", 200, {"data": {"a": 1}})
        yield started, authority


def ask(address: str, variables: dict[str, str] | None = None, **settings: Any) -> Any:
    found = resolve(VaultSettings(address=address, attempts=1, **settings), variables or {})
    return Transport(found).send("GET", "/v1/secret/data/x", headers={}, repeatable=True)


def test_plain_requests_go_through_the_proxy_with_their_whole_url(vault: FakeVault, proxy: Proxy) -> None:
    vault.answer("GET", "/prefix/v1/secret/data/x", 200, {"data": {"a": 1}})
    assert ask(f"{vault.address}/prefix", proxy=proxy.url).data == {"a": 1}
    assert proxy.lines == [f"GET {vault.address}/prefix/v1/secret/data/x HTTP/1.1"]


def test_tls_goes_through_a_tunnel_in_which_the_server_is_verified(
    secure: tuple[FakeVault, Authority], proxy: Proxy, tmp_path: Path
) -> None:
    vault, authority = secure
    assert ask(vault.address, proxy=proxy.url, tls=TLSSettings(ca_file=str(authority.file))).data == {"a": 1}
    assert [line.split()[:2] for line in proxy.lines] == [["CONNECT", f"127.0.0.1:{vault.port}"]]
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    with pytest.raises(BackendError) as raised:
        ask(vault.address, proxy=proxy.url, tls=TLSSettings(ca_file=str(other.file)))
    assert raised.value.code == "tls_failed"


@pytest.mark.parametrize("variable", ["VAULT_HTTP_PROXY", "VAULT_PROXY_ADDR", "BAO_HTTP_PROXY", "BAO_PROXY_ADDR"])
def test_a_variable_of_vaults_replaces_the_standard_ones_wholly(
    vault: FakeVault, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    vault.answer("GET", "/", 200, {"data": {"a": 1}})
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert ask(vault.address, {variable: proxy.url}).data == {"a": 1}
    assert len(proxy.lines) == 1


def test_the_standard_variables_count_where_nothing_else_is_said(
    vault: FakeVault, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.answer("GET", "/", 200, {"data": {"a": 1}})
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    ask(vault.address)
    assert len(proxy.lines) == 1
    ask(vault.address, proxy="")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    ask(vault.address)
    assert len(proxy.lines) == 1
    assert len(vault.requests) == 3


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        ("https://vault:8200", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://vault:8200", {"http_proxy": "http://p:1"}, None),
        ("http://vault:8200", {"https_proxy": "http://p:1"}, None),
        ("http://vault:8200", {"http_proxy": "p:1"}, "http://p:1"),
        ("http://vault:8200", {"all_proxy": "http://p:1"}, "http://p:1"),
        ("https://vault.example.com", {"https_proxy": "http://p:1", "no_proxy": ".example.com"}, None),
        ("https://vault.example.com", {"https_proxy": "http://p:1", "no_proxy": "example.com"}, None),
        ("https://vault.example.org", {"https_proxy": "http://p:1", "no_proxy": "example.com"}, "http://p:1"),
        ("https://vault:8200", {"https_proxy": "http://p:1", "no_proxy": "vault:8200"}, None),
        ("https://vault:8200", {"https_proxy": "http://p:1", "no_proxy": "other,*"}, "http://p:1"),
        ("https://vault:8200", {"https_proxy": "http://p:1", "no_proxy": "*"}, None),
        ("https://vault:8200", {}, None),
    ],
)
def test_which_proxy_the_standard_variables_name(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], expected: str | None
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert proxy_for(url, None) == expected


def test_the_proxys_password_goes_to_the_proxy_only(
    vault: FakeVault, secure: tuple[FakeVault, Authority], proxy: Proxy
) -> None:
    behind, authority = secure
    vault.answer("GET", "/", 200, {})
    url = proxy.url.replace("//", "//me:s%40crt@")
    ask(behind.address, proxy=url, tls=TLSSettings(ca_file=str(authority.file)))
    assert proxy.passwords == ["Basic " + base64.b64encode(b"me:s@crt").decode()]
    assert not any("Proxy-Authorization" in sent.headers for sent in behind.requests)


def test_a_proxy_that_is_down_is_an_outage(vault: FakeVault, secure: tuple[FakeVault, Authority]) -> None:
    vault.down()
    for address in (secure[0].address, "http://127.0.0.1:9"):
        with pytest.raises(BackendUnavailableError):
            ask(address, proxy=vault.address, tls=TLSSettings(verify=False))


def test_a_proxy_that_refuses_says_why(secure: tuple[FakeVault, Authority], proxy: Proxy) -> None:
    proxy.refuse = 407
    with pytest.raises(BackendUnavailableError, match="407"):
        ask(secure[0].address, proxy=proxy.url, tls=TLSSettings(verify=False))
    assert secure[0].requests == []
