"""The built-in backend, policies and plugin module keep the contracts."""

from __future__ import annotations

import pytest

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.policies import NonePolicy, TtlPolicy
from strongroom.builtin.settings import MemorySettings, NoneSettings, TtlSettings
from strongroom.contracts import Capability
from strongroom.testing import BackendContract, CachePolicyContract, PluginContract


class TestPlugin(PluginContract):
    module = "strongroom.builtin.plugin"
    heavy = ("strongroom.builtin.memory", "strongroom.builtin.policies", "pluggy", "attrs", "threading")


class TestMemoryBackend(BackendContract):
    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()


class TestMemoryBackendWithLimit(BackendContract):
    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend(MemorySettings(max_value_bytes=1000))


class TestTtlPolicy(CachePolicyContract):
    @pytest.fixture
    def policy(self) -> TtlPolicy:
        return TtlPolicy(TtlSettings(max_stale=60.0))


class TestNonePolicy(CachePolicyContract):
    @pytest.fixture
    def policy(self) -> NonePolicy:
        return NonePolicy(NoneSettings())
