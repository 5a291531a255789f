"""The hook: what this distribution offers. Nothing here loads psycopg."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strongroom.contracts import Rotator, RotatorSpec
from strongroom.hookspecs import hookimpl
from strongroom_rotate_postgres.settings import AlternatingSettings, PostgresSettings

OVERLAP: Final = 600.0
"""Seconds; twice as long as a cache of the core's keeps a value unless told otherwise."""


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer the rotators for users of PostgreSQL."""
    yield RotatorSpec(
        name="postgres",
        summary="Passwords of PostgreSQL users that take turns, so that no login fails.",
        settings=AlternatingSettings,
        open=_open_alternating,
        overlap=OVERLAP,
    )
    yield RotatorSpec(
        name="postgres-single",
        summary="The password of one PostgreSQL user; logins fail until readers have the new one.",
        settings=PostgresSettings,
        open=_open_single,
    )


def _open_alternating(settings: AlternatingSettings) -> Rotator:
    from strongroom_rotate_postgres.rotators import AlternatingRotator  # loads psycopg only now

    return AlternatingRotator(settings)


def _open_single(settings: PostgresSettings) -> Rotator:
    from strongroom_rotate_postgres.rotators import SingleRotator  # as above

    return SingleRotator(settings)
