"""What a process that has read the secrets reports to the one that watches them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from strongroom.cli.command import Session, UsageError
from strongroom.cli.selection import Choice
from strongroom.cli.supervising.handover import Report
from strongroom.errors import SecretNotFoundError, StrongroomError

if TYPE_CHECKING:
    from strongroom.leases.held import LeaseStatus
    from strongroom.model import Secret, SecretName
    from strongroom.wiring import Parts


def refuse_leased(session: Session, wanted: Iterable[Choice]) -> None:
    """Refuse to hand over what ends to a program that keeps the environment that it was started with.

    Args:
        session: Whose manager is open.
        wanted: What the program is to get; none of it has been read yet.

    Raises:
        UsageError: One of them is a leased credential.
    """
    for name in sorted({choice.name for choice in wanted}):
        if session.parts is not None and _is_leased(session.parts, name):
            raise UsageError(
                f"{name} is a leased credential: when it ends, SIGHUP brings the program no other one",
                hint="use --on-change restart, or let the program read it by itself",
            )


def _is_leased(parts: Parts, name: SecretName) -> bool:
    try:
        return parts.backend(parts.routing.of(name)).is_leased(name)
    except StrongroomError:
        return False  # it cannot be read, either, which is told then


def report_on(
    session: Session,
    wanted: Iterable[Choice],
    found: Mapping[Choice, Secret],
    missing: Mapping[Choice, SecretNotFoundError],
    *,
    listed: Iterable[SecretName],
    leases: Iterable[LeaseStatus],
) -> Report:
    """Return which versions of the secrets the program gets, and for how long they live if they are leased.

    Args:
        session: Whose manager has read them.
        wanted: What was asked for.
        found: What was read.
        missing: What is not there.
        listed: What was found below the folders that were asked for.
        leases: Those of what was read.
    """
    known: dict[str, str | None] = {
        # The secret is there, and which version was read is not known, if it is only the field that is not.
        choice.name: None
        for choice, error in missing.items()
        if error.code != "field_not_found"
    }
    leased = {str(lease.name): lease.seconds_left for lease in leases}
    passing = set()
    for choice, secret in found.items():
        if choice.name in leased:
            continue
        if _is_shared(session, secret):
            known[choice.name] = secret.version
        else:
            passing.add(str(choice.name))
    return Report(
        names=tuple(sorted({str(choice.name) for choice in wanted})),
        known=known,
        passing=tuple(sorted(passing)),
        listed=tuple(sorted(map(str, listed))),
        leased=tuple(sorted(leased.items())),
    )


def _is_shared(session: Session, secret: Secret) -> bool:
    """Tell whether another process is told the same version."""
    try:
        return session.parts is None or session.parts.backend(secret.backend).versions_are_shared
    except StrongroomError:
        # It is out of reach, and a copy was read. When it is back, any other version is another one.
        return True
