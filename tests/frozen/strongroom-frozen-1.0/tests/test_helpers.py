"""What the core offers to the tests of plugins."""

import pytest

from strongroom.contracts import AuditWrite, ReadRequest, WriteRequest
from strongroom.errors import BackendUnavailableError
from strongroom.model import AuditEvent, SecretName, SecretValue
from strongroom.testing import (
    CredentialMaker,
    FakeClock,
    FaultyBackend,
    MemorySink,
    assert_hidden,
    encodings_of,
    in_forked_child,
    in_threads,
    leaks_in,
    marker_value,
    report_of,
)
from strongroom_frozen.backend import FrozenBackend
from strongroom_frozen.settings import StoreSettings


@pytest.fixture
def backend(tmp_path):
    return FrozenBackend(StoreSettings(path=str(tmp_path / "frozen")))


def test_clocks():
    clock = FakeClock()
    before, wall = clock(), clock.now()
    clock.advance(2.0)
    clock.sleep(1.0)
    assert (clock.monotonic() - before, (clock.now() - wall).total_seconds()) == (3.0, 3.0)
    clock.set_wall(wall)
    assert clock.time() == wall.timestamp()


def test_doubles(backend):
    faulty = FaultyBackend(backend, error=BackendUnavailableError("it is out"))
    with pytest.raises(BackendUnavailableError):
        faulty.read(ReadRequest(name=SecretName("a")))
    faulty.error = None
    faulty.write(WriteRequest(name=SecretName("a"), value=SecretValue("x")))
    assert faulty.calls and faulty.wrapped is backend
    sink = MemorySink()
    sink.write(AuditWrite(events=(AuditEvent(id="1", timestamp="2026-01-01T00:00:00.000000+00:00", event="get"),)))
    assert [event.id for event in sink.events] == ["1"] and not sink.closed
    clock = FakeClock()
    maker = CredentialMaker(clock, ttl=60.0)
    assert maker.alive() == [] and not maker.is_leased(SecretName("no/lease"))


def test_leaks():
    marker = marker_value()
    assert leaks_in("nothing", marker) == [] and leaks_in(f"<{marker}>", marker)
    assert len(encodings_of(marker)) > 3
    assert_hidden(marker, "nothing", "a text")
    try:
        raise ValueError("with words")
    except ValueError as error:
        assert "with words" in report_of(error)


def test_processes(backend):
    assert in_threads(3, lambda number: number * 2) == [0, 2, 4]
    backend.write(WriteRequest(name=SecretName("a"), value=SecretValue("x")))
    assert in_forked_child(lambda: backend.read(ReadRequest(name=SecretName("a"))).version) == "1"
