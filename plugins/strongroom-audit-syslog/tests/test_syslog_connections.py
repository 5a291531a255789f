"""What happens to events when the connection does not hold."""

import os
import socket
import struct
import threading
import time

from pathlib import Path
from typing import Any

import pytest

import rfc5424

from certificates import Issued
from rsyslog import until
from strongroom.contracts import AuditWrite, HealthState
from strongroom.errors import AuditError
from strongroom.testing import FakeClock, in_forked_child
from strongroom.testing.audit import event, record
from strongroom_audit_syslog.plugin import SyslogSettings
from strongroom_audit_syslog.sink import SyslogSink
from syslogserver import Collector, collecting, server_context, serving

TIMEOUT = 0.3


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


@pytest.fixture
def collector(short: Path) -> Any:
    with collecting(short, "tcp") as collector:
        yield collector


def hang(made: socket.socket, _: int) -> None:
    """Accept a connection, and never read from it."""
    while made.recv(1, socket.MSG_PEEK):
        time.sleep(0.05)


def test_a_connection_that_was_closed_meanwhile_is_made_anew(collector: Collector, open_sink: Any) -> None:
    """It shows before anything is sent, so nothing is lost and nothing comes twice."""
    sink = open_sink(collector.address)
    for number in range(4):
        record(sink, event(id=str(number)))
        collector.wait_for(number + 1)
        collector.hang_up()
    assert ids(collector.events()) == ["0", "1", "2", "3"]
    assert collector.connections == 4


def test_what_nobody_had_confirmed_is_sent_again_over_the_next_connection(open_sink: Any) -> None:
    """Also what need not have been durable, in its order, and before what is new."""
    read: list[bytes] = []

    def handle(made: socket.socket, number: int) -> None:
        if number == 1:
            # What lies here unread is lost with the connection.
            until(lambda: len(made.recv(65536, socket.MSG_PEEK)) > 100, lambda: "nothing came")
            return
        while data := made.recv(65536):
            read.append(data)

    with serving(handle) as port:
        sink = open_sink(f"tcp://127.0.0.1:{port}")
        sink.write(AuditWrite(events=(event(id="1"), event(id="2")), durable=False))
        until(lambda: not stands(port), lambda: "the connection stands")
        record(sink, event(id="3"))
        sink.close()
        until(lambda: len(rfc5424.counted(b"".join(read))[0]) == 3, lambda: "not all came")
    assert ids(rfc5424.events(rfc5424.counted(b"".join(read))[0])) == ["1", "2", "3"]


