"""The fake of Secrets Manager behind TLS."""

from __future__ import annotations

import ssl
import uuid

from typing import Any

from awsclient import REGION
from certificates import Authority
from fakeaws import FakeSecretsManager


class SecureAws(FakeSecretsManager):
    """The fake, behind TLS.

    Args:
        authority: Signs its certificate, for ``localhost`` and 127.0.0.1.
    """

    def __init__(self, authority: Authority) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made = authority.issue("server")
        self._context.load_cert_chain(made.certificate, made.key)
        self.handshakes = 0
        """How many connections were begun, those that failed included."""
        super().__init__()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.port}"

    def put(self, name: str, value: str) -> None:
        """Create a secret."""
        request = {"Name": name, "SecretString": value, "ClientRequestToken": uuid.uuid4().hex}
        self.operations.CreateSecret(REGION, request)

    def up(self) -> None:
        """Accept connections, again."""
        super().up()
        assert self._server is not None
        listening = self._server.socket
        context = self._context

        def accept() -> Any:
            connection, address = listening.accept()
            self.handshakes += 1
            connection.settimeout(10)
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        self._server.get_request = accept  # type: ignore[method-assign]  # of this one server
