"""What is said of an answer that is not the backend's own, and of a change that waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from strongroom.cli.command import note
from strongroom.cli.text import printable
from strongroom.model import Freshness

if TYPE_CHECKING:
    from strongroom.model import Secret
    from strongroom.operations.recovery import Destroyed, Undeleted
    from strongroom.operations.writing import Deleted, Written


def note_substitutes(secrets: Iterable[Secret]) -> None:
    """Say on standard error which of the secrets are not what their backend has just answered, one line each.

    Args:
        secrets: What was read.
    """
    for secret in secrets:
        if secret.freshness in {Freshness.STALE, Freshness.FALLBACK}:
            note(f"strongroom: {printable(_told(secret))}")


def _told(secret: Secret) -> str:
    # Imported here: hardly a command ends here.
    from strongroom._spoken import spoken
    from strongroom.outages.standins import QUEUED

    ago = f"{spoken(secret.age)} ago"
    if secret.version.startswith(QUEUED):
        entry = secret.version.removeprefix(QUEUED)
        return f"{secret.name} is a change from {ago} that waits for {secret.backend}, as entry {entry} of the journal"
    if secret.freshness is Freshness.FALLBACK:
        return f"{secret.name} is a copy from {ago}: {secret.backend} is out of reach"
    return f"{secret.name} is an answer from {ago}, which is beyond its time"


def queued_note(change: str, done: Written | Deleted, store: str | None) -> str:
    """Return what is said of a change that is accepted, but not made.

    Args:
        change: What it is, such as ``set``.
        done: What the manager has returned.
        store: The configured name of the backend that keeps the journal.
    """
    place = f" of {printable(store)}" if store is not None else ""
    return f"queued the {change} of {printable(done.name)} as entry {done.queued} in the journal{place}"


def note_copy(done: Written | Deleted | Undeleted | Destroyed) -> None:
    """Warn on standard error if the copy of what was changed is an old one still.

    Args:
        done: What the manager has returned.
    """
    if done.copy_failed:
        what = f"the copy of {done.name} in the fallback store is still the old one: {done.copy_failed}"
        note(f"strongroom: warning: {printable(what)}")