def stands(port: int) -> bool:
    """Ask the system whether a connection to a port of this machine stands."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_what_was_confirmed_is_not_sent_again(collector: Collector, open_sink: Any) -> None:
    sink = open_sink(collector.address)
    sink.write(AuditWrite(events=(event(id="1"),), durable=False))
    sink.write(AuditWrite(events=()))
    collector.wait_for(1)
    collector.hang_up()
    record(sink, event(id="2"))
    assert ids(collector.wait_for(2)) == ["1", "2"]


def test_what_a_later_write_has_seen_confirmed_is_not_sent_again(collector: Collector, open_sink: Any) -> None:
    """What came last may come twice: whether it was confirmed, a connection that has ended does not tell."""
    sink = open_sink(collector.address)
    for number in (1, 2):
        sink.write(AuditWrite(events=(event(id=str(number)),), durable=False))
        collector.wait_for(number)
        # As the system of the other side confirms it, soon after it was read.
        until(lambda: not queued(collector.address), lambda: "it is not confirmed")
    collector.hang_up()
    record(sink, event(id="3"))
    assert ids(collector.wait_for(4)) == ["1", "2", "2", "3"]


def queued(address: str) -> bool:
    """Ask the system whether anything sent to an address of this machine is unconfirmed."""
    port = int(address.rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(f":{port:04X}") and int(row[4].partition(":")[0], 16) for row in rows)


def test_a_sink_that_was_closed_can_be_used_again(collector: Collector, open_sink: Any) -> None:
    sink = open_sink(collector.address)
    sink.write(AuditWrite(events=(event(id="1"),), durable=False))
    sink.close()
    collector.wait_for(1)
    record(sink, event(id="2"))
    assert ids(collector.wait_for(2)) == ["1", "2"]


def test_half_of_a_message_never_spoils_the_next(open_sink: Any) -> None:
    """The server stops reading in the middle: the write fails in time, and what follows comes over a new connection."""
    streams: dict[int, bytes] = {1: b"", 2: b""}
    ended = threading.Event()

    def handle(made: socket.socket, number: int) -> None:
        if number == 1:
            streams[1] = made.recv(5000)
            ended.wait(20)
        while data := made.recv(65536):
            streams[number] += data

    with serving(handle, buffer=4096) as port:
        sink = open_sink(f"tcp://127.0.0.1:{port}", timeout=3.0)
        with pytest.raises(AuditError, match=r"has not taken the events within 3 s"):
            sink.write(BIG)
        sink.after_fork()  # ends the pause, and has nothing more to forget
        record(sink, event(id="after"))
        ended.set()
        until(lambda: b"after" in streams[2], lambda: "the next event has not come")
        sink.close()
    assert ids(rfc5424.events(rfc5424.counted(streams[2])[0])) == ["after"]
    whole, torn = rfc5424.counted(streams[1])
    assert torn
    assert ids(rfc5424.events(whole)) == [str(number) for number in range(len(whole))]


def breaking(upto: int, streams: dict[int, bytes]) -> Any:
    """Return a handler that breaks connections in the middle of a block, up to one, and takes all of those after it."""

    def handle(made: socket.socket, number: int) -> None:
        streams[number] = made.recv(5000)
        if number <= upto:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        while data := made.recv(65536):
            streams[number] += data

    return handle


MEDIUM = AuditWrite(events=tuple(event(id=str(number), detail="d" * 3000) for number in range(500)))
BIG = AuditWrite(events=tuple(event(id=str(number), detail="d" * 3000) for number in range(2000)))


def test_a_block_that_a_break_cuts_is_sent_as_a_whole_over_another_connection(open_sink: Any) -> None:
    streams: dict[int, bytes] = {}
    with serving(breaking(1, streams)) as port:
        sink = open_sink(f"tcp://127.0.0.1:{port}", timeout=20.0)
        sink.write(BIG)
        sink.close()
        until(lambda: len(rfc5424.counted(streams[2])[0]) == 2000, lambda: "not all came")
    assert rfc5424.events(rfc5424.counted(streams[2])[0]) == list(BIG.events)


def test_a_block_that_a_break_cuts_under_tls_is_sent_over_another_connection_too(
    server: Issued, trusting: dict[str, Any], open_sink: Any
) -> None:
    """To TLS that is an error of its own, which says nothing of certificates."""
    streams: dict[int, bytes] = {}
    plain, context = breaking(1, streams), server_context(server.certificate, server.key)

    def handle(made: socket.socket, number: int) -> None:
        with context.wrap_socket(made, server_side=True) as secured:
            plain(secured, number)

    with serving(handle) as port:
        sink = open_sink(f"tls://127.0.0.1:{port}", timeout=30.0, **trusting)
        sink.write(MEDIUM)
        until(lambda: len(rfc5424.counted(streams[2])[0]) == 500, lambda: "not all came")
    assert rfc5424.events(rfc5424.counted(streams[2])[0]) == list(MEDIUM.events)


def test_a_server_that_breaks_each_connection_is_tried_twice(open_sink: Any) -> None:
    streams: dict[int, bytes] = {}
    with serving(breaking(100, streams)) as port:
        sink = open_sink(f"tcp://127.0.0.1:{port}", timeout=20.0)
        with pytest.raises(AuditError, match=r"has ended the connection: .*: check the server's own log"):
            sink.write(BIG)
    assert sorted(streams) == [1, 2]


def flood(sink: SyslogSink) -> None:
    """Record event after event; a failure ends it."""
    for number in range(10000):
        record(sink, event(id=str(number), detail="d" * 3000))


@pytest.mark.parametrize("secured", [False, True])
def test_a_server_that_hangs_fails_the_write_in_time(secured: bool, trusting: dict[str, Any], open_sink: Any) -> None:
    """Over TLS it is the handshake that hangs; without it, the confirmation, once the buffers are full."""
    with serving(hang, buffer=4096) as port:
        settings = trusting if secured else {}
        sink = open_sink(f"{'tls' if secured else 'tcp'}://127.0.0.1:{port}", timeout=TIMEOUT, **settings)
        started = time.monotonic()
        with pytest.raises(AuditError, match=r"has not taken the events within 0\.3 s"):
            flood(sink)
        assert sink.health().state is HealthState.DOWN
        # Generous: that there is an end is what counts.
        assert time.monotonic() - started < 20


def test_a_handshake_that_drips_has_one_deadline(trusting: dict[str, Any], open_sink: Any) -> None:
    dripped = []

    def drip(made: socket.socket, _: int) -> None:
        made.recv(65536)
        # The beginning of a record of the handshake that never ends.
        for byte in b"\x16\x03\x03\x3f\xff" + bytes(1000):
            made.sendall(bytes([byte]))
            dripped.append(byte)
            time.sleep(0.05)

    with serving(drip) as port:
        sink = open_sink(f"tls://127.0.0.1:{port}", timeout=TIMEOUT, **trusting)
        with pytest.raises(AuditError, match=r"within 0\.3 s"):
            record(sink, event())
    assert len(dripped) < 100


def test_the_time_is_for_all_addresses_of_a_name(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    """An address that does not answer takes its part of the time, and the next one is tried."""
    port = int(collector.address.rpartition(":")[2])
    # A listener with a full queue answers nobody, as behind a filter that drops what comes.
    with socket.socket() as deaf, socket.socket() as filler, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for each in (filler, second):
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        real = socket.getaddrinfo

        def several(host: str, *args: Any, **more: Any) -> Any:
            if host != "logs.example":
                return real(host, *args, **more)
            if more.get("flags"):
                raise socket.gaierror(socket.EAI_NONAME, "no number")
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, deaf.getsockname()), (*kind, ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", several)
        sink = SyslogSink(SyslogSettings(address=f"tcp://logs.example:{port}", timeout=2.0))
        record(sink, event(id="1"))
        sink.close()
    assert ids(collector.wait_for(1)) == ["1"]


def test_a_name_that_is_looked_up_for_ever_fails_in_time(monkeypatch: pytest.MonkeyPatch, open_sink: Any) -> None:
    """One lookup goes on, however often the sink is written to."""
    going, answer = [], threading.Event()

    def slow(host: str, *_: Any, **more: Any) -> Any:
        if more.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        going.append(host)
        answer.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    sink = open_sink("tcp://logs.example:601", timeout=0.1)
    for _ in range(3):
        with pytest.raises(AuditError, match=r"within 0\.1 s"):
            record(sink, event())
        assert sink.health().state is HealthState.DOWN
    assert going == ["logs.example"]
    answer.set()
    until(lambda: "looked up" in sink.health().reason, lambda: sink.health().reason)


@pytest.mark.parametrize("name", ["a..b", "l" * 64])
def test_what_no_resolver_can_be_asked_for_is_told_as_a_wrong_address(name: str, open_sink: Any) -> None:
    sink = open_sink(f"udp://{name}")
    with pytest.raises(AuditError, match=r"cannot be looked up: it is no name: .*: check the host in address"):
        record(sink, event())
    assert sink.health().state is HealthState.DOWN


def test_a_lookup_that_cannot_begin_fails_one_write_only(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, open_sink: Any
) -> None:
    """There are too many threads at the moment."""
    sink = open_sink(collector.address.replace("127.0.0.1", "localhost"))

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        for _ in range(2):
            with pytest.raises(AuditError, match="no thread can be started"):
                record(sink, event(id="1"))
    record(sink, event(id="2"))
    assert ids(collector.wait_for(1)) == ["2"]


def test_an_answer_that_came_too_late_is_not_used_later(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, open_sink: Any
) -> None:
    """The next write looks anew: in between there may have been hours."""
    real, first, answer = socket.getaddrinfo, [], threading.Event()

    def late(host: str, *args: Any, **more: Any) -> Any:
        if not more.get("flags") and not first:
            first.append(threading.current_thread())
            answer.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    sink = open_sink(collector.address.replace("127.0.0.1", "localhost"), timeout=1.0)
    with pytest.raises(AuditError, match=r"within 1 s"):
        record(sink, event(id="1"))
    answer.set()
    first[0].join()
    assert sink.health().state is HealthState.UP
    record(sink, event(id="2"))
    assert ids(collector.wait_for(1)) == ["2"]


def test_a_server_that_hangs_is_left_alone_for_a_while() -> None:
    """Or every operation would wait for it. Each pause is twice as long, and half a minute at most."""
    clock = FakeClock()
    with serving(hang, buffer=4096) as port:
        sink = SyslogSink(SyslogSettings(address=f"tcp://127.0.0.1:{port}", timeout=0.05), clock=clock.monotonic)
        for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
            with pytest.raises(AuditError, match=r"check the server, and the network on the way to it$"):
                sink.write(BIG)
            clock.advance(pause - 0.01)
            # Who tries again does not say so.
            with pytest.raises(AuditError, match=r"it is tried again in 0\.0 s"):
                sink.write(BIG)
            clock.advance(0.02)
        sink.close()


def test_a_server_that_refuses_is_tried_each_time(collector: Collector, open_sink: Any) -> None:
    """That costs no time."""
    sink = open_sink(collector.address)
    record(sink, event(id="1"))
    collector.wait_for(1)
    collector.close()
    for _ in range(2):
        with pytest.raises(AuditError, match="nobody listens there: check that it runs"):
            record(sink, event(id="2"))
    assert sink.health().state is HealthState.DOWN


@pytest.mark.parametrize("transport", ["tcp", "stream", "datagrams", "udp"])
def test_health_tells_without_sending_anything(transport: str, short: Path, open_sink: Any) -> None:
    with collecting(short, transport) as collector:
        sink = open_sink(collector.address)
        assert sink.health().state is HealthState.UP
        record(sink, event(id="1"))
        assert sink.health().state is HealthState.UP
        assert ids(collector.wait_for(1)) == ["1"]
    if transport != "udp":
        assert sink.health().state is HealthState.DOWN
    with pytest.raises(AuditError):
        record(sink, event(id="2"))
    assert sink.health().state is HealthState.DOWN
    assert sink.health().hint


def test_health_ends_the_pause_of_a_server_that_can_be_reached_again(
    server: Issued, trusting: dict[str, Any], open_sink: Any
) -> None:
    """Monitoring asks more often than half a minute."""
    well, context = threading.Event(), server_context(server.certificate, server.key)
    read: list[bytes] = []

    def handle(made: socket.socket, number: int) -> None:
        if not well.is_set():
            hang(made, number)
            return
        with context.wrap_socket(made, server_side=True) as secured:
            while data := secured.recv(65536):
                read.append(data)

    with serving(handle) as port:
        sink = open_sink(f"tls://127.0.0.1:{port}", timeout=2.0, **trusting)
        with pytest.raises(AuditError, match=r"within 2 s"):
            record(sink, event())
        well.set()
        with pytest.raises(AuditError, match="tried again in"):
            record(sink, event())
        until(lambda: sink.health().state is HealthState.UP, lambda: sink.health().reason)
        record(sink, event(id="after"))
        until(lambda: b"after" in b"".join(read), lambda: "nothing came")


def test_a_forked_child_leaves_the_parents_connection_alone(collector: Collector, open_sink: Any) -> None:
    """It has one of its own; the parent's goes on, whatever the child does with its copy."""
    sink = open_sink(collector.address)
    record(sink, event(id="before"))
    sink.write(AuditWrite(events=(event(id="waiting"),), durable=False))
    collector.wait_for(2)

    def child() -> str:
        sink.after_fork()
        record(sink, event(id="child"))
        sink.close()
        return "done"

    assert in_forked_child(child) == "done"
    collector.wait_for(3)
    record(sink, event(id="after"))
    assert ids(collector.wait_for(4)) == ["before", "waiting", "child", "after"]
    assert collector.connections == 2
    assert collector.torn.count(b"") == 1


