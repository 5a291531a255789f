"""The local store keeps the contract of a backend, and its plugin that of a plugin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strongroom.contracts import Capability
from strongroom.testing import BackendContract, PluginContract
from strongroom_local.backend import LocalBackend


class TestPlugin(PluginContract):
    module = "strongroom_local.plugin"
    heavy = ("cryptography", "sqlite3", "strongroom_local.backend")


class TestBackend(BackendContract):
    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self, opened) -> LocalBackend:
        return opened.backend

    @pytest.fixture
    def reopen(self, store) -> Callable[[], LocalBackend]:
        return lambda: store.open().backend
