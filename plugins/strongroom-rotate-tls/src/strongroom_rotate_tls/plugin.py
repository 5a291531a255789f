"""The hook: what this distribution offers. Nothing here loads cryptography."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import Rotator, RotatorSpec
from strongroom.hookspecs import hookimpl
from strongroom_rotate_tls.settings import TlsSettings


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer the rotator for certificates of a local authority."""
    # It has no dependent, but needs another secret, the authority: it must not be asked for a value without that.
    yield RotatorSpec(
        name="tls",
        summary="TLS certificates of a local authority, renewed by what is left of their life.",
        settings=TlsSettings,
        open=_open,
    )


def _open(settings: TlsSettings) -> Rotator:
    from strongroom_rotate_tls.rotator import TlsRotator  # loads cryptography only now

    return TlsRotator(settings)
