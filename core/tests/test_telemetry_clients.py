"""What a plugin's client notes on the span of the running call, and what it counts."""

from __future__ import annotations

import subprocess
import sys

from collections.abc import Iterator
from typing import Any

import pytest

from opentelemetry import metrics, trace

from strongroom.telemetry import (
    ATTRIBUTES,
    METRIC_ATTRIBUTES,
    METRICS,
    Telemetry,
    count,
    count_resend,
    count_substitute,
    count_transition,
    instruments,
    note,
    note_exchange,
    note_journal_length,
)
from strongroom.telemetry.names import OBSERVABLE
from strongroom.testing.meters import Meters
from strongroom.testing.spans import Spans


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def meters() -> Iterator[Meters]:
    with Meters() as made:
        yield made


def attributes_of(spans: Spans) -> dict[str, Any]:
    (span,) = spans.finished()
    return dict(span.attributes or {})


def test_the_span_of_a_call_says_which_server_was_asked(spans: Spans) -> None:
    with Telemetry(tracer_provider=spans.provider).span("read"):
        note_exchange(address="vault.example.com", port=8200)
    found = attributes_of(spans)
    assert (found["server.address"], found["server.port"]) == ("vault.example.com", 8200)
    assert "http.request.resend_count" not in found
    assert set(found) <= ATTRIBUTES


def test_the_span_of_a_call_says_how_often_it_was_sent_again(spans: Spans) -> None:
    with Telemetry(tracer_provider=spans.provider).span("read"):
        note_exchange(address="/run/agent.sock", resends=2)
    found = attributes_of(spans)
    assert found["http.request.resend_count"] == 2
    assert "server.port" not in found


def test_a_span_of_somebody_else_is_left_alone(spans: Spans) -> None:
    tracer = trace.get_tracer("theirs", tracer_provider=spans.provider)
    with tracer.start_as_current_span("their own"):
        note_exchange(address="vault.example.com", port=8200, resends=1)
    assert attributes_of(spans) == {}


def test_outside_a_call_nothing_is_noted() -> None:
    note_exchange(address="vault.example.com", port=8200, resends=1)


def test_requests_that_are_sent_again_are_counted_by_type(meters: Meters) -> None:
    for backend_type in ("vault", "vault", "acme"):
        count_resend(backend_type)
    assert meters.value("client.retries", type="vault") == 2
    assert meters.value("client.retries", type="acme") == 1


def test_a_failing_tracer_or_meter_fails_nothing(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("foreign code")

    monkeypatch.setattr(trace, "get_current_span", fail)
    monkeypatch.setattr(metrics, "get_meter", fail)
    instruments.start_afresh()
    note_exchange(address="vault.example.com")
    count_resend("vault")
    count_transition("main", "degraded")
    count_substitute("main", "stale")
    note_journal_length("main", lambda: 1)


def test_a_journal_that_cannot_be_counted_fails_nothing(meters: Meters) -> None:
    def fail() -> int:
        raise RuntimeError("no journal")

    note_journal_length("main", fail)
    assert meters.value("journal.length") is None


def test_the_attributes_of_metrics_are_a_closed_list(meters: Meters) -> None:
    for metric in METRICS:
        if metric not in OBSERVABLE:
            attributes = dict.fromkeys(metric.attributes, "x")
            if metric.kind == "counter":
                count(metric, attributes)
            else:
                {"gauge": note, "histogram": instruments.measure}[metric.kind](metric, 1, attributes)
    told = {name: frozenset(attributes) for name, attributes, _ in meters.points()}
    known = {metric.name: frozenset(metric.attributes) for metric in METRICS if metric not in OBSERVABLE}
    assert known.items() <= told.items()
    assert {key for found in told.values() for key in found} <= METRIC_ATTRIBUTES


def test_nobody_who_has_no_opentelemetry_loads_it() -> None:
    program = (
        "import sys; from strongroom import telemetry;"
        "telemetry.note_exchange(address='h', port=1, resends=1); telemetry.count_resend('vault');"
        "telemetry.count_transition('m', 'healthy'); telemetry.count_substitute('m', 'stale');"
        "telemetry.note_journal_length('m', lambda: 1 / 0);"
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
