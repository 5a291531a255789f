"""The hooks: what this distribution offers. Nothing here loads hvac or cryptography."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strongroom.contracts import Backend, BackendSpec, Capability, Rotator, RotatorSpec
from strongroom.hookspecs import hookimpl
from strongroom_vault.settings import PkiSettings, VaultSettings

OVERLAP: Final = 600.0
"""Seconds; twice as long as a cache of the core's keeps a value unless told otherwise."""


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


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer the rotator for certificates of the PKI engine."""
    yield RotatorSpec(
        name="vault-pki",
        summary="TLS certificates that the PKI engine of a Vault or OpenBao issues, renewed by what is left of them.",
        settings=PkiSettings,
        open=_open_pki,
        overlap=OVERLAP,
    )


def _open_pki(settings: PkiSettings) -> Rotator:
    from strongroom.errors import ConfigurationError

    try:
        import cryptography  # noqa: F401  # only this rotator needs it
    except ImportError as error:
        raise ConfigurationError(
            "the rotator vault-pki needs the package cryptography", hint="pip install 'strongroom-vault[pki]'"
        ) from error
    from strongroom_vault.pki import PkiRotator  # loads hvac, urllib3 and cryptography only now

    return PkiRotator.open(settings)
