"""The hook: what this distribution offers. Nothing here loads hvac."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import Backend, BackendSpec, Capability
from strongroom.hookspecs import hookimpl
from strongroom_vault.settings import VaultSettings


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the backend for Vault and OpenBao."""
    yield BackendSpec(
        name="vault",
        summary="Secrets, leased credentials and keys of HashiCorp Vault or OpenBao.",
        settings=VaultSettings,
        open=_open,
        capabilities=frozenset(Capability) - {Capability.BATCH},
        credential_variables=("BAO_TOKEN", "VAULT_TOKEN"),
    )


def _open(settings: VaultSettings) -> Backend:
    from strongroom_vault.backend import VaultBackend  # loads hvac and urllib3 only now

    return VaultBackend.open(settings)
