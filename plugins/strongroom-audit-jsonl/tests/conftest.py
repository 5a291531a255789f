"""A trail in a folder of its own, and what tests do with it."""

import base64
import hmac
import itertools
import json
import os

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import AuditWrite, TrailReport
from strongroom.model import AuditEvent
from strongroom_audit_jsonl.plugin import JsonlSettings
from strongroom_audit_jsonl.sink import JsonlSink

_numbers = itertools.count(1)


def make_event(**facts: Any) -> AuditEvent:
    """Return an event with an id of its own."""
    defaults = {"id": f"event-{os.getpid()}-{next(_numbers)}", "timestamp": "2030-01-01T12:00:00.000000+00:00"}
    return AuditEvent(**(defaults | {"event": "get", "key": "db/password", "principal": "api"} | facts))


class TrailFolder:
    """A trail on disk; sinks opened on it are closed by the fixture."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "audit.jsonl"
        self.event = make_event
        self._sinks: list[JsonlSink] = []

    def settings(self, **changes: Any) -> JsonlSettings:
        return JsonlSettings(**({"path": str(self.path)} | changes))

    def open(self, **changes: Any) -> JsonlSink:
        """Return a sink as a process of its own would have it."""
        sink = JsonlSink(self.settings(**changes))
        self._sinks.append(sink)
        return sink

    def write(self, sink: JsonlSink, count: int = 1, **facts: Any) -> list[str]:
        """Write a block of events and return their ids."""
        events = tuple(make_event(**facts) for _ in range(count))
        sink.write(AuditWrite(events=events))
        return [event.id for event in events]

    def fill(self, blocks: int = 4, size: int = 2) -> list[str]:
        """Write some blocks with a sink that is closed afterwards; return the ids."""
        sink = self.open()
        return [written for _ in range(blocks) for written in self.write(sink, size)]

    def beside(self, suffix: str) -> Path:
        """Return the path of a file that belongs to the trail."""
        return self.path.with_name(self.path.name + suffix)

    def verify(self) -> TrailReport:
        return self.open().verify()

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        """Return a file's lines, all of which must be whole and JSON."""
        content = (path or self.path).read_bytes()
        assert content == b"" or content.endswith(b"\n"), "the last line is torn"
        return [json.loads(line) for line in content.splitlines()]

    def lines_left(self) -> list[dict[str, Any]]:
        """Return the lines of a file that may have unreadable ones."""
        return [json.loads(line) for line in self.path.read_bytes().splitlines() if b"\0" not in line]

    def note(self, seq: int = 0, chain: str = "0" * 64, synced: int = 0) -> None:
        """Put a genuine head file there, as the documentation describes it; by default the one of an empty trail.

        A crash may leave one that is as old as that, so it proves nothing and alone is no finding.
        """
        key = base64.b64decode(self.beside(".key").read_text())
        text = f"{seq:020d} {chain} {synced:020d}"
        code = hmac.digest(key, b"strongroom audit head 1\0" + text.encode(), "sha256").hex()
        self.beside(".head").write_text(f"{text} {code}\n")

    def kill_in_write(self, count: int, whole: int, torn: int = 0, **settings: Any) -> None:
        """Write a block and leave what a process leaves that is killed in the middle: some lines and a part of one."""
        head = self.beside(".head").read_bytes()
        before = self.path.read_bytes() if self.path.exists() else b""
        before = before[: before.rfind(b"\n") + 1]  # The writer cuts off what is torn.
        self.write(self.open(**settings), count, principal="killed")
        content = self.path.read_bytes()
        start = len(before) if before and content.startswith(before) else 0
        lines = content[start:].splitlines(keepends=True)
        left = lines[:whole] + [line[:torn] for line in lines[whole : whole + 1]]
        os.truncate(self.path, start + sum(map(len, left)))
        self.beside(".head").write_bytes(head)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[TrailFolder]:
    folder = TrailFolder(tmp_path)
    yield folder
    folder.close()


@pytest.fixture
def forked() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Return a function that runs something in a forked child and returns the child's number at once."""
    children: list[int] = []

    def start(action: Callable[[], object]) -> int:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                action()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
        return child

    yield start
    for child in children:
        try:
            os.kill(child, 9)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            continue
