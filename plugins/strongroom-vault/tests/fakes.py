"""A server on loopback that speaks HTTP, answers as the test tells it to, and records each request.

It is for what a real server cannot be made to do. Connections live on between requests, as with a real one.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import struct
import threading
import time

from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TIME_LIMIT = 30.0


class Sent:
    """A request as it came in."""

    def __init__(self, method: str, path: str, headers: Mapping[str, str], body: bytes, peer: int) -> None:
        self.method = method
        self.path = path
        """With the query, still quoted."""
        self.headers = headers
        """Their names in any case; ``headers.get("x-vault-token")``."""
        self.body = body
        self.peer = peer
        """The client's port: the same for requests over one connection."""
        self.at = time.monotonic()

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.method} {self.path}>"


class Answer:
    """What comes back.

    Args:
        status: The HTTP status.
        body: A dict or list for JSON, else bytes or text.
        headers: Further headers.
        delay: Seconds before the first byte.
        drip: Seconds between single bytes of the body.
        cut: After how many bytes of the body the connection is reset.
        reset: The connection is reset instead of an answer.
    """

    def __init__(
        self,
        status: int = 200,
        body: Any = b"",
        headers: Mapping[str, str] | None = None,
        *,
        delay: float = 0.0,
        drip: float = 0.0,
        cut: int | None = None,
        reset: bool = False,
    ) -> None:
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        if not isinstance(self.body, bytes):
            self.body = json.dumps(self.body).encode()
        self.headers = dict(headers or {})
        self.delay = delay
        self.drip = drip
        self.cut = cut
        self.reset = reset


class _Rule:
    def __init__(self, method: str | None, prefix: str, answer: Callable[[Sent], Answer], times: int | None) -> None:
        self.method = method
        self.prefix = prefix
        self.answer = answer
        self.times = times

    def fits(self, sent: Sent) -> bool:
        return self.method in (None, sent.method) and sent.path.startswith(self.prefix) and self.times != 0


class FakeVault:
    """The server; ``with FakeVault() as vault:`` starts and stops it.

    Whatever no rule fits is answered with 404 and ``{"errors": []}``. Of several rules that fit, the one that
    was added last is taken.

    Args:
        tls: Makes it speak TLS.
        host: Where it listens.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Sent] = []
        self._tls = tls
        self._host = host
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: _Server | None = None
        self._placeholder: socket.socket | None = None
        self.port = 0
        self.up()

    @property
    def address(self) -> str:
        """Its URL."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}"

    def answer(
        self,
        method: str | None,
        prefix: str = "/",
        status: int = 200,
        body: Any = b"",
        headers: Mapping[str, str] | None = None,
        *,
        times: int | None = None,
        **how: Any,
    ) -> None:
        """Answer like this.

        Args:
            method: For this method; ``None`` for each.
            prefix: For paths that begin so, such as ``/v1/secret/data/``.
            status: See :class:`Answer`, as for the rest.
            body: A dict or list for JSON, else bytes or text.
            headers: Further headers.
            times: For so many requests only; without end unless given.
            how: ``delay``, ``drip``, ``cut`` or ``reset`` of :class:`Answer`.
        """
        answer = Answer(status, body, headers, **how)
        self.handle(method, prefix, lambda _: answer, times=times)

    def handle(
        self, method: str | None, prefix: str, function: Callable[[Sent], Answer], *, times: int | None = None
    ) -> None:
        """Let a function answer; it is called from several threads."""
        with self._lock:
            self._rules.append(_Rule(method, prefix, function, times))

    def sent(self, method: str | None = None, prefix: str = "/") -> list[Sent]:
        """Return the requests that came in with this method and a path that begins so."""
        return [one for one in self.requests if method in (None, one.method) and one.path.startswith(prefix)]

    def down(self) -> None:
        """Refuse connections, and cut those that are open; the port stays ours."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        self.cut()
        self._placeholder = socket.socket()
        self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._placeholder.bind((self._host, self.port))

    def up(self) -> None:
        """Accept connections, again."""
        if self._server is not None:
            return
        if self._placeholder is not None:
            self._placeholder.close()
        self._server = _Server(self, (self._host, self.port))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def cut(self) -> None:
        """Cut the connections that are open."""
        with self._lock:
            live = list(self._open)
        for one in live:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._open)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        if self._placeholder is not None:
            self._placeholder.close()

    def _take(self, sent: Sent) -> Answer:
        with self._lock:
            self.requests.append(sent)
            rule = next((rule for rule in reversed(self._rules) if rule.fits(sent)), None)
            if rule is not None and rule.times is not None:
                rule.times -= 1
        return rule.answer(sent) if rule is not None else Answer(404, {"errors": []})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, fake: FakeVault, where: tuple[str, int]) -> None:
        self.fake = fake
        super().__init__(where, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        fake = self.fake
        if fake._tls is not None:
            request.settimeout(TIME_LIMIT)
            request = fake._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            try:
                request.do_handshake()
            except ssl.SSLError:
                _close_gently(request)
                return
        with fake._lock:
            fake._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            with fake._lock:
                fake._open.discard(request)
            if fake._tls is not None:
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not worth a traceback."""


def _close_gently(connected: ssl.SSLSocket) -> None:
    """Let the client read why it was turned away: closing before it has stopped sending would be a reset."""
    connected.setblocking(False)
    end = time.monotonic() + 5.0
    with contextlib.suppress(OSError):
        while time.monotonic() < end:
            if select.select([connected], [], [], 0.1)[0] and not os.read(connected.fileno(), 65536):
                break
    connected.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = TIME_LIMIT
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = Sent(self.command, self.path, self.headers, self.rfile.read(length), self.client_address[1])
        answer = self.server.fake._take(sent)
        time.sleep(answer.delay)
        if answer.reset:
            self._reset()
            return
        self.send_response_only(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD" and answer.status not in (204, 304):
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        if answer.drip:
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(answer.drip)
            return
        self.wfile.write(answer.body[: answer.cut])
        if answer.cut is not None:
            self.wfile.flush()
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
