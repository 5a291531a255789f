"""The one way to open a span.

Only the OpenTelemetry API is used, and only if somebody else has imported it:
without it nobody can have set a tracer provider, so no span could arrive
anywhere, and importing it would cost each command more than its own work.

A span never holds a value or a clear name, and no text of an exception: the
API would copy that into the span's events and into its status.
"""

from __future__ import annotations

import hmac
import os
import sys
import time

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from strongroom._apart import apart
from strongroom.errors import StrongroomError
from strongroom.telemetry import instruments
from strongroom.telemetry.names import (
    ATTRIBUTES,
    DURATION,
    ERROR_TYPE,
    EXIT_CODE,
    OPERATION,
    PROCESS_ID,
    PROGRAM,
    REGION,
    REQUEST_ID,
    RESENDS,
    SECRET_ID,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from strongroom.telemetry.quiet import hush, note_problem, unhush

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span, Tracer, TracerProvider


class Telemetry:
    """Opens spans for one manager.

    Args:
        tracer_provider: Whose tracer to use; the global one unless given.
        key: The HMAC key that turns names into ids; random for the process
            unless given, so that ids of two processes do not match.
    """

    def __init__(self, *, tracer_provider: TracerProvider | None = None, key: bytes | None = None) -> None:
        self._provider = tracer_provider
        self._key = key or os.urandom(32)
        self._tracer: tuple[Any, Tracer | None] = (None, None)

    def secret_id(self, name: str) -> str:
        """Return the id that stands for a name in spans and metrics."""
        return hmac.digest(self._key, name.encode(), "sha256").hex()[:32]

    @property
    def enabled(self) -> bool:
        """Whether a span could arrive anywhere."""
        return (
            self._provider is not None
            or "opentelemetry.trace" in sys.modules
            or "OTEL_PYTHON_TRACER_PROVIDER" in os.environ
        )

    @contextmanager
    def span(self, operation: str, *, name: str | None = None, **attributes: Any) -> Iterator[None]:
        """Open a CLIENT span around a call that leaves the core, and measure how long it takes.

        Within it no other library's instrumentation records anything; see :func:`quiet`.

        Args:
            operation: The span's name without the ``strongroom.`` in front.
            name: The secret's name, which the span holds as an HMAC.
            attributes: Further ones by the constants of this module, with ``.``
                written as ``_`` and without ``strongroom.``: ``backend_type="vault"``.
        """
        if not (self.enabled or instruments.enabled()):
            yield
            return
        told = self._attributes(operation, name, attributes)
        started = apart(self._started, operation, told) if self.enabled else None
        quieted, begun = hush(started), time.perf_counter()
        try:
            yield
        except BaseException as error:
            _measure(begun, told, error)
            unhush(quieted)
            apart(_end, started, error)
            raise
        _measure(begun, told, None)
        unhush(quieted)
        apart(_end, started, None)

    def current_trace_id(self) -> str | None:
        """Return the trace that the caller is in, in hexadecimal, if there is one."""
        api = sys.modules.get("opentelemetry.trace")
        if api is None:
            return None
        try:
            context = api.get_current_span().get_span_context()
            return f"{context.trace_id:032x}" if context.is_valid else None
        # Foreign code: the span is whoever's, and another thread may be importing the API just now.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)
            return None

    def _attributes(self, operation: str, name: str | None, further: dict[str, Any]) -> dict[str, Any]:
        attributes = {"strongroom." + key.replace("_", "."): value for key, value in further.items()}
        attributes[OPERATION] = operation
        if name is not None:
            attributes[SECRET_ID] = self.secret_id(name)
        unknown = attributes.keys() - ATTRIBUTES
        if unknown:
            raise ValueError(f"not in the closed list of attributes: {', '.join(sorted(unknown))}")
        return attributes

    def _started(self, operation: str, attributes: dict[str, Any]) -> Span | None:
        try:
            from opentelemetry import trace

            kind = trace.SpanKind.CLIENT
            return self._tracer_now().start_span(f"strongroom.{operation}", kind=kind, attributes=attributes)
        # Foreign code: tracing that fails must not fail what it traces.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)
            return None

    def _tracer_now(self) -> Tracer:
        """Return the tracer, which is made anew only when somebody has set another provider: making one is slow."""
        from opentelemetry import trace

        provider = self._provider or trace.get_tracer_provider()
        known, tracer = self._tracer
        if tracer is None or known is not provider:
            tracer = trace.get_tracer("strongroom", tracer_provider=self._provider)
            self._tracer = provider, tracer
        return tracer


def note_exchange(
    *,
    address: str,
    port: int | None = None,
    resends: int = 0,
    region: str | None = None,
    aws_request_id: str | None = None,
) -> None:
    """Note on the span of the running call which server was asked, and how often again.

    For a plugin whose client speaks to a server; the span is the one that the core opened around the call. Without
    OpenTelemetry, or outside such a call, nothing happens. It never fails.

    Args:
        address: The server's host, without scheme, path or credentials; the path of a Unix socket.
        port: Its port, if it has one.
        resends: How many times the request was sent again.
        region: The cloud's region that was asked, if there is such a thing.
        aws_request_id: The id that AWS gave the request.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return
    try:
        span = api.get_current_span()
        # Another's span is not ours to write on.
        if not span.is_recording() or not str(getattr(span, "name", "")).startswith("strongroom."):
            return
        noted: dict[str, Any] = {
            SERVER_ADDRESS: address,
            SERVER_PORT: port,
            RESENDS: resends or None,
            REGION: region,
            REQUEST_ID: aws_request_id,
        }
        span.set_attributes({key: value for key, value in noted.items() if value is not None})
    # Foreign code, as above.
    except Exception as error:  # noqa: BLE001  # see above
        note_problem(error)


def _end(span: Span | None, error: BaseException | None) -> None:
    if span is None:
        return
    try:
        try:
            if error is not None:
                _mark_failed(span, error)
        finally:
            span.end()
    # As above: a write that has been made must not look as if it had failed.
    except Exception as problem:  # noqa: BLE001  # see above
        note_problem(problem)


def error_type(error: BaseException) -> str:
    """Return what stands for an error in spans and metrics: its code, or the class of one that is not ours."""
    # Only our codes are known to be words of a closed list: SystemExit has a code, too, which may be any text.
    return error.code if isinstance(error, StrongroomError) else type(error).__qualname__


def _measure(begun: float, told: dict[str, Any], error: BaseException | None) -> None:
    """Record how long a call took, while its span is open, so that the measurement can point to it."""
    if not instruments.enabled():
        return
    attributes = {name: told[name] for name in DURATION.attributes if name in told}
    if error is not None:
        attributes[ERROR_TYPE] = error_type(error)
    instruments.measure(DURATION, time.perf_counter() - begun, attributes)


def _mark_failed(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute(ERROR_TYPE, error_type(error))
    span.set_status(StatusCode.ERROR)


class CommandSpan:
    """The INTERNAL span around one call of the command, as part of the trace that its environment names.

    Args:
        command: The command's name.
        begun: When it began, in nanoseconds since 1970.
    """

    def __init__(self, command: str, *, begun: int) -> None:
        self._opened: tuple[Any, Any] | None = None
        try:
            self._opened = self._open(command, begun)
        # Foreign code: tracing that fails must not fail what it traces.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)

    def _open(self, command: str, begun: int) -> tuple[Any, Any]:
        from opentelemetry import context, propagate, trace

        # As other programs hand a trace on: the usual headers, in capitals.
        carrier = {name: os.environ[name.upper()] for name in _FIELDS if name.upper() in os.environ}
        span = trace.get_tracer("strongroom").start_span(
            "strongroom.command",
            propagate.extract(carrier),
            kind=trace.SpanKind.INTERNAL,
            attributes={OPERATION: command, PROGRAM: "strongroom", PROCESS_ID: os.getpid()},
            start_time=begun,
        )
        return span, context.attach(trace.set_span_in_context(span))

    def environment(self) -> dict[str, str]:
        """Return the variables that make another program part of this trace."""
        carrier: dict[str, str] = {}
        try:
            from opentelemetry import propagate

            propagate.inject(carrier)
        # Foreign code, as above.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)
        return {name.upper(): text for name, text in carrier.items() if name in _FIELDS}

    def end(self, status: int | None) -> None:
        """End the span; twice is no error.

        Args:
            status: The exit status, which says whether it failed; ``None`` if there is none.
        """
        opened, self._opened = self._opened, None
        if opened is None:
            return
        try:
            _end_command(*opened, status)
        # Foreign code, as above.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)


_FIELDS = ("traceparent", "tracestate")


def _end_command(span: Any, token: Any, status: int | None) -> None:
    from opentelemetry import context, trace

    try:
        if status is not None:
            span.set_attribute(EXIT_CODE, status)
            if status:
                span.set_attribute(ERROR_TYPE, f"exit_{status}")
                span.set_status(trace.StatusCode.ERROR)
    finally:
        context.detach(token)
        span.end()
