"""What the tests of this distribution share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes import FakeVault
from openbao import Server, development_server
from pkis import new_authority


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server in development mode, for all tests of a process: use mounts or names of your own."""
    with development_server(tmp_path_factory.mktemp("openbao")) as started:
        yield started


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    """A server that answers as the test tells it to."""
    with FakeVault() as started:
        yield started


@pytest.fixture(scope="session")
def authority_mount(server: Server) -> str:
    """Where the server has an authority for x.test."""
    return new_authority(server)
