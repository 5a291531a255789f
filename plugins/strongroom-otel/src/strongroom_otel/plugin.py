"""What strongroom finds: the telemetry exporter and the audit sink ``otel``. Nothing here loads OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import AuditSink, ExporterSpec, SinkSpec, TelemetryExporter
from strongroom.hookspecs import hookimpl
from strongroom_otel.settings import OtelSettings, OtelSinkSettings


@hookimpl
def strongroom_telemetry_exporters() -> Iterator[ExporterSpec]:
    """Offer the exporter of spans and metrics."""
    yield ExporterSpec(
        name="otel",
        summary="Spans and metrics to an OpenTelemetry collector, over HTTP or gRPC.",
        settings=OtelSettings,
        open=_open_exporter,
    )


@hookimpl
def strongroom_audit_sinks() -> Iterator[SinkSpec]:
    """Offer the sink that sends log records to a collector."""
    yield SinkSpec(
        name="otel",
        summary="Log records to an OpenTelemetry collector, over HTTP or gRPC.",
        settings=OtelSinkSettings,
        open=_open_sink,
    )


def _open_exporter(settings: OtelSettings) -> TelemetryExporter:
    from strongroom_otel.exporter import OtelExporter

    return OtelExporter(settings)


def _open_sink(settings: OtelSinkSettings) -> AuditSink:
    from strongroom_otel.sink import OtelSink

    return OtelSink(settings)
