"""What does not speak as a Vault does, or not at all: nothing of it gets past our own errors, or to another request."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
import traceback

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

import engines

from engines import opened, read, write
from fakes import FakeVault
from logins import granted, keeper_of
from strongroom import pacing
from strongroom.contracts import EncryptRequest
from strongroom.errors import BackendError, BackendUnavailableError, StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import assert_hidden, in_threads, marker_value, report_of
from strongroom_vault.backend import VaultBackend
from strongroom_vault.replies import Reply
from strongroom_vault.target import Target
from strongroom_vault.transport import Transport

PACKED = gzip.compress(b'{"data": {"path": "here"}}')


def transport_to(*addresses: str, **options: Any) -> Transport:
    return Transport(Target(addresses=addresses, **{"attempts": 1, "timeout": 5.0, **options}))


def get(sender: Transport, path: str = "/v1/secret/data/x", **headers: str) -> Reply:
    return sender.send("GET", path, headers=headers, repeatable=True)


@contextlib.contextmanager
def speaking(answer: Callable[[str, Callable[[bytes], None]], None]) -> Iterator[str]:
    """Serve by hand: ``answer`` is given each request's path, and what sends bytes as they are."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connected: socket.socket) -> None:
            with connected, connected.makefile("rb") as lines, contextlib.suppress(OSError, IndexError):
                while True:
                    path = lines.readline().split()[1].decode()
                    while lines.readline().strip():
                        pass
                    answer(path, connected.sendall)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def once(content: bytes) -> Callable[[str, Callable[[bytes], None]], None]:
    """Answer with these bytes, and close the connection."""

    def answer(_: str, send: Callable[[bytes], None]) -> None:
        send(content)
        raise IndexError

    return answer


def whole(body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


@pytest.mark.parametrize(
    "early", [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"]
)
@pytest.mark.parametrize("together", [True, False])
def test_what_comes_before_the_answer_is_passed_over(early: bytes, together: bool) -> None:
    def answer(path: str, send: Callable[[bytes], None]) -> None:
        if together:
            send(early + early + whole({"data": {"path": path}}))
            return
        send(early)
        time.sleep(0.02)
        send(whole({"data": {"path": path}}))

    with speaking(answer) as address:
        sender = transport_to(address)
        paths = [f"/v1/secret/data/{number}" for number in range(40)]
        found = in_threads(8, lambda thread: [get(sender, path).data["path"] for path in paths[thread * 5 :][:5]])
        assert [path for some in found for path in some] == paths


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:99999/v1/secret/data/x", "http://[::1/v1/secret/data/x", "http://a..b/v1/secret/data/x"],
)
def test_a_redirect_to_what_is_no_address_is_an_error_of_ours(vault: FakeVault, location: str) -> None:
    vault.answer("GET", "/", 307, headers={"Location": location})
    with pytest.raises(StrongroomError) as caught:
        get(transport_to(vault.address), **{"X-Vault-Token": "t"})
    assert "secret/data" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 9999 00:00:00 -9999999999", "9" * 5000, "-5", "1e9", "nan"],
)
def test_a_wait_that_makes_no_sense_ends_in_an_outage(vault: FakeVault, text: str) -> None:
    vault.answer("GET", "/", 503, {"errors": ["Vault is sealed"]}, {"Retry-After": text})
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError):
        get(transport_to(vault.address, attempts=2))
    assert time.monotonic() < start + 3


@given(
    st.text(max_size=60)
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,12} (Jan|Feb) [0-9]{1,12} [0-9:]{1,9} [-+A-Z0-9]{1,12}", fullmatch=True)
)
def test_whatever_a_server_asks_to_wait_is_understood_or_not(text: str) -> None:
    wait = pacing.retry_after(text)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    "body", [b'{"a":' * 200_000, b'{"a": "' + b"\xff" + b'"}', b"{", b"{}{}", b'{"n": ' + b"9" * 5000 + b"}"]
)
def test_a_body_that_is_no_json_is_none(body: bytes) -> None:
    assert Reply(200, {}, body).body == {}


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, "<html>Log in to the network</html>"), (201, "fine"), (404, "<html>")],
)
def test_an_answer_that_is_no_vaults_is_told(vault: FakeVault, status: int, body: str) -> None:
    vault.answer("GET", "/", status, body, {"Content-Type": "text/html"})
    with pytest.raises(BackendError, match="no Vault's or OpenBao's") as caught:
        get(transport_to(vault.address))
    assert caught.value.code == "backend_error"


