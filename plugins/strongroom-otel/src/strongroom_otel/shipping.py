"""Exporters for the SDK's providers: they say once what is wrong, and a forked child sends by its own connection."""

from __future__ import annotations

import logging
import threading

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from strongroom_otel.failures import UndeliveredError
from strongroom_otel.ways import Way

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

    from strongroom_otel.target import Target


class Notice:
    """Says that something is not sent: once until it works again, however many are not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said = False

    def failed(self, what: str, error: UndeliveredError) -> None:
        """Say why, unless that was said."""
        with self._lock:
            said, self._said = self._said, True
        if not said:
            hint = f"; {error.hint}" if error.hint else ""
            # Its own line only: the error's cause may hold what the collector has said.
            logging.getLogger("strongroom.otel").warning("%s are not sent: %s%s", what, error.reason, hint)

    def worked(self) -> None:
        """Say nothing, and begin anew."""
        self._said = False


class Shipper:
    """Sends one kind of data.

    Args:
        target: Where to.
        notice: Says what is wrong, for all kinds of data together.

    Attributes:
        signal: ``traces`` or ``metrics``.

    Raises:
        ConfigurationError: The target is not usable.
    """

    def __init__(self, target: Target, notice: Notice) -> None:
        self.way = Way(target, patient=True)
        self._notice = notice
        self._collector = str(target)
        self.signal = target.signal

    def ship(self, batch: Any, **options: Any) -> bool:
        """Send a batch, and tell whether the collector has taken it."""
        try:
            self.way.send(batch, **options)
        except UndeliveredError as error:
            self._notice.failed(self._what(), error)
            return False
        self._notice.worked()
        return True

    def give_up(self, seconds: float) -> None:
        """Say that what is left is not sent.

        Args:
            seconds: How long it was waited for.
        """
        reason = f"the collector at {self._collector} did not take them within {seconds:g} s"
        self._notice.failed(self._what(), UndeliveredError(reason))

    def _what(self) -> str:
        return "spans" if self.signal == "traces" else self.signal


class ShippedSpans(SpanExporter):
    """Sends spans.

    Args:
        shipper: Sends batches.
    """

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; called by one thread at a time."""
        return SpanExportResult.SUCCESS if self._shipper.ship(spans) else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """End the connection."""
        self._shipper.way.close()


class ShippedMetrics(MetricExporter):
    """Sends metrics.

    Args:
        shipper: Sends batches.
    """

    def __init__(self, shipper: Shipper) -> None:
        inner = shipper.way.exporter
        # What the variables wish, the exporter has found out; the SDK asks it in the same way.
        super().__init__(inner._preferred_temporality, inner._preferred_aggregation)
        self._shipper = shipper

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **options: Any) -> MetricExportResult:
        """Send metrics; called by one thread at a time."""
        taken = self._shipper.ship(metrics_data, timeout_millis=timeout_millis, **options)
        return MetricExportResult.SUCCESS if taken else MetricExportResult.FAILURE

    def force_flush(self, *_: Any, **__: Any) -> bool:
        """Do nothing: nothing is kept here."""
        return True

    def shutdown(self, *_: Any, **__: Any) -> None:
        """End the connection."""
        self._shipper.way.close()
