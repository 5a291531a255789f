"""What no program of this machine means to ask is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import RunningAgent, running, settings
from strongroom.testing import FaultyBackend


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "127.0.0.2", "localhost:x", "[::2]"]
)
@pytest.mark.parametrize("unix", [False, True])
def test_a_name_that_was_rebound_to_loopback_is_refused(
    agent: RunningAgent, backend: FaultyBackend, host: str, unix: bool
) -> None:
    """Also on the socket: somebody may have forwarded a port to it."""
    replies = [agent.ask(path, Host=host, unix=unix) for path in ("/healthz", "/", "/metrics")]
    for reply in [*replies, agent.get("db/password", Host=host, unix=unix)]:
        assert (reply.status, reply.error) == (421, "wrong_host")
    assert "read" not in backend.calls


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]", "[::1]:8743"])
def test_the_names_of_loopback_are_ours(agent: RunningAgent, host: str) -> None:
    assert agent.get("db/password", Host=host).status == 200


def test_further_names_are_the_operators_whichever_letters_he_uses(tmp_path: Path, backend: FaultyBackend) -> None:
    with running(settings(tmp_path, hosts=("Agent.Local",)), backend) as agent:
        assert agent.get("db/password", Host="agent.local").status == 200
        assert agent.get("db/password", Host="AGENT.local:8743").status == 200
        assert agent.get("db/password", Host="agent.local.evil.example").status == 421


def test_a_request_without_a_host_is_refused_on_loopback(agent: RunningAgent) -> None:
    assert b" 421 " in agent.raw(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b" 421 " in agent.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 200 " in agent.raw(b"GET /healthz HTTP/1.0\r\n\r\n", unix=True)


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "https://localhost", "http://localhost:1"])
@pytest.mark.parametrize("unix", [False, True])
def test_a_page_of_another_site_may_ask_for_nothing(agent: RunningAgent, origin: str, unix: bool) -> None:
    for path in ("/v1/get", "/metrics", "/healthz", "/"):
        content = {"name": "db/password"} if path == "/v1/get" else None
        reply = agent.ask(path, content, unix=unix, Origin=origin, Host="localhost")
        assert (reply.status, reply.error) == (403, "other_site")
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_preflight_allows_nothing(agent: RunningAgent) -> None:
    reply = agent.ask(
        "/v1/get", method="OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="POST", token=""
    )
    assert reply.status == 403
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_what_a_browser_sends_for_another_site_is_refused(agent: RunningAgent) -> None:
    assert agent.get("db/password", Sec_Fetch_Site="cross-site").error == "other_site"
    assert agent.get("db/password", Sec_Fetch_Site="same-site").error == "other_site"
    assert agent.get("db/password", Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize("value", ["", "false", "1", "true,true"])
def test_a_request_that_no_program_meant_is_refused(agent: RunningAgent, value: str) -> None:
    """Whoever makes a server fetch an address cannot make it send this header."""
    reply = agent.get("db/password", X_Strongroom_Request=value)
    assert (reply.status, reply.error) == (400, "header_missing")


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "Via", "X_Forwarded_Host", "X_Real_IP"])
def test_a_request_that_was_forwarded_is_refused(agent: RunningAgent, header: str) -> None:
    reply = agent.get("db/password", **{header: "1.1 proxy"})
    assert (reply.status, reply.error) == (400, "forwarded")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json-patch+json"])
def test_a_body_that_a_form_could_send_is_refused(agent: RunningAgent, kind: str) -> None:
    assert agent.get("db/password", Content_Type=kind).status == 415


def test_a_body_may_say_its_character_set(agent: RunningAgent) -> None:
    assert agent.get("db/password", Content_Type="Application/JSON; charset=utf-8").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "//v1/get",
        "/v1//get",
        "/v1/get/",
        "/v1/./get",
        "/v1/../v1/get",
        "/%76%31/get",
        "/v1%2fget",
        "/v1/%2e%2e/v1/get",
        "/v1/get;x",
        "/v1/get%00",
        "/V1/get",
        "/v1\\get",
        "/static/../../etc/passwd",
        "/v1/getx",
    ],
)
def test_a_path_has_one_spelling(agent: RunningAgent, backend: FaultyBackend, path: str) -> None:
    assert agent.ask(path, {"name": "db/password"}).status == 404
    assert "read" not in backend.calls


def test_a_name_in_the_address_is_of_no_use(agent: RunningAgent) -> None:
    assert agent.ask("/v1/get?name=db/password").status == 405
    assert agent.ask("/v1/get?name=db/password", {}).status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_the_api_is_asked_in_one_way(agent: RunningAgent, method: str) -> None:
    reply = agent.ask("/v1/get", method=method)
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_pages_are_only_read(agent: RunningAgent, method: str) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert agent.ask(path, method=method).status == 405


def test_the_head_of_a_page_comes_without_its_body(agent: RunningAgent) -> None:
    reply = agent.ask("/healthz", method="HEAD")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "3", b"")


@pytest.mark.parametrize("name", ["Host", "Origin", "Authorization", "Content-Type", "X-Strongroom-Request"])
def test_a_header_that_comes_twice_is_refused(agent: RunningAgent, name: str) -> None:
    lines = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{name}: a\r\n{name}: a\r\n\r\n"
    assert b" 400 " in agent.raw(lines.encode(), unix=True)
