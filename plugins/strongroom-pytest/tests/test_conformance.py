"""The kit's checks of the sink for the events of a test, and of the module that offers it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.model import AuditEvent
from strongroom.testing import AuditSinkContract, PluginContract
from strongroom_pytest.events import EventFile, EventLog


class TestPlugin(PluginContract):
    module = "strongroom_pytest.plugin"
    heavy = ("pytest", "fcntl", "strongroom_pytest.events")


class TestSink(AuditSinkContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "events.jsonl"
        path.touch(mode=0o600)
        return path

    @pytest.fixture
    def sink(self, path: Path) -> EventFile:
        return EventFile(str(path))

    @pytest.fixture
    def recorded(self, path: Path) -> Callable[[], list[AuditEvent]]:
        return lambda: list(EventLog(path))

    @pytest.fixture
    def failing(self, tmp_path: Path) -> EventFile:
        return EventFile(str(tmp_path / "nowhere" / "events.jsonl"))
