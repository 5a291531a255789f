"""Verifying a whole trail."""

from __future__ import annotations

from typing import Final, Self

from strongroom.contracts import TrailFinding, TrailHead, TrailReport
from strongroom.errors import AuditError
from strongroom_audit_jsonl.checker import Checker
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head, Line
from strongroom_audit_jsonl.notes import Note, note_content, parse_note
from strongroom_audit_jsonl.opened import OpenFile, close_all, open_files
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


def report(snapshot: Snapshot, key: SealKey | None, head: TrailHead | None) -> TrailReport:
    """Check everything and say what was found.

    Args:
        snapshot: The trail.
        key: The trail's key; ``None`` only where there are no files.
        head: A head that the trail should contain.

    Raises:
        AuditError: A file cannot be read, or was shortened meanwhile.
    """
    verifier = _Verifier(snapshot, key or SealKey(b""), head)
    verifier.check_files()
    verifier.check_beginning()
    verifier.check_heads()
    return verifier.report()


class _Verifier:
    def __init__(self, snapshot: Snapshot, key: SealKey, head: TrailHead | None) -> None:
        self._snapshot = snapshot
        self._given = _head(head) if head else None
        self._note: Note | None = parse_note(snapshot.note, key)
        self._processes = Processes()
        self._pruned = 0
        wanted = {Head()} | ({self._given} if self._given else set()) | ({self._note.head} if self._note else set())
        self._checker = Checker(key, wanted, self._watch)

    def _watch(self, line: Line, place: str) -> None:
        self._processes.watch(line, place)
        pruned = line.fields.get("pruned")
        if type(pruned) is int:
            self._pruned = max(self._pruned, pruned)

    def check_files(self) -> None:
        files = self._snapshot.files
        for file in files:
            self._checker.check(file, last=file is files[-1])
            if file.shortened:
                raise AuditError(f"{file.path} was shortened while it was read", hint="verify once more")
        self._checker.finish()

    def check_beginning(self) -> None:
        start = self._checker.start
        if start is not None and start.seq > self._pruned:
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
            kind = "broken" if self._note.durable else "gap"
            self._find(kind, f"{self._snapshot.path}.head", f"{_name(self._note.head)} had been written and is gone")

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
        self._checker.findings.append(TrailFinding(kind=kind, place=place, detail=detail))


def _head(head: TrailHead) -> Head:
    """Take up a head that was noted elsewhere; one that no trail can have stays one that no trail has."""
    try:
        return Head(seq=head.position, digest=bytes.fromhex(head.digest))
    except ValueError:
        return Head(seq=head.position, digest=b"")


def _name(head: Head | None) -> str:
    return f"the head of line {head.seq}, {head.digest.hex()}," if head else ""
