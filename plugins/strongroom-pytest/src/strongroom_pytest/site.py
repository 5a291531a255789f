"""A throw-away manager, and a throw-away configuration."""

from __future__ import annotations

import json
import os
import time

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import strongroom

from strongroom.contracts import AuditSink, AuditWrite
from strongroom.errors import ClosedError
from strongroom.model import AuditEvent, SecretValue, ValueType

_SEARCHER: Final = "strongroom-pytest"
_READABLE: Final = ("current", "superseded")
Value = str | bytes | SecretValue


class EventList(AuditSink):
    """Records in a list what the test does.

    Args:
        events: The list.
    """

    def __init__(self, events: list[AuditEvent]) -> None:
        self._events = events
        self.listening = False

    def write(self, request: AuditWrite) -> None:
        """Record all events of the request but those of the search for values; hits may come much later."""
        if self.listening:
            self._events.extend(event for event in request.events if event.principal != _SEARCHER)


class Site:
    """One manager on a memory of its own, which can tell all values that it has held.

    Args:
        secrets: The secrets that are there from the start.
        events: Takes the audit events of all that happens later.
        clock: Has ``monotonic``, ``time`` and ``sleep``, as ``strongroom.testing.FakeClock`` has; ``None`` for real
            time.
    """

    def __init__(self, secrets: Mapping[str, Value], events: list[AuditEvent], clock: Any = None) -> None:
        self._sink = EventList(events)
        self.manager = strongroom.open(
            {"audit": "none", "backends": {"test": {"type": "memory"}}}, sinks=(self._sink,), **_times(clock)
        )
        for name, value in secrets.items():
            self.manager.set(name, value)
        # What made the secrets is no business of the test.
        self._sink.listening = True

    def values(self) -> list[tuple[str, SecretValue]]:
        """Return each version of each secret that there is, with its name; the audit events do not show it."""
        manager = self.manager.as_principal(_SEARCHER)
        try:
            return [
                (str(name), manager.get(str(name), version=one.version).value)
                for name in manager.list()
                for one in manager.versions(str(name))
                if one.state in _READABLE
            ]
        except ClosedError:
            # The test has closed its manager itself; what was found before, and the first secrets, are known.
            return []


def write_configuration(folder: Path, secrets: Mapping[str, Value], events: str | None) -> Path:
    """Write a ``strongroom.toml`` for a memory with secrets; return its path.

    Args:
        folder: Where to write it, and files for those values that TOML cannot express; it must not exist.
        secrets: The secrets.
        events: The name of a file for audit events, which is made beside it; without it none are recorded.
    """
    folder.mkdir(mode=0o700)
    audit = ['audit = "none"']
    if events is not None:
        _write(folder / events, b"")
        # At once, hits too: a test looks right after what it has done.
        audit = ["[[audit]]", 'type = "pytest"', f"path = {_quoted(events)}", 'immediate = ["**"]']
    lines = [*audit, "", "[backends.test]", 'type = "memory"', "", "[backends.test.seed]"]
    for number, (name, value) in enumerate(secrets.items()):
        content = value if isinstance(value, SecretValue) else SecretValue(value)
        lines.append(f"{_quoted(name)} = {_seed(content, folder / f'seed-{number}')}")
    path = folder / "strongroom.toml"
    _write(path, "\n".join([*lines, ""]).encode())
    return path


def _times(clock: Any) -> dict[str, Any]:
    if clock is None:
        return {"clock": time.monotonic, "wall_clock": time.time_ns, "sleep": time.sleep}
    return {"clock": clock.monotonic, "wall_clock": lambda: int(clock.time() * 1e6) * 1000, "sleep": clock.sleep}


def _seed(value: SecretValue, path: Path) -> str:
    """Return how TOML says a value: as text, or as a reference to a file, which is made."""
    if value.type is ValueType.TEXT:
        return _quoted(value.reveal_text())
    _write(path, value.reveal())
    return f"{{ file = {_quoted(path.name)} }}"


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for the halves of surrogate pairs, which are not made here.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
