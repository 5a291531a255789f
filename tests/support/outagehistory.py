"""Tells from what processes did and saw in outages, and from what servers have in the end, whether all went right.

Each process writes a line before and after each operation, and sees to it that the line survives its death. Every
write has a value of its own, so that it is known again wherever it turns up. Times are of a clock that all
processes of this machine share.
"""

from __future__ import annotations

import json
import math

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

STORED = "stored"
QUEUED = "queued"
READ = "read"
ACKNOWLEDGED = frozenset({STORED, QUEUED})
UNMARKED = frozenset({"fresh", "cached"})
"""Marks of an answer that claims to be as new as what this process has written."""

LOST = "an acknowledged write is lost"
MISDIRECTED = "a write was made in another place"
DOUBLED = "a write was made twice"
OVERTAKEN = "a write was overtaken by an older one"
OUTDATED = "a read that is not marked is older than what its process had written"
INVENTED = "a read returned what nobody wrote there"
REFUSED = "a write that was refused was made"
SLOW = "a recovery took too long"


class Operation(NamedTuple):
    """What one process did to one secret, and what came of it."""

    process: str
    kind: str
    """``set``, ``delete``, ``get`` or ``refresh``."""
    target: str
    """Where the secret is kept."""
    name: str
    begun: float
    ended: float = math.inf
    """Infinite if the process died before it had an answer."""
    result: str = ""
    """``stored``, ``queued`` or ``read``; else the code of an error, or nothing without an answer."""
    value: str | None = None
    """What was to be written, or deleted if that is known, or what was read."""
    entry: str | None = None
    """Under which id it was queued."""
    freshness: str = ""
    """What a read was marked with."""

    @property
    def is_acknowledged(self) -> bool:
        """Whether it is a write that the caller may rely on."""
        return self.result in ACKNOWLEDGED


class Recovery(NamedTuple):
    """How a backend came back."""

    answers: float
    """When the backend itself was able to answer again."""
    begun: float
    """When the first process began to make the writes that waited."""
    emptied: float
    """When none waited any more."""
    well: float
    """When each process called the backend healthy."""
    probe_every: float

    @property
    def allowed(self) -> float:
        """Two times between probes, and the time in which writes were made; these take as long as they take."""
        return 2 * self.probe_every + max(0.0, self.emptied - self.begun)


class Problem(NamedTuple):
    """Something that must not be."""

    kind: str
    text: str


Place = tuple[str, str]
"""A target and a name in it."""


