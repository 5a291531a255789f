"""Delivering events over HTTP: what counts as confirmed, what is tried again, and that it ends in time."""

from __future__ import annotations

import socket
import ssl
import threading
import time

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from certificates import Authority, Issued
from collector import Kept, receiver
from faultproxy import FaultProxy
from strongroom.contracts import AuditWrite, HealthState, KeySource
from strongroom.errors import AuditError, ConfigurationError
from strongroom.model import SecretValue
from strongroom.testing.audit import event, record
from strongroom_otel import sink as sink_module
from strongroom_otel.plugin import OtelSinkSettings
from strongroom_otel.sink import OtelSink

Opening = Callable[..., OtelSink]
GENEROUS = 20.0
OTLP = {"Content-Type": "application/x-protobuf"}


class Changing(KeySource):
    """A token that somebody renews."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> SecretValue:
        return SecretValue(self.text)

    def describe(self) -> str:
        return "the test"


def refused(sink: OtelSink) -> AuditError:
    with pytest.raises(AuditError) as caught:
        record(sink, event())
    return caught.value


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_a_write_is_one_request(open_sink: Opening, kept: Kept) -> None:
    record(open_sink(), *(event(id=str(number)) for number in range(500)))
    assert len(kept.requests) == 1
    assert len(kept.records()) == 500


def test_one_connection_serves_many_writes(open_sink: Opening, url: str, kept: Kept) -> None:
    with FaultProxy(port_of(url)) as proxy:
        sink = open_sink(endpoint=f"http://127.0.0.1:{proxy.port}")
        for number in range(20):
            record(sink, event(id=str(number)))
        assert proxy.accepted == 1
    assert len(kept.records()) == 20


def test_a_connection_that_was_ended_is_made_anew_and_nothing_comes_twice(
    open_sink: Opening, url: str, kept: Kept
) -> None:
    with FaultProxy(port_of(url)) as proxy:
        sink = open_sink(endpoint=f"http://127.0.0.1:{proxy.port}")
        record(sink, event(id="1"))
        proxy.drop_live()
        record(sink, event(id="2"))
        assert proxy.accepted == 2
    assert [found.id for found in kept.events()] == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        # Field 1 of the answer, a message whose field 1, the number of rejected records, is 3.
        (b"\x0a\x02\x08\x03", "application/x-protobuf"),
        (b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"hunter2"}}', "application/json"),
    ],
)
def test_records_that_were_rejected_are_a_failure(open_sink: Opening, kept: Kept, content: bytes, kind: str) -> None:
    kept.answer = (200, {"Content-Type": kind}, content)
    sink = open_sink()
    error = refused(sink)
    assert "rejected 3 log records" in error.what
    assert "hunter2" not in str(error)
    assert len(kept.requests) == 1
    kept.answer = (200, OTLP, b"")
    assert sink.health().state is HealthState.DEGRADED
    record(sink, event())
    assert sink.health().state is HealthState.UP


@pytest.mark.parametrize("content", [b"\x0a\x00", b"\x0a\x08\x12\x06slowly"], ids=["empty", "a warning"])
def test_an_answer_that_rejects_nothing_is_good(open_sink: Opening, kept: Kept, content: bytes) -> None:
    kept.answer = (200, OTLP, content)
    record(open_sink(), event())


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Type": "text/html"}, b"<html>log in first</html>"),
        ({}, b"ok"),
        (OTLP, b"<html>"),
        ({"Content-Type": "application/json"}, b"[]"),
        ({"Content-Type": "application/json"}, b"{"),
        ({"Content-Type": "application/json"}, b'{"error":"not for you"}'),
        ({"Content-Type": "text/html"}, b""),
    ],
)
def test_an_answer_that_is_not_otlp_confirms_nothing(
    open_sink: Opening, kept: Kept, headers: dict[str, str], content: bytes
) -> None:
    kept.answer = (200, headers, content)
    assert "something else than OTLP" in refused(open_sink()).what


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Ty",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n\x0a\x00",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["header", "no length", "length", "chunks"],
)
def test_an_answer_that_may_have_been_cut_off_confirms_nothing(open_sink: Opening, url: str, answer: bytes) -> None:
    with FaultProxy(port_of(url)) as proxy:
        proxy.answer = answer
        # How often it is tried depends on whether the system tells of an end or of a reset: neither confirms anything.
        refused(open_sink(endpoint=f"http://127.0.0.1:{proxy.port}"))


def test_an_answer_that_is_far_too_long_is_not_read(open_sink: Opening, kept: Kept) -> None:
    kept.answer = (200, OTLP, b"x" * 2_000_000)
    assert "without end" in refused(open_sink()).what


@pytest.mark.parametrize("status", [206, 301, 307, 400, 401, 403, 404, 413, 415, 500, 599])
def test_a_refusal_is_not_repeated(open_sink: Opening, kept: Kept, status: int) -> None:
    kept.answer = (status, {"Location": "http://127.0.0.1:9/"}, b"the answer's own words")
    error = refused(open_sink())
    assert str(status) in error.what
    assert "own words" not in str(error)
    assert len(kept.requests) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_collector_is_asked_again(open_sink: Opening, kept: Kept, status: int) -> None:
    kept.answer = (status, {"Retry-After": "0"}, b"")
    refused(open_sink())
    assert len(kept.requests) > 1


def test_a_collector_that_wants_more_time_than_there_is_gets_none(open_sink: Opening, kept: Kept) -> None:
    kept.answer = (503, {"Retry-After": "3600"}, b"")
    begun = time.monotonic()
    refused(open_sink())
    assert len(kept.requests) == 1
    assert time.monotonic() - begun < GENEROUS


def test_a_collector_that_recovers_meanwhile_gets_the_event_once(open_sink: Opening, kept: Kept) -> None:
    kept.answer = (503, {"Retry-After": "1"}, b"")

    def recover() -> None:
        kept.wait(lambda: kept.requests)
        kept.clear()
        kept.answer = (200, OTLP, b"")

    thread = threading.Thread(target=recover)
    thread.start()
    record(open_sink(), event())
    thread.join()
    assert len(kept.records()) == 1


def test_a_collector_that_says_nothing_is_given_up_and_then_left_alone(open_sink: Opening, url: str) -> None:
    with FaultProxy(port_of(url)) as proxy:
        proxy.blackhole = True
        sink = open_sink(endpoint=f"http://127.0.0.1:{proxy.port}", timeout=0.3)
        begun = time.monotonic()
        assert "within 0.3 s" in refused(sink).what
        before = proxy.accepted
        # It is not asked for a while, so that not every operation takes that long.
        assert "tried again in" in refused(sink).hint
        assert proxy.accepted == before
        assert time.monotonic() - begun < GENEROUS
        assert sink.health().state is HealthState.DOWN
        proxy.blackhole = False
        assert sink.health().state is HealthState.UP
        record(sink, event())


@contextmanager
def trickling() -> Iterator[int]:
    """A server that answers without end, byte by byte."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                made, _ = listening.accept()
                made.recv(65536)
                made.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while True:
                    made.sendall(b"x")
                    time.sleep(0.01)
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield int(listening.getsockname()[1])


