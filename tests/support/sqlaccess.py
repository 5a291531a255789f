"""What tests of logins that follow a secret share: a store, users of a PostgreSQL, and a count of the logins."""

from __future__ import annotations

import json
import uuid

from typing import Any

from postgres import Database
from strongroom.contracts import (
    Backend,
    Capability,
    DeleteRequest,
    DeleteResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom.model import SecretValue

NAME = "db/app"


class Held(Backend):
    """Holds secrets that a test changes, and notes each read.

    Attributes:
        reads: The names that were read.
        is_out: Whether it gives no answer.
    """

    address = "held"
    capabilities = frozenset({Capability.WRITE})

    def __init__(self) -> None:
        self._held: dict[str, tuple[SecretValue, int]] = {}
        self.reads: list[str] = []
        self.is_out = False

    def read(self, request: ReadRequest) -> ReadResult:
        self.reads.append(request.name)
        if self.is_out:
            raise BackendUnavailableError("no answer", backend="held")
        if request.name not in self._held:
            raise SecretNotFoundError(f"there is no secret {request.name}", name=request.name)
        value, version = self._held[request.name]
        return ReadResult(value=value, version=str(version))

    def write(self, request: WriteRequest) -> WriteResult:
        return WriteResult(version=self.put(request.name, request.value))

    def delete(self, request: DeleteRequest) -> DeleteResult:
        return DeleteResult(existed=self._held.pop(request.name, None) is not None)

    def put(self, name: str, value: SecretValue | str) -> str:
        """Change a secret past the manager, as another program does."""
        content = value if isinstance(value, SecretValue) else SecretValue(value)
        version = self._held[name][1] + 1 if name in self._held else 1
        self._held[name] = (content, version)
        return str(version)


class User:
    """A user of a server's, with a password that a test changes.

    Attributes:
        name: The user's name.
        password: What the server lets it in with.
    """

    def __init__(self, server: Database) -> None:
        self._server = server
        self.name = f"app_{uuid.uuid4().hex[:10]}"
        server.query(f"CREATE ROLE {self.name} LOGIN")
        self.password = ""
        self.change()

    def change(self) -> None:
        """Give it another password, of which the secret knows nothing yet."""
        password = f"secret-{uuid.uuid4().hex}"
        self._server.query(f"ALTER ROLE {self.name} PASSWORD '{password}'")
        self.password = password

    def login(self, **more: Any) -> str:
        """Return the secret's value."""
        return json.dumps({"username": self.name, "password": self.password, **more})
