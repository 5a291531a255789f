"""Whom the sink trusts, and who it says it is."""

import shutil
import socket
import ssl
import subprocess
import sys

from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, Issued
from rsyslog import until
from strongroom.contracts import AuditWrite
from strongroom.errors import AuditError, ConfigurationError
from strongroom.testing import in_forked_child
from strongroom.testing.audit import event, record
from strongroom_audit_syslog.plugin import SyslogSettings
from strongroom_audit_syslog.sink import SyslogSink
from syslogserver import Collector, collecting, server_context, serving


@pytest.fixture
def picky(short: Path, server: Issued, authority: Authority) -> Any:
    """A server that lets nobody in without a certificate."""
    context = server_context(server.certificate, server.key, clients_of=authority.file)
    with collecting(short, "tls", context) as collector:
        yield collector


def refusal(address: str, **settings: Any) -> str:
    """Return why an event cannot be recorded, also if it need not be confirmed."""
    sink = SyslogSink(SyslogSettings(address=address, **settings))
    with pytest.raises(AuditError) as caught:
        sink.write(AuditWrite(events=(event(),), durable=False))
    sink.close()
    return str(caught.value)


def test_a_client_with_a_certificate_is_let_in(picky: Collector, trusting: dict[str, Any], open_sink: Any) -> None:
    record(open_sink(picky.address, **trusting), event(id="1"))
    assert [found.id for found in picky.wait_for(1)] == ["1"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_without_one_is_told_so_before_anything_counts_as_recorded(
    version: ssl.TLSVersion, short: Path, server: Issued, authority: Authority
) -> None:
    """In TLS 1.3 the server says so only after the handshake is over for the client."""
    context = server_context(server.certificate, server.key, clients_of=authority.file)
    context.minimum_version = context.maximum_version = version
    with collecting(short, "tls", context) as picky:
        told = refusal(picky.address, ca_file=str(authority.file))
        assert "check client_cert and client_key" in told or "has ended the connection" in told
        assert picky.messages() == []


def test_a_certificate_of_another_authority_is_not_let_in(
    picky: Collector, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path).issue("client")
    told = refusal(
        picky.address,
        ca_file=str(authority.file),
        client_cert=str(foreign.certificate),
        client_key=str(foreign.key),
    )
    assert "does not agree on TLS" in told or "has ended the connection" in told
    assert picky.messages() == []


def test_a_server_whose_authority_is_not_known_is_sent_nothing(picky: Collector) -> None:
    """The system's authorities have not signed it."""
    assert "not to be trusted: " in refusal(picky.address)
    assert picky.messages() == []


def test_a_server_with_a_certificate_for_another_name_is_sent_nothing(
    picky: Collector, trusting: dict[str, Any], open_sink: Any
) -> None:
    told = refusal(picky.address, **trusting, server_name="logs.example")
    assert "for another name" in told
    assert "server_name" in told
    assert picky.messages() == []
    record(open_sink(picky.address, **trusting, server_name="localhost"), event(id="1"))
    assert len(picky.wait_for(1)) == 1


def test_a_server_without_tls_is_sent_nothing_in_the_clear(trusting: dict[str, Any]) -> None:
    seen: list[bytes] = []

    def answer(made: socket.socket, _: int) -> None:
        seen.append(made.recv(65536))
        made.sendall(b"220 this is another service\r\n" * 4)

    with serving(answer) as port:
        assert "does not speak TLS at this port" in refusal(f"tls://127.0.0.1:{port}", **trusting)
    assert b"get" not in seen[0]


def test_old_versions_of_tls_are_refused(short: Path, server: Issued, trusting: dict[str, Any]) -> None:
    context = server_context(server.certificate, server.key)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with collecting(short, "tls", context) as old:
        assert "does not agree on TLS" in refusal(old.address, **trusting)


@pytest.mark.parametrize("name", ["ca_file", "client_cert"])
def test_a_file_that_holds_no_certificate_is_told_when_the_sink_is_opened(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file.pem"
    with pytest.raises(ConfigurationError, match=f"{name} .* cannot be read: No such file"):
        SyslogSink(SyslogSettings(address="tls://logs.example", **{name: str(file)}))
    file.write_text("nothing")
    with pytest.raises(ConfigurationError, match=f"{name} "):
        SyslogSink(SyslogSettings(address="tls://logs.example", **{name: str(file)}))


def test_an_encrypted_key_is_refused_without_asking_at_the_terminal(client: Issued, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(client.key.read_bytes(), None)
    hidden = tmp_path / "hidden.key"
    hidden.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")))
    with pytest.raises(ConfigurationError, match="is encrypted: store it without a passphrase"):
        SyslogSink(
            SyslogSettings(address="tls://logs.example", client_cert=str(client.certificate), client_key=str(hidden))
        )


def test_certificates_that_are_replaced_are_used_for_the_next_connection(
    picky: Collector, authority: Authority, open_sink: Any, tmp_path: Path
) -> None:
    """Those of a foreign authority at first; half a replacement leaves what was there."""
    foreign, good = Authority(tmp_path).issue("foreign"), authority.issue("replaced")
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    shutil.copy(foreign.certificate, certificate)
    shutil.copy(foreign.key, key)
    settings = {"ca_file": str(authority.file), "client_cert": str(certificate), "client_key": str(key)}
    sink = open_sink(picky.address, **settings)
    for new, place in ((None, certificate), (good.certificate, certificate)):
        if new is not None:
            shutil.copy(new, place)
        with pytest.raises(AuditError):
            record(sink, event(id="1"))
    shutil.copy(good.key, key)
    record(sink, event(id="2"))
    assert [found.id for found in picky.wait_for(1)] == ["2"]


def test_a_forked_child_does_not_end_the_parents_session(
    picky: Collector, trusting: dict[str, Any], open_sink: Any
) -> None:
    """Neither by going on with it nor by ending: not one byte of the child's is in the parent's stream."""
    sink = open_sink(picky.address, **trusting)
    record(sink, event(id="before"))

    def child() -> str:
        sink.after_fork()
        record(sink, event(id="child"))
        sink.close()
        return "done"

    assert in_forked_child(child) == "done"
    assert in_forked_child(lambda: (sink.after_fork(), sink.close(), "ended")[2]) == "ended"
    picky.wait_for(2)
    record(sink, event(id="after"))
    assert [found.id for found in picky.wait_for(3)] == ["before", "child", "after"]
    assert picky.connections == 2


def test_a_session_is_ended_as_tls_asks_for(server: Issued, trusting: dict[str, Any], open_sink: Any) -> None:
    """So that the server knows that nobody has cut the end off."""
    ends: list[str] = []
    context = server_context(server.certificate, server.key)

    def handle(made: socket.socket, _: int) -> None:
        with context.wrap_socket(made, server_side=True, suppress_ragged_eofs=False) as secured:
            try:
                while secured.recv(65536):
                    pass
                ends.append("in order")
            except ssl.SSLError:
                ends.append("cut off")

    with serving(handle) as port:
        sink = open_sink(f"tls://127.0.0.1:{port}", **trusting)
        record(sink, event())
        sink.close()
        until(lambda: bool(ends), lambda: "it has not ended")
    assert ends == ["in order"]


def test_a_program_that_sends_and_ends_at_once_loses_nothing(picky: Collector, trusting: dict[str, Any]) -> None:
    """What the server says meanwhile, and nobody reads, would make the system break the connection."""
    script = """
import sys
from strongroom.contracts import AuditWrite
from strongroom.testing.audit import event
from strongroom_audit_syslog.plugin import SyslogSettings
from strongroom_audit_syslog.sink import SyslogSink
address, ca, cert, key, number = sys.argv[1:]
sink = SyslogSink(SyslogSettings(address=address, ca_file=ca, client_cert=cert, client_key=key))
sink.write(AuditWrite(events=tuple(event(id=f"{number}-{each}") for each in range(50)), durable=False))
sink.close()
"""
    for number in range(5):
        subprocess.run([sys.executable, "-c", script, picky.address, *trusting.values(), str(number)], check=True)
    found = {each.id for each in picky.wait_for(250)}
    assert found == {f"{number}-{each}" for number in range(5) for each in range(50)}
    assert picky.torn.count(b"") == len(picky.torn)
