"""Syslog servers within the test: one that keeps what it is sent, and such as do what no real daemon shows."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading

from collections.abc import Callable, Iterator
from pathlib import Path

import rfc5424

from rsyslog import until
from strongroom.contracts import AuditSink, AuditWrite, Health
from strongroom.model import AuditEvent

TRANSPORTS = ("tcp", "tls", "udp", "datagrams", "stream")
"""The last two are local sockets."""
TIME_LIMIT = 20.0


class Collector:
    """Takes messages and writes each into a file, one line of hexadecimal digits each, so that other processes see it.

    Args:
        folder: Where its files go.
        transport: One of ``TRANSPORTS``.
        context: For ``tls``.

    Attributes:
        address: What the sink connects to.
        torn: What connections that have ended left over.
        connections: How many there were.
    """

    def __init__(self, folder: Path, transport: str, context: ssl.SSLContext | None = None) -> None:
        self.transport = transport
        self.torn: list[bytes] = []
        self.connections = 0
        self._context = context
        self._file = folder / "collected"
        self._file.touch()
        self._output = os.open(self._file, os.O_WRONLY | os.O_APPEND)
        self._open: list[socket.socket] = []
        self._path = folder / "log"
        self._listener = self._bound()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _bound(self) -> socket.socket:
        kind = socket.SOCK_DGRAM if self.transport in {"udp", "datagrams"} else socket.SOCK_STREAM
        if self.transport in {"datagrams", "stream"}:
            made = socket.socket(socket.AF_UNIX, kind)
            made.bind(str(self._path))
            self.address = f"unix://{self._path}"
        else:
            made = socket.socket(socket.AF_INET, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
            made.bind(("127.0.0.1", 0))
            self.address = f"{self.transport}://127.0.0.1:{made.getsockname()[1]}"
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        return made

    def _run(self) -> None:
        if self._listener.type == socket.SOCK_DGRAM:
            self._take_datagrams()
            return
        with contextlib.suppress(OSError):
            while True:
                made = self._listener.accept()[0]
                self.connections += 1
                self._open.append(made)
                threading.Thread(target=self._read, args=(made,), daemon=True).start()

    def _take_datagrams(self) -> None:
        # Nothing else wakes who waits for a datagram.
        self._listener.settimeout(0.02)
        while not self._closed:
            with contextlib.suppress(TimeoutError):
                self._keep([self._listener.recv(65536)])

    def _read(self, made: socket.socket) -> None:
        rest = b""
        split = rfc5424.lines if self.transport == "stream" else rfc5424.counted
        with contextlib.suppress(OSError):
            if self._context is not None:
                made = self._context.wrap_socket(made, server_side=True)
            while data := made.recv(65536):
                whole, rest = split(rest + data)
                self._keep(whole)
        self.torn.append(rest)
        made.close()

    def _keep(self, messages: list[bytes]) -> None:
        os.write(self._output, b"".join(message.hex().encode() + b"\n" for message in messages))

    def messages(self) -> list[bytes]:
        """Return what was sent, in the order in which it came."""
        whole = self._file.read_bytes().rpartition(b"\n")[0]
        return [bytes.fromhex(line.decode()) for line in whole.splitlines()]

    def events(self) -> list[AuditEvent]:
        """Return the events that were sent."""
        return rfc5424.events(self.messages())

    def wait_for(self, count: int) -> list[AuditEvent]:
        """Wait until so many messages have come, and return the events of all."""
        until(lambda: len(self.messages()) >= count, lambda: f"{len(self.messages())} of {count} have come")
        return self.events()

    def hang_up(self) -> None:
        """Close every connection."""
        for made in self._open:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """End it."""
        self._closed = True
        if self._listener.type == socket.SOCK_STREAM:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(TIME_LIMIT)
        self._listener.close()
        self.hang_up()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def collecting(folder: Path, transport: str, context: ssl.SSLContext | None = None) -> Iterator[Collector]:
    """Start a collector, and end it in the end; see :class:`Collector`."""
    folder.mkdir(exist_ok=True)
    collector = Collector(folder, transport, context)
    try:
        yield collector
    finally:
        collector.close()


class Arriving(AuditSink):
    """A sink whose writes return once the messages have arrived, so that the order in which they come is known.

    Args:
        sink: Sends them.
        collector: Where they arrive.
    """

    def __init__(self, sink: AuditSink, collector: Collector) -> None:
        self._sink = sink
        self._collector = collector

    def write(self, request: AuditWrite) -> None:
        before = len(self._collector.messages())
        self._sink.write(request)
        self._collector.wait_for(before + len(request.events))

    def health(self) -> Health:
        return self._sink.health()

    def after_fork(self) -> None:
        self._sink.after_fork()

    def close(self) -> None:
        self._sink.close()


@contextlib.contextmanager
def serving(handle: Callable[[socket.socket, int], None], *, buffer: int | None = None) -> Iterator[int]:
    """Serve connections on loopback, each in a thread; yield the port.

    Args:
        handle: Gets a connection and its number, from 1; the connection is closed after it.
        buffer: The size of the receive buffer of each, in bytes.
    """
    with socket.socket() as listener:
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)

        def run(made: socket.socket, number: int) -> None:
            with contextlib.suppress(OSError), made:
                made.settimeout(TIME_LIMIT)
                handle(made, number)

        def accept() -> None:
            number = 0
            with contextlib.suppress(OSError):
                while True:
                    made = listener.accept()[0]
                    number += 1
                    threading.Thread(target=run, args=(made, number), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def server_context(certificate: Path, key: Path, *, clients_of: Path | None = None) -> ssl.SSLContext:
    """Return a server's context.

    Args:
        certificate: Its own, in PEM.
        key: Its key.
        clients_of: The authority that a client's certificate must be of; none is asked for without it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients_of is not None:
        context.load_verify_locations(clients_of)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
