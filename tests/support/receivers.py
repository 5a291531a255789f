"""A server on this machine that receives what webhooks post."""

from __future__ import annotations

import ssl
import threading

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(BaseHTTPRequestHandler):
    """Notes each request and answers as the server is told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.seen.append((self.path, self.headers, body))
        server.behave(self)

    def log_message(self, *_: object) -> None:
        return


def answering(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return how to answer with a status and nothing else."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return behave


class Server(ThreadingHTTPServer):
    """Notes path, headers and body of each request in ``seen``, and answers as ``behave`` does."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.seen: list[Any] = []
        self.behave: Callable[[BaseHTTPRequestHandler], None] = answering(204)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        return

    def url(self, path: str = "/hook?a=1", scheme: str = "http", host: str = "127.0.0.1") -> str:
        """Return an address of this server."""
        return f"{scheme}://{host}:{self.server_address[1]}{path}"
