"""What strongroom finds: the backend ``local``."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import Backend, BackendSpec, Capability
from strongroom.hookspecs import hookimpl
from strongroom_local.settings import LocalSettings


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the encrypted local store."""
    yield BackendSpec(
        name="local",
        summary="Secrets in one encrypted SQLite file on this machine.",
        settings=LocalSettings,
        open=_open,
        create=_create,
        capabilities=frozenset(Capability),
        credential_variables=("STRONGROOM_MASTER_KEY",),
    )


def _open(settings: LocalSettings) -> Backend:
    from strongroom_local.backend import LocalBackend  # loads cryptography and sqlite3 only now

    return LocalBackend.open(settings)


def _create(settings: LocalSettings) -> None:
    from strongroom_local.creation import create_store  # loads cryptography and sqlite3 only now

    create_store(settings)
