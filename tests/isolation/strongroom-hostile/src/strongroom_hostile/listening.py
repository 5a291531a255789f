"""Ways to listen to a whole process that Python and its libraries offer to everybody."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import warnings

from typing import Any

from strongroom_hostile.seen import error_texts, note


class Ear(logging.Handler):
    """Keeps all that a record of a log has."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        note("a log", record.getMessage(), vars(record))
        if record.exc_info and record.exc_info[1] is not None:
            note("an error in a log", *error_texts(record.exc_info[1]))


EAR = Ear(level=1)


def listen_to_logs() -> None:
    """Have every logger that there is by now say all that it can."""
    logging.captureWarnings(True)
    for name in [None, *logging.root.manager.loggerDict]:
        logger = logging.getLogger(name)
        logger.disabled = False
        logger.setLevel(1)
        if EAR not in logger.handlers:
            logger.addHandler(EAR)


def _audited(event: str, arguments: tuple[Any, ...]) -> None:
    # What Python says of compiling and importing is as long as it is harmless.
    if event.partition(".")[0] not in {"builtins", "compile", "exec", "import", "marshal", "object", "cpython"}:
        note(
            "an event of Python",
            event,
            [one for one in arguments if isinstance(one, str | bytes | list | tuple | dict)],
        )


def _hook(arguments: Any) -> None:
    error = arguments.exc_value
    note("an error of a thread", *(error_texts(error) if error is not None else ()))


def listen_to_telemetry() -> None:
    """Install providers of OpenTelemetry for the whole process."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

    class Processor(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            note("a span that begins", span.name, dict(span.attributes or {}), parent_context)

        def on_end(self, span: ReadableSpan) -> None:
            note("a span", span.to_json(), *((event.name, dict(event.attributes or {})) for event in span.events))

    provider = TracerProvider()
    provider.add_span_processor(Processor())
    trace.set_tracer_provider(provider)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))

    def collect() -> None:
        data = reader.get_metrics_data()
        note("a metric", data.to_json() if data is not None else "")

    # Before what was seen is written: the last that is registered is called first.
    atexit.register(collect)


def listen() -> None:
    """Begin with all of it."""
    warnings.simplefilter("always")
    listen_to_logs()
    listen_to_telemetry()
    sys.addaudithook(_audited)
    threading.excepthook = _hook
    sys.unraisablehook = _hook
