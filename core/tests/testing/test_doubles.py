"""The stand-ins: a sink in memory and a backend that fails on demand."""

from __future__ import annotations

import pytest

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    AuditWrite,
    Capability,
    DeleteRequest,
    ListRequest,
    ReadManyRequest,
    ReadRequest,
    VersionsRequest,
    WriteRequest,
)
from strongroom.errors import AuditError
from strongroom.model import AuditEvent, SecretName, SecretValue
from strongroom.testing import BackendContract, FaultyBackend, MemorySink

NAME = SecretName("a")
EVENT = AuditEvent(id="1", timestamp="2026-01-01T00:00:00.000000+00:00", event="get")


class TestFaultyBackend(BackendContract):
    """While no failure is set, it is as good as the backend inside."""

    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self) -> FaultyBackend:
        return FaultyBackend(MemoryBackend())


def test_every_call_fails_while_an_error_is_set() -> None:
    backend = FaultyBackend(MemoryBackend(), error=ConnectionResetError("gone"))
    calls = [
        lambda: backend.read(ReadRequest(name=NAME)),
        lambda: backend.read_many(ReadManyRequest(names=(NAME,))),
        lambda: backend.write(WriteRequest(name=NAME, value=SecretValue("x"))),
        lambda: backend.delete(DeleteRequest(name=NAME)),
        lambda: backend.list(ListRequest()),
        lambda: backend.versions(VersionsRequest(name=NAME)),
        backend.health,
    ]
    for call in calls:
        with pytest.raises(ConnectionResetError):
            call()
    assert backend.calls == ["read", "read_many", "write", "delete", "list", "versions", "health"]


def test_a_backend_can_be_broken_and_mended() -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.write(WriteRequest(name=NAME, value=SecretValue("x")))
    backend.error = TimeoutError()
    with pytest.raises(TimeoutError):
        backend.read(ReadRequest(name=NAME))
    backend.error = None
    assert backend.read(ReadRequest(name=NAME)).value == SecretValue("x")


def test_a_test_can_step_in_before_a_call() -> None:
    backend = FaultyBackend(MemoryBackend())
    seen: list[str] = []
    backend.before = seen.append
    backend.list(ListRequest())
    assert seen == ["list"]


def test_a_sink_told_to_fail_records_nothing() -> None:
    sink = MemorySink()
    sink.failing = True
    with pytest.raises(AuditError):
        sink.write(AuditWrite(events=(EVENT,)))
    sink.failing = False
    sink.write(AuditWrite(events=(EVENT,)))
    assert sink.events == [EVENT]


def test_a_sink_remembers_that_it_was_closed() -> None:
    sink = MemorySink()
    assert not sink.closed
    sink.close()
    assert sink.closed
