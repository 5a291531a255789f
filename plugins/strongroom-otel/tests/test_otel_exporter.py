"""The exporter in a program of its own: what it installs, what it leaves alone, and that its end is bounded."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector import Kept, attributes

BEGINNING = """
import json, os, sys, time
from strongroom_otel.plugin import OtelSettings
from strongroom_otel.exporter import OtelExporter

def start(**settings):
    made = OtelExporter(OtelSettings(**settings))
    made.start()
    return made

def span(name):
    from opentelemetry import trace
    with trace.get_tracer("test").start_as_current_span(name):
        pass
"""


def run(source: str, *arguments: str, **variables: str) -> Any:
    """Run a program to its end; return the JSON that it prints, if it does, and what it says on standard error."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")} | variables
    done = subprocess.run(
        [sys.executable, "-c", BEGINNING + textwrap.dedent(source), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (json.loads(done.stdout) if done.stdout else None), done.stderr


def test_nothing_of_opentelemetry_is_loaded_before_the_start() -> None:
    source = """
        made = OtelExporter(OtelSettings())
        made.close(1)
        print(json.dumps([name for name in sys.modules if name.startswith(("opentelemetry", "google", "grpc"))]))
    """
    assert run(source) == ([], "")


def test_spans_and_metrics_arrive_at_the_end(url: str, kept: Kept) -> None:
    source = """
        made = start(endpoint=sys.argv[1], service_name="tested", resource={"team": "a"})
        from opentelemetry import metrics
        metrics.get_meter("test").create_counter("counted").add(3)
        for number in range(1000):
            span(f"span {number}")
        made.close(30)
        made.close(30)
    """
    assert run(source, url) == (None, "")
    assert sorted(span.name for span in kept.spans()) == sorted(f"span {number}" for number in range(1000))
    assert "counted" in {metric.name for metric in kept.metrics()}
    assert all((found["service.name"], found["team"]) == ("tested", "a") for found in kept.resources())


def test_metrics_are_sent_meanwhile_as_often_as_told(url: str, kept: Kept) -> None:
    source = """
        made = start(endpoint=sys.argv[1], traces=False, metrics_every=0.05)
        from opentelemetry import metrics
        metrics.get_meter("test").create_counter("counted").add(3)
        sys.stdin.read()
        os._exit(0)
    """
    with subprocess.Popen(
        [sys.executable, "-c", BEGINNING + textwrap.dedent(source), url], stdin=subprocess.PIPE
    ) as it:
        kept.wait(lambda: len(kept.metrics()) > 1)
        it.kill()
    assert len(kept.metrics()) > 1
    assert kept.spans() == []


@pytest.mark.parametrize(
    ("settings", "variables", "signals"),
    [
        ({}, {}, "metrics spans"),
        ({"traces": False}, {}, "metrics"),
        ({"metrics": False}, {}, "spans"),
        ({}, {"OTEL_TRACES_EXPORTER": "none"}, "metrics"),
        ({}, {"OTEL_METRICS_EXPORTER": "prometheus"}, "spans"),
        ({}, {"OTEL_TRACES_EXPORTER": "console, otlp"}, "metrics spans"),
        ({"traces": True}, {"OTEL_TRACES_EXPORTER": "none"}, "metrics spans"),
        ({}, {"OTEL_SDK_DISABLED": "true"}, ""),
        ({}, {"OTEL_TRACES_SAMPLER": "always_off"}, "metrics"),
        ({"sampler": "always_off"}, {}, "metrics"),
        ({"sampler": "always_on"}, {"OTEL_TRACES_SAMPLER": "always_off"}, "metrics spans"),
        ({"ratio": 0.0}, {}, "metrics"),
        ({"sampler": "traceidratio", "ratio": 1.0}, {}, "metrics spans"),
    ],
    ids=str,
)
def test_what_is_sent_is_as_settings_and_variables_say(
    url: str, kept: Kept, settings: dict[str, Any], variables: dict[str, str], signals: str
) -> None:
    source = """
        made = start(endpoint=sys.argv[1], **json.loads(sys.argv[2]))
        span("a span")
        from opentelemetry import metrics
        metrics.get_meter("test").create_counter("counted").add(3)
        made.close(30)
    """
    run(source, url, json.dumps(settings), **variables)
    found = {"metrics": kept.metrics(), "spans": kept.spans()}
    assert " ".join(name for name, arrived in found.items() if arrived) == signals


def test_a_provider_that_is_there_stays_and_is_not_closed(url: str, kept: Kept) -> None:
    source = """
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracers, meters = TracerProvider(), MeterProvider([reader])
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(meters)
        made = start(endpoint=sys.argv[1])
        made.close(30)
        span("later")
        metrics.get_meter("test").create_counter("counted").add(3)
        print(json.dumps([
            trace.get_tracer_provider() is tracers,
            metrics.get_meter_provider() is meters,
            [each.name for each in spans.get_finished_spans()],
            reader.get_metrics_data() is not None,
        ]))
    """
    assert run(source, url) == ([True, True, ["later"], True], "")
    assert kept.requests == []


def test_a_forked_worker_sends_its_own_spans_once(url: str, kept: Kept) -> None:
    source = """
        made = start(endpoint=sys.argv[1])
        span("before")
        children = []
        for number in range(3):
            child = os.fork()
            if not child:
                span(f"child {number}")
                made.close(30)
                os._exit(0)
            children.append(child)
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        span("after")
        made.close(30)
    """
    run(source, url)
    assert sorted(span.name for span in kept.spans()) == ["after", "before", "child 0", "child 1", "child 2"]


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


ENDING = """
    made = start(endpoint=sys.argv[1], protocol=sys.argv[2])
    for number in range(700):
        span("a span")
    begun = time.monotonic()
    made.close(0.5)
    print(json.dumps(time.monotonic() - begun))
"""
GENEROUS = 20.0


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_collector_does_not_put_the_end_off(silent: str, protocol: str, scheme: str) -> None:
    if protocol == "grpc":
        pytest.importorskip("grpc", reason="needs grpcio")
    took, said = run(ENDING, f"{scheme}://{silent}", protocol)
    assert took < GENEROUS
    assert said.count("\n") == 1
    assert "within 0.5 s" in said


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_collector_that_is_not_there_is_told_of_in_one_line(protocol: str) -> None:
    if protocol == "grpc":
        pytest.importorskip("grpc", reason="needs grpcio")
    took, said = run(ENDING, "http://127.0.0.1:9", protocol)
    assert took < GENEROUS
    assert said.count("\n") == 1
    # gRPC goes on trying until it is given up.
    assert "cannot be reached" in said or (protocol == "grpc" and "within 0.5 s" in said)


def test_what_the_collector_or_a_header_says_is_not_repeated(url: str, kept: Kept) -> None:
    kept.answer = (401, {"Content-Type": "text/plain"}, b"hunter2 is wrong")
    source = """
        made = start(endpoint=sys.argv[1])
        span("a span")
        made.close(30)
    """
    _, said = run(source, url, OTEL_EXPORTER_OTLP_HEADERS="api-key=hunter2")
    assert said.count("\n") == 1
    assert "401" in said
    assert "hunter2" not in said
    assert kept.requests[0][1]["api-key"] == "hunter2"


@pytest.mark.parametrize(
    ("wish", "is_delta"), [("delta", True), ("lowmemory", True), ("cumulative", False), ("", False)]
)
def test_counters_are_told_as_the_variable_wishes(url: str, kept: Kept, wish: str, is_delta: bool) -> None:
    source = """
        made = start(endpoint=sys.argv[1], traces=False)
        from opentelemetry import metrics
        metrics.get_meter("test").create_counter("counted").add(3)
        made.close(30)
    """
    run(source, url, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=wish)
    (metric,) = (metric for metric in kept.metrics() if metric.name == "counted")
    assert (metric.sum.aggregation_temporality == 1) is is_delta


def test_without_grpc_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "grpc.py").write_text("raise ImportError\n")
    source = """
        from strongroom.errors import ConfigurationError
        try:
            start(endpoint="http://127.0.0.1:9", protocol="grpc")
        except ConfigurationError as error:
            from opentelemetry import trace
            print(json.dumps([error.hint, type(trace.get_tracer_provider()).__name__]))
    """
    (hint, provider), _ = run(source, PYTHONPATH=str(tmp_path))
    assert "strongroom-otel[grpc]" in hint
    assert provider == "ProxyTracerProvider"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-5"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "most"),
        ("OTEL_PYTHON_METER_PROVIDER", "nobody's"),
    ],
)
def test_a_variable_that_the_sdk_does_not_take_is_said_to_be_one(url: str, name: str, text: str) -> None:
    source = """
        from strongroom.errors import ConfigurationError
        try:
            start(endpoint=sys.argv[1])
        except ConfigurationError as error:
            from opentelemetry import trace
            print(json.dumps([error.hint, type(trace.get_tracer_provider()).__name__]))
    """
    (hint, provider), _ = run(source, url, **{name: text})
    assert "OTEL_" in hint
    assert provider == "ProxyTracerProvider"


def test_each_span_says_which_process_it_is_from(url: str, kept: Kept) -> None:
    source = """
        made = start(endpoint=sys.argv[1], metrics=False)
        span("a span")
        made.close(30)
    """
    for _ in range(2):
        run(source, url)
    (first, second) = kept.resources()
    assert first["service.instance.id"] != second["service.instance.id"]
    assert attributes(kept.spans()[0]) == {}
