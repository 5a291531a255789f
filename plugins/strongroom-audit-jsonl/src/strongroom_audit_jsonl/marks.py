"""The lines that the sink itself adds: ``continued``, ``gap`` and ``pruned``."""

from __future__ import annotations

import os

from datetime import UTC, datetime
from typing import Any

from strongroom.contracts import Record
from strongroom.model import AuditEvent
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head
from strongroom_audit_jsonl.tail import Tail


class Loss(Record):
    """What a writer found wrong with the end of the trail; it becomes one ``gap`` line."""

    skipped: int = 0
    """How many lines that had been written are gone from the end."""
    unsealed: int = 0
    """How many lines at the end no seal covers."""
    foreign: str = ""
    """The id of another key, if the last seal was made with one."""
    zeroed: tuple[tuple[int, int], ...] = ()
    """Which lines a power failure has made unreadable."""
    reasons: tuple[str, ...] = ()

    def because(self, *reasons: str) -> Loss:
        """Return the loss with more reasons."""
        return self.replace(reasons=(*self.reasons, *reasons))


def compare(tail: Tail, known: Head, key: SealKey) -> Loss:
    """Compare how a file ends with what is known to have been written."""
    found = tail.head or Head()
    loss = Loss(skipped=max(0, known.seq - found.seq), unsealed=tail.unsealed)
    if loss.skipped:
        lost = f"lines {found.seq + 1} to {known.seq} (head {known.digest.hex()})"
        loss = loss.because(f"{lost}, which had been written, are gone")
    if found.seq == known.seq and found.digest != known.digest:
        loss = loss.because(f"line {found.seq} is not the one that had been written")
    if tail.unsealed:
        loss = loss.because(f"the last {tail.unsealed} lines before this one have no seal")
    key_id = tail.sealed.fields.get("key_id") if tail.sealed else key.id
    if tail.sealed and isinstance(key_id, str) and key_id != key.id:
        loss = loss.replace(foreign=key_id).because(f"line {tail.sealed.seq} is sealed with another key, {key_id[:64]}")
    return loss


def without_pages(loss: Loss, zeroed: tuple[tuple[int, int], ...]) -> Loss:
    """Return a loss to which lines are added that a power failure has made unreadable."""
    reasons = [
        f"between lines {first - 1} and {last + 1} are NUL bytes, as a power failure leaves them"
        for first, last in zeroed
    ]
    return loss.replace(zeroed=zeroed).because(*reasons)


def continued(seq: int) -> dict[str, Any]:
    """Return the mark that opens a file that is not the trail's first."""
    return _mark("continued", f"the file before this one ends with line {seq}")


def gap(loss: Loss) -> dict[str, Any]:
    """Return the mark that admits a loss."""
    members = {"unsealed": loss.unsealed, "foreign": loss.foreign, "zeroed": loss.zeroed}
    result = "events_lost" if loss.skipped or loss.zeroed else "ok"
    mark = _mark("gap", "; ".join(loss.reasons), count=loss.skipped or None, result=result)
    return mark | {name: value for name, value in members.items() if value}


def pruned(seq: int, files: int) -> dict[str, Any]:
    """Return the mark that says which lines the configuration had removed."""
    return _mark("pruned", f"keep_files removed all lines up to {seq}", count=files) | {"pruned": seq}


def _mark(event: str, detail: str, *, count: int | None = None, result: str = "ok") -> dict[str, Any]:
    mark = AuditEvent(
        id=os.urandom(16).hex(),
        timestamp=datetime.now(UTC).isoformat(timespec="microseconds"),
        event=event,
        result=result,
        host=os.uname().nodename,
        pid=os.getpid(),
        count=count,
        detail=detail,
    )
    return {name: value for name, value in mark.as_dict().items() if value is not None}
