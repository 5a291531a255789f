"""Each part keeps its contract."""

import json

import pytest

from strongroom.contracts import Capability
from strongroom.model import SecretValue
from strongroom.testing import (
    AnomalyDetectorContract,
    AuditSinkContract,
    BackendContract,
    CachePolicyContract,
    LeasingContract,
    PluginContract,
    RotatorContract,
)
from strongroom_frozen.backend import FrozenBackend
from strongroom_frozen.detector import FrozenDetector
from strongroom_frozen.policy import FrozenPolicy
from strongroom_frozen.rotator import FrozenRotator
from strongroom_frozen.settings import (
    DetectorSettings,
    PolicySettings,
    RotatorSettings,
    SinkSettings,
    StoreSettings,
)
from strongroom_frozen.sink import FrozenSink


class TestPlugin(PluginContract):
    module = "strongroom_frozen.plugin"
    heavy = ("strongroom_frozen.backend", "strongroom_frozen.rotator")


class TestBackend(BackendContract):
    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self, tmp_path):
        return FrozenBackend(StoreSettings(path=str(tmp_path / "frozen.json")))

    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: FrozenBackend(StoreSettings(path=str(tmp_path / "frozen.json")))


class TestLeasing(LeasingContract):
    @pytest.fixture
    def backend(self, tmp_path):
        return FrozenBackend(StoreSettings(path=str(tmp_path / "frozen.json"), names=("leased",)))

    @pytest.fixture
    def leased_name(self):
        return "leased/app"


class TestPolicy(CachePolicyContract):
    @pytest.fixture
    def policy(self):
        return FrozenPolicy(PolicySettings())


class TestSink(AuditSinkContract):
    @pytest.fixture
    def sink(self, tmp_path):
        return FrozenSink(SinkSettings(path=str(tmp_path / "frozen.jsonl")))

    @pytest.fixture
    def failing(self, tmp_path):
        return FrozenSink(SinkSettings(path=str(tmp_path / "missing" / "frozen.jsonl")))


class TestDetector(AnomalyDetectorContract):
    @pytest.fixture
    def detector(self):
        return FrozenDetector(DetectorSettings())

    @pytest.fixture
    def another(self):
        return FrozenDetector(DetectorSettings())


class TestRotator(RotatorContract):
    @pytest.fixture
    def door(self, tmp_path, current):
        file = tmp_path / "door.json"
        file.write_text(json.dumps([current.reveal_text()]))
        return file

    @pytest.fixture
    def current(self):
        return SecretValue("door-0")

    @pytest.fixture
    def rotator(self, door):
        return FrozenRotator(RotatorSettings(door=str(door)))

    @pytest.fixture
    def accepts(self, door):
        return lambda value: value.reveal_text() in json.loads(door.read_text())

    @pytest.fixture
    def unreachable(self, tmp_path):
        return FrozenRotator(RotatorSettings(door=str(tmp_path / "missing.json")))
