"""Several problems reported at once."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.errors import StrongroomError


def raise_all(problems: Sequence[StrongroomError]) -> None:
    """Raise the first problem, with the others as its notes; do nothing if there is none.

    What several of them say in the same words is said once.

    Args:
        problems: In the order in which they are to be read.
    """
    if not problems:
        return
    first, *others = problems
    said = str(first)
    for other in dict.fromkeys(map(str, others)):
        if other != said:
            first.add_note(other)
    raise first
