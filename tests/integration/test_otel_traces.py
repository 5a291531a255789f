"""Spans and metrics of real commands and servers, through a real collector."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import Collector, Kept, attributes, collector
from commandline import Cli, clean_environment
from strongroom.telemetry import ATTRIBUTES, METRICS

NAME = "app/db-password"
VALUE = "zq9-marker-8a1c55e0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
INTERNAL, CLIENT = 1, 3
GENEROUS = 10.0
PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collector(tmp_path_factory.mktemp("collector")) as made:
        yield made


@pytest.fixture
def kept(running: Collector) -> Iterator[Kept]:
    running.kept.clear()
    yield running.kept
    check_lists(running.kept)


def check_lists(kept: Kept) -> None:
    """Look whether everything that has arrived from us is in the closed lists, and tells nothing secret."""
    for span in kept.spans():
        if span.name.startswith("strongroom."):
            assert attributes(span).keys() <= set(ATTRIBUTES)
            assert not span.events
            assert not span.status.message
    allowed = {metric.name: set(metric.attributes) for metric in METRICS}
    for metric in kept.metrics():
        if metric.name.startswith("strongroom."):
            points = getattr(metric, metric.WhichOneof("data")).data_points
            assert all(attributes(point).keys() <= allowed[metric.name] for point in points)
    assert VALUE not in kept.text()
    assert NAME not in kept.text()


def telemetry(settings: dict[str, Any]) -> str:
    return "\n[telemetry]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def configure(store: Path, **settings: Any) -> None:
    """Add the table ``[telemetry]`` to a store's configuration."""
    file = store / "strongroom.toml"
    file.write_text(file.read_text() + telemetry({"exporter": "otel", **settings}))


@pytest.fixture
def filled(cli: Cli) -> Cli:
    assert cli("set", NAME, stdin=VALUE).status == 0
    return cli


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_command_is_part_of_its_callers_trace(
    filled: Cli, store: Path, running: Collector, kept: Kept, protocol: str
) -> None:
    configure(store, **running.settings(protocol))
    done = filled("get", NAME, env={"TRACEPARENT": f"00-{TRACE}-{PARENT}-01", "TRACESTATE": "vendor=1"})
    assert (done.status, done.stdout, done.stderr) == (0, VALUE, "")
    kept.wait(lambda: any(span.name == "strongroom.command" for span in kept.spans()))
    (root,) = (span for span in kept.spans() if span.name == "strongroom.command")
    assert (root.trace_id.hex(), root.parent_span_id.hex(), root.kind) == (TRACE, PARENT, INTERNAL)
    assert attributes(root)["strongroom.operation"] == "get"
    assert attributes(root)["process.exit.code"] == 0
    children = [span for span in kept.spans() if span is not root and span.name != "strongroom.command"]
    assert {"strongroom.read", "strongroom.audit_write"} <= {span.name for span in children}
    assert {(span.trace_id.hex(), span.kind) for span in children} == {(TRACE, CLIENT)}
    assert {span.parent_span_id for span in children} == {root.span_id}


def test_variables_alone_are_enough(filled: Cli, running: Collector, kept: Kept) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": running.http, "OTEL_SERVICE_NAME": "batch job"}
    assert filled("get", NAME, env=variables).status == 0
    kept.wait(kept.spans)
    assert "strongroom.read" in {span.name for span in kept.spans()}
    assert {found["service.name"] for found in kept.resources()} == {"batch job"}


