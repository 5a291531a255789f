"""Writes that wait, and copies, as the secrets that they stand for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from strongroom.contracts.journal import Copy, Entry
from strongroom.model import Freshness, Secret

QUEUED: Final = "queued:"
"""What the version of a write that waits begins with; its entry's id follows."""


def version_of(entry: Entry) -> str | None:
    """Return the version under which a write that waits is known; ``None`` if it is a delete."""
    return None if entry.value is None else QUEUED + entry.id


def waiting_secret(entry: Entry, now: float) -> Secret | None:
    """Return a write that waits as the secret that it will be; ``None`` if it is a delete.

    Args:
        entry: The write.
        now: Seconds since 1970 UTC.
    """
    if entry.value is None:
        return None
    when = datetime.fromtimestamp(entry.queued, UTC)
    return Secret(
        entry.place.name,
        entry.value,
        QUEUED + entry.id,
        entry.place.backend,
        created=when,
        retrieved=when,
        freshness=Freshness.FALLBACK,
        age=max(0.0, now - entry.queued),
    )


def copied_secret(copy: Copy, now: float) -> Secret:
    """Return a copy as the secret that it is of.

    Args:
        copy: The copy.
        now: Seconds since 1970 UTC.
    """
    return Secret(
        copy.place.name,
        copy.value,
        copy.version,
        copy.place.backend,
        created=copy.created,
        retrieved=datetime.fromtimestamp(copy.taken, UTC),
        freshness=Freshness.FALLBACK,
        age=max(0.0, now - copy.taken),
    )