def chunked(content: bytes, *, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"1\r\n%c\r\n" % one for one in content) + end


@pytest.mark.parametrize(
    "answer",
    [
        chunked(b'{"data": {"path": "here"}}'),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b'{"data": {"path": "here"}}',
        b"HTTP/1.0 200 OK\r\n\r\n" + b'{"data": {"path": "here"}}',
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(PACKED), PACKED),
    ],
)
def test_an_answer_in_another_dress_is_the_same(answer: bytes) -> None:
    with speaking(once(answer)) as address:
        sender = transport_to(address, attempts=2)  # the connection may be found closed too late
        assert [get(sender).data["path"] for _ in range(2)] == ["here", "here"]


@pytest.mark.parametrize(
    "answer",
    [
        chunked(b'{"data": {"path": "her', end=b""),
        b"HTTP/1.0 200 OK\r\n\r\n" + b'{"data": {"path": "her',
        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + b'{"data": {"path": "her',
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n" + b"not zipped"[:9],
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chun",
        b"HTTP/1.1 2",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 100,
    ],
)
def test_half_an_answer_is_an_outage_and_a_change_may_have_happened(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    with speaking(once(answer)) as address:
        sender = transport_to(address, attempts=2)
        with pytest.raises(BackendUnavailableError):
            get(sender)
        assert sender.requests == 2
        with pytest.raises(BackendUnavailableError, match="may have been changed"):
            sender.send("POST", "/v1/secret/data/x", headers={}, body=b"{}")
        assert sender.requests == 3
    assert "secret/data/x" not in caplog.text


def test_that_all_is_well_and_nothing_else_is_no_answer_to_a_question() -> None:
    with speaking(lambda _, send: send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as address:
        sender = transport_to(address, attempts=2)
        with pytest.raises(BackendUnavailableError):
            get(sender)
        assert sender.requests == 2
        assert sender.send("POST", "/v1/secret/data/x", headers={}, body=b"{}").status == 200


@pytest.mark.parametrize(
    "odd",
    [
        {"lease_duration": "soon"},
        {"lease_duration": [1]},
        {"num_uses": {"a": 1}},
        {"lease_duration": float("nan")},
        {"num_uses": float("inf")},
        {"lease_duration": -5},
    ],
)
def test_a_login_that_is_answered_in_another_way_shows_no_token(vault: FakeVault, odd: dict[str, Any]) -> None:
    token = marker_value()
    vault.answer("POST", "/v1/auth/approle/login", 200, granted(token, **odd))
    keeper = keeper_of(vault)
    with pytest.raises(BackendError) as caught:
        keeper.current()
    assert_hidden(token, report_of(caught.value), "the report")


def encrypt(backend: VaultBackend, value: str) -> object:
    return backend.encrypt(EncryptRequest(key=SecretName("k"), plaintext=SecretValue(value)))


def write_x(backend: VaultBackend, value: str) -> object:
    return write(backend, "x", value)


@pytest.mark.parametrize(
    ("version", "act"), [(1, write_x), (2, write_x), (2, encrypt), (2, lambda backend, _: read(backend, "x"))]
)
def test_an_interrupt_amid_a_request_shows_no_token_and_no_value(
    vault: FakeVault, version: int, act: Callable[[VaultBackend, str], object]
) -> None:
    """A report about it may show the local variables of what was interrupted."""
    backend = opened(vault, "secret", token="a-token-that-must-not-show", kv_version=version)

    def interrupted(*_: Any, **how: Any) -> Any:
        raise KeyboardInterrupt

    backend._transport._nodes.current.pool.urlopen = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt) as caught:
        act(backend, "a-value-that-must-not-show")
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    shown = "".join(repr(one.f_locals) for one in frames if one.f_code.co_filename not in (__file__, engines.__file__))
    assert "strongroom_vault" in shown
    assert "must-not-show" not in shown
    backend.close()


@pytest.mark.parametrize("seconds", [3e6, 1e10, float("inf")])
def test_a_time_limit_longer_than_a_socket_can_wait_is_none(vault: FakeVault, seconds: float) -> None:
    vault.answer("GET", "/", 200, {"data": {"a": 1}})
    assert get(transport_to(vault.address, timeout=seconds)).data == {"a": 1}