def test_an_answer_without_end_does_not_put_the_end_off(open_sink: Opening) -> None:
    with trickling() as port:
        begun = time.monotonic()
        assert "within 0.3 s" in refused(open_sink(endpoint=f"http://127.0.0.1:{port}", timeout=0.3)).what
        assert time.monotonic() - begun < GENEROUS
        # Nor does it keep the thread that waits for it: a collector may do so for days.
        for thread in threading.enumerate():
            if thread.name == "strongroom-otel":
                thread.join(GENEROUS)
                assert not thread.is_alive()


def test_without_a_thread_to_be_had_events_are_sent_all_the_same(
    open_sink: Opening, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "strongroom-otel":
            raise RuntimeError("can't start new thread")
        start(thread)

    sink = open_sink()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    record(sink, event())
    assert len(kept.records()) == 1


def test_what_no_collector_would_take_at_once_is_sent_in_parts(
    open_sink: Opening, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "MOST_BYTES", 5000)
    record(open_sink(), *(event(id=str(number)) for number in range(50)))
    assert len(kept.requests) > 1
    assert [found.id for found in kept.events()] == [str(number) for number in range(50)]


def test_health_sends_no_event(open_sink: Opening, kept: Kept) -> None:
    health = open_sink().health()
    assert health.state is HealthState.UP
    assert [path for path, _, _ in kept.requests] == ["/v1/logs"]
    assert kept.records() == []


def test_a_token_is_read_anew_for_each_request(open_sink: Opening, kept: Kept) -> None:
    token = Changing("first")
    sink = open_sink(headers={"api-key": token})
    record(sink, event())
    token.text = "second"
    record(sink, event())
    assert [headers["api-key"] for _, headers, _ in kept.requests] == ["first", "second"]


@pytest.mark.parametrize("text", ['"hunter2"', "hun%ZZter2;x"])
def test_a_variables_header_is_in_no_log(
    open_sink: Opening,
    kept: Kept,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={text}")
    with caplog.at_level(0):
        record(open_sink(), event())
    assert [headers["api-key"] for _, headers, _ in kept.requests] == [text]
    assert text not in caplog.text


@pytest.fixture
def rejecting() -> Iterator[str]:
    """A collector over gRPC that rejects two records of each request."""
    grpc = pytest.importorskip("grpc", reason="needs grpcio")
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as messages
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service

    class Logs(service.LogsServiceServicer):
        def Export(self, request: object, context: object) -> object:
            rejected = messages.ExportLogsPartialSuccess(rejected_log_records=2, error_message="hunter2")
            return messages.ExportLogsServiceResponse(partial_success=rejected)

    server = grpc.server(ThreadPoolExecutor(1))
    service.add_LogsServiceServicer_to_server(Logs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None)


def test_records_that_were_rejected_are_a_failure_over_grpc_too(rejecting: str) -> None:
    sink = OtelSink(OtelSinkSettings(endpoint=rejecting, protocol="grpc"))
    error = refused(sink)
    assert "rejected 2 log records" in error.what
    assert "hunter2" not in str(error)
    sink.close()


def test_a_header_with_bytes_goes_over_grpc() -> None:
    pytest.importorskip("grpc", reason="needs grpcio")
    header = {"token-bin": Changing("hunter2")}
    sink = OtelSink(OtelSinkSettings(endpoint="http://127.0.0.1:9", protocol="grpc", headers=header))
    assert "cannot be reached" in refused(sink).what


def test_a_header_that_is_gone_is_a_failure_and_no_error_of_the_health(open_sink: Opening, kept: Kept) -> None:
    token = Changing("first")
    sink = open_sink(headers={"api-key": token})
    record(sink, event())
    token.text = "two\nlines"
    assert "cannot stand in a header" in refused(sink).what
    assert sink.health().state is HealthState.DOWN
    sink.close()


def test_nothing_is_sent_for_a_write_without_events(open_sink: Opening, kept: Kept) -> None:
    open_sink(endpoint="http://127.0.0.1:9").write(AuditWrite(events=()))
    assert kept.requests == []


@pytest.fixture
def secure(shown: Issued, authority: Authority) -> Iterator[tuple[str, Kept]]:
    """A receiver with TLS that asks for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    context.load_verify_locations(cafile=str(authority.file))
    context.verify_mode = ssl.CERT_REQUIRED
    with receiver(context) as made:
        yield made


def test_tls_is_spoken_with_a_certificate_of_our_own(
    open_sink: Opening,
    secure: tuple[str, Kept],
    authority: Authority,
    own: Issued,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, kept = secure
    # A variable of the library below, which must not win over what the settings say.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", missing)
    files = {"ca_file": str(authority.file), "client_cert": str(own.certificate), "client_key": str(own.key)}
    record(open_sink(endpoint=url, **files), event())
    assert len(kept.records()) == 1


def test_a_server_whose_authority_is_not_trusted_gets_nothing(open_sink: Opening, secure: tuple[str, Kept]) -> None:
    url, kept = secure
    error = refused(open_sink(endpoint=url))
    assert "no good certificate" in error.what
    assert "ca_file" in error.hint
    assert kept.requests == []


@pytest.mark.parametrize("setting", ["ca_file", "client_cert"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_missing_file_is_refused_at_the_start(missing: str, setting: str, protocol: str) -> None:
    if protocol == "grpc":
        pytest.importorskip("grpc", reason="needs grpcio")
    with pytest.raises(ConfigurationError) as caught:
        OtelSink(OtelSinkSettings(endpoint="https://127.0.0.1:9", protocol=protocol, **{setting: missing}))
    assert missing in caught.value.hint


@contextmanager
def http_proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that passes one connection on to whom its CONNECT names; it keeps what it is asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            made, _ = listening.accept()
            head = made.recv(65536)
            asked.append(head)
            host, _, port = head.split()[1].decode().rpartition(":")
            there = socket.create_connection((host, int(port)))
            made.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            for one, other in ((made, there), (there, made)):
                threading.Thread(target=pass_on, args=(one, other), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", asked


def pass_on(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        return


def test_a_proxy_passes_tls_on(
    open_sink: Opening,
    secure: tuple[str, Kept],
    authority: Authority,
    own: Issued,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, kept = secure
    files = {"ca_file": str(authority.file), "client_cert": str(own.certificate), "client_key": str(own.key)}
    with http_proxy() as (address, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:word@{address}")
        record(open_sink(endpoint=url, **files), event())
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{port_of(url)} HTTP/1.".encode())
    assert b"Proxy-Authorization: Basic bWU6d29yZA==" in asked[0]
    assert len(kept.records()) == 1


def test_a_proxy_gets_plain_requests_whole(
    open_sink: Opening, url: str, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is a receiver, too: that the request is for another one shows in its path, which it does not know.
    monkeypatch.setenv("http_proxy", url)
    assert "404" in refused(open_sink(endpoint="http://collector.invalid:4318")).what
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    record(open_sink(), event())
    assert len(kept.records()) == 1