class History:
    """All that happened.

    Args:
        operations: What the processes did, in any order.
        made: The values of all versions that a place has, oldest first.
        left: What is left in the journals: each entry's id with its state.
        dropped: Ids of entries that a person has decided about.
        deleted: The values of those versions that have been deleted.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        made: Mapping[Place, Sequence[str]],
        left: Mapping[str, str] | None = None,
        dropped: Iterable[str] = (),
        deleted: Iterable[str] = (),
    ) -> None:
        self.operations = sorted(operations, key=lambda one: one.begun)
        self.made = made
        self.left = dict(left or {})
        self.dropped = set(dropped)
        self._positions = {place: {value: at for at, value in enumerate(values)} for place, values in made.items()}
        self._deleted = set(deleted)
        self._writes = [one for one in self.operations if one.kind == "set"]

    def problems(self, recoveries: Iterable[Recovery] = ()) -> list[Problem]:
        """Return everything that must not have happened; nothing if all is well."""
        return [
            *self._lost(),
            *self._not_deleted(),
            *self._misdirected(),
            *self._doubled(),
            *self._overtaken(),
            *self._refused(),
            *self._read_wrongly(),
            *slow(recoveries),
        ]

    def _position(self, one: Operation) -> int | None:
        """Return which of its secret's versions has the value."""
        return self._positions.get((one.target, one.name), {}).get(one.value or "")

    def _lost(self) -> Iterator[Problem]:
        for write in self._writes:
            if not write.is_acknowledged or self._position(write) is not None:
                continue
            if not self._is_kept(write):
                yield Problem(LOST, f"{write}")

    def _is_kept(self, write: Operation) -> bool:
        """Tell whether a write is still in a journal, or a person has decided about it."""
        return write.result == QUEUED and (write.entry in self.left or write.entry in self.dropped)

    def _not_deleted(self) -> Iterator[Problem]:
        """Look for deletes that were acknowledged, and what they were to delete is there as if nothing had been."""
        for one in self.operations:
            if one.kind != "delete" or not one.is_acknowledged or self._position(one) is None:
                continue
            if one.value not in self._deleted and not self._is_kept(one):
                yield Problem(LOST, f"{one}")

    def _misdirected(self) -> Iterator[Problem]:
        meant = {one.value: (one.target, one.name) for one in self._writes}
        for place, values in self.made.items():
            for value in values:
                if value in meant and meant[value] != place:
                    yield Problem(MISDIRECTED, f"{value} was meant for {meant[value]}, and is at {place}")

    def _doubled(self) -> Iterator[Problem]:
        seen: dict[str, Place] = {}
        for place, values in self.made.items():
            for value in values:
                if value in seen:
                    yield Problem(DOUBLED, f"{value} at {seen[value]} and {place}")
                seen[value] = place

    def _overtaken(self) -> Iterator[Problem]:
        """Compare the writes of one process to one secret that were accepted one after another, and were made."""
        for writes in self._by_process(one for one in self._writes if one.is_acknowledged):
            ended = sorted(writes, key=lambda one: one.ended)
            newest: tuple[int, Operation] | None = None
            waiting = iter(ended)
            next_ended = next(waiting, None)
            for write in writes:
                while next_ended is not None and next_ended.ended < write.begun:
                    at = self._position(next_ended)
                    if at is not None and (newest is None or at > newest[0]):
                        newest = at, next_ended
                    next_ended = next(waiting, None)
                at = self._position(write)
                if at is not None and newest is not None and at < newest[0]:
                    yield Problem(OVERTAKEN, f"{write} was made before {newest[1]}")

    def _refused(self) -> Iterator[Problem]:
        for write in self._writes:
            if write.result == "conflict" and self._position(write) is not None:
                yield Problem(REFUSED, f"{write}")

    def _read_wrongly(self) -> Iterator[Problem]:
        written = {(one.target, one.name, one.value) for one in self._writes}
        seen = (one for one in self.operations if one.kind != "delete" and (one.is_acknowledged or one.result == READ))
        for operations in self._by_process(seen):
            # Who refreshes wants what the server has, whatever waits.
            for kind, results in (("get", ACKNOWLEDGED), ("refresh", frozenset({STORED}))):
                writes = [one for one in operations if one.result in results]
                yield from self._outdated((one for one in operations if one.kind == kind), writes)
            for one in operations:
                if self._position(one) is None and (one.target, one.name, one.value) not in written:
                    yield Problem(INVENTED, f"{one}")

    def _outdated(self, reads: Iterable[Operation], writes: list[Operation]) -> Iterator[Problem]:
        """Compare reads with what their process had written before they began."""
        writes = sorted(writes, key=lambda one: one.ended)
        newest, count = -1, 0
        for read in reads:
            while count < len(writes) and writes[count].ended < read.begun:
                at = self._position(writes[count])
                newest, count = max(newest, -1 if at is None else at), count + 1
            at = self._position(read)
            if read.freshness in UNMARKED and (at is None or at < newest):
                yield Problem(OUTDATED, f"{read}, position {at}, after one at {newest}")

    def _by_process(self, operations: Iterable[Operation]) -> Iterator[list[Operation]]:
        """Return operations apart by process and secret, each in the order in which they began."""
        apart: dict[tuple[str, str, str], list[Operation]] = {}
        for one in operations:
            apart.setdefault((one.process, one.target, one.name), []).append(one)
        yield from apart.values()


def slow(recoveries: Iterable[Recovery]) -> Iterator[Problem]:
    """Return the recoveries that took longer than allowed."""
    for one in recoveries:
        if one.well - one.answers > one.allowed:
            took = one.well - one.answers
            yield Problem(SLOW, f"{took:.2f} s, and {one.allowed:.2f} s are allowed: {one}")


def read_log(lines: Iterable[str]) -> tuple[list[Operation], list[dict[str, Any]]]:
    """Return the operations in a process's log, and the lines that are about something else.

    A line that the process could not complete is passed over: it died of that.
    """
    begun: dict[str, dict[str, Any]] = {}
    operations: list[Operation] = []
    others: list[dict[str, Any]] = []
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if line["phase"] == "begun":
            begun[line["id"]] = line
        elif line["phase"] == "ended":
            operations.append(_operation(begun.pop(line["id"]) | line))
        else:
            others.append(line)
    operations += [_operation(line) for line in begun.values()]
    return operations, others


def _operation(line: Mapping[str, Any]) -> Operation:
    return Operation(**{field: line[field] for field in Operation._fields if field in line})
