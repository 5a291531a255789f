"""What a log record holds of an event."""

from __future__ import annotations

import json

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.trace import SpanContext, TraceFlags

from collector import attributes
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom.testing.audit import event, full_event, hits
from strongroom_otel.records import ATTRIBUTES, FIELDS, Encoder
from strongroom_otel.severity import severity

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def encoded(*events: AuditEvent, span: SpanContext | None = None) -> list[Any]:
    """Return the records as they are sent."""
    message = encode_logs(Encoder({"service.name": "tested"}).records(events, span))
    return list(message.resource_logs[0].scope_logs[0].log_records)


def test_every_field_of_an_event_has_its_place() -> None:
    """A new field is put into the list, so that leaving it out is a decision."""
    assert set(FIELDS) | {"timestamp", "trace_id"} == set(AuditEvent._fields)


def test_the_attributes_are_the_fields_that_are_known() -> None:
    (record,) = encoded(full_event())
    expected = {ATTRIBUTES[name]: each for name, each in full_event().as_dict().items() if name in FIELDS}
    assert attributes(record) == expected
    (few,) = encoded(AuditEvent(id="1", timestamp="2026-01-01T12:00:00.000000+00:00", event="opened"))
    assert attributes(few).keys() == {ATTRIBUTES[name] for name in ("id", "event", "phase", "result", "cache_hit")}


def test_the_time_is_the_events_to_the_microsecond() -> None:
    (record,) = encoded(full_event())
    assert record.time_unix_nano == 1767268800123456000
    assert record.observed_time_unix_nano > record.time_unix_nano


@pytest.mark.parametrize("trace_id", ["", "no trace", "0" * 32, "4bf92f", TRACE[:-1] + "z"])
def test_a_trace_that_is_none_is_left_out(trace_id: str) -> None:
    (record,) = encoded(full_event().replace(trace_id=trace_id))
    assert record.trace_id == b""


def test_only_records_of_the_same_trace_point_to_the_span() -> None:
    span = SpanContext(int(TRACE, 16), 0xABC, is_remote=False, trace_flags=TraceFlags(1))
    other = f"{1:032x}"
    own, foreign, none = encoded(*(event().replace(trace_id=each) for each in (TRACE, other, None)), span=span)
    assert (own.trace_id.hex(), int.from_bytes(own.span_id, "big"), own.flags) == (TRACE, 0xABC, 1)
    assert (foreign.trace_id.hex(), foreign.span_id) == (other, b"")
    assert (none.trace_id, none.span_id) == (b"", b"")


def test_hits_of_two_origins_are_not_mixed_up() -> None:
    encoder = Encoder({})
    for pid in (1, 2, 1):
        records = encoder.records(hits("run", pid=pid), None)
        found = [AuditEvent(**json.loads(str(record.log_record.body))) for record in records]
        assert found == list(hits("run", pid=pid))


def test_what_json_cannot_express_is_refused_as_a_whole() -> None:
    with pytest.raises(AuditError, match="JSON"):
        encoded(event(), event().replace(duration=float("nan")))


@given(st.text(alphabet=st.characters(exclude_categories=())), st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_can_be_sent_and_comes_back(name: str, detail: str) -> None:
    """Halves of surrogate pairs included, which UTF-8 cannot hold: names of files may have them."""
    written = event(detail=detail).replace(key=name)
    (record,) = encoded(written)
    assert AuditEvent(**json.loads(record.body.string_value)) == written


@pytest.mark.parametrize(
    ("event", "result", "expected"),
    [
        ("get", "ok", "INFO"),
        ("set", "queued", "INFO"),
        ("get", "not_found", "INFO2"),
        ("get", "denied", "WARN"),
        ("set", "version_conflict", "WARN"),
        ("gap", "ok", "WARN"),
        ("alert", "allowed", "ERROR"),
        ("alert", "blocked", "ERROR3"),
    ],
)
def test_the_severity_is_by_event_and_result(event: str, result: str, expected: str) -> None:
    assert severity(event, result)[1] == expected
