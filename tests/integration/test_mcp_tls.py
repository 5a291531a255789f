"""Actions that call a server over TLS: it proves who it is before it is sent a token."""

from __future__ import annotations

import ssl
import threading

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from certificates import Authority
from mcpsites import PLAIN, SECRETS, action, site

UNREACHED = "the server could not be reached, or its certificate is not trusted"


@contextmanager
def secure(authority: Authority, host: str) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the address of a server with a certificate for 127.0.0.1, and the tokens that it has been sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers["X-Token"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"welcome {self.headers['X-Token']}".encode())

        def log_message(self, *_: Any) -> None:
            """Tell nobody."""

    tokens: list[str | None] = []
    issued = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    server = ThreadingHTTPServer((host, 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"https://{host}:{server.server_address[1]}/", tokens
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def look(folder: Path, url: str, ca_file: Path | None) -> str:
    """Return what a model gets of a server."""
    trusted = str(ca_file) if ca_file is not None else None
    with site(folder, look=action(url=url, headers={"X-Token": PLAIN}, ca_file=trusted)) as one:
        return one.text("look")


def test_a_server_that_proves_who_it_is_gets_the_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with secure(authority, "127.0.0.1") as (url, tokens):
        assert look(tmp_path, url, authority.file) == "HTTP status 200\nwelcome [masked]"
    assert tokens == [SECRETS["db/plain"]]


def test_a_server_that_does_not_gets_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    with secure(authority, "127.0.0.1") as (url, tokens), secure(authority, "127.0.0.2") as (elsewhere, others):
        assert look(tmp_path, url, None) == UNREACHED
        assert look(tmp_path, url, other.file) == UNREACHED
        assert look(tmp_path, elsewhere, authority.file) == UNREACHED  # its certificate is for another address
    assert tokens == others == []