def test_a_child_that_only_ends_ends_nothing_of_the_parents(collector: Collector, open_sink: Any) -> None:
    sink = open_sink(collector.address)
    record(sink, event(id="before"))
    assert in_forked_child(lambda: (sink.after_fork(), sink.close(), os.getpid())[2]).isdigit()
    record(sink, event(id="after"))
    assert ids(collector.wait_for(2)) == ["before", "after"]
    assert collector.connections == 1


def test_a_local_server_that_was_started_anew_is_found(short: Path, open_sink: Any) -> None:
    """Under the same path there is another socket, and maybe one of the other kind."""
    sink: SyslogSink | None = None
    for number, transport in enumerate(("datagrams", "datagrams", "stream", "stream", "datagrams")):
        folder = short / str(number)
        folder.mkdir()
        (short / "log").unlink(missing_ok=True)
        with collecting(folder, transport) as collector:
            (short / "log").symlink_to(folder / "log")
            sink = sink or open_sink(f"unix://{short / 'log'}")
            record(sink, event(id=str(number)))
            assert ids(collector.wait_for(1)) == [str(number)]


def test_a_local_server_whose_queue_is_full_fails_the_write_in_time(short: Path, open_sink: Any) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(short / "log"))
        sink = open_sink(f"unix://{short / 'log'}", timeout=TIMEOUT)
        with pytest.raises(AuditError, match="has not taken the events"):
            record(sink, *(event(id=str(number)) for number in range(100_000)))


def test_a_datagram_that_the_way_does_not_carry_says_what_to_change(
    monkeypatch: pytest.MonkeyPatch, short: Path, open_sink: Any
) -> None:
    with collecting(short, "udp") as collector:
        sink = open_sink(collector.address, max_bytes=65507)
        # With all headers it is more than the longest datagram of IP.
        with pytest.raises(AuditError, match="more than 65507"):
            record(sink, event(detail="d" * 65400))
        record(sink, event(id="1", detail="d" * 60000))
        assert ids(collector.wait_for(1)) == ["1"]
