"""The backend: a Vault or OpenBao."""

from __future__ import annotations

from typing import Self

from strongroom.contracts import Backend
from strongroom_vault.settings import VaultSettings
from strongroom_vault.target import resolve
from strongroom_vault.transport import Transport


class VaultBackend(Backend):
    """Keeps secrets in a Vault or OpenBao. ``open`` is the way to get one.

    Args:
        settings: Its settings.
        transport: The way to the server.
    """

    def __init__(self, settings: VaultSettings, transport: Transport) -> None:
        self.address = f"vault:{transport.target.addresses[0]}:{transport.target.namespace}:{settings.mount}"

    @classmethod
    def open(cls, settings: VaultSettings) -> Self:
        """Make one; nothing is sent before it is needed."""
        return cls(settings, Transport(resolve(settings)))