def test_a_failed_command_says_so_with_its_status_alone(filled: Cli, store: Path, running: Collector) -> None:
    running.kept.clear()
    configure(store, endpoint=running.http)
    assert filled("get", "app/nothing").status != 0
    running.kept.wait(running.kept.spans)
    check_lists(running.kept)
    (root,) = (span for span in running.kept.spans() if span.name == "strongroom.command")
    assert root.status.code == 2
    assert attributes(root)["error.type"].startswith("exit_")
    assert "app/nothing" not in running.kept.text()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_program_that_is_run_is_told_of_the_trace(
    filled: Cli, store: Path, running: Collector, kept: Kept, protocol: str
) -> None:
    configure(store, **running.settings(protocol))
    source = "import os; print(os.environ['TRACEPARENT'][:-3], *(n for n in os.environ if n.startswith('GRPC')))"
    done = filled("run", "--secret", NAME, "--", sys.executable, "-c", source)
    assert done.status == 0, done.stderr
    kept.wait(lambda: any(span.name == "strongroom.command" for span in kept.spans()))
    (root,) = (span for span in kept.spans() if span.name == "strongroom.command")
    assert done.stdout.strip() == f"00-{root.trace_id.hex()}-{root.span_id.hex()}"


@pytest.fixture
def uncached(filled: Cli, store: Path) -> Path:
    """The store's folder, from where each read goes to the store."""
    file = store / "strongroom.toml"
    file.write_text(file.read_text().replace('ttl = "300s"', 'policy = "none"'))
    return store


PROGRAM = """
import asyncio, os, sys, time
import strongroom
from strongroom_otel.plugin import OtelSettings
from strongroom_otel.exporter import OtelExporter
from opentelemetry import trace

exporter = OtelExporter(OtelSettings(endpoint=sys.argv[1], protocol=sys.argv[2]))
exporter.start()
tracer = trace.get_tracer("the application")
NAME = "app/db-password"
"""


