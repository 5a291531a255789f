"""Verifying a whole trail."""

from __future__ import annotations

from typing import Final, Self

from strongroom.contracts import TrailHead, TrailReport
from strongroom.errors import AuditError
from strongroom_audit_jsonl.checker import Checker
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head, Line, count
from strongroom_audit_jsonl.notes import Note, note_content, parse_note
from strongroom_audit_jsonl.opened import OpenFile, close_all, open_files, without_copies
from strongroom_audit_jsonl.processes import Processes

_WORSE: Final = {"unsealed": 1, "unclosed": 2, "gap": 2, "broken": 3}
_STATES: Final = ("sealed", "unsealed", "gap", "broken")


class Snapshot:
    """The files of a trail and its head file as they were at one moment.

    Args:
        path: The audit file.
        files: The trail's files, open.
        note: What the head file held.
    """

    def __init__(self, path: str, files: list[OpenFile], note: bytes) -> None:
        self.path = path
        self.files = files
        self.note = note

    @classmethod
    def take(cls, path: str) -> Self:
        """Open a trail's files; nobody may write meanwhile.

        Raises:
            AuditError: The trail cannot be read.
        """
        return cls(path, open_files(path), note_content(f"{path}.head"))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        close_all(self.files)


def report(snapshot: Snapshot, key: SealKey | None, head: TrailHead | None, *, was_begun: bool = False) -> TrailReport:
    """Check everything and say what was found.

    Args:
        snapshot: The trail.
        key: The trail's key; ``None`` only where there are no files.
        head: A head that the trail should contain.
        was_begun: Whether the key shows that there must have been a head file.

    Raises:
        AuditError: A file cannot be read, or was shortened meanwhile.
    """
    verifier = _Verifier(snapshot, key or SealKey(b""), head)
    verifier.check_files()
    verifier.check_holes()
    verifier.check_beginning()
    verifier.check_heads()
    verifier.check_end(was_begun=was_begun)
    return verifier.report()


class _Verifier:
    def __init__(self, snapshot: Snapshot, key: SealKey, head: TrailHead | None) -> None:
        self._snapshot = snapshot
        self._given = _head(head) if head else None
        self._note: Note | None = parse_note(snapshot.note, key)
        self._processes = Processes()
        wanted = {Head()} | ({self._given} if self._given else set()) | ({self._note.head} if self._note else set())
        self._checker = Checker(key, wanted, self._watch)

    def _watch(self, line: Line, place: str) -> None:
        self._processes.watch(line, place)
        if count(line.fields, "pruned") >= line.seq:
            self._checker.findings.add("broken", place, "this says that lines were removed that were not written yet")

    def check_files(self) -> None:
        files = self._snapshot.files = without_copies(self._snapshot.files)
        for file in files:
            self._checker.check(file, last=file is files[-1])
            if file.shortened:
                raise AuditError(f"{file.path} was shortened while it was read", hint="verify once more")
        self._checker.finish()

    def check_holes(self) -> None:
        """Tell what a power failure can have done from what only somebody can have done."""
        for hole in self._checker.holes:
            admitted = any(first <= hole.first and hole.last <= last for first, last in self._checker.blocks.zeroed)
            if admitted or (self._note is not None and hole.first > self._note.synced):
                lost = f"lines {hole.first} to {hole.last}" if hole.last >= hole.first else "what was here"
                self._find("gap", hole.place, f"{lost} had not been synced, and NUL bytes are left of them")
            else:
                self._find("broken", hole.place, "this is not a line of an audit trail")

    def check_beginning(self) -> None:
        start = self._checker.start
        if start is not None and start.seq > self._checker.blocks.pruned:
            self._find(
                "gap",
                self._snapshot.files[0].path,
                f"the trail starts at line {start.seq + 1}; the file that ends with line {start.seq} "
                f"and head {start.digest.hex()} is not here",
            )

    def check_heads(self) -> None:
        missing = self._checker.missing - {Head()}
        if self._given in missing:
            self._find("broken", self._snapshot.path, f"{_name(self._given)} that was given is not in the trail")
        elif self._note is not None and self._note.head in missing:
            # Only what had been synced is certain to survive a power failure.
            synced = self._note.synced
            kind = "broken" if synced >= self._note.head.seq or synced > self._checker.head.seq else "gap"
            self._find(kind, f"{self._snapshot.path}.head", f"{_name(self._note.head)} had been written and is gone")

    def check_end(self, *, was_begun: bool) -> None:
        """Say so if lines may have been cut off from the end, because the head file cannot tell."""
        if self._note is None and (self._checker.events or was_begun):
            place = f"{self._snapshot.path}.head"
            self._find("gap", place, "the end cannot be vouched for: this file is missing, or not genuine")

    def report(self) -> TrailReport:
        findings = (*self._checker.findings, *self._processes.findings())
        worst = max((_WORSE[finding.kind] for finding in findings), default=0)
        return TrailReport(
            state=_STATES[worst],
            events=self._checker.events,
            files=tuple(file.path for file in self._snapshot.files),
            head=TrailHead(position=self._checker.head.seq, digest=self._checker.head.digest.hex()),
            findings=findings,
        )

    def _find(self, kind: str, place: str, detail: str) -> None:
        self._checker.findings.add(kind, place, detail)


def _head(head: TrailHead) -> Head:
    """Take up a head that was noted elsewhere; one that no trail can have stays one that no trail has."""
    try:
        return Head(seq=head.position, digest=bytes.fromhex(head.digest))
    except ValueError:
        return Head(seq=head.position, digest=b"")


def _name(head: Head | None) -> str:
    return f"the head of line {head.seq}, {head.digest.hex()}," if head else ""
