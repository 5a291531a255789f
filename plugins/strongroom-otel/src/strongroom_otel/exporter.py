"""The telemetry exporter: the SDK's providers for the whole process, and a bounded end."""

from __future__ import annotations

import logging
import os
import threading
import time

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from strongroom.contracts import TelemetryExporter
from strongroom.errors import ConfigurationError
from strongroom_otel.target import resource, target
from strongroom_otel.ways import keep_still

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import Sampler

    from strongroom_otel.settings import OtelSettings
    from strongroom_otel.shipping import Shipper


class OtelExporter(TelemetryExporter):
    """Sends spans and metrics to a collector.

    Args:
        settings: Where to, and what.
    """

    def __init__(self, settings: OtelSettings) -> None:
        self._settings = settings
        self._shippers: list[Shipper] = []
        self._providers: list[TracerProvider | MeterProvider] = []

    def start(self) -> None:
        """Install the providers of spans and metrics, unless somebody has installed others.

        Raises:
            ConfigurationError: A variable, a file or a header is not usable.
        """
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return
        settings = self._settings
        # Both before anything is installed: what cannot be used leaves nothing behind.
        traces = target(settings, "traces") if _wanted(settings.traces, "OTEL_TRACES_EXPORTER") else None
        metrics = target(settings, "metrics") if _wanted(settings.metrics, "OTEL_METRICS_EXPORTER") else None
        if traces is None and metrics is None:
            return
        from strongroom_otel.shipping import Notice, Shipper

        keep_still("opentelemetry")
        notice = Notice()
        made = [Shipper(each, notice) for each in (traces, metrics) if each is not None]
        try:
            self._install(made)
        # The SDK, which reads further variables; what it says does not tell of headers, which are ours to read.
        except (ValueError, TypeError, StopIteration) as error:
            raise ConfigurationError(
                f"OpenTelemetry's SDK cannot be set up: {error or type(error).__name__}",
                hint="look at the variables that begin with OTEL_",
            ) from error

    def _install(self, shippers: list[Shipper]) -> None:
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.resources import Resource

        facts = Resource.create(dict(resource(self._settings)))
        ready: list[tuple[Shipper, Any, Callable[[Any], None]]] = []
        for shipper in shippers:
            if shipper.signal == "traces" and _is_free(trace.get_tracer_provider()):
                ready.append((shipper, _tracer_provider(shipper, facts, self._settings), trace.set_tracer_provider))
            elif shipper.signal == "metrics" and _is_free(metrics.get_meter_provider()):
                ready.append((shipper, _meter_provider(shipper, facts, self._settings), metrics.set_meter_provider))
        for shipper, provider, install in ready:
            install(provider)
            self._shippers.append(shipper)
            self._providers.append(provider)

    def close(self, seconds: float) -> None:
        """Send what waits, and stop; what could not be sent in time is given up.

        Args:
            seconds: How long that may take at most.
        """
        providers, self._providers = self._providers, []
        shippers, self._shippers = self._shippers, []
        for shipper in shippers:
            shipper.way.end()
        # The SDK waits for its exporters, whatever they do, and neither knows all of what keeps them. So nobody waits
        # for the SDK: a thread that is not done in time ends with the process.
        threads = [_begun(provider.shutdown) for provider in providers]
        end = time.monotonic() + seconds
        for thread, shipper in zip(threads, shippers, strict=True):
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                shipper.give_up(seconds)


def _wanted(given: bool | None, name: str) -> bool:
    """Tell whether one kind of data is to be sent: the variable lists exporters, of which we are one."""
    if given is not None:
        return given
    names = os.environ.get(name, "").strip().lower()
    return not names or "otlp" in map(str.strip, names.split(","))


def _is_free(provider: object) -> bool:
    """Tell whether nobody has installed a provider: what there is then stands for one that is to come."""
    return "Proxy" in type(provider).__name__


def _tracer_provider(shipper: Shipper, facts: Any, settings: OtelSettings) -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from strongroom_otel.shipping import ShippedSpans

    # Not at the exit of the process, where nothing would bound it; see `close`.
    provider = TracerProvider(sampler=_sampler(settings), resource=facts, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(ShippedSpans(shipper)))
    return provider


def _meter_provider(shipper: Shipper, facts: Any, settings: OtelSettings) -> MeterProvider:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    from strongroom_otel.shipping import ShippedMetrics

    interval = settings.metrics_every * 1000 if settings.metrics_every is not None else None
    reader = PeriodicExportingMetricReader(ShippedMetrics(shipper), export_interval_millis=interval)
    return MeterProvider([reader], resource=facts, shutdown_on_exit=False)


def _sampler(settings: OtelSettings) -> Sampler | None:
    """Return the sampler that the settings name; ``None`` leaves it to the variables."""
    if settings.sampler is None and settings.ratio is None:
        return None
    from opentelemetry.sdk.trace import sampling

    name = settings.sampler or "parentbased_traceidratio"
    ratio = 1.0 if settings.ratio is None else settings.ratio
    kinds: dict[str, Callable[[], Sampler]] = {
        "always_on": lambda: sampling.ALWAYS_ON,
        "always_off": lambda: sampling.ALWAYS_OFF,
        "traceidratio": lambda: sampling.TraceIdRatioBased(ratio),
    }
    root = kinds[name.removeprefix("parentbased_")]()
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root


def _begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=_quietly, args=(work,), name="strongroom-otel-end", daemon=True)
    thread.start()
    return thread


def _quietly(work: Callable[[], object]) -> None:
    try:
        work()
    # The SDK's own troubles at the end: there is nobody who could do something about them.
    except Exception as error:  # noqa: BLE001  # see above
        logging.getLogger("strongroom.otel").debug("OpenTelemetry could not be ended: %s", type(error).__name__)
