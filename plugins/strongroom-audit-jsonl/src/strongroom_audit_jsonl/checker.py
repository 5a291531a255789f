"""Checking the lines of a trail one after the other: numbers, chain, blocks and seals."""

from __future__ import annotations

import hmac

from collections.abc import Callable
from typing import Any, Final

from strongroom.contracts import TrailFinding
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import FORMAT, ORIGIN, Head, Line, link, parse
from strongroom_audit_jsonl.opened import OpenFile

_MOST_FINDINGS: Final = 1000


class Checker:
    """Takes up the files of a trail in order and gathers what is wrong.

    Args:
        key: The key that the seals should be made with.
        wanted: Heads whose presence is asked for.
        watch: Called with each line and its place, after it was checked.

    Attributes:
        findings: What was found, in the order of the lines.
        events: How many lines there are.
        start: What the first line that is left continues from.
        head: The last line's place.
        missing: The wanted heads that have not been met.
    """

    def __init__(self, key: SealKey, wanted: set[Head], watch: Callable[[Line, str], None]) -> None:
        self.findings: list[TrailFinding] = []
        self.events = 0
        self.start: Head | None = None
        self.head = Head()
        self.missing = set(wanted)
        self._key = key
        self._watch = watch
        self._place = ""
        # Whether the line before was unreadable, so that the next one cannot match it.
        self._adrift = False
        self._run = 0
        self._declared = 0
        # Where blocks begin that another key sealed, and which key, since the last seal of this one.
        self._foreign: list[tuple[str, str]] = []

    def check(self, file: OpenFile, *, last: bool) -> None:
        """Check the next file.

        Args:
            file: The file.
            last: Whether it is the trail's last one.

        Raises:
            AuditError: The file cannot be read.
        """
        for number, raw in enumerate(file.lines(), start=1):
            self._place = f"{file.path}:{number}"
            line = parse(raw[:-1]) if raw.endswith(b"\n") else None
            if line is not None:
                self._check_line(line)
            elif raw.endswith(b"\n"):
                self._adrift = True
                self._broken("this is not a line of an audit trail")
            else:
                self._find("unsealed" if last else "gap", f"a line of {len(raw)} bytes is torn")

    def finish(self) -> None:
        """Say what only the end of the trail shows."""
        if self._run:
            self._find("unsealed", f"the last {self._run} lines have no seal")
        for place, key_id in self._foreign:
            self._place = place
            self._broken(f"sealed with the key {key_id}, but the key given is {self._key.id}")

    def _check_line(self, line: Line) -> None:
        self.events += 1
        if self.start is None:
            self._begin(line)
        self._check_link(line)
        self.head = Head(seq=line.seq, digest=line.digest)
        self.missing.discard(self.head)
        self._check_block(line)
        if line.fields.get("event") == "gap":
            self._find("gap", str(line.fields.get("detail") or f"{line.fields.get('count')} events were lost"))
        self._watch(line, self._place)

    def _begin(self, line: Line) -> None:
        """Take over, from the first line that is left, what it continues from."""
        stated = line.fields.get("prev")
        before = line.seq - 1 - _number(line.fields, "skipped")
        self.start = self.head = Head(seq=before, digest=_digest(stated) or ORIGIN)
        self.missing.discard(self.start)
        if line.fields.get("format") != FORMAT:
            self._broken("the first line does not state a format that is known")
        elif _digest(stated) is None or (before == 0) != (_digest(stated) == ORIGIN):
            self._broken("the first line does not state the head before it")

    def _check_link(self, line: Line) -> None:
        adrift, self._adrift = self._adrift, False
        expected = self.head.seq + 1 + _number(line.fields, "skipped")
        if adrift:
            return
        if line.seq > expected:
            self._broken(f"lines {expected} to {line.seq - 1} are missing")
        elif line.seq < expected:
            self._broken(f"line {line.seq} stands where line {expected} should")
        elif line.fields.get("prev", self.head.digest.hex()) != self.head.digest.hex():
            self._broken(f"this continues from another line {line.seq - 1} than the one that is here")
        elif link(self.head.digest, line.body) != line.digest:
            self._broken("this line, or the one before it, was changed")

    def _check_block(self, line: Line) -> None:
        """Check that a block is sealed, and that what no seal covers is admitted."""
        self._run += 1
        self._declared += _number(line.fields, "unsealed")
        if line.seal is None:
            if "key_id" in line.fields or "block" in line.fields:
                self._broken("this line's seal was taken off")
            return
        uncovered = self._run - _number(line.fields, "block")
        if uncovered != self._declared:
            self._broken(f"{uncovered} lines before this block have no seal, and {self._declared} are admitted")
        self._run = self._declared = 0
        self._check_seal(line, line.seal)

    def _check_seal(self, line: Line, seal: str) -> None:
        key_id = line.fields.get("key_id")
        if key_id != self._key.id:
            if not self._foreign or self._foreign[-1][1] != key_id:
                self._foreign.append((self._place, str(key_id)))
        elif not hmac.compare_digest(seal, self._key.seal(line.digest)):
            self._broken("the seal is not genuine")
        else:
            self._accept_foreign()

    def _accept_foreign(self) -> None:
        """What another key sealed before a genuine seal cannot have changed since that seal was made."""
        here = self._place
        for place, key_id in self._foreign:
            self._place = place
            self._find("unsealed", f"sealed with another key, {key_id}; since {here} the key given covers it")
        self._place = here
        self._foreign = []

    def _broken(self, detail: str) -> None:
        self._find("broken", detail)

    def _find(self, kind: str, detail: str) -> None:
        # Findings of the worst kind are never left out: they decide the state.
        if len(self.findings) < _MOST_FINDINGS or not any(finding.kind == kind for finding in self.findings):
            self.findings.append(TrailFinding(kind=kind, place=self._place, detail=detail))


def _number(fields: dict[str, Any], name: str) -> int:
    """Return a count that a line states; 0 if it states none that makes sense."""
    value = fields.get(name)
    return value if type(value) is int and value > 0 else 0


def _digest(text: object) -> bytes | None:
    try:
        digest = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return digest if len(digest) == len(ORIGIN) else None
