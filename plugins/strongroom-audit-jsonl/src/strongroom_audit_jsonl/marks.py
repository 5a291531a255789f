"""The lines that the sink itself adds: ``continued``, ``gap`` and ``pruned``."""

from __future__ import annotations

import os

from datetime import UTC, datetime
from typing import Any

from strongroom.contracts import Record
from strongroom.model import AuditEvent


class Loss(Record):
    """What a writer found wrong with the end of the trail; it becomes one ``gap`` line."""

    skipped: int = 0
    """How many lines that had been written are gone from the end."""
    unsealed: int = 0
    """How many lines at the end no seal covers."""
    reasons: tuple[str, ...] = ()


def continued(seq: int) -> dict[str, Any]:
    """Return the mark that opens a file that is not the trail's first."""
    return _mark("continued", f"the file before this one ends with line {seq}")


def gap(loss: Loss) -> dict[str, Any]:
    """Return the mark that admits a loss."""
    unsealed = {"unsealed": loss.unsealed} if loss.unsealed else {}
    result = "events_lost" if loss.skipped else "ok"
    return _mark("gap", "; ".join(loss.reasons), count=loss.skipped or None, result=result) | unsealed


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
