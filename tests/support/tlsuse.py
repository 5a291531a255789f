"""Secrets that are certificates, used for what they are there for: a real handshake over loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import tempfile
import threading

from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIME_LIMIT = 10.0


def members_of(text: str) -> dict[str, str]:
    """Return certificate, private key and chain of a secret in either format, each in PEM."""
    if text.startswith("{"):
        found: dict[str, str] = json.loads(text)
        return found
    key, *rest = (part + "-----END" + end for part, end in _parts(text))
    return {"private_key": key, "certificate": rest[0], "chain": "".join(rest[1:])}


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split("-----BEGIN")[1:]:
        begin, _, end = ("-----BEGIN" + part).partition("-----END")
        yield begin, end


def shown_by(text: str, *, server: bool, trusted: str | None = None) -> ssl.SSLContext:
    """Return a context that shows the certificate of a secret.

    Args:
        text: The secret's value.
        server: Whether it is a server's.
        trusted: The authority, in PEM, that the other side's certificate must be of; none is asked for without it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    members = members_of(text)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "all.pem")
        file.touch(0o600)
        file.write_text(members["private_key"] + "\n" + members["certificate"] + "\n" + members["chain"])
        context.load_cert_chain(file)
    if trusted is not None:
        context.load_verify_locations(cadata=trusted)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_of(trusted: str) -> ssl.SSLContext:
    """Return the context of a client without a certificate that trusts one authority, in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trusted)
    return context


@contextlib.contextmanager
def served(context: ssl.SSLContext) -> Iterator[int]:
    """Serve one connection on loopback; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIME_LIMIT)

        def serve() -> None:
            # The client says what went wrong.
            with contextlib.suppress(OSError), listener.accept()[0] as raw:
                raw.settimeout(TIME_LIMIT)
                with context.wrap_socket(raw, server_side=True) as secured:
                    secured.sendall(b"hello")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> Any:
    """Shake hands over loopback and read what the server says; return the server's certificate as ``ssl`` tells it.

    Raises:
        ssl.SSLError: One side does not accept the other.
    """
    with (
        served(server) as port,
        socket.create_connection(("127.0.0.1", port), timeout=TIME_LIMIT) as raw,
        client.wrap_socket(raw, server_hostname=name) as secured,
    ):
        # In TLS 1.3 a server that does not accept the client's certificate says so only now.
        assert secured.recv(16) == b"hello"
        return secured.getpeercert()
