"""One request: what is sent, the one deadline, forks, and what an error does not keep."""

from __future__ import annotations

import socketserver
import threading
import time
import traceback

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import hvac
import pytest

from fakes import FakeVault
from openbao import Server
from strongroom.errors import BackendError, BackendUnavailableError, ClosedError, StrongroomError
from strongroom.testing import assert_hidden, in_forked_child, in_threads, marker_value
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.replies import RefusedError, Reply
from strongroom_vault.target import Target
from strongroom_vault.transport import Transport


class OneToken:
    def __init__(self, token: str) -> None:
        self.token = token

    def current(self, limit: float) -> str:
        return self.token

    def cures(self, token: str, reply: Reply, limit: float, **how: Any) -> bool:
        return False


def transport(vault: FakeVault, path: str = "", **options: Any) -> Transport:
    return Transport(Target(addresses=(vault.address + path,), **options))


def get(sender: Transport, path: str = "/v1/secret/data/x", **options: Any) -> Reply:
    return sender.send("GET", path, headers={}, repeatable=True, **options)


def client(vault: FakeVault, token: str = "t", **options: Any) -> hvac.Client:
    return VaultAdapter(transport(vault, attempts=1), OneToken(token), **options).client()


def test_requests_carry_what_the_server_wants_to_know(vault: FakeVault) -> None:
    vault.answer(None, "/", 200, {"data": {}})
    client(vault, token="the token", namespace="team/a").secrets.kv.v2.create_or_update_secret("a b/ü", {"k": "v"})
    (sent,) = vault.requests
    assert (sent.method, sent.path) == ("POST", "/v1/secret/data/a%20b/%C3%BC")
    assert sent.headers["X-Vault-Token"] == "the token"
    assert sent.headers["X-Vault-Namespace"] == "team/a"
    assert sent.headers["X-Vault-Request"] == "true"
    assert sent.json["data"] == {"k": "v"}


def test_the_root_namespace_has_no_header(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {})
    client(vault).read("secret/data/x")
    assert "X-Vault-Namespace" not in vault.requests[0].headers


def test_one_connection_serves_requests_one_after_another(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {})
    sender = transport(vault)
    for _ in range(5):
        get(sender)
    assert len({sent.peer for sent in vault.requests}) == 1


def test_idle_connections_beyond_the_bound_are_closed(vault: FakeVault, caplog: pytest.LogCaptureFixture) -> None:
    vault.answer("GET", "/", 200, {}, delay=0.05)
    sender = transport(vault, connections=2)
    in_threads(6, lambda _: get(sender))
    deadline = time.monotonic() + 5.0
    while vault.connections > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert vault.connections == 2
    assert not caplog.records


def test_an_address_may_have_a_path(vault: FakeVault) -> None:
    vault.answer("GET", "/behind/proxy/v1/secret/data/x", 200, {"data": {"a": 1}})
    assert get(transport(vault, "/behind/proxy")).data == {"a": 1}


def test_a_restarted_server_is_connected_to_anew(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {})
    sender = transport(vault, attempts=1)
    get(sender)
    vault.down()
    vault.up()
    assert get(sender).status == 200


@pytest.mark.parametrize(
    "how",
    [{"delay": 3.0}, {"body": {"data": {"a": "x" * 400}}, "drip": 0.05}],
    ids=["silence", "one byte after another"],
)
def test_the_deadline_holds_for_the_whole_answer(vault: FakeVault, how: dict[str, Any]) -> None:
    vault.answer("GET", "/", **how)
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError, match="does not answer in time") as raised:
        get(transport(vault), timeout=0.6)
    assert raised.value.code == "timeout"
    assert time.monotonic() - start < 1.5


def test_the_deadline_counts_from_the_start_and_not_from_the_last_piece(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {"data": {}}, delay=1.2, drip=10.0)
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError):
        get(transport(vault, attempts=1), timeout=1.5)
    assert time.monotonic() - start < 2.4


