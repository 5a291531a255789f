"""Spans around every call that leaves the core: closed attributes, no clear name, no value."""

from __future__ import annotations

import sys

from types import ModuleType
from typing import Any

import pytest

from opentelemetry import context, trace
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from strongroom.errors import AuditError, BackendError, BackendUnavailableError, SecretNotFoundError
from strongroom.telemetry import ATTRIBUTES, CommandSpan, Telemetry
from strongroom.testing import FaultyBackend, assert_hidden, marker_value
from strongroom.testing.spans import Spans

NAME = "db/password"


@pytest.fixture
def spans() -> Spans:
    return Spans()


def names_of(spans: Spans) -> list[str]:
    return [span.name for span in spans.finished()]


def test_each_call_to_backend_and_sink_is_one_client_span(
    open_manager: Any, spans: Spans, backend: FaultyBackend
) -> None:
    manager = open_manager(backends={"memory": backend}, tracer_provider=spans.provider)
    manager.get(NAME)
    assert names_of(spans) == ["strongroom.read", "strongroom.audit_write"]
    manager.get(NAME)
    manager.set(NAME, "new")
    manager.get_many(["a", "b"])
    manager.list()
    manager.versions(NAME)
    manager.delete(NAME)
    assert sorted(name for name in names_of(spans) if name != "strongroom.audit_write") == [
        "strongroom.delete",
        "strongroom.list",
        "strongroom.read",
        "strongroom.read_many",
        "strongroom.versions",
        "strongroom.write",
    ]
    assert names_of(spans).count("strongroom.read") == backend.calls.count("read")
    assert {span.kind for span in spans.finished()} == {SpanKind.CLIENT}


def test_spans_hold_known_attributes_and_neither_name_nor_value(open_manager: Any, spans: Spans) -> None:
    marker, name = marker_value(), "hidden/name-of-it"
    manager = open_manager({name: marker}, tracer_provider=spans.provider)
    manager.get(name)
    manager.get(name)
    manager.set(name, marker + "2")
    manager.versions(name)
    manager.get_many([name, "absent"])
    manager.close()
    text = spans.text()
    assert_hidden(marker, text, "a span")
    assert "name-of-it" not in text
    assert {key for span in spans.finished() for key in span.attributes or {}} <= ATTRIBUTES


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (BackendUnavailableError("MARKER", code="timeout"), "timeout"),
        (SecretNotFoundError("MARKER"), "not_found"),
        (RuntimeError("MARKER"), "backend_error"),
        (SystemExit("MARKER"), "SystemExit"),
    ],
    ids=repr,
)
def test_a_failure_sets_the_type_of_the_error_and_no_text(
    error: Any, error_type: str, open_manager: Any, spans: Spans, backend: FaultyBackend
) -> None:
    manager = open_manager(backends={"memory": backend}, tracer_provider=spans.provider)
    backend.error = error
    with pytest.raises(BaseException):  # noqa: PT011, B017  # which one is not the point here
        manager.get(NAME)
    [span] = [span for span in spans.finished() if span.name == "strongroom.read"]
    assert (span.attributes or {})["error.type"] == error_type
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert "MARKER" not in spans.text()


def test_a_sink_that_fails_shows_in_its_span(open_manager: Any, spans: Spans, sink: Any) -> None:
    manager = open_manager({NAME: "v"}, tracer_provider=spans.provider)
    sink.failing = True
    with pytest.raises(AuditError):
        manager.get(NAME)
    failed = [span.name for span in spans.finished() if not span.status.is_ok]
    assert failed == ["strongroom.audit_write"]


def test_one_name_has_one_id_under_one_key_and_another_under_another(open_manager: Any) -> None:
    first, second = Telemetry(key=b"k" * 32), Telemetry(key=b"l" * 32)
    assert first.secret_id("a") == Telemetry(key=b"k" * 32).secret_id("a")
    assert len({first.secret_id("a"), first.secret_id("b"), second.secret_id("a"), Telemetry().secret_id("a")}) == 4


def test_the_configured_key_makes_the_ids(open_manager: Any, spans: Spans) -> None:
    open_manager({"a": "v"}, tracer_provider=spans.provider, telemetry={"key": "k" * 32}).get("a")
    read = spans.finished()[0]
    assert (read.attributes or {})["strongroom.secret.id"] == Telemetry(key=b"k" * 32).secret_id("a")


def test_an_attribute_outside_the_list_is_a_mistake_that_shows(spans: Spans) -> None:
    with pytest.raises(ValueError, match="closed list"), Telemetry(tracer_provider=spans.provider).span("x", value="v"):
        pass


def test_events_carry_the_trace_of_their_caller(open_manager: Any, spans: Spans, sink: Any) -> None:
    manager = open_manager({NAME: "v"}, tracer_provider=spans.provider)
    with spans.provider.get_tracer("application").start_as_current_span("request") as span:
        manager.get(NAME)
        manager.get(NAME)
        expected = f"{span.get_span_context().trace_id:032x}"
    manager.get(NAME)
    manager.flush()
    assert [event.trace_id for event in sink.named("get")] == [expected, expected, None]


