"""Tells whether what threads saw of one secret could have happened one step after another.

The search is Wing and Gong's: put one operation after another in an order that
the clock allows, and remember which sets of operations led to which state.
"""

from __future__ import annotations

import math

from collections.abc import Iterator, Sequence
from typing import NamedTuple

ABSENT = (0, None)
"""The state of a secret that nobody has written."""

State = tuple[int, str | None]
"""The version and the value; versions count the writes."""


class Operation(NamedTuple):
    """What somebody did to the secret and what came of it.

    An operation may have happened at any moment between its start and its end.
    """

    kind: str
    """``read``, ``write``, or ``conflict`` for a write that was refused since the version was not the expected one."""
    start: float
    end: float = math.inf
    """Infinite for a write of which nobody knows whether it happened: it may have, at any time, or never."""
    version: int | None = None
    """What was read, or what the write made; ``None`` if unknown."""
    value: str | None = None
    """What was read or written; each write has a value of its own."""
    expected: int | None = None
    """Over which version alone it was to write; ``None`` for any."""

    def after(self, state: State) -> State | None:
        """Return the state after it, or ``None`` if it cannot happen in this state."""
        version, _ = state
        if self.kind == "read":
            return state if state == (self.version, self.value) else None
        if self.kind == "conflict":
            return state if version != self.expected else None
        if self.expected not in (None, version) or self.version not in (None, version + 1):
            return None
        return version + 1, self.value


def is_linearizable(operations: Sequence[Operation], initial: State = ABSENT) -> bool:
    """Tell whether there is an order of the operations, each within its time, that explains every result."""
    history = sorted(_bounded(operations), key=lambda operation: operation.start)
    must = sum(1 << number for number, operation in enumerate(history) if operation.end < math.inf)
    seen = {(0, initial)}
    waiting = [(0, initial)]
    while waiting:
        done, state = waiting.pop()
        if done & must == must:
            return True
        for number in _possible(history, done):
            following = history[number].after(state)
            if following is None:
                continue
            reached = (done | 1 << number, following)
            if reached not in seen:
                seen.add(reached)
                waiting.append(reached)
    return False


def _bounded(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Yield the operations, with an end for each write that somebody is known to have read.

    It happened before that read ended, and made the version that was read.
    """
    readers: dict[str | None, Operation] = {}
    for operation in operations:
        if operation.kind == "read":
            first = readers.setdefault(operation.value, operation)
            if operation.end < first.end:
                readers[operation.value] = operation
    for operation in operations:
        reader = readers.get(operation.value)
        if operation.kind == "write" and operation.end == math.inf and reader is not None:
            operation = operation._replace(end=reader.end, version=reader.version)  # noqa: PLW2901
        yield operation


def _possible(history: Sequence[Operation], done: int) -> list[int]:
    """Return which operations can be next: those that began before every one that is not done had ended.

    The most promising comes last. Of the writes of unknown outcome that nobody read and that expect the same,
    only the one that began first is tried: the others could do nothing that it cannot.
    """
    limit = math.inf
    found: list[int] = []
    unknown: dict[int | None, int] = {}
    for number, operation in enumerate(history):
        if operation.start > limit:
            break
        if done >> number & 1:
            continue
        limit = min(limit, operation.end)
        if operation.end < math.inf:
            found.append(number)
        else:
            unknown.setdefault(operation.expected, number)
    found = [number for number in found if history[number].start <= limit]
    found.sort(key=lambda number: history[number].end, reverse=True)
    return [number for number in unknown.values() if history[number].start <= limit] + found
