"""Where a rotation is written down, so that any process can lead it to an end, and only one does."""

from __future__ import annotations

from abc import ABC, abstractmethod

from strongroom.errors import RotationError
from strongroom.model import SecretName, SecretValue
from strongroom.rotation.pending import Pending, Standing, Step


class Ledger(ABC):
    """Keeps the rotations of one name, in the same backend as the secret.

    Each method that changes something is durable when it returns, compares before
    it sets, and raises ``RotationError`` with the code ``rotation_lost`` if the
    rotation is no longer held by whom the given state says.

    Attributes:
        name: The secret's name.
        compares: Whether the backend compares before it sets; else a lock of the host has to keep others out.
    """

    name: SecretName
    compares: bool = True

    @abstractmethod
    def look(self) -> Standing:
        """Return what is known of the name's rotations."""

    @abstractmethod
    def begin(self, draft: Pending) -> Pending:
        """Record a candidate as pending.

        Raises:
            RotationError: Another rotation of the name is under way (code ``rotation_in_progress``).
        """

    @abstractmethod
    def advance(self, pending: Pending, step: Step) -> Pending:
        """Record which step is next."""

    @abstractmethod
    def replace(self, pending: Pending, candidate: SecretValue) -> Pending:
        """Record another candidate instead, which has not been applied yet."""

    @abstractmethod
    def take_over(self, pending: Pending, now: float) -> Pending:
        """Become the one who leads a rotation; whoever has led it before cannot go on.

        Args:
            pending: The rotation as somebody else has left it.
            now: Seconds since 1970 UTC.
        """

    @abstractmethod
    def rebase(self, pending: Pending, version: str) -> Pending:
        """Have the candidate promoted over another version: somebody has written one by hand meanwhile."""

    @abstractmethod
    def confirm(self, pending: Pending) -> None:
        """Refuse to go on unless the rotation is held by us."""

    @abstractmethod
    def promote(self, pending: Pending, now: float) -> Pending:
        """Make the candidate the current value; if it is so already, note that.

        Args:
            pending: The rotation.
            now: Seconds since 1970 UTC.

        Raises:
            VersionConflictError: Another version than the base is current, and it is not the candidate.
        """

    @abstractmethod
    def finish(self, pending: Pending, expires: float | None) -> None:
        """Note that the rotation is done.

        Args:
            pending: The rotation, promoted.
            expires: When the current value ends by itself, in seconds since 1970 UTC.
        """

    @abstractmethod
    def abandon(self, pending: Pending, *, foreign: bool) -> str | None:
        """Give the candidate up; if it has been promoted, the former value becomes current again.

        Args:
            pending: The rotation, undone at its dependent.
            foreign: Whether somebody else has led it before us: then the current value gets a new version, so that
                a promotion over the old one, which may still be on its way, cannot succeed.

        Returns:
            The version that is current by that; ``None`` if that has not changed.
        """


def lost(name: SecretName, *, hint: str = "") -> RotationError:
    """Return the error for a rotation that somebody else holds now."""
    return RotationError(
        f"the rotation of {name} was taken over by another process",
        code="rotation_lost",
        name=name,
        hint=hint or "`strongroom rotation status` shows how far it is",
    )


def in_progress(name: SecretName, why: str, hint: str) -> RotationError:
    """Return the error for a name of which another rotation is under way."""
    return RotationError(f"{name} is being rotated {why}", code="rotation_in_progress", name=name, hint=hint)
