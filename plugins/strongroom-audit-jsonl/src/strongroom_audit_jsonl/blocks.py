"""Checking that blocks are sealed, and that what no seal covers is admitted under one."""

from __future__ import annotations

import hmac

from typing import Any, Final

from strongroom_audit_jsonl.findings import Findings
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Line, count

_STATEMENTS: Final = frozenset({"unsealed", "foreign", "zeroed", "pruned"})


class Blocks:
    """Takes up the lines of a trail in order.

    What a line states about the trail counts only within the block that the key
    sealed: a crash may leave a line without its seal, and anybody can add one.

    Args:
        key: The key that the seals should be made with.
        findings: Where to say what is wrong.

    Attributes:
        pruned: Up to which line the configuration had lines removed.
        zeroed: Which lines a writer has found unreadable after a power failure: the first and the last of each run.
    """

    def __init__(self, key: SealKey, findings: Findings) -> None:
        self.pruned = 0
        self.zeroed: list[tuple[int, int]] = []
        self._key = key
        self._findings = findings
        self._place = ""
        # How many lines there are since the last seal, and which of them state something.
        self._run = 0
        self._stated: list[tuple[int, dict[str, Any]]] = []
        # Whether lines are missing among those, and with them, perhaps, a block's beginning.
        self._is_holed = False
        # Where blocks begin that another key sealed, and which key, since the last seal of this one.
        self._foreign: list[tuple[str, str]] = []

    def take(self, line: Line, place: str) -> None:
        """Check the next line."""
        self._place = place
        self._run += 1
        if not _STATEMENTS.isdisjoint(line.fields):
            self._stated.append((self._run, line.fields))
        if line.seal is not None:
            self._end(line, line.seal)
        elif "key_id" in line.fields or "block" in line.fields:
            self._broken("this line's seal was taken off")

    def interrupt(self, place: str) -> None:
        """Take notice that lines are missing here, which are dealt with elsewhere."""
        if self._run:
            self._findings.add("unsealed", place, f"the last {self._run} lines before this have no seal that is left")
        self._run, self._stated, self._is_holed = 0, [], True

    def finish(self) -> None:
        """Say what only the end of the trail shows."""
        if self._run:
            self._findings.add("unsealed", self._place, f"the last {self._run} lines have no seal")
        for place, key_id in self._foreign:
            self._findings.add("broken", place, f"sealed with the key {key_id}, but the key given is {self._key.id}")

    def _end(self, line: Line, seal: str) -> None:
        length = count(line.fields, "block")
        inside = [fields for number, fields in self._stated if number > self._run - length]
        uncovered = self._run - length
        admitted = sum(count(fields, "unsealed") for fields in inside)
        if uncovered > admitted or (uncovered < admitted and not self._is_holed):
            self._broken(f"{uncovered} lines before this block have no seal, and {admitted} are admitted")
        self._run, self._stated, self._is_holed = 0, [], False
        self._check_seal(line, seal, inside)

    def _check_seal(self, line: Line, seal: str, inside: list[dict[str, Any]]) -> None:
        key_id = line.fields.get("key_id")
        if key_id != self._key.id:
            if not self._foreign or self._foreign[-1][1] != key_id:
                self._foreign.append((self._place, str(key_id)))
        elif not hmac.compare_digest(seal, self._key.seal(line.digest)):
            self._broken("the seal is not genuine")
        else:
            self._believe(inside)

    def _believe(self, inside: list[dict[str, Any]]) -> None:
        """Take up what the lines of a block state that the key sealed."""
        self._accept_foreign({str(fields.get("foreign")) for fields in inside})
        for fields in inside:
            self.pruned = max(self.pruned, count(fields, "pruned"))
            self.zeroed += _ranges(fields.get("zeroed"))

    def _accept_foreign(self, admitted: set[str]) -> None:
        """Judge what another key sealed: since this seal it cannot have changed, but who wrote it?"""
        is_admitted = bool(self._foreign) and self._foreign[-1][1] in admitted
        for place, key_id in self._foreign:
            if is_admitted:
                detail = (
                    f"sealed with another key, {key_id}; {self._place} admits that, and covers it with the key given"
                )
                self._findings.add("gap", place, detail)
            else:
                self._findings.add("broken", place, f"sealed with another key, {key_id}, which no later line admits")
        self._foreign = []

    def _broken(self, detail: str) -> None:
        self._findings.add("broken", self._place, detail)


def _ranges(stated: object) -> list[tuple[int, int]]:
    """Return the ranges that a line states; none if they make no sense."""
    ranges = stated if isinstance(stated, list) else []
    return [
        (each[0], each[1])
        for each in ranges
        if isinstance(each, list) and len(each) == 2 and all(type(number) is int for number in each)
    ]
