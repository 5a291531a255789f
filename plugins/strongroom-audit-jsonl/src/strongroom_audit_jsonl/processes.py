"""Which processes opened the trail and ended without closing it."""

from __future__ import annotations

import os

from datetime import datetime

from strongroom.contracts import Record, TrailFinding
from strongroom_audit_jsonl.lines import Line


class _Opening(Record):
    id: str
    host: str
    pid: int
    timestamp: str
    place: str


class Processes:
    """Follows the events ``opened`` and ``closed``."""

    def __init__(self) -> None:
        self._open: list[_Opening] = []

    def watch(self, line: Line, place: str) -> None:
        """Take notice of a line."""
        event = line.fields.get("event")
        if event not in ("opened", "closed"):
            return
        opening = _opening(line, place)
        if event == "opened":
            self._open.append(opening)
        else:
            self._close(opening)

    def findings(self) -> list[TrailFinding]:
        """Return a finding for each process that cannot be running any more, or that cannot be asked."""
        return [
            TrailFinding(kind="unclosed", place=opening.place, detail=_describe(opening))
            for opening in self._open
            if not _may_run(opening)
        ]

    def _close(self, closing: _Opening) -> None:
        same_id = [opening for opening in self._open if opening.id == closing.id]
        same_process = [opening for opening in self._open if (opening.host, opening.pid) == (closing.host, closing.pid)]
        for opening in [*same_id, *reversed(same_process)][:1]:
            self._open.remove(opening)


def _opening(line: Line, place: str) -> _Opening:
    fields = line.fields
    pid = fields.get("pid")
    return _Opening(
        id=str(fields.get("id")),
        host=str(fields.get("host")),
        pid=pid if type(pid) is int else 0,
        timestamp=str(fields.get("timestamp")),
        place=place,
    )


def _describe(opening: _Opening) -> str:
    end = "is gone" if opening.host == os.uname().nodename else "cannot be asked from here"
    return f"process {opening.pid} on {opening.host} opened the trail, has not closed it and {end}"


def _may_run(opening: _Opening) -> bool:
    if opening.host != os.uname().nodename or opening.pid <= 0:
        return False
    try:
        os.kill(opening.pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return not _started_later(opening)


def _started_later(opening: _Opening) -> bool:
    """Tell whether the process that has the number now is another one."""
    try:
        with open(f"/proc/{opening.pid}/stat", encoding="ascii", errors="replace") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        with open("/proc/stat", encoding="ascii") as stat:
            booted = next(int(line.split()[1]) for line in stat if line.startswith("btime "))
        opened = datetime.fromisoformat(opening.timestamp).timestamp()
    except (OSError, ValueError, IndexError, StopIteration):
        return False
    # The kernel states its boot in whole seconds, and adjusts it with the clock.
    return booted + ticks / os.sysconf("SC_CLK_TCK") > opened + 2
