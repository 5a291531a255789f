"""The hook: what this distribution offers. Nothing here loads python-dotenv."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import Backend, BackendSpec, Capability
from strongroom.hookspecs import hookimpl
from strongroom_env.settings import EnvSettings


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the backend that reads environment variables and .env files."""
    yield BackendSpec(
        name="env",
        summary="Secrets read from environment variables and .env files.",
        settings=EnvSettings,
        open=_open,
        capabilities=frozenset({Capability.LIST}),
    )


def _open(settings: EnvSettings) -> Backend:
    from strongroom_env.backend import EnvBackend

    return EnvBackend.connect(settings)
