"""What a side holds of a secret, and how one history continues the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from strongroom._record import Record
from strongroom.moving.marks import Mark

READABLE = frozenset({"current", "superseded"})
"""The states of versions that have a value to be read."""


class Seen(Record):
    """What one side holds of a secret, without its value."""

    marks: tuple[Mark, ...]
    """One for each version that can be read, oldest first and the current one last; without versions, only that."""
    version: str
    """The current one."""
    created: datetime | None = None
    whole: bool = False
    """Whether the first version that was ever written is known to be listed still."""

    @property
    def current(self) -> Mark:
        """The current version's mark."""
        return self.marks[-1]

    def is_equal_to(self, other: Seen) -> bool:
        """Tell whether both have the same values in the same order, from first to last."""
        return len(self.marks) == len(other.marks) and _agree(self.marks, other.marks)


def missing_from(target: Seen, source: Seen) -> int | None:
    """Return how many of the source's newest versions the target lacks; ``None`` if it does not continue to them.

    The histories are laid upon each other so that the target's current version lies on one of the source's, and they
    must agree from there back to where either begins: both sides may have dropped their oldest ones.

    Args:
        target: What is there.
        source: What it is to become.
    """
    fits = [
        lacking
        for lacking in range(len(source.marks))
        if _agree(target.marks, source.marks[: len(source.marks) - lacking])
    ]
    if not fits:
        return None
    # Where values repeat, a target that has dropped none may have come just so far from the first one.
    begun = [lacking for lacking in fits if len(target.marks) == len(source.marks) - lacking]
    return begun[0] if begun and target.whole else fits[0]


def _agree(one: Sequence[Mark], other: Sequence[Mark]) -> bool:
    """Tell whether two histories are the same from their ends back to where the shorter one begins."""
    shared = min(len(one), len(other))
    pairs = zip(one[len(one) - shared :], other[len(other) - shared :], strict=True)
    return all(mine.is_equal_to(theirs) for mine, theirs in pairs)
