"""How often the system is called: what a block costs."""

import socket
import ssl

from pathlib import Path
from typing import Any

import pytest

from certificates import Issued
from strongroom.contracts import AuditWrite
from strongroom.testing.audit import event, hits, record
from syslogserver import collecting, server_context

EVENTS = 20


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what sockets of this process were handed, in their order."""
    sizes: list[int] = []
    for kind in (socket.socket, ssl.SSLSocket):

        def send(made: Any, data: Any, *more: Any, real: Any = kind.send) -> int:
            # A socket with TLS that has no session yet sends by the plain one.
            sizes.append(len(data))
            return int(real(made, data, *more))

        monkeypatch.setattr(kind, "send", send)
    return sizes


@pytest.mark.parametrize(
    ("transport", "calls"), [("tcp", 1), ("tls", 1), ("stream", 1), ("udp", EVENTS), ("datagrams", EVENTS)]
)
def test_a_block_is_one_call_on_a_stream_and_one_for_each_datagram(
    transport: str,
    calls: int,
    short: Path,
    server: Issued,
    trusting: dict[str, Any],
    open_sink: Any,
    sent: list[int],
) -> None:
    context = server_context(server.certificate, server.key) if transport == "tls" else None
    with collecting(short, transport, context) as collector:
        sink = open_sink(collector.address, **(trusting if transport == "tls" else {}))
        record(sink, event(id="first"))
        sent.clear()
        record(sink, *(event(id=str(number)) for number in range(EVENTS)))
        assert len(sent) == calls
        assert len(collector.wait_for(1 + EVENTS)) == 1 + EVENTS
        assert collector.connections <= 1


@pytest.mark.parametrize("transport", ["tcp", "stream"])
def test_a_block_of_hits_is_one_call_too(transport: str, short: Path, open_sink: Any, sent: list[int]) -> None:
    with collecting(short, transport) as collector:
        sink = open_sink(collector.address)
        sink.write(AuditWrite(events=hits("run"), durable=False))
        assert len(sent) == 1
        collector.wait_for(6)


def test_asking_for_what_is_confirmed_already_calls_nobody(short: Path, open_sink: Any, sent: list[int]) -> None:
    with collecting(short, "tcp") as collector:
        sink = open_sink(collector.address)
        record(sink, event())
        sent.clear()
        sink.write(AuditWrite(events=()))
        assert sent == []
        assert len(collector.wait_for(1)) == 1