def test_a_request_that_hangs_leaves_time_for_another_one(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {"data": {"a": 1}})
    vault.answer("GET", "/", 200, {}, delay=3.0, times=1)
    assert get(transport(vault), timeout=1.5).data == {"a": 1}


def test_a_large_answer_in_many_pieces_is_whole(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {"data": {"a": "x" * 3_000_000}})
    assert len(get(transport(vault)).data["a"]) == 3_000_000


def test_threads_share_a_transport(vault: FakeVault) -> None:
    vault.handle("GET", "/", lambda sent: _echo(sent.path))
    sender = transport(vault)

    def ask(thread: int) -> bool:
        paths = [f"/v1/secret/data/{thread}-{number}" for number in range(30)]
        return all(get(sender, path).data == {"path": path} for path in paths)

    assert in_threads(8, ask) == [True] * 8
    assert sender.requests == 240


def test_a_forked_child_uses_connections_of_its_own(vault: FakeVault) -> None:
    vault.handle("GET", "/", lambda sent: _echo(sent.path))
    sender = transport(vault)
    get(sender, "/v1/before")
    assert in_forked_child(lambda: [get(sender, f"/v1/{n}").data["path"] for n in range(3)] and "ok") == "ok"
    assert get(sender, "/v1/after").data == {"path": "/v1/after"}
    peers = {sent.path: sent.peer for sent in vault.requests}
    assert peers["/v1/before"] == peers["/v1/after"]
    assert peers["/v1/0"] == peers["/v1/2"] != peers["/v1/before"]


def test_a_child_that_closes_leaves_the_parents_connections_alone(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {})
    sender = transport(vault)
    get(sender)

    def close() -> str:
        sender.after_fork()
        sender.close()
        return "closed"

    assert in_forked_child(close) == "closed"
    get(sender)
    assert len({sent.peer for sent in vault.requests}) == 1


def test_a_closed_transport_says_so(vault: FakeVault) -> None:
    sender = transport(vault)
    sender.close()
    sender.close()
    with pytest.raises(ClosedError):
        get(sender)
    assert vault.requests == []


@pytest.mark.parametrize("token", ["kmzwq\nvjx", "kmzwq\r\n", "kmzwq\N{SNOWMAN}"])
def test_a_token_that_http_cannot_carry_is_not_shown(vault: FakeVault, token: str) -> None:
    with pytest.raises(BackendError, match="none that HTTP can carry") as raised:
        client(vault, token=token).read("secret/data/x")
    assert_hidden(token.strip(), "".join(traceback.format_exception(raised.value)), "the error")
    assert vault.requests == []


@pytest.mark.parametrize("body", [b"<html>not here</html>", b"404 page not found\n"])
def test_a_page_of_another_server_is_not_taken_for_a_missing_secret(vault: FakeVault, body: bytes) -> None:
    vault.answer("GET", "/", 404, body, {"Content-Type": "text/html"})
    with pytest.raises(BackendError, match="no Vault's"):
        get(transport(vault))


def test_a_missing_secret_needs_no_body(vault: FakeVault) -> None:
    vault.answer("GET", "/", 404)
    assert get(transport(vault)).status == 404


@pytest.mark.parametrize("status", [400, 403, 503, None])
def test_no_frame_of_an_error_keeps_the_token_or_the_value(vault: FakeVault, status: int | None) -> None:
    """Some programs print the local variables of a traceback. hvac's own frames are the caller's to drop."""
    token, value = marker_value(), marker_value()
    vault.answer("POST", "/", status or 200, {"errors": ["no"]}, reset=status is None)
    adapter = VaultAdapter(transport(vault, attempts=2), OneToken(token))
    with pytest.raises((StrongroomError, RefusedError)) as raised:
        _send(adapter, value)
    for error in _chain(raised.value):
        frames = traceback.walk_tb(error.__traceback__)
        for frame, _ in frames:
            if "strongroom_vault" in frame.f_code.co_filename or "urllib3" in frame.f_code.co_filename:
                seen = {name: _deeply(content) for name, content in frame.f_locals.items() if name != "self"}
                assert_hidden(token, repr(seen), frame.f_code.co_name)
                assert_hidden(value, repr(seen), frame.f_code.co_name)


