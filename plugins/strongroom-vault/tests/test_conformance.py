"""The backend keeps its contract against a real server, for both versions of the engine, and its plugin that of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from engines import new_mount, opened, settings
from openbao import ROOT_TOKEN, Server, free_port
from strongroom.contracts import Capability
from strongroom.testing import BackendContract, PluginContract
from strongroom_vault.backend import VaultBackend
from transit_keys import TransitKeys


class TestPlugin(PluginContract):
    module = "strongroom_vault.plugin"
    heavy = ("hvac", "requests", "urllib3", "cryptography", "strongroom_vault.backend", "strongroom_vault.rules")


class Contract(TransitKeys, BackendContract):
    """What is the same for both versions of the engine."""

    credentials = (ROOT_TOKEN,)
    version: int

    @pytest.fixture(scope="class")
    @classmethod
    def mount(cls, server: Server) -> str:
        return new_mount(server, cls.version)

    @pytest.fixture
    def backend(self, server: Server, mount: str) -> Iterator[VaultBackend]:
        backend = opened(server, mount, kv_version=self.version)
        yield backend
        backend.close()

    @pytest.fixture
    def reopen(self, server: Server, mount: str) -> Iterator[Callable[[], VaultBackend]]:
        with ExitStack() as stack:
            yield lambda: stack.enter_context(closing(opened(server, mount, kv_version=self.version)))

    @pytest.fixture
    def failing(self, server: Server, mount: str) -> Iterator[VaultBackend]:
        nobody = f"http://127.0.0.1:{free_port()}"
        backend = VaultBackend.open(settings(server, mount, kv_version=self.version, address=nobody, attempts=1))
        yield backend
        backend.close()


class TestVersion2(Contract):
    version = 2
    capabilities = frozenset(Capability) - {Capability.BATCH}


class TestVersion1(Contract):
    version = 1
    capabilities = frozenset({Capability.WRITE, Capability.LIST})

    @pytest.fixture
    def recovery(self) -> None:
        # The class keeps what was deleted, this version of the engine does not; that it says so is tested elsewhere.
        pytest.skip("only version 2 of the engine keeps what was deleted")

    @pytest.fixture
    def describing(self) -> None:
        pytest.skip("only version 2 of the engine keeps notes")
