"""Recording spans in memory, beside whatever tracing the process has set up."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Spans:
    """A tracer provider of its own that keeps every finished span.

    Attributes:
        provider: What to hand to the code under test.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def finished(self) -> Sequence[ReadableSpan]:
        """Return the spans that have ended, in that order."""
        return self._exporter.get_finished_spans()

    def text(self) -> str:
        """Return all that the spans hold, as one text to search in."""
        return "\n".join(_text_of(span) for span in self.finished())


def _text_of(span: ReadableSpan) -> str:
    events = [(event.name, dict(event.attributes or {})) for event in span.events]
    return f"{span.name} {dict(span.attributes or {})!r} {events!r} {span.status.description}"