class _Raising(SpanExporter):
    def export(self, spans: Any) -> Any:
        raise ConnectionError("the collector is gone")


def test_an_exporter_that_raises_does_not_make_a_read_fail(open_manager: Any) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_Raising()))
    assert open_manager({NAME: "v"}, tracer_provider=provider).get(NAME).reveal_text() == "v"


class _BrokenProcessor(SpanProcessor):
    def __init__(self, where: str) -> None:
        self.where = where

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.where == "start":
            raise ConnectionError

    def on_end(self, span: Any) -> None:
        if self.where == "end":
            raise ConnectionError


@pytest.mark.parametrize("where", ["start", "end"])
def test_a_span_processor_that_raises_does_not_make_a_read_fail(where: str, open_manager: Any) -> None:
    provider = TracerProvider()
    provider.add_span_processor(_BrokenProcessor(where))
    manager = open_manager({NAME: "v"}, tracer_provider=provider)
    assert manager.get(NAME).reveal_text() == "v"
    with pytest.raises(SecretNotFoundError):
        manager.get("absent")


def test_a_span_that_cannot_be_marked_as_failed_is_left_all_the_same(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or all that the caller does afterwards would be within it."""
    before = context.get_current()
    with monkeypatch.context() as patched:
        patched.setattr(Span, "set_attribute", _refuse)
        with pytest.raises(KeyError) as caught, Telemetry(tracer_provider=spans.provider).span("read"):
            raise KeyError
    # As long as the error is kept, nobody else cleans up behind it.
    assert (caught.type, context.get_current()) == (KeyError, before)
    assert names_of(spans) == ["strongroom.read"]


def test_a_command_whose_span_refuses_is_left_all_the_same(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> None:
    monkeypatch.setattr(trace, "get_tracer", spans.provider.get_tracer)
    before = context.get_current()
    span = CommandSpan("get", begun=1)
    monkeypatch.setattr(Span, "set_attribute", _refuse)
    span.end(1)
    assert context.get_current() == before
    assert names_of(spans) == ["strongroom.command"]


def _refuse(*_: Any) -> None:
    raise ConnectionError


class _Odd(trace.NonRecordingSpan):
    """Somebody else's, in whose scope the program runs."""

    def get_span_context(self) -> Any:
        raise ConnectionError


def test_a_span_of_somebody_else_that_cannot_say_its_trace_fails_nothing(open_manager: Any, sink: Any) -> None:
    manager = open_manager({NAME: "v"})
    with trace.use_span(_Odd(trace.INVALID_SPAN_CONTEXT)):
        manager.set(NAME, "new")
        manager.get(NAME)
        assert manager.get(NAME).reveal_text() == "new"
    manager.flush()
    assert {event.trace_id for event in sink.named("get")} == {None}


def test_an_api_that_is_being_imported_fails_nothing(open_manager: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another thread, just now: the module is there, and empty."""
    manager = open_manager({NAME: "v"})
    for name in ("trace", "metrics", "context"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.{name}", ModuleType(name))
    manager.set(NAME, "new")
    assert manager.get(NAME).reveal_text() == "new"


def test_a_span_of_a_forked_child_arrives_there(open_manager: Any, spans: Spans) -> None:
    from strongroom.testing import in_forked_child

    manager = open_manager({NAME: "v"}, tracer_provider=spans.provider)
    manager.get(NAME)
    before = len(spans.finished())

    def child() -> list[str]:
        manager.get(NAME)
        return names_of(spans)[before:]

    assert in_forked_child(child) == "['strongroom.read', 'strongroom.audit_write']"
    assert len(spans.finished()) == before


PROGRAM = """
import sys
{first}
import strongroom
from strongroom.builtin.memory import MemoryBackend
manager = strongroom.open({{"audit": "none"}}, backends={{"memory": MemoryBackend()}})
manager.set("a", "v")
assert manager.get("a").reveal_text() == "v"
manager.close()
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_without_opentelemetry_nothing_of_it_is_imported(run_program: Any) -> None:
    assert run_program(PROGRAM.format(first="")).stdout == "[]\n"


def test_everything_works_where_opentelemetry_cannot_be_imported(run_program: Any) -> None:
    assert run_program(PROGRAM.format(first="sys.modules['opentelemetry'] = None")).stdout == "['opentelemetry']\n"


def test_no_global_provider_is_installed_or_shut_down(run_program: Any) -> None:
    done = run_program(
        PROGRAM.format(first="from opentelemetry import trace; before = trace.get_tracer_provider()")
        + "assert trace.get_tracer_provider() is before\nprint(type(before).__name__)\n"
    )
    assert done.stdout.endswith("ProxyTracerProvider\n")


def test_a_foreign_error_keeps_its_cause_but_the_span_does_not_show_it(
    open_manager: Any, spans: Spans, backend: FaultyBackend
) -> None:
    manager = open_manager(backends={"memory": backend}, tracer_provider=spans.provider)
    backend.error = RuntimeError("MARKER")
    with pytest.raises(BackendError, match="failed in read with RuntimeError") as caught:
        manager.get(NAME)
    assert caught.value.__cause__ is backend.error
    assert "MARKER" not in spans.text()
