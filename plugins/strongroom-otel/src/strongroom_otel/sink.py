"""The audit sink: each write is one request, and on return the collector has confirmed it."""

from __future__ import annotations

import time

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import get_current_span

from strongroom.contracts import AuditSink, AuditWrite, Health, HealthState
from strongroom.errors import AuditError, StrongroomError
from strongroom_otel.failures import UndeliveredError
from strongroom_otel.records import Encoder
from strongroom_otel.target import resource, target
from strongroom_otel.ways import Way, keep_still

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord

    from strongroom_otel.settings import OtelSinkSettings

SECONDS: Final = 5.0
"""How long a write may take unless something else is said."""
MOST_BYTES: Final = 3_500_000
"""How large a request may be, as estimated; collectors usually take 4 MiB."""
LONGEST_PAUSE: Final = 30.0
"""Seconds: for how long at most a collector that did not answer in time is left alone."""
# Of a record's body: the attributes have the same facts once more, with longer names.
_SHARE: Final = 3


class OtelSink(AuditSink):
    """Sends events to a collector.

    Args:
        settings: Where it is.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: A variable, a file or a header is not usable, or gRPC is not installed.
    """

    def __init__(self, settings: OtelSinkSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._target = target(settings, "logs", seconds=SECONDS)
        keep_still("opentelemetry.exporter.otlp.proto")
        self._encoder = Encoder(resource(settings))
        self._way = Way(self._target, patient=False)
        self._clock = clock
        self._failure: AuditError | None = None
        self._was_refused = False
        self._pause = self._until = 0.0

    def write(self, request: AuditWrite) -> None:
        """Send all events of the request; on return the collector has confirmed them.

        Raises:
            AuditError: It has not. It may have some or all of them nevertheless: those come twice, under the same ids.
        """
        if not request.events:
            return
        span = get_current_span().get_span_context()
        records = self._encoder.records(request.events, span if span.is_valid else None)
        self._check_pause()
        try:
            for part in _parts(records):
                self._way.send(part)
        except UndeliveredError as error:
            self._note(error)
            raise AuditError(error.reason, hint=error.hint) from error
        self._failure, self._pause, self._until = None, 0.0, 0.0

    def _check_pause(self) -> None:
        """Fail at once for a while after a timeout, so that not every operation waits for a collector that hangs."""
        left = self._until - self._clock()
        if self._failure is not None and left > 0:
            raise AuditError(self._failure.what, hint=f"it is tried again in {left:.1f} s")

    def _note(self, error: UndeliveredError) -> None:
        self._failure = AuditError(error.reason, hint=error.hint)
        self._was_refused = not error.again
        if error.slow:
            self._pause = min(2 * self._pause or 1.0, LONGEST_PAUSE)
            self._until = self._clock() + self._pause

    def health(self) -> Health:
        """Say whether the collector takes log records: it is sent a request without any, over another connection."""
        try:
            other = Way(self._target, patient=False)
        except StrongroomError as error:
            return Health(state=HealthState.DOWN, reason=error.what, hint=error.hint)
        try:
            other.send([])
        except UndeliveredError as error:
            return Health(state=HealthState.DOWN, reason=error.reason, hint=error.hint)
        finally:
            other.close()
        failed = self._failure
        if failed is not None and self._was_refused:
            # It takes requests, but did not take the last one with events in it.
            return Health(state=HealthState.DEGRADED, reason=failed.what, hint=failed.hint)
        self._until = 0.0
        return Health(state=HealthState.UP, facts=(("endpoint", str(self._target)),))

    def after_fork(self) -> None:
        """Forget, in a forked child, what the parent has met; the connection is another one by itself."""
        self._failure, self._pause, self._until = None, 0.0, 0.0

    def close(self) -> None:
        """End the connection; another one is made if there is more to send."""
        self._way.close()


def _parts(records: Sequence[ReadableLogRecord]) -> Iterator[Sequence[ReadableLogRecord]]:
    """Yield all records at once; in parts if no collector would take a request of that size."""
    size = sum(len(str(record.log_record.body)) * _SHARE for record in records)
    if size <= MOST_BYTES or len(records) == 1:
        yield records
        return
    middle = len(records) // 2
    yield from _parts(records[:middle])
    yield from _parts(records[middle:])
