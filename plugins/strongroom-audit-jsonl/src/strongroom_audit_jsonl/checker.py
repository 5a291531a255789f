"""Checking the lines of a trail one after the other: numbers and chain."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.contracts import Record
from strongroom_audit_jsonl.blocks import Blocks
from strongroom_audit_jsonl.findings import Findings
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import FORMAT, ORIGIN, Head, Line, link, parse, stated_digest
from strongroom_audit_jsonl.opened import OpenFile


class Hole(Record):
    """A place with NUL bytes in the middle of the trail."""

    place: str
    first: int
    """The number of the first line that is missing there."""
    last: int


class Checker:
    """Takes up the files of a trail in order and gathers what is wrong.

    Args:
        key: The key that the seals should be made with.
        wanted: Heads whose presence is asked for.
        watch: Called with each line and its place, after it was checked.

    Attributes:
        findings: What was found, in the order of the lines.
        blocks: What the seals cover.
        events: How many lines there are.
        start: What the first line that is left continues from.
        head: The last line's place.
        missing: The wanted heads that have not been met.
        holes: Where lines cannot be read because a page is empty.
    """

    def __init__(self, key: SealKey, wanted: set[Head], watch: Callable[[Line, str], None]) -> None:
        self.findings = Findings()
        self.blocks = Blocks(key, self.findings)
        self.events = 0
        self.start: Head | None = None
        self.head = Head()
        self.missing = set(wanted)
        self.holes: list[Hole] = []
        self._watch = watch
        self._place = ""
        # Whether the line before was unreadable, so that the next one need not match it.
        self._adrift = False
        # Where it was, if it held NUL bytes.
        self._hole = ""

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
            elif not raw.endswith(b"\n"):
                self.findings.add("unsealed" if last else "gap", self._place, f"a line of {len(raw)} bytes is torn")
            elif b"\0" in raw:
                self._adrift, self._hole = True, self._hole or self._place
            else:
                self._adrift = True
                self._broken("this is not a line of an audit trail")

    def finish(self) -> None:
        """Say what only the end of the trail shows."""
        if self._hole:
            self._end_hole(self.head.seq)
        self.blocks.finish()

    def _check_line(self, line: Line) -> None:
        self.events += 1
        if self.start is None:
            self._begin(line)
        if self._hole:
            self._end_hole(line.before)
        self._check_link(line)
        self.head = Head(seq=line.seq, digest=line.digest)
        self.missing.discard(self.head)
        self.blocks.take(line, self._place)
        if line.fields.get("event") == "gap":
            detail = line.fields.get("detail") or f"{line.fields.get('count')} events were lost"
            self.findings.add("gap", self._place, str(detail))
        self._watch(line, self._place)

    def _begin(self, line: Line) -> None:
        """Take over, from the first line that is left, what it continues from."""
        if self._hole:
            # The first lines are in it, so this one need not say anything.
            self.start = Head()
            return
        stated = stated_digest(line.fields.get("prev"))
        self.start = self.head = Head(seq=line.before, digest=stated or ORIGIN)
        self.missing.discard(self.start)
        if line.fields.get("format") != FORMAT:
            self._broken("the first line does not state a format that is known")
        elif stated is None or (line.before == 0) != (stated == ORIGIN):
            self._broken("the first line does not state the head before it")

    def _end_hole(self, last: int) -> None:
        self.holes.append(Hole(place=self._hole, first=self.head.seq + 1, last=last))
        self.blocks.interrupt(self._hole)
        self._hole = ""

    def _check_link(self, line: Line) -> None:
        adrift, self._adrift = self._adrift, False
        if line.before > self.head.seq:
            if not adrift:
                self._broken(f"lines {self.head.seq + 1} to {line.before} are missing")
        elif line.before < self.head.seq:
            self._broken(f"line {line.seq} stands where line {self.head.seq + line.seq - line.before} should")
        elif line.fields.get("prev", self.head.digest.hex()) != self.head.digest.hex():
            self._broken(f"this continues from another line {line.before} than the one that is here")
        elif link(self.head.digest, line.body) != line.digest:
            self._broken("this line, or the one before it, was changed")

    def _broken(self, detail: str) -> None:
        self.findings.add("broken", self._place, detail)