def program(store: Path, home: Path, settings: dict[str, str], source: str) -> str:
    """Run a program that sets OpenTelemetry up by itself; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(source), settings["endpoint"], settings["protocol"]],
        cwd=store,
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_lost_at_the_end_of_a_thousand_spans(
    filled: Cli, store: Path, home: Path, running: Collector, kept: Kept, protocol: str
) -> None:
    source = """
        with strongroom.open({"backend": "env", "audit": "none", "backends": {"env": {"type": "env"}},
                              "cache": {"policy": "none"}}) as manager:
            os.environ["A"] = "x"
            for _ in range(1000):
                manager.get("a")
        exporter.close(30)
    """
    program(store, home, running.settings(protocol), source)
    kept.wait(lambda: len(kept.spans()) > 1000)
    reads = [span for span in kept.spans() if span.name == "strongroom.read"]
    assert len(reads) == len({span.span_id for span in reads}) == 1000


def test_nothing_is_lost_over_many_commands(filled: Cli, store: Path, running: Collector, kept: Kept) -> None:
    configure(store, endpoint=running.http)
    for _ in range(20):
        assert filled("get", NAME).stderr == ""
    kept.wait(lambda: len([span for span in kept.spans() if span.name == "strongroom.command"]) >= 20)
    for name in ("strongroom.command", "strongroom.read"):
        found = [span.span_id for span in kept.spans() if span.name == name]
        assert len(found) == len(set(found)) == 20


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_of_a_forked_worker_arrive_once_and_the_parents_not_twice(
    uncached: Path, home: Path, running: Collector, kept: Kept, protocol: str
) -> None:
    source = """
        with strongroom.open("strongroom.toml") as manager:
            manager.get(NAME)
            children = []
            for number in range(2):
                child = os.fork()
                if not child:
                    with tracer.start_as_current_span(f"child {number}"):
                        manager.get(NAME)
                    exporter.close(30)
                    os._exit(0)
                children.append(child)
            assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        exporter.close(30)
    """
    program(uncached, home, running.settings(protocol), source)
    kept.wait(lambda: len([span for span in kept.spans() if span.name == "strongroom.read"]) >= 3)
    spans = kept.spans()
    assert len(spans) == len({span.span_id for span in spans})
    workers = {span.span_id: span.name for span in spans if span.name.startswith("child")}
    assert sorted(workers.values()) == ["child 0", "child 1"]
    reads = [span for span in spans if span.name == "strongroom.read"]
    assert sorted(workers.get(span.parent_span_id, "") for span in reads) == ["", "child 0", "child 1"]


def test_a_servers_requests_are_the_parents_of_what_they_read(
    uncached: Path, home: Path, running: Collector, kept: Kept
) -> None:
    source = """
        import strongroom.aio

        async def main():
            async with strongroom.aio.open_async("strongroom.toml") as manager:
                async def answer(reader, writer):
                    number = (await reader.readline()).decode().strip()
                    with tracer.start_as_current_span(f"request {number}"):
                        await manager.get(NAME)
                    writer.close()

                server = await asyncio.start_server(answer, "127.0.0.1", 0)
                port = server.sockets[0].getsockname()[1]

                async def ask(number):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(f"{number}\\n".encode())
                    await reader.read()
                    writer.close()

                # One after the other: reads of one name at the same time share one call of the backend.
                for number in range(5):
                    await ask(number)
                server.close()
        asyncio.run(main())
        exporter.close(30)
    """
    program(uncached, home, running.settings("http/protobuf"), source)
    kept.wait(lambda: len([span for span in kept.spans() if span.name == "strongroom.read"]) >= 5)
    requests = {span.span_id: span for span in kept.spans() if span.name.startswith("request ")}
    reads = [span for span in kept.spans() if span.name == "strongroom.read"]
    assert len(requests) == len(reads) == 5
    assert {span.parent_span_id for span in reads} == requests.keys()
    assert all(span.trace_id == requests[span.parent_span_id].trace_id for span in reads)


def test_how_long_calls_took_points_to_their_traces(filled: Cli, store: Path, running: Collector, kept: Kept) -> None:
    configure(store, endpoint=running.http)
    assert filled("get", NAME).status == 0
    kept.wait(lambda: kept.metrics() and kept.spans())
    (metric,) = (each for each in kept.metrics() if each.name == "strongroom.client.operation.duration")
    point = next(each for each in metric.histogram.data_points if attributes(each)["strongroom.operation"] == "read")
    read = next(span for span in kept.spans() if span.name == "strongroom.read")
    assert [(each.trace_id, each.span_id) for each in point.exemplars] == [(read.trace_id, read.span_id)]


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and says nothing: what a firewall that swallows packets looks like."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("trouble", ["nobody", "silence"])
def test_a_dead_collector_changes_nothing_but_one_line(
    filled: Cli, store: Path, silent: str, protocol: str, trouble: str
) -> None:
    configure(store, endpoint=silent if trouble == "silence" else "http://127.0.0.1:9", protocol=protocol)
    begun = time.monotonic()
    done = filled("get", NAME)
    assert time.monotonic() - begun < GENEROUS
    assert (done.status, done.stdout) == (0, VALUE)
    assert done.stderr.count("\n") == 1
    assert "are not sent" in done.stderr
    assert filled("get", "app/nothing").status == 3


def test_a_long_running_process_ends_in_time_without_its_collector(uncached: Path, home: Path, silent: str) -> None:
    source = """
        import signal, threading
        ending = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ending.set())
        with strongroom.open("strongroom.toml") as manager:
            for _ in range(1000):
                manager.get(NAME)
            print("ready", flush=True)
            ending.wait()
        exporter.close(3)
    """
    command = [sys.executable, "-c", PROGRAM + textwrap.dedent(source), silent, "http/protobuf"]
    with subprocess.Popen(command, cwd=uncached, env=clean_environment(home), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - begun < GENEROUS


def test_the_headers_are_shown_to_nobody(filled: Cli, store: Path) -> None:
    file = store / "strongroom.toml"
    table = telemetry({"exporter": "otel", "endpoint": "http://127.0.0.1:9"})
    file.write_text(
        f'{file.read_text()}{table}headers = {{ api-key = {{ env = "COLLECTOR_KEY" }}, other = "hunter2" }}\n'
    )
    done = filled("config", env={"COLLECTOR_KEY": "hunter2"})
    assert done.status == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
