"""A collector of OpenTelemetry (rotel) that passes on to an HTTP server of the test, which keeps what arrives."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from strongroom.model import AuditEvent

TIME_LIMIT = 20.0


class Kept:
    """What has arrived, one message of OTLP after the other.

    Attributes:
        requests: Path, headers and message of each request.
        answer: What each request is answered with: status, headers and body.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.answer: tuple[int, dict[str, str], bytes] = (200, {"Content-Type": "application/x-protobuf"}, b"")

    def clear(self) -> None:
        """Forget what has arrived."""
        self.requests.clear()

    def spans(self) -> list[Any]:
        """Return all spans, each once for each time that it has arrived."""
        return [
            span
            for _, _, message in self._of("/v1/traces")
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> list[Any]:
        """Return all metrics."""
        return [
            metric
            for _, _, message in self._of("/v1/metrics")
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    def records(self) -> list[Any]:
        """Return all log records."""
        return [
            record
            for _, _, message in self._of("/v1/logs")
            for resource in message.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def resources(self) -> list[dict[str, Any]]:
        """Return the resource of everything that has arrived."""
        return [
            attributes(part.resource)
            for _, _, message in self.requests
            for _, parts in message.ListFields()
            for part in parts
        ]

    def text(self) -> str:
        """Return everything as text, to look for what must not be in it."""
        return "\n".join(str(message) for _, _, message in self.requests)

    def events(self) -> list[AuditEvent]:
        """Return the events that the log records stand for, made of their bodies."""
        return [AuditEvent(**json.loads(record.body.string_value)) for record in self.records()]

    def _of(self, path: str) -> list[tuple[str, dict[str, str], Any]]:
        return [request for request in list(self.requests) if request[0] == path]

    def wait(self, done: Callable[[], object], seconds: float = TIME_LIMIT) -> None:
        """Wait until something is so; that it never is, the assertion that follows shows better."""
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            time.sleep(0.02)


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of a span, a record, a data point or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in item.attributes}


_MESSAGES = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@contextlib.contextmanager
def receiver(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, Kept]]:
    """Run an HTTP server that takes OTLP, with TLS if there is a context; yield its URL and what it keeps."""
    kept = Kept()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body leave in two writes, of which the second would wait for the first's acknowledgement.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            status, headers, body = kept.answer
            if self.path in _MESSAGES:
                shown = {name.lower(): value for name, value in self.headers.items()}
                kept.requests.append((self.path, shown, _MESSAGES[self.path].FromString(content)))
            else:
                status = 404
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests clean."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Keep the output clean of clients that go away, too."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Collector:
    """A running collector.

    Attributes:
        http: Its URL for HTTP.
        grpc: Its URL for gRPC.
        kept: What it has passed on.
    """

    def __init__(self, http_port: int, grpc_port: int, kept: Kept) -> None:
        self.http = f"http://127.0.0.1:{http_port}"
        self.grpc = f"http://127.0.0.1:{grpc_port}"
        self.kept = kept

    def settings(self, protocol: str) -> dict[str, str]:
        """Return the settings that lead to it."""
        return {"endpoint": self.grpc if protocol == "grpc" else self.http, "protocol": protocol}


@contextlib.contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    """Run a collector, which passes on what it takes within 50 ms."""
    found = find_spec("rotel")
    if found is None or found.origin is None:
        # A collector is another program; its wheel is not there for every system.
        pytest.skip("needs the collector rotel: install rotel")
    http_port, grpc_port = _free_ports(2)
    with receiver() as (url, kept), (folder / "rotel.log").open("wb") as log:
        command = [
            *(str(Path(found.origin).with_name("rotel-agent")), "start", "--batch-timeout", "50ms"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}", "--otlp-http-endpoint", f"127.0.0.1:{http_port}"),
            *("--exporter", "otlp", "--otlp-exporter-endpoint", url, "--otlp-exporter-protocol", "http"),
            *("--pid-file", str(folder / "rotel.pid")),
        ]
        with subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
            try:
                _wait_for_ports((http_port, grpc_port), folder / "rotel.log")
                yield Collector(http_port, grpc_port, kept)
            finally:
                process.kill()


def _free_ports(number: int) -> Sequence[int]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in made]


def _wait_for_ports(ports: Sequence[int], log: Path) -> None:
    end = time.monotonic() + TIME_LIMIT
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < end, f"the collector did not start: {log.read_text(errors='replace')}"
                time.sleep(0.02)
