"""The same against a real rsyslogd: what it makes of each field, of many processes, and of its own sudden end."""

import subprocess
import sys

from pathlib import Path
from typing import Any

import pytest

import rfc5424

from certificates import Authority
from rsyslog import Daemon, event_of, running
from strongroom.contracts import AuditWrite, HealthState
from strongroom.errors import AuditError
from strongroom.testing.audit import ODD_TEXTS, event, full_event, hits, record

PROCESSES, EACH = 4, 500

WRITER = """
import sys
from strongroom.contracts import AuditWrite
from strongroom.testing.audit import event
from strongroom_audit_syslog.plugin import SyslogSettings
from strongroom_audit_syslog.sink import SyslogSink
address, name, count = sys.argv[1:]
sink = SyslogSink(SyslogSettings(address=address))
for number in range(int(count)):
    made = event(id=f"{name}-{number}", principal=name * (number % 200))
    sink.write(AuditWrite(events=(made,), durable=number % 10 == 0))
sink.close()
"""


@pytest.fixture(params=["udp", "tcp", "tls", "unix"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def daemon(transport: str, short: Path, authority: Authority) -> Any:
    with running(short, transport, authority if transport == "tls" else None) as daemon:
        yield daemon


@pytest.fixture
def settings(transport: str, trusting: dict[str, Any]) -> dict[str, Any]:
    """The server lets nobody in without a certificate, where it knows certificates."""
    return trusting if transport == "tls" else {}


def test_each_field_arrives_where_the_daemon_looks_for_it(
    daemon: Daemon, settings: dict[str, Any], open_sink: Any
) -> None:
    record(open_sink(daemon.address, facility="local3", **settings), full_event())
    daemon.wait_for({full_event().id})
    (message,) = daemon.messages()
    data = message.pop("data")
    text = message.pop("text")
    assert message == {
        "facility": "local3",
        "severity": "warning",
        "version": "1",
        "time": "2026-01-01T12:00:00.123456Z",
        "host": "host-1",
        "app": "strongroom",
        "pid": "4711",
        "kind": "get",
    }
    assert text.startswith("\ufeff{")
    assert event_of({"text": text}) == full_event()
    whole = rfc5424.parse(f"<0>1 - - - - - {data} {text}".encode())
    assert whole.data["strongroom@32473"]["principal"] == "api-server"
    assert whole.data["strongroom@32473"]["duration"] == "0.25"


def test_odd_texts_and_hits_come_through_unchanged(daemon: Daemon, settings: dict[str, Any], open_sink: Any) -> None:
    sink = open_sink(daemon.address, **settings)
    odd = [
        event(id=f"odd-{number}", detail=text, principal=f"p{text}") for number, text in enumerate(ODD_TEXTS.values())
    ]
    served = hits("run")
    record(sink, *odd)
    sink.write(AuditWrite(events=served))
    daemon.wait_for({found.id for found in (*odd, *served)})
    assert daemon.events() == [*odd, *served]


@pytest.mark.parametrize("transport", ["tcp"])
def test_four_processes_send_five_hundred_events_each(daemon: Daemon) -> None:
    """All are there once, none is cut or mixed with another, and each process's are in their order."""
    names = [f"w{number}" for number in range(PROCESSES)]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, daemon.address, name, str(EACH)]) for name in names]
    for writer in writers:
        assert writer.wait(120) == 0
    daemon.wait_for({f"{name}-{EACH - 1}" for name in names})
    found = daemon.events()
    assert len(found) == PROCESSES * EACH
    for name in names:
        own = [each for each in found if each.id.startswith(f"{name}-")]
        assert [each.id for each in own] == [f"{name}-{number}" for number in range(EACH)]
        assert [each.principal for each in own] == [name * (number % 200) for number in range(EACH)]


@pytest.mark.parametrize("transport", ["tcp", "tls", "unix"])
def test_a_daemon_that_is_killed_is_found_again(daemon: Daemon, settings: dict[str, Any], open_sink: Any) -> None:
    """While it is away, writes fail; once they succeed again, what they recorded is there."""
    sink = open_sink(daemon.address, **settings)
    record(sink, event(id="before"))
    daemon.wait_for({"before"})
    acknowledged = {"before"}
    for turn in range(3):
        daemon.kill()
        with pytest.raises(AuditError):
            record(sink, event(id=f"refused-{turn}"))
        assert sink.health().state is HealthState.DOWN
        daemon.start()
        # It was out of reach and is not any more; no event is needed to see that.
        assert sink.health().state is HealthState.UP
        for number in range(20):
            record(sink, event(id=f"{turn}-{number}"))
            acknowledged.add(f"{turn}-{number}")
        assert sink.health().state is HealthState.UP
        daemon.wait_for(acknowledged)
    assert not {found.id for found in daemon.events()} & {f"refused-{turn}" for turn in range(3)}


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_daemon_that_was_started_anew_between_two_events_loses_neither(
    daemon: Daemon, settings: dict[str, Any], open_sink: Any
) -> None:
    """The write that comes next sees that the connection has ended, and makes another one."""
    sink = open_sink(daemon.address, **settings)
    for turn in range(3):
        record(sink, event(id=str(turn)))
        daemon.wait_for({str(turn)})
        daemon.stop()
        daemon.start()
    assert [found.id for found in daemon.events()] == ["0", "1", "2"]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_daemon_that_hangs_loses_nothing_of_what_was_recorded(
    daemon: Daemon, settings: dict[str, Any], open_sink: Any
) -> None:
    """Its system's buffers take some events, then writes fail. When it goes on, all that were taken are there."""
    sink = open_sink(daemon.address, timeout=2.0, **settings)
    record(sink, event(id="first"))
    daemon.wait_for({"first"})
    daemon.suspend()
    taken = {"first"}

    def flood() -> None:
        for number in range(100_000):
            record(sink, *(event(id=f"{number}-{each}", detail="d" * 2000) for each in range(20)))
            taken.update(f"{number}-{each}" for each in range(20))

    with pytest.raises(AuditError, match=r"has not taken the events within 2 s"):
        flood()
    daemon.resume()
    daemon.wait_for(taken)


@pytest.mark.parametrize("transport", ["tls"])
@pytest.mark.parametrize("durable", [True, False])
def test_a_daemon_that_asks_for_a_certificate_gets_nothing_without_one(
    daemon: Daemon, authority: Authority, trusting: dict[str, Any], durable: bool, open_sink: Any
) -> None:
    """And what it refuses does not count as recorded."""
    stranger = open_sink(daemon.address, ca_file=str(authority.file))
    for number in range(3):
        with pytest.raises(AuditError):
            stranger.write(AuditWrite(events=(event(id=f"stranger-{number}"),), durable=durable))
    record(open_sink(daemon.address, **trusting), event(id="known"))
    assert [found.id for found in daemon.wait_for({"known"})] == ["known"]
