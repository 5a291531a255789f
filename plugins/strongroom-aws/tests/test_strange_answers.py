"""What is no answer of the service: whatever comes back, it is an outage or a named error, and never a value."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from awsbackends import Waits, list_names, opened, read, write
from fakeaws import FakeSecretsManager
from openbao import free_port
from strongroom.errors import AccessDeniedError, BackendError, BackendUnavailableError, StrongroomError
from strongroom.testing import assert_hidden, report_of

JSON = b"Content-Type: application/x-amz-json-1.1\r\n"
MARKER = "a-value-in-an-answer-that-is-none"
RESET = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def raw_server(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Serve on loopback what is no HTTP, or hardly: each connection is handed over once its request has come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.recv(65536)
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def saying(data: bytes) -> Callable[[socket.socket], object]:
    return lambda connection: connection.sendall(data)


def response(status: str, body: bytes, headers: bytes = JSON) -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status.encode(), headers, len(body), body)


def resetting(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda connection: None, id="closed without a word"),
        pytest.param(resetting, id="reset"),
        pytest.param(saying(b"HTTP/1.1 20"), id="half a status line"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Ty"), id="half a header"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n" + JSON + b'Content-Length: 99\r\n\r\n{"Sec'), id="half a body"),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), id="no chunk"
        ),
        pytest.param(saying(b"SSH-2.0-OpenSSH_9.6\r\n"), id="another protocol"),
        pytest.param(saying(b"\x00\xff" * 100), id="bytes"),
        pytest.param(saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), id="too many headers"),
        pytest.param(saying(response("200 OK", b"")), id="an empty body"),
        pytest.param(saying(response("200 OK", b"{}")), id="an empty object"),
        pytest.param(saying(response("200 OK", b"[1]")), id="a list"),
        pytest.param(saying(response("200 OK", b"null")), id="nothing in JSON"),
        pytest.param(saying(response("200 OK", b'{"SecretString": 1, "VersionId"')), id="half an object"),
        pytest.param(saying(response("200 OK", b"\xff\xfe")), id="no UTF-8"),
        pytest.param(saying(response("200 OK", b"<html>Log in</html>", b"Content-Type: text/html\r\n")), id="a page"),
        pytest.param(saying(response("204 No Content", b"")), id="no content"),
        pytest.param(saying(response("500 Oops", b"")), id="500 without a body"),
        pytest.param(saying(response("502 Bad Gateway", b"<html><body>no</body></html>")), id="502 of a proxy"),
        pytest.param(saying(response("503 Busy", b"<!DOCTYPE html><h1>Busy</h1>")), id="503 with a page"),
        pytest.param(saying(response("504 Late", b"not json")), id="504 with a text"),
        pytest.param(saying(response("509 Enough", b'{"message": "no"}')), id="an unusual status"),
        pytest.param(saying(response("429 Enough", b"")), id="429 without a body"),
    ],
)
@pytest.mark.parametrize("act", [read, list_names, write])
def test_it_is_an_outage_and_asked_for_again(waits: Waits, answer: Any, act: Any) -> None:
    with raw_server(answer) as url, opened(url, waits, attempts=2) as backend:
        with pytest.raises(BackendUnavailableError) as caught:
            act(backend)
        assert len(waits.waited) == 1
    assert caught.value.code in {"unavailable", "server_error", "rate_limited"}


@pytest.mark.parametrize("how", ["reset", "close", "cut", "empty", "html"])
@pytest.mark.parametrize("act", [read, list_names, write])
def test_what_the_fake_can_do_to_an_answer_is_an_outage(
    aws: FakeSecretsManager, waits: Waits, how: str, act: Any
) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    before = len(aws.requests)
    aws.fail_transport("*", how, times=None)
    with opened(aws.url, waits, attempts=2) as backend, pytest.raises(BackendUnavailableError) as caught:
        act(backend)
    assert caught.value.code == "unavailable"
    assert len(aws.requests) - before == 2


def test_a_service_that_never_answers_is_left_after_the_time_limit(aws: FakeSecretsManager) -> None:
    aws.fail_transport("*", "hang", times=None)
    limits = {"timeout": 1.0, "connect_timeout": 0.2, "read_timeout": 0.3}
    with opened(aws.url, attempts=1, **limits) as backend:
        start = time.monotonic()
        with pytest.raises(BackendUnavailableError) as caught:
            read(backend)
    assert caught.value.code == "timeout"
    assert time.monotonic() - start < 5


def test_a_host_that_nothing_is_known_of_is_an_outage() -> None:
    with (
        opened("http://no-such-host.invalid:1", attempts=1) as backend,
        pytest.raises(BackendUnavailableError) as caught,
    ):
        read(backend)
    assert caught.value.code == "connection_refused"


def test_a_port_that_nobody_listens_on_is_an_outage(waits: Waits) -> None:
    host = f"127.0.0.1:{free_port()}"
    with opened(f"http://{host}", waits) as backend:
        with pytest.raises(
            BackendUnavailableError, match=f"^AWS Secrets Manager in .* could not be reached at {host} for"
        ) as caught:
            read(backend)
        assert len(waits.waited) == 2
    assert caught.value.code == "connection_refused"


def test_a_server_that_speaks_no_tls_is_no_outage(aws: FakeSecretsManager, waits: Waits) -> None:
    with opened(aws.url.replace("http:", "https:"), waits) as backend, pytest.raises(BackendError) as caught:
        read(backend)
    assert caught.value.code == "tls_failed"
    assert waits.waited == []


@pytest.mark.parametrize(
    ("status", "code"), [("400 Bad Request", "400"), ("404 Not Found", "404"), ("418 Teapot", "418")]
)
@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"no", b"{}"])
def test_a_refusal_that_the_service_cannot_have_written_is_named_by_its_status(
    waits: Waits, status: str, code: str, body: bytes
) -> None:
    with (
        raw_server(saying(response(status, body))) as url,
        opened(url, waits) as backend,
        pytest.raises(StrongroomError, match=code) as caught,
    ):
        read(backend)
    assert type(caught.value) is BackendError
    assert "endpoint" in caught.value.hint
    assert waits.waited == []


def test_a_denial_in_xml_as_an_emulator_writes_it_is_a_denial(waits: Waits) -> None:
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    answer = saying(response("403 Forbidden", body, b"Content-Type: text/xml\r\n"))
    with raw_server(answer) as url, opened(url, waits) as backend, pytest.raises(AccessDeniedError):
        read(backend)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"VersionId": "v", "SecretString": {{"x": "{MARKER}"}}}}'.encode(),
        f'{{"SecretString": "{MARKER}"}}'.encode(),
        f'{{"VersionId": "v", "SecretBinary": "{MARKER}"}}'.encode(),
        f'{{"VersionId": "v", "CreatedDate": "{MARKER}", "SecretString": "{MARKER}"}}'.encode(),
        f'{{"VersionId": "v", "SecretString": "{MARKER}'.encode(),
        f"<html>{MARKER}</html>".encode(),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Oops"])
def test_no_error_or_log_shows_what_an_answer_held(
    waits: Waits, caplog: pytest.LogCaptureFixture, body: bytes, status: str
) -> None:
    caplog.set_level("DEBUG")
    with (
        raw_server(saying(response(status, body))) as url,
        opened(url, waits) as backend,
        pytest.raises(StrongroomError) as caught,
    ):
        read(backend)
    assert_hidden(MARKER, report_of(caught.value, "strongroom_aws") + caplog.text, "the error or the log")
