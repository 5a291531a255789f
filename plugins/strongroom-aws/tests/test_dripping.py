"""An answer that comes in drops, each soon enough, is not waited for beyond the time limit."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from collections.abc import Iterator

import pytest

from awsbackends import opened, read
from fakeaws import FakeSecretsManager
from strongroom.errors import BackendUnavailableError
from strongroom.testing import FakeClock
from strongroom_aws.dripping import unless

HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/x-amz-json-1.1\r\n"
DROPS = 100


@contextlib.contextmanager
def dripping(status: bytes, framing: bytes) -> Iterator[str]:
    """Serve an answer of so many drops, a tenth of a second apart."""
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(HEAD % status + framing)
            for _ in range(DROPS):
                connection.sendall(b" ")
                if done.wait(0.1):
                    return

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("status", "framing"),
    [
        (b"200 OK", b"Content-Length: 1000\r\n\r\n"),
        (b"200 OK", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"),
        (b"200 OK", b"\r\n"),
        (b"400 Bad Request", b"Content-Length: 1000\r\n\r\n"),
    ],
    ids=["of a known length", "in one chunk", "until the connection ends", "that is a refusal"],
)
def test_it_is_given_up_when_the_time_is_over(status: bytes, framing: bytes) -> None:
    limits = {"timeout": 1.0, "connect_timeout": 0.2, "read_timeout": 0.5}
    with dripping(status, framing) as url, opened(url, attempts=1, **limits) as backend:
        start = time.monotonic()
        with pytest.raises(BackendUnavailableError) as caught:
            read(backend)
        assert caught.value.code == "timeout"
        assert 1.0 <= time.monotonic() - start < 1.0 + limits["read_timeout"] + 1.0


def test_so_are_credentials_that_come_in_drops(aws: FakeSecretsManager) -> None:
    limits = {"timeout": 1.0, "connect_timeout": 0.2, "read_timeout": 0.5}
    role = {"role_arn": "arn:aws:iam::123456789012:role/app"}
    with (
        dripping(b"200 OK", b"Content-Length: 1000\r\n\r\n") as url,
        opened(aws.url, attempts=1, sts_endpoint=url, **role, **limits) as backend,
    ):
        start = time.monotonic()
        with pytest.raises(BackendUnavailableError) as caught:
            read(backend)
        assert caught.value.code == "timeout"
        assert time.monotonic() - start < 1.0 + limits["read_timeout"] + 1.0


def test_an_answer_within_the_time_is_whole_and_leaves_its_connection_for_the_next(aws: FakeSecretsManager) -> None:
    value = "".join(chr(65 + index % 26) for index in range(65_536))
    aws.client().create_secret(Name="app/key", SecretString=value)
    aws.requests.clear()
    with opened(aws.url) as backend:
        assert [read(backend) for _ in range(3)] == [value] * 3
    assert len({request.peer for request in aws.requests}) == 1


def test_a_limit_within_a_limit_ends_with_it() -> None:
    from strongroom_aws.dripping import _HERE  # a signal's handler may read in the midst of a read

    clock = FakeClock()
    with unless(lambda: clock.monotonic() > 5.0):
        outer = _HERE.is_late
        with unless(lambda: True):
            assert _HERE.is_late is not outer
        assert _HERE.is_late is outer
    assert _HERE.is_late is None
