"""What a side holds of a secret, and how one history continues the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

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
    unbroken: int = 0
    """How many of the newest marks have no deleted version between them; 0 for all of them."""
    counted: bool = True
    """Whether the versions are numbered, so that each of them has been the current one."""

    @property
    def current(self) -> Mark:
        """The current version's mark."""
        return self.marks[-1]

    def is_equal_to(self, other: Seen) -> bool:
        """Tell whether both have the same values in the same order, from first to last.

        Where versions are not numbered, a write that was stopped half-way leaves one behind which the next write puts
        the same value, and nobody can tell it from the others: there what repeats the version before it is not counted.
        """
        if len(self.marks) == len(other.marks) and _are_equal(self.marks, other.marks):
            return True
        mine, theirs = _ends(self.marks, Mark.is_equal_to), _ends(other.marks, Mark.is_equal_to)
        return (
            len(mine) == len(theirs)
            and _are_equal([self.marks[end] for end in mine], [other.marks[end] for end in theirs])
            and (not self.counted or _are_repeated_less(mine, theirs))
            and (not other.counted or _are_repeated_less(theirs, mine))
        )


def missing_from(target: Seen, source: Seen) -> int | None:
    """Return how many of the source's newest versions the target lacks; ``None`` if it does not continue to them.

    The histories are laid upon each other so that the target's current version lies on one of the source's, and they
    must agree from there back to where either begins: both sides may have dropped their oldest ones. But a target
    that has had a value before which it is said to lack, and something else since, has gone its own way.

    Where they do not agree as they are, they may without what repeats the version before it: a write to AWS that was
    stopped half-way leaves a version in the history behind which the next write puts the same value.

    Args:
        target: What is there.
        source: What it is to become.
    """
    lacking = _lacking(target, source)
    if lacking is not None:
        return lacking
    ends = _ends(source.marks)
    short = source.replace(marks=tuple(source.marks[end] for end in ends))
    lacking = _lacking(_without_repeats(target), short)
    return None if lacking is None else len(source.marks) - 1 - ends[len(ends) - 1 - lacking]


def _are_equal(one: Sequence[Mark], other: Sequence[Mark]) -> bool:
    return all(mine.is_equal_to(theirs) for mine, theirs in zip(one, other, strict=True))


def _are_repeated_less(one: Sequence[int], other: Sequence[int]) -> bool:
    """Tell of the ends of two rows of runs whether none in the first one is longer than that in the other."""
    pairs = zip(pairwise((-1, *one)), pairwise((-1, *other)), strict=True)
    return all(end - before <= last - first for (before, end), (first, last) in pairs)


def _lacking(target: Seen, source: Seen) -> int | None:
    fits = [
        lacking
        for lacking in range(len(source.marks))
        if _agree(target.marks, source.marks[: len(source.marks) - lacking])
        and not (source.whole and _has_left(target, source, lacking))
    ]
    if not fits:
        return None
    # Where values repeat, a target that has dropped none may have come just so far from the first one.
    begun = [lacking for lacking in fits if len(target.marks) == len(source.marks) - lacking]
    return begun[0] if begun and target.whole else fits[0]


def _ends(marks: Sequence[Mark], are_same: Callable[[Mark, Mark], bool] = Mark.matches) -> list[int]:
    """Return where each run of the same value has its last version."""
    last = len(marks) - 1
    return [at for at, mark in enumerate(marks) if at == last or not are_same(mark, marks[at + 1])]


def _without_repeats(seen: Seen) -> Seen:
    marks, unbroken = seen.marks, seen.marks[-seen.unbroken :]
    return seen.replace(marks=tuple(marks[end] for end in _ends(marks)), unbroken=len(_ends(unbroken)))


def _has_left(target: Seen, source: Seen, lacking: int) -> bool:
    """Tell whether what the target lacks is among what it had before the source's first version, as after a rollback.

    What is older than a deletion does not count: the copy begins anew behind it.
    """
    older = target.marks[-target.unbroken : lacking - len(source.marks)]
    return any(one.matches(other) for one in older for other in source.marks[len(source.marks) - lacking :])


def _agree(one: Sequence[Mark], other: Sequence[Mark]) -> bool:
    """Tell whether two histories are the same from their ends back to where the shorter one begins."""
    shared = min(len(one), len(other))
    pairs = zip(one[len(one) - shared :], other[len(other) - shared :], strict=True)
    return all(mine.matches(theirs) for mine, theirs in pairs)
