"""What ``/metrics`` answers: strongroom's metrics, and the agent's own."""

from __future__ import annotations

import asyncio
import threading
import time

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from opentelemetry import metrics as api
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder

from strongroom.errors import ConfigurationError

FRESH_SECONDS: Final = 1.0
"""So long an answer is given again: whoever asks more often costs nothing more."""
BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PREFIX: Final = "strongroom_agent_"


class Tally:
    """What the agent has done, counted by the thread of its event loop.

    Args:
        connections: Returns how many connections there are.
        wall_clock: Seconds since 1970 UTC.
    """

    def __init__(
        self, *, connections: Callable[[], int] = lambda: 0, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.connections = connections
        self.answers: Counter[tuple[str, int]] = Counter()
        """By endpoint and status."""
        self.refused: Counter[str] = Counter()
        """What was refused before it was a request, by the reason."""
        self.reloads: Counter[str] = Counter()
        """``ok`` or ``failed``."""
        self.lag = 0.0
        """How late the event loop last was, in seconds."""
        self._began = wall_clock()
        self._times = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            endpoint: Which of a fixed few it was, or ``other``.
            status: The status of HTTP.
            seconds: How long it took.
        """
        self.answers[endpoint, status] += 1
        self._times[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def describe(self) -> list[Any]:
        """Return nothing, so that the registry does not collect just to learn the names."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the agent's own metrics; what the Prometheus client calls."""
        answers = CounterMetricFamily(f"{_PREFIX}requests", "Answered requests.", labels=("endpoint", "code"))
        for (endpoint, status), number in list(self.answers.items()):
            answers.add_metric((endpoint, str(status)), number)
        yield answers
        yield _counters("refused", "Connections and requests refused unread, by the reason.", "reason", self.refused)
        yield _counters("reloads", "Reloads of the configuration: ok or failed.", "outcome", self.reloads)
        yield GaugeMetricFamily(f"{_PREFIX}connections", "Open connections.", value=self.connections())
        yield GaugeMetricFamily(f"{_PREFIX}loop_lag_seconds", "How late the event loop last was.", value=self.lag)
        yield GaugeMetricFamily(f"{_PREFIX}start_time_seconds", "When the agent was started.", value=self._began)
        yield self._durations()

    def _durations(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(f"{_PREFIX}request_duration_seconds", "How long requests took.")
        total, buckets = 0, []
        for bound, number in zip([*map(str, BUCKETS), "+Inf"], list(self._times), strict=True):
            total += number
            buckets.append((bound, total))
        family.add_metric((), buckets=buckets, sum_value=self._seconds)
        return family


class Scrape:
    """Answers ``/metrics``.

    Args:
        tally: The agent's own figures.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: A meter provider is installed that takes no reader.
    """

    def __init__(self, tally: Tally, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(tally)
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[str, tuple[float, bytes, str]] = {}
        self._reader = PrometheusMetricReader(
            disable_target_info=True, scope_info_enabled=False, registry=self._registry
        )
        self._close = _install(self._reader)

    async def answer(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their content type.

        Args:
            accept: The request's header ``Accept``.
        """
        kind = "openmetrics" if "application/openmetrics-text" in accept else "text"
        made = self._made.get(kind)
        if made is not None and self._clock() - made[0] < FRESH_SECONDS:
            return made[1:]
        # In a thread: what is looked up takes locks of the manager.
        return await asyncio.to_thread(self._make, kind, accept)

    def _make(self, kind: str, accept: str) -> tuple[bytes, str]:
        with self._lock:
            made = self._made.get(kind)
            if made is not None and self._clock() - made[0] < FRESH_SECONDS:
                return made[1:]
            encode, content_type = choose_encoder(accept if kind == "openmetrics" else "")
            text = encode(self._registry)
            self._made[kind] = (self._clock(), text, content_type)
            return text, content_type

    def close(self) -> None:
        """Leave the meter provider to whoever has it."""
        self._close()


def _install(reader: MetricReader) -> Callable[[], None]:
    """Have a reader collect what is measured; return what ends that."""
    provider = api.get_meter_provider()
    if not isinstance(provider, MeterProvider):
        provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
        api.set_meter_provider(provider)
        if api.get_meter_provider() is not provider:
            raise ConfigurationError(
                "another meter provider is installed, which takes no reader", hint="unset OTEL_PYTHON_METER_PROVIDER"
            )
        return lambda: None
    provider.add_metric_reader(reader)
    return lambda: provider.remove_metric_reader(reader)


def _counters(name: str, summary: str, label: str, counted: Counter[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(_PREFIX + name, summary, labels=(label,))
    for key, number in sorted(dict(counted).items()):
        family.add_metric((key,), number)
    return family
