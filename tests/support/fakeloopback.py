"""A server on loopback that speaks HTTP/1.1 and keeps connections, as the ground for fakes of AWS."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

IDLE_LIMIT = 60.0


class Incoming:
    """A request as it came in."""

    def __init__(self, method: str, path: str, headers: Any, body: bytes, peer: int) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        """Their names in any case."""
        self.body = body
        self.peer = peer
        """The client's port: the same for requests over one connection."""


class Reply:
    """What comes back.

    Args:
        status: The HTTP status.
        body: The whole body.
        headers: Further headers.
        how: What happens to it on the way: ``reset`` and ``close`` end the connection without an answer, ``hang``
            never answers, ``cut`` resets it amidst the body; nothing by default.
    """

    def __init__(
        self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None, *, how: str = ""
    ) -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        self.how = how


class Loopback:
    """The server; ``with`` starts and stops it. A subclass answers in :meth:`respond`, called from many threads.

    Args:
        tls: Makes it speak TLS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.stopping = threading.Event()
        self.port = 0
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._server: _Server | None = None
        self._placeholder: socket.socket | None = None
        self.up()

    def respond(self, incoming: Incoming) -> Reply:
        """Return the answer to a request."""
        raise AssertionError("a fake says what it answers")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._guard:
            return len(self._open)

    def up(self) -> None:
        """Accept connections, again."""
        if self._server is not None:
            return
        if self._placeholder is not None:
            self._placeholder.close()
        self.stopping.clear()
        self._server = _Server(self, ("127.0.0.1", self.port))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and cut those that are open; the port stays ours."""
        server, self._server = self._server, None
        if server is None:
            return
        self.stopping.set()
        server.shutdown()
        server.server_close()
        self.cut()
        self._placeholder = socket.socket()
        self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._placeholder.bind(("127.0.0.1", self.port))

    def cut(self) -> None:
        """Cut the connections that are open."""
        with self._guard:
            live = list(self._open)
        for one in live:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        if self._placeholder is not None:
            self._placeholder.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, fake: Loopback, where: tuple[str, int]) -> None:
        self.fake = fake
        super().__init__(where, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.fake.tls is not None:
            request.settimeout(IDLE_LIMIT)
            request = self.fake.tls.wrap_socket(request, server_side=True)
        with self.fake._guard:
            self.fake._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with self.fake._guard:
                self.fake._open.discard(request)
            if self.fake.tls is not None:
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = IDLE_LIMIT
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        reply = self.server.fake.respond(Incoming(self.command, self.path, self.headers, body, self.client_address[1]))
        if reply.how in {"reset", "close", "hang"}:
            self._drop(reply.how)
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.how == "cut":
            self.wfile.write(reply.body[: len(reply.body) // 2])
            self.wfile.flush()
            time.sleep(0.05)  # a reset may overtake what was sent: the client shall see the beginning
            self._drop("reset")
            return
        self.wfile.write(reply.body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _drop(self, how: str) -> None:
        self.close_connection = True
        if how == "hang":
            fake = self.server.fake
            while not fake.stopping.is_set() and not select.select([self.connection], [], [], 0.05)[0]:
                pass
        if how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
