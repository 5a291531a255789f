"""What tests of rotations in PostgreSQL share: users, settings, logins, and a server that refuses passwords."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
import uuid

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postgres import PASSWORD, Database

ADMIN_VARIABLE = "POSTGRES_ADMIN_OF_THIS_TEST"
FIRST = "the-first-password"
REFUSAL = "22023"
DEBIAN = Path("/usr/lib/postgresql")
_NO_STARTUP = (80877103, 80877104)
"""Requests for TLS and for GSS encryption, after which the client starts anew."""


def new_users(database: Database, count: int, options: str = "") -> list[str]:
    """Make users of a test's own, who all have the first password, and return their names."""
    mark = uuid.uuid4().hex[:10]
    users = [f"app_{mark}_{number}" for number in range(count)]
    for user in users:
        database.query(f"CREATE ROLE {user} LOGIN PASSWORD '{FIRST}' {options}")
    return users


def login(user: str, password: str = FIRST, **more: Any) -> str:
    """Return a secret's value."""
    return json.dumps({"engine": "postgres", "username": user, "password": password, **more})


def accepts(database: Database, value: str | bytes) -> bool:
    """Tell whether the server lets somebody in with what a value says."""
    import psycopg

    content = json.loads(value)
    try:
        with psycopg.connect(
            host="127.0.0.1",
            port=database.port,
            dbname="postgres",
            user=content["username"],
            password=content["password"],
        ) as connection:
            return connection.execute("SELECT session_user").fetchone() == (content["username"],)
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise
        return False


def rule(database: Database, users: list[str], **more: Any) -> dict[str, Any]:
    """Return a ``[rotation]`` table with the superuser as the administrator.

    Its password comes from a variable, which :func:`administrator` sets.
    """
    return {
        "rotator": "postgres",
        "users": users,
        "host": "127.0.0.1",
        "port": database.port,
        "admin_user": "postgres",
        "admin_password": {"env": ADMIN_VARIABLE},
        "overlap": "0s",
    } | more


@contextlib.contextmanager
def administrator() -> Iterator[None]:
    """Let the administrator's password be in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADMIN_VARIABLE, PASSWORD)
        yield


def with_passwordcheck() -> Path:
    """Return the programs of a PostgreSQL that has the module ``passwordcheck``, or skip the test."""
    found = sorted(DEBIAN.glob("*/lib/passwordcheck.so"))
    if not found:
        pytest.skip("only for a PostgreSQL of the system's, which has the module passwordcheck")
    return found[-1].parent.parent / "bin"


class RefusingProxy:
    """Passes a client's messages on to a server, but answers some changes of passwords with a refusal.

    Args:
        upstream: The server's port.
        refusals: How many are refused.
        state: The SQLSTATE of the refusal.

    Attributes:
        port: Its own port.
        changes: The statements that would have changed a password, refused or not.
    """

    def __init__(self, upstream: int, refusals: int, state: str = REFUSAL) -> None:
        self._upstream = upstream
        self._left = refusals
        self._state = state
        self.changes: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> RefusingProxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()

    def refuse(self, count: int) -> None:
        """Refuse so many more."""
        self._left = count

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                for target in (self._up, self._down):
                    threading.Thread(target=target, args=(client, server), daemon=True).start()

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(65536):
                client.sendall(piece)
            client.shutdown(socket.SHUT_RDWR)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client.makefile("rb") as messages:
            for number in itertools.count():
                kind = messages.read(1) if number else b""
                head = messages.read(4)
                if len(head) < 4:
                    break
                body = messages.read(struct.unpack("!i", head)[0] - 4)
                assert number or struct.unpack("!i", body[:4])[0] not in _NO_STARTUP, "say sslmode = disable"
                if kind == b"Q" and b"ALTER ROLE" in body and self._refuses(body):
                    client.sendall(self._refusal())
                else:
                    server.sendall(kind + head + body)
            server.shutdown(socket.SHUT_RDWR)

    def _refuses(self, statement: bytes) -> bool:
        self.changes.append(statement.rstrip(b"\0"))
        self._left -= 1
        return self._left >= 0

    def _refusal(self) -> bytes:
        fields = f"SERROR\0VERROR\0C{self._state}\0Mthe password {FIRST} is too weak\0\0".encode()
        return b"E" + struct.pack("!i", len(fields) + 4) + fields + b"Z" + struct.pack("!i", 5) + b"E"
