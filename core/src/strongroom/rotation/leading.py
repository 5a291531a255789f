"""Who leads a rotation that is pending: this process, another one, or nobody any more."""

from __future__ import annotations

import os

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strongroom.errors import RotationError
from strongroom.model import SecretName
from strongroom.rotation.ledger import in_progress
from strongroom.rotation.pending import Pending, Step
from strongroom.rotation.timing import instant

_RUNNING: Final[set[tuple[int, str]]] = set()
"""The rotations that threads of this process lead, by its id, so that a forked child finds none of its own; each step
on a set is a single one, so that it needs no lock."""


@contextmanager
def running(rotation: str) -> Iterator[None]:
    """Let this process know that one of its threads leads a rotation, as long as the ``with`` block lasts."""
    mine = (os.getpid(), rotation)
    _RUNNING.add(mine)
    try:
        yield
    finally:
        _RUNNING.discard(mine)


def refusal_if_led(
    pending: Pending, name: SecretName, *, limit: float, overlap: float, now: float
) -> RotationError | None:
    """Return the error for a rotation that somebody may be leading; ``None`` if nobody is.

    Args:
        pending: The rotation.
        name: The secret's name.
        limit: How many seconds a rotation may take.
        overlap: For how many seconds the former value has to go on working.
        now: Seconds since 1970 UTC.
    """
    owner = pending.owner
    if (os.getpid(), pending.id) in _RUNNING:
        return in_progress(name, "by this process", "wait until that is done")
    if overlap and is_waiting(pending):
        return None  # it waits for nobody but the clock
    if owner is not None and (owner.is_this or owner.is_gone):
        return None
    if pending.is_over(now, limit):
        return None
    who = f"by process {owner.pid} on {owner.host}" if owner is not None else "by another process"
    until = moment(pending.began + limit)
    return in_progress(name, f"{who}, until {until} at the latest", "wait; or take it over with --force if it is dead")


def left_over(pending: Pending, name: SecretName, left: float, now: float) -> RotationError:
    """Return the error for a rotation that is pending although nobody leads it.

    Args:
        pending: The rotation.
        name: The secret's name.
        left: For how many seconds the former value has still to go on working.
        now: Seconds since 1970 UTC.
    """
    if left:
        return in_progress(
            name,
            f"still, since the former value has to go on working until {moment(now + left)}",
            "wait until then, or make `overlap` in its [rotation] table shorter",
        )
    return RotationError(
        f"a rotation of {name} was left at {pending.step.value}, begun at {moment(pending.began)}",
        code="rotation_left_over",
        name=name,
        hint="`strongroom rotate --resume` leads it to its end, `--undo` takes it back",
    )


def is_waiting(pending: Pending) -> bool:
    """Tell whether a rotation that has an overlap waits for nothing but its end, as far as that is kept."""
    # Stages do not tell who leads it, nor how far it is beyond its promotion.
    return pending.promoted is not None and (pending.step is Step.FINISH or pending.owner is None)


def overlap_left(pending: Pending, overlap: float, now: float) -> float:
    """Return for how many seconds the value that a rotation has replaced has still to go on working.

    Args:
        pending: The rotation.
        overlap: For how many seconds it has to, from the promotion on.
        now: Seconds since 1970 UTC.
    """
    if pending.promoted is None or not overlap:
        return 0.0
    # A clock that was set back must not make it longer than it is.
    return max(0.0, min(overlap, overlap - (now - pending.promoted)))


def moment(seconds: float) -> str:
    """Return a point in time as ISO 8601 in UTC, to the second."""
    found = instant(seconds)
    assert found is not None, "it is given"
    return found.isoformat(timespec="seconds")
