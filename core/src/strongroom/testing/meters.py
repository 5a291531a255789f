"""Sees the metrics that strongroom records, in one test."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import opentelemetry.metrics

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from strongroom.telemetry import METRIC_ATTRIBUTES, METRICS, instruments
from strongroom.telemetry.observed import OBSERVED


class Meters:
    """A provider of its own for the metrics that are recorded while it is entered as a context manager.

    Each test has one, whatever the process's own provider is. At the end it checks
    that nothing outside the closed lists was recorded.
    """

    def __enter__(self) -> Self:
        """Begin."""
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self._former = opentelemetry.metrics.get_meter
        opentelemetry.metrics.get_meter = self._provider.get_meter  # type: ignore[assignment]  # has more arguments
        instruments.start_afresh()
        OBSERVED.start_afresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and check the lists."""
        try:
            self._check()
        finally:
            opentelemetry.metrics.get_meter = self._former
            instruments.start_afresh()
            OBSERVED.start_afresh()
            self._provider.shutdown()

    def points(self) -> list[tuple[str, dict[str, Any], Any]]:
        """Return every point so far: the metric's name, the attributes, and the SDK's own data point."""
        data = self._reader.get_metrics_data()
        return [
            (metric.name, dict(point.attributes or {}), point)
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]

    def value(self, name: str, **attributes: Any) -> float | None:
        """Return the value of a counter or gauge, or how often a histogram has been recorded to.

        Args:
            name: The metric's name without the ``strongroom.`` in front.
            attributes: What it must have, by the last word of an attribute's name, such as ``outcome="hit"``.

        Returns:
            The sum over all points that have these; ``None`` if none has.
        """
        found = [
            point.count if hasattr(point, "bucket_counts") else point.value
            for metric, told, point in self.points()
            if metric == f"strongroom.{name}"
            and attributes.items() <= {key.rpartition(".")[2]: value for key, value in told.items()}.items()
        ]
        return sum(found) if found else None

    def _check(self) -> None:
        known = {metric.name: set(metric.attributes) for metric in METRICS}
        for name, attributes, _ in self.points():
            assert name in known, f"{name} is not in the closed list of metrics"
            assert attributes.keys() <= known[name] <= METRIC_ATTRIBUTES, f"{name} has {sorted(attributes)}"
