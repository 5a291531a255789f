"""Span names, the closed list of attributes, and the one way to open a span.

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

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import Span, Tracer, TracerProvider

OPERATION: Final = "strongroom.operation"
BACKEND: Final = "strongroom.backend"
BACKEND_TYPE: Final = "strongroom.backend.type"
SINK_TYPE: Final = "strongroom.sink.type"
SECRET_ID: Final = "strongroom.secret.id"
COUNT: Final = "strongroom.count"
ROTATOR_TYPE: Final = "strongroom.rotator.type"
ERROR_TYPE: Final = "error.type"
RESENDS: Final = "http.request.resend_count"
REGION: Final = "cloud.region"
REQUEST_ID: Final = "aws.request_id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

BREAKER_STATE: Final = "strongroom.breaker.state"
SOURCE: Final = "strongroom.source"

RETRIES: Final = "strongroom.client.retries"
"""The counter of requests that a backend's client sent again."""
TRANSITIONS: Final = "strongroom.breaker.transitions"
"""The counter of changes of a backend's state."""
SUBSTITUTED: Final = "strongroom.reads.substituted"
"""The counter of reads that something else than the backend has answered in an outage."""
JOURNAL_LENGTH: Final = "strongroom.journal.length"
"""The gauge of how many writes wait for a backend."""

ATTRIBUTES: Final = frozenset(
    {
        OPERATION,
        BACKEND,
        BACKEND_TYPE,
        SINK_TYPE,
        ROTATOR_TYPE,
        SECRET_ID,
        COUNT,
        ERROR_TYPE,
        RESENDS,
        REGION,
        REQUEST_ID,
        SERVER_ADDRESS,
        SERVER_PORT,
    }
)
"""Every attribute that strongroom ever sets on a span."""

METRIC_ATTRIBUTES: Final = frozenset({BACKEND, BACKEND_TYPE, BREAKER_STATE, SOURCE})
"""Every attribute that strongroom ever gives a metric."""

# Counters and gauges, made when first needed, since the API is loaded only if somebody else has done so.
_COUNTERS: Final[dict[str, Any]] = {}


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
        """Open a CLIENT span around a call that leaves the core.

        Args:
            operation: The span's name without the ``strongroom.`` in front.
            name: The secret's name, which the span holds as an HMAC.
            attributes: Further ones by the constants of this module, with ``.``
                written as ``_`` and without ``strongroom.``: ``backend_type="vault"``.
        """
        started = self._started(operation, self._attributes(operation, name, attributes)) if self.enabled else None
        try:
            yield
        except BaseException as error:
            _end(started, error)
            raise
        _end(started, None)

    def current_trace_id(self) -> str | None:
        """Return the trace that the caller is in, in hexadecimal, if there is one."""
        api = sys.modules.get("opentelemetry.trace")
        if api is None:
            return None
        context = api.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def _attributes(self, operation: str, name: str | None, further: dict[str, Any]) -> dict[str, Any]:
        attributes = {"strongroom." + key.replace("_", "."): value for key, value in further.items()}
        attributes[OPERATION] = operation
        if name is not None:
            attributes[SECRET_ID] = self.secret_id(name)
        unknown = attributes.keys() - ATTRIBUTES
        if unknown:
            raise ValueError(f"not in the closed list of attributes: {', '.join(sorted(unknown))}")
        return attributes

    def _started(self, operation: str, attributes: dict[str, Any]) -> tuple[Any, Span] | None:
        try:
            context = self._start(operation, attributes)
            return context, context.__enter__()
        # Foreign code: tracing that fails must not fail what it traces.
        except Exception as error:  # noqa: BLE001  # see above
            _note(error)
            return None

    def _start(self, operation: str, attributes: dict[str, Any]) -> Any:
        from opentelemetry import trace

        tracer: Tracer = trace.get_tracer("strongroom", tracer_provider=self._provider)
        return tracer.start_as_current_span(
            f"strongroom.{operation}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )


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
        _note(error)


def count_resend(backend_type: str) -> None:
    """Count a request that a client sent again, in the metric ``strongroom.client.retries``.

    For a plugin, as :func:`note_exchange`: without OpenTelemetry nothing happens, and it never fails.

    Args:
        backend_type: The name that the plugin registered, such as ``vault``.
    """
    _count(RETRIES, "{retry}", "Requests that a backend's client sent again.", {BACKEND_TYPE: backend_type})


def count_transition(backend: str, state: str) -> None:
    """Count a change of a backend's state, in the metric ``strongroom.breaker.transitions``.

    Args:
        backend: The backend's configured name.
        state: What it is now: ``healthy``, ``degraded`` or ``recovering``.
    """
    attributes = {BACKEND: backend, BREAKER_STATE: state}
    _count(TRANSITIONS, "{transition}", "Changes of a backend's state.", attributes)


def count_substitute(backend: str, source: str) -> None:
    """Count a read that was not answered by its backend, in the metric ``strongroom.reads.substituted``.

    Args:
        backend: The backend's configured name.
        source: What has answered: ``stale`` or ``fallback``.
    """
    attributes = {BACKEND: backend, SOURCE: source}
    _count(
        SUBSTITUTED,
        "{read}",
        "Reads that a stale answer, a copy or an accepted write has answered.",
        attributes,
    )


def note_journal_length(backend: str, waiting: Callable[[], int]) -> None:
    """Note how many writes wait for a backend, in the metric ``strongroom.journal.length``.

    Args:
        backend: The backend's configured name.
        waiting: Counts them; called only if somebody may want to know. What it raises is no error here.
    """
    api = sys.modules.get("opentelemetry.metrics")
    if api is None:
        return
    try:
        gauge = _COUNTERS.get(JOURNAL_LENGTH)
        if gauge is None:
            gauge = api.get_meter("strongroom").create_gauge(
                JOURNAL_LENGTH, unit="{write}", description="Writes that wait for a backend."
            )
            _COUNTERS[JOURNAL_LENGTH] = gauge
        gauge.set(waiting(), {BACKEND: backend})
    # Foreign code, as above; an older API knows no gauges.
    except Exception as error:  # noqa: BLE001  # see above
        _note(error)


def _count(name: str, unit: str, description: str, attributes: dict[str, str]) -> None:
    api = sys.modules.get("opentelemetry.metrics")
    if api is None:
        return
    try:
        counter = _COUNTERS.get(name)
        if counter is None:
            counter = api.get_meter("strongroom").create_counter(name, unit=unit, description=description)
            _COUNTERS[name] = counter
        counter.add(1, attributes)
    # Foreign code, as above.
    except Exception as error:  # noqa: BLE001  # see above
        _note(error)


def _end(started: tuple[Any, Span] | None, error: BaseException | None) -> None:
    if started is None:
        return
    context, span = started
    try:
        if error is not None:
            _mark_failed(span, error)
        context.__exit__(None, None, None)
    # As above: a write that has been made must not look as if it had failed.
    except Exception as problem:  # noqa: BLE001  # see above
        _note(problem)


def _note(problem: Exception) -> None:
    import logging

    try:
        logging.getLogger("strongroom").debug("a span could not be recorded: %s", type(problem).__name__)
    # Foreign code again: a filter or handler that fails.
    except Exception:  # noqa: BLE001  # see above
        return


def _mark_failed(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import StatusCode

    # Only our codes are known to be words of a closed list: SystemExit has a code, too, which may be any text.
    span.set_attribute(ERROR_TYPE, error.code if isinstance(error, StrongroomError) else type(error).__qualname__)
    span.set_status(StatusCode.ERROR)
