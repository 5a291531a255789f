"""Keys of a transit engine for the kit's checks: a key that signs is not made by being used."""

from __future__ import annotations

import secrets

from typing import ClassVar, Literal

import pytest

from openbao import Server
from strongroom.model import SecretName
from strongroom.testing.backend_encrypting import KeyMaker

KEY_TYPES = {"encrypting": "aes256-gcm96", "signing": "ed25519"}


class TransitKeys:
    """Mix this in before the kit's checks.

    Attributes:
        transit: Where the engine is mounted.
    """

    transit: ClassVar[str] = "transit"

    @pytest.fixture
    def make_key(self, server: Server) -> KeyMaker:
        if f"{self.transit}/" not in server.ok("GET", "sys/mounts")["data"]:
            server.mount(self.transit, "transit")

        def make(purpose: Literal["encrypting", "signing"]) -> SecretName:
            return new_key(server, KEY_TYPES[purpose], mount=self.transit)

        return make


def new_key(server: Server, type: str = "aes256-gcm96", *, mount: str = "transit", **options: object) -> SecretName:
    """Make a key that is nobody else's."""
    name = f"key-{secrets.token_hex(6)}"
    server.ok("POST", f"{mount}/keys/{name}", {"type": type, **options})
    return SecretName(name)
