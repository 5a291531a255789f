"""Where the server is and how it is reached: the settings, completed from the environment."""

from __future__ import annotations

import os

from collections.abc import Mapping

from strongroom.contracts import Record
from strongroom_vault.settings import TLSSettings, VaultSettings


class Target(Record):
    """What is needed to reach the server, each setting decided."""

    addresses: tuple[str, ...]
    """URLs without a final slash; the first one is tried first."""
    namespace: str = ""
    """Without slashes around it; empty for the root."""
    tls: TLSSettings = TLSSettings()
    proxy: str | None = None
    """The proxy's URL; empty for none; ``None`` for what the standard variables say."""
    reads: str = "any"
    timeout: float = 60.0
    connect_timeout: float = 5.0
    attempts: int = 3
    connections: int = 16
    rate_limit: float | None = None
    redirects: bool = True


def resolve(settings: VaultSettings, environment: Mapping[str, str] | None = None) -> Target:
    """Complete the settings from ``BAO_*`` and ``VAULT_*``; what the configuration says wins.

    Args:
        settings: What the configuration says.
        environment: The variables; the process's own unless given.

    Raises:
        ConfigurationError: No address is given, or a variable is not usable.
    """
    variables = os.environ if environment is None else environment
    given = settings.address or variables.get("BAO_ADDR", variables.get("VAULT_ADDR", ""))
    addresses = (given,) if isinstance(given, str) else given
    return Target(
        addresses=tuple(address.rstrip("/") for address in addresses),
        namespace=plain_namespace(settings.namespace or ""),
        tls=settings.tls,
        proxy=settings.proxy,
        reads=settings.reads,
        timeout=settings.timeout or 60.0,
        connect_timeout=settings.connect_timeout,
        attempts=settings.attempts or 3,
        connections=settings.connections,
        rate_limit=settings.rate_limit,
    )


def plain_namespace(text: str) -> str:
    """Return a namespace without slashes around it; empty for each spelling of the root."""
    plain = text.strip("/")
    return "" if plain == "root" else plain
