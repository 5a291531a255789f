"""Opens single parts that the configuration names: backends, sinks, detectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strongroom._apart import apart
from strongroom.anomaly.stage import ConfiguredDetector
from strongroom.audit.sinks import GuardedSink
from strongroom.config.load import DetectorTable, PluginTable, SinkTable
from strongroom.contracts.telemetry import TelemetryExporter
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import PluginError, StrongroomError
from strongroom.resilience.conditions import Condition
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import Telemetry, quiet


def open_backend(
    table: PluginTable,
    catalogue: Catalogue,
    telemetry: Telemetry | None = None,
    *,
    condition: Condition | None = None,
    deadline: Callable[[str], float] | None = None,
) -> GuardedBackend:
    """Open one configured backend by itself.

    Args:
        table: Its table.
        catalogue: Where its plugin is found.
        telemetry: Opens the spans.
        condition: Lets calls through, and is told how they ended.
        deadline: Says for how many seconds an operation may take.

    Raises:
        PluginError: No plugin offers it, or the one that does is broken.
        ConfigurationError: Its settings are not usable.
        StrongroomError: Whatever the backend reports; it cannot be opened now.
    """
    spec = catalogue.load(Kind.BACKEND, table.type)
    backend = open_part(spec, table, Kind.BACKEND)
    return GuardedBackend(
        backend,
        name=table.name,
        type=table.type,
        capabilities=spec.capabilities,
        telemetry=telemetry,
        condition=condition,
        deadline=deadline,
    )


def open_detector(table: DetectorTable, catalogue: Catalogue) -> ConfiguredDetector:
    """Open one configured detector by itself, as new.

    Args:
        table: Its ``[[anomaly]]`` table.
        catalogue: Where its plugin is found.

    Raises:
        PluginError: No plugin offers it, or the one that does is broken.
        ConfigurationError: Its settings are not usable.
    """
    spec = catalogue.load(Kind.ANOMALY_DETECTOR, table.type)
    return ConfiguredDetector(
        name=table.name,
        detector=open_part(spec, table, Kind.ANOMALY_DETECTOR),
        block=table.block,
        required=table.required,
        cool_down=table.cool_down,
    )


def open_sink(table: SinkTable, catalogue: Catalogue, telemetry: Telemetry | None = None) -> GuardedSink:
    """Open one configured audit sink by itself; nothing is recorded by that.

    Args:
        table: Its ``[[audit]]`` table.
        catalogue: Where its plugin is found.
        telemetry: Opens the spans.

    Raises:
        PluginError: No plugin offers it, or the one that does is broken.
        ConfigurationError: Its settings are not usable.
        StrongroomError: Whatever the sink reports; it cannot be opened now.
    """
    spec = catalogue.load(Kind.AUDIT_SINK, table.type)
    sink = open_part(spec, table, Kind.AUDIT_SINK)
    return GuardedSink(sink, type=table.type, required=table.required, telemetry=telemetry)


def open_exporter(table: PluginTable, catalogue: Catalogue) -> TelemetryExporter:
    """Open a telemetry exporter and start it, which sets OpenTelemetry up for the whole process.

    Args:
        table: The exporter's settings.
        catalogue: Where its plugin is found.

    Raises:
        PluginError: No plugin offers it, or the one that does is broken.
        ConfigurationError: Its settings, or the variables of the environment, are not usable.
    """
    spec = catalogue.load(Kind.TELEMETRY_EXPORTER, table.type)
    exporter: TelemetryExporter = open_part(spec, table, Kind.TELEMETRY_EXPORTER)
    try:
        exporter.start()
    except StrongroomError:
        raise
    # The plugin boundary, as below.
    except Exception as error:
        raise PluginError(
            f"the telemetry exporter {table.type!r} could not be started: it failed with {type(error).__name__}",
            code="plugin_broken",
            hint="upgrade or uninstall the distribution that offers it; `strongroom plugins` names it",
        ) from error
    return exporter


def open_part(spec: Any, table: PluginTable, kind: Kind) -> Any:
    """Open one configured part as its specification says.

    Args:
        spec: What its plugin registered.
        table: Its table.
        kind: What kind of part it is.

    Raises:
        ConfigurationError: Its settings are not usable.
        StrongroomError: Whatever the plugin reports.
        PluginError: The plugin fails with anything else.
    """
    settings = table.settings(spec.settings)
    try:
        # Calls are traced from then on by whoever makes them; what is asked meanwhile is nobody else's to trace.
        with quiet():
            return apart(spec.open, settings)
    except StrongroomError:
        raise
    # The plugin boundary: whatever else a plugin raises is its own failure. Its text may hold what was configured.
    except Exception as error:
        raise PluginError(
            f"the {kind.label} {table.type!r} could not be opened: it failed with {type(error).__name__}",
            code="plugin_broken",
            hint="upgrade or uninstall the distribution that offers it; `strongroom plugins` names it",
        ) from error
