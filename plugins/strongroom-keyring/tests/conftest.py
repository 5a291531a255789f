"""What the tests of this distribution share: a backend, a manager of it, and the keyring that uses that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import strongroom

from strongroom.contracts import (
    Backend,
    DeleteRequest,
    DeleteResult,
    ListRequest,
    ListResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import SecretNotFoundError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FaultyBackend
from strongroom_keyring import StrongroomKeyring


class Drawer(Backend):
    """Keeps values in a dictionary."""

    address = "drawer"

    def __init__(self) -> None:
        self.content: dict[SecretName, SecretValue] = {}

    def read(self, request: ReadRequest) -> ReadResult:
        if request.name not in self.content:
            raise SecretNotFoundError(f"no {request.name}")
        return ReadResult(value=self.content[request.name], version="1")

    def write(self, request: WriteRequest) -> WriteResult:
        self.content[request.name] = request.value
        return WriteResult(version="1")

    def delete(self, request: DeleteRequest) -> DeleteResult:
        return DeleteResult(existed=self.content.pop(request.name, None) is not None)

    def list(self, request: ListRequest) -> ListResult:
        return ListResult(names=tuple(name for name in sorted(self.content) if name.is_below(request.prefix)))


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the developer's decides where entries are kept."""
    monkeypatch.delenv("STRONGROOM_KEYRING_PREFIX", raising=False)


@pytest.fixture
def drawer() -> Drawer:
    return Drawer()


@pytest.fixture
def broken(drawer: Drawer) -> FaultyBackend:
    """The drawer; set its ``error`` to break it."""
    return FaultyBackend(drawer)


@pytest.fixture
def manager(broken: FaultyBackend) -> Iterator[strongroom.SecretManager]:
    # Nothing is cached, so that what breaks is seen at once.
    content = {"audit": "none", "backend": "held", "cache": {"policy": "none"}}
    with strongroom.open(content, backends={"held": broken}) as opened:
        yield opened


@pytest.fixture
def ring(manager: strongroom.SecretManager) -> StrongroomKeyring:
    return StrongroomKeyring.using(manager)
