"""The proxy itself: a fault that it does not make would leave a test without meaning."""

from __future__ import annotations

import socket
import threading
import time

from collections.abc import Iterator

import pytest

from faultproxy import FaultProxy

LIMIT = 10.0
ANSWER = b"x" * 2000


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """A proxy in front of a server that answers each byte with two thousand."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer(connection: socket.socket) -> None:
            with connection:
                while connection.recv(1):
                    connection.sendall(ANSWER)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        with FaultProxy(listening.getsockname()[1]) as proxy:
            yield proxy
        listening.shutdown(socket.SHUT_RDWR)


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=LIMIT)


def ask(connection: socket.socket) -> bytes:
    """Send a byte; return the answer, or as much of it as came before the connection was closed."""
    connection.sendall(b"?")
    return receive(connection)


def receive(connection: socket.socket) -> bytes:
    answer = b""
    while len(answer) < len(ANSWER) and (data := connection.recv(4096)):
        answer += data
    return answer


def test_without_a_fault_everything_is_passed_on(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
        assert ask(connection) == ANSWER
    assert proxy.accepted == 1


def test_a_reset_ends_new_connections_and_open_ones(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
        proxy.reset = True
        with pytest.raises(ConnectionError):
            ask(connection)
    with pytest.raises(ConnectionError), connect(proxy) as connection:
        ask(connection)
    proxy.heal()
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER


def test_a_closed_port_refuses_connections_until_it_is_open_again(proxy: FaultProxy) -> None:
    port = proxy.port
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            receive(connection)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.listen()
    assert proxy.port == port
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER


def test_dropping_resets_what_is_open(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
        proxy.drop_live()
        with pytest.raises(ConnectionError):
            receive(connection)
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER


def test_a_black_hole_keeps_everything_until_it_is_healed(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        proxy.blackhole = True
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(connection)
        proxy.heal()
        connection.settimeout(LIMIT)
        assert receive(connection) == ANSWER


def test_latency_delays_both_directions(proxy: FaultProxy) -> None:
    proxy.latency = 0.1
    with connect(proxy) as connection:
        start = time.monotonic()
        assert ask(connection) == ANSWER
        assert time.monotonic() - start >= 0.2


def test_a_low_bandwidth_stretches_the_answer(proxy: FaultProxy) -> None:
    proxy.bandwidth = 8_000
    with connect(proxy) as connection:
        start = time.monotonic()
        assert ask(connection) == ANSWER
        assert time.monotonic() - start >= len(ANSWER) / 8_000


def test_an_answer_is_cut_where_it_is_asked_to_be(proxy: FaultProxy) -> None:
    proxy.cut_after = 500
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER[:500]
