"""The settings of the exporter and of the audit sink."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import FilePath, KeySource, Record, Seconds

PROTOCOLS: Final = ("http/protobuf", "grpc")
COMPRESSIONS: Final = ("none", "gzip")
SAMPLERS: Final = (
    *("always_on", "always_off", "traceidratio"),
    *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
)


class CollectorSettings(Record):
    """Where a collector is. What is given here wins over any variable; what is not is looked for in ``OTEL_*``."""

    endpoint: str | None = None
    """The collector's URL, such as ``https://collector:4318``; ``http://`` sends in clear. For ``http/protobuf`` the
    usual path, such as ``/v1/traces``, is put behind it. ``OTEL_EXPORTER_OTLP_ENDPOINT``, or this machine."""
    protocol: str | None = None
    """``http/protobuf`` or ``grpc``, for which ``strongroom-otel[grpc]`` must be installed;
    ``OTEL_EXPORTER_OTLP_PROTOCOL``, or ``http/protobuf``."""
    headers: dict[str, KeySource] = {}  # noqa: RUF012  # a default, which nobody changes
    """What is sent with each request, such as a token of the collector's; each value may be a reference. They join
    those in ``OTEL_EXPORTER_OTLP_HEADERS``."""
    compression: str | None = None
    """``none`` or ``gzip``; ``OTEL_EXPORTER_OTLP_COMPRESSION``, or ``none``."""
    timeout: Seconds | None = None
    """How long one delivery may take, with all its attempts; ``OTEL_EXPORTER_OTLP_TIMEOUT``, or 10 s, and 5 s for audit
    events."""
    ca_file: FilePath | None = None
    """The certificates of the authorities to trust, in PEM, in place of the system's;
    ``OTEL_EXPORTER_OTLP_CERTIFICATE``."""
    client_cert: FilePath | None = None
    """Our own certificate, in PEM, for a collector that asks for one; ``OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE``."""
    client_key: FilePath | None = None
    """Its key; ``OTEL_EXPORTER_OTLP_CLIENT_KEY``, or in the certificate's file."""
    service_name: str | None = None
    """What the process is called there; ``OTEL_SERVICE_NAME``, or ``strongroom``."""
    resource: dict[str, str] = {}  # noqa: RUF012  # as above
    """Further facts about the process, such as ``deployment.environment.name``; they join those in
    ``OTEL_RESOURCE_ATTRIBUTES``."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_otel.rules import collector_problems  # most commands never configure a collector

        return collector_problems(self)


class OtelSettings(CollectorSettings):
    """The settings of ``[telemetry]`` with ``exporter = "otel"``."""

    traces: bool | None = None
    """Whether spans are sent; yes, unless ``OTEL_TRACES_EXPORTER`` names others than ``otlp``."""
    metrics: bool | None = None
    """Whether metrics are sent; yes, unless ``OTEL_METRICS_EXPORTER`` names others than ``otlp``."""
    sampler: str | None = None
    """Which traces are recorded: ``always_on``, ``always_off``, ``traceidratio``, or one of these with
    ``parentbased_`` in front; ``OTEL_TRACES_SAMPLER``, or ``parentbased_always_on``."""
    ratio: float | None = None
    """For ``traceidratio``: the share of traces that are recorded, from 0 to 1. Without a sampler it is
    ``parentbased_traceidratio``."""
    metrics_every: Seconds | None = None
    """How often metrics are sent; ``OTEL_METRIC_EXPORT_INTERVAL``, or 60 s. At the end they are sent in any case."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_otel.rules import exporter_problems  # as above

        return exporter_problems(self)


class OtelSinkSettings(CollectorSettings):
    """The settings of an ``[[audit]]`` table of type ``otel``."""