def test_the_adapter_serves_hvac_against_a_real_server(server: Server) -> None:
    adapter = VaultAdapter(Transport(Target(addresses=(server.address,))), OneToken(server.token))
    kv = adapter.client().secrets.kv.v2
    made = kv.create_or_update_secret("transport/a b", {"k": "v"}, mount_point="secret")
    assert made["data"]["version"] == 1
    found = kv.read_secret_version("transport/a b", mount_point="secret", raise_on_deleted_version=True)
    assert found["data"]["data"] == {"k": "v"}
    assert kv.list_secrets("transport", mount_point="secret")["data"]["keys"] == ["a b"]
    assert kv.delete_metadata_and_all_versions("transport/a b", mount_point="secret").status == 204
    with pytest.raises(RefusedError, match="404"):
        kv.read_secret_version("transport/a b", mount_point="secret", raise_on_deleted_version=True)
    assert adapter.client().sys.read_health_status(method="GET")["sealed"] is False


@pytest.fixture
def unix_server(tmp_path: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Content-Length", "19")
            self.end_headers()
            self.wfile.write(b'{"data": {"b": 12}}')

    class Listener(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Listener(str(tmp_path / "agent.sock"), Handler) as listener:
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        yield str(tmp_path / "agent.sock")
        listener.shutdown()


def test_an_agent_may_listen_on_a_unix_socket(unix_server: str) -> None:
    sender = Transport(Target(addresses=(f"unix://{unix_server}",)))
    assert get(sender).data == {"b": 12}


def test_a_unix_socket_that_is_not_there_refuses_connections(tmp_path: Path) -> None:
    sender = Transport(Target(addresses=(f"unix://{tmp_path}/none.sock",), attempts=1))
    with pytest.raises(BackendUnavailableError) as raised:
        get(sender)
    assert raised.value.code == "connection_refused"


def _echo(path: str) -> Any:
    from fakes import Answer

    return Answer(200, {"data": {"path": path}})


def _send(adapter: VaultAdapter, value: str) -> None:
    adapter.send("POST", "/v1/secret/data/x", content={"data": {"value": value}})


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _deeply(content: Any) -> Any:
    slots = getattr(type(content), "__slots__", ())
    return [content, [getattr(content, slot, None) for slot in slots if isinstance(slots, tuple)]]


def test_a_server_that_takes_nothing_in_costs_no_more_than_the_deadline() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler, bind_and_activate=True) as server:
        # Nobody accepts: the kernel takes in what fits into its buffers, and no more.
        sender = Transport(Target(addresses=(f"http://127.0.0.1:{server.server_address[1]}",), attempts=1, timeout=0.6))
        started = time.monotonic()
        with pytest.raises(BackendUnavailableError, match="may have been changed") as raised:
            sender.send("POST", "/v1/secret/data/x", headers={}, body=bytes(30_000_000))
        assert time.monotonic() - started < 5
        assert raised.value.code == "timeout"


def test_the_limit_of_one_request_is_not_that_of_the_next(vault: FakeVault) -> None:
    sender = transport(vault, attempts=1)
    vault.answer("GET", "/v1/secret/data/x", 200, {"data": {}})
    get(sender, timeout=0.2)
    vault.answer("GET", "/v1/secret/data/late", 200, {"data": {"a": "b"}}, delay=0.5)
    assert get(sender, "/v1/secret/data/late", timeout=20.0).data == {"a": "b"}
    with pytest.raises(BackendUnavailableError):
        get(sender, "/v1/secret/data/late", timeout=0.2)
    assert len({sent.peer for sent in vault.requests}) == 1
