"""HTTP as it must not be: too much, too slowly, in pieces, malformed. Nothing of it harms anybody else."""

from __future__ import annotations

import socket
import time

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents import TOKEN, Line, RunningAgent, filled, memory_of, running, settings
from dashboards import wait_until

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /v1/get HTTP/1.1\r\nHost: localhost\r\nX-Strongroom-Request: true\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
)
BODY = b'{"name": "db/password"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """An agent with short limits, which the tests of this module share."""
    short = settings(
        tmp_path_factory.mktemp("agent"),
        header_timeout=0.3,
        body_timeout=0.3,
        idle_timeout=0.5,
        write_timeout=0.5,
        max_connections=40,
        max_request_bytes=4096,
        max_header_bytes=2048,
        requests_per_second=1e6,
        burst=10**6,
    )
    with running(short, filled()) as started:
        yield started


@pytest.fixture(autouse=True)
def _others_are_served(server: RunningAgent) -> Iterator[None]:
    """After whatever a test has sent, another caller gets an answer."""
    yield
    assert server.get("db/password").json()["value"] == "s3cret"


def test_a_header_that_comes_too_slowly_ends_the_connection(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(HEAD)
        answer = line.rest()
    assert b" 408 " in answer
    assert b"too_slow" in answer


def test_a_header_that_comes_byte_by_byte_has_no_longer(server: RunningAgent) -> None:
    with Line(server.here) as line:
        ended = False
        for byte in HEAD * 20:
            try:
                line.socket.sendall(bytes([byte]))
            except OSError:
                ended = True
                break
            time.sleep(0.02)
    assert ended


def test_a_connection_without_a_request_is_ended(server: RunningAgent) -> None:
    with Line(server.here) as line:
        assert line.rest() == b""


def test_empty_lines_are_no_request(server: RunningAgent) -> None:
    with Line(server.here) as line:
        ended = False
        for _ in range(200):
            try:
                line.socket.sendall(b"\r\n")
            except OSError:
                ended = True
                break
            time.sleep(0.02)
    assert ended


def test_a_body_that_comes_too_slowly_ends_the_connection(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(POST + b"Content-Length: 100\r\n\r\n" + b'{"name"')
        assert b" 408 " in line.rest()


def test_a_connection_that_is_idle_is_ended_and_one_in_use_is_not(server: RunningAgent) -> None:
    with Line(server.here) as line:
        for _ in range(4):
            line.send(HEAD + b"\r\n")
            assert line.reply().status == 200
            time.sleep(0.25)
        assert line.rest() == b""


def test_who_does_not_take_what_it_is_sent_is_cut_off(server: RunningAgent) -> None:
    with Line(server.path) as line:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        line.socket.settimeout(0.2)
        for _ in range(4000):
            try:
                line.socket.sendall((HEAD + b"\r\n") * 10)
            except TimeoutError:
                break
            except OSError:
                return
        line.socket.settimeout(20)
        assert len(line.rest()) < 8_000_000


def test_a_header_that_is_too_large_is_refused(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(HEAD + b"X: " + b"y" * 3000 + b"\r\n\r\n")
        assert b" 431 " in line.rest()


def test_a_header_without_an_end_is_refused(server: RunningAgent) -> None:
    with Line(server.here) as line:
        for _ in range(100):
            line.send(b"G" if _ == 0 else b"y" * 1000)
        assert b" 4" in line.rest()[:20]


def test_a_path_without_an_end_is_refused(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(b"GET /" + b"y" * 100_000)
        assert b" 431 " in line.rest()


def test_too_many_headers_are_refused(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(HEAD + b"a:b\r\n" * 120 + b"\r\n")
        assert b" 431 " in line.rest()


@pytest.mark.parametrize("length", [b"4097", b"99999999999999"])
def test_a_body_that_is_said_to_be_too_large_is_refused_unread(server: RunningAgent, length: bytes) -> None:
    with Line(server.here) as line:
        line.send(POST + b"Content-Length: " + length + b"\r\n\r\n")
        assert b" 413 " in line.rest()


def test_a_body_in_pieces_that_are_too_large_together_is_refused(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            line.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert b" 413 " in line.rest()


def test_a_body_in_pieces_is_put_together(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for byte in BODY:
            line.send(b"1\r\n" + bytes([byte]) + b"\r\n")
        line.send(b"0\r\n\r\n")
        assert line.reply().json()["value"] == "s3cret"


def test_a_body_is_sent_when_it_is_asked_for(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert line.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        line.send(BODY)
        assert line.reply().json()["value"] == "s3cret"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length: 5\r\n folded\r\n",
        b"Upgrade: h2c\r\nConnection: upgrade\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"X: a\x00b\r\n",
        b"X\x00: a\r\n",
        b": a\r\n",
    ],
)
def test_what_two_programs_could_understand_in_two_ways_is_refused(server: RunningAgent, lines: bytes) -> None:
    with Line(server.here) as line:
        line.send(POST + lines + b"\r\nhello")
        assert line.rest().split(b" ", 2)[1] == b"400"


@pytest.mark.parametrize(
    "first",
    [
        b"GET http://localhost/healthz HTTP/1.1",
        b"GET http://evil.example/ HTTP/1.1",
        b"CONNECT localhost:443 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET healthz HTTP/1.1",
        b"GET /healthz HTTP/0.9",
        b"GET /healthz HTTP/2.0",
        b"GET /healthz HTTP/1.2",
        b"GET /healthz",
        b"NONSENSE /healthz HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_request_of_ours_is_refused(server: RunningAgent, first: bytes) -> None:
    with Line(server.here) as line:
        line.send(first + b"\r\nHost: localhost\r\n\r\n")
        assert line.rest().split(b" ", 2)[1] in {b"400", b"505"}


def test_an_old_client_is_answered_once(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
        answer = line.rest()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


def test_an_old_client_sends_no_body_in_pieces(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send(POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n\r\n17\r\n" + BODY)
        assert line.rest().split(b" ", 2)[1] == b"400"


def test_what_comes_behind_the_body_is_no_header_of_the_request(server: RunningAgent) -> None:
    head, _, credentials = POST.partition(b"X-Strongroom-Request")
    with Line(server.here) as line:
        line.send(head + b"Transfer-Encoding: chunked\r\n\r\n17\r\n" + BODY + b"\r\n0\r\n")
        line.send(b"X-Strongroom-Request" + credentials + b"\r\n")
        answer = line.rest()
    assert answer.split(b" ", 2)[1] == b"400"
    assert b"s3cret" not in answer


@pytest.mark.parametrize("frame", [b"1;", b"0\r\nX: "])
def test_what_frames_a_body_without_an_end_is_refused(server: RunningAgent, frame: bytes) -> None:
    with Line(server.here) as line:
        line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + frame)
        for _ in range(20):
            line.send(b"y" * 60_000)
        assert b" 413 " in line.rest()


def test_requests_that_wait_have_no_more_together_than_one_may_have(server: RunningAgent) -> None:
    body = BODY + b" " * 3000
    with Line(server.here) as line:
        line.send((POST + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 4)
        assert line.rest().count(b"200 OK") < 4


def test_who_leaves_the_last_of_an_answer_is_not_waited_for(server: RunningAgent) -> None:
    """Less than what counts as too much to be sent, and more than the system takes."""
    question = b"GET /metrics HTTP/1.1\r\n" + POST.partition(b"\r\n")[2] + b"\r\n"
    answers, connections = server.state.tally.answers, server.server.server_state.connections
    with Line(server.here) as line:
        mine = line.socket.getsockname()
        line.send(question)
        line.reply()
        [connection] = [one for one in list(connections) if one.client == mine]
        while not _is_stuck(connection):
            before = sum(answers.values())
            line.send(question)
            wait_until(lambda before=before: sum(answers.values()) > before)
        assert not connection.flow.write_paused
        wait_until(lambda: connection not in connections)


def _is_stuck(connection) -> bool:
    """Tell whether there is something to send that nobody takes; what the system is about to take does not count."""
    for _ in range(10):
        if not connection.transport.get_write_buffer_size():
            return False
        time.sleep(0.01)
    return True


def test_requests_in_a_row_are_answered_in_their_order(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send((HEAD + b"\r\n") + POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY + (HEAD + b"\r\n"))
        assert [line.reply().body[:2] for _ in range(3)] == [b"ok", b'{"', b"ok"]


def test_a_row_that_is_too_long_ends_the_connection(server: RunningAgent) -> None:
    with Line(server.here) as line:
        line.send((HEAD + b"\r\n") * 1000)
        assert line.rest().count(b"200 OK") < 1000


def test_more_connections_than_allowed_are_told_to_come_back(server: RunningAgent) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(server.here)) for _ in range(60)]
        answers = [line.rest() for line in lines]
    refused = [answer for answer in answers if b" 503 " in answer]
    assert len(refused) >= 20
    assert all(b"too_many_connections" in answer for answer in refused)


def test_a_flood_of_connections_is_not_even_told(tmp_path: Path) -> None:
    """Each that is told stays open for a moment, and those moments would add up."""
    with running(settings(tmp_path, max_connections=5), filled()) as agent, ExitStack() as stack:
        lines = [stack.enter_context(Line(agent.here)) for _ in range(400)]
        for line in lines[:5]:
            line.socket.close()
        answers = [line.rest() for line in lines[5:]]
    assert b"" in answers
    assert any(b" 503 " in answer for answer in answers)


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [
                    HEAD,
                    POST,
                    BODY,
                    b"\r\n",
                    b"\r\n\r\n",
                    b"Content-Length: 23\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"17\r\n",
                    b"0\r\n\r\n",
                    b"Expect: 100-continue\r\n",
                    b"Connection: close\r\n",
                    b"Upgrade: x\r\n",
                    b"GET /metrics HTTP/1.1\r\n",
                    b"HEAD /readyz HTTP/1.0\r\n",
                    b"{" * 50,
                ]
            ),
        ),
        max_size=12,
    )
)
def test_whatever_is_sent_is_never_an_error_of_the_agents(server: RunningAgent, pieces: list[bytes]) -> None:
    with Line(server.path) as line:
        for piece in pieces:
            line.send(piece)
        line.socket.shutdown(socket.SHUT_WR) if len(pieces) % 2 else None
        answer = line.rest()
    assert b"HTTP/1.1 500" not in answer
    assert b"Traceback" not in answer
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")


def test_memory_stays_bounded_whatever_is_sent(server: RunningAgent) -> None:
    own = Path("/proc/self").resolve().name
    before = memory_of(int(own))
    for _ in range(20):
        with Line(server.here) as line:
            for _ in range(40):
                line.send(b"GET /" + b"y" * 60_000)
        with Line(server.here) as line:
            line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffffff\r\n")
            for _ in range(40):
                line.send(b"x" * 60_000)
    assert memory_of(int(own)) - before < 50_000_000
