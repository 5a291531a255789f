"""The kit's checks of the sink and of the module that offers it."""

from pathlib import Path

import pytest

from strongroom.testing import AuditSinkContract, PluginContract
from strongroom_audit_jsonl.plugin import JsonlSettings
from strongroom_audit_jsonl.sink import JsonlSink


class TestPlugin(PluginContract):
    module = "strongroom_audit_jsonl.plugin"
    heavy = ("cryptography", "strongroom_audit_jsonl.sink", "strongroom_audit_jsonl.verify", "fcntl", "gzip")


class TestSink(AuditSinkContract):
    @pytest.fixture
    def sink(self, tmp_path: Path) -> JsonlSink:
        return JsonlSink(JsonlSettings(path=str(tmp_path / "audit.jsonl")))

    @pytest.fixture
    def failing(self, tmp_path: Path) -> JsonlSink:
        (tmp_path / "a-file").touch()
        return JsonlSink(JsonlSettings(path=str(tmp_path / "a-file" / "audit.jsonl")))


class TestRotatingSink(TestSink):
    """The same with a new file for nearly every block."""

    added = frozenset({"continued"})

    @pytest.fixture
    def sink(self, tmp_path: Path) -> JsonlSink:
        return JsonlSink(JsonlSettings(path=str(tmp_path / "audit.jsonl"), max_bytes=1024))
