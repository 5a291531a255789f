"""The table ``[telemetry]``: the key of names, and what sends spans and metrics away."""

from __future__ import annotations

import os

from typing import Final

from strongroom._record import Record
from strongroom.config.convert import suggestion
from strongroom.config.tables import PluginTable, split
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue

OFF: Final = "none"
OTLP: Final = "otel"
"""The exporter that the variables of OpenTelemetry ask for."""
_VARIABLES: Final = tuple(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", "TRACES_", "METRICS_"))


class TelemetryKeys(Record):
    """The core's own keys of the table ``[telemetry]``; the others are the exporter's."""

    key: SecretValue | None = None
    """The HMAC key that turns names into ids in spans and metrics; random for each process unless given."""
    exporter: str | None = None
    """What sends spans and metrics of the command and the agent away: the name of an installed exporter, such as
    ``otel``, or ``none``. Unless given, ``otel`` if it is installed and a variable such as
    ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set."""


class TelemetrySettings(TelemetryKeys):
    """The table ``[telemetry]``, split into the core's keys and the exporter's."""

    table: PluginTable
    """The exporter's own settings."""

    @property
    def wanted(self) -> PluginTable | None:
        """The exporter and its settings; ``None`` if nothing is to be sent."""
        if self.exporter == OFF or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return None
        return self.table if self.exporter or self.asked_by_environment else None

    @property
    def is_named(self) -> bool:
        """Whether the configuration names an exporter."""
        return self.exporter not in {None, OFF}

    @property
    def asked_by_environment(self) -> bool:
        """Whether nothing but variables of the environment says that something is to be sent."""
        return self.exporter is None and any(os.environ.get(variable) for variable in _VARIABLES)


def telemetry_settings(table: PluginTable) -> TelemetrySettings:
    """Split ``[telemetry]`` into the core's keys and the exporter's.

    Args:
        table: The whole table.

    Raises:
        ConfigurationError: One of the core's keys is not usable, or there are an exporter's and none is named.
    """
    keys, rest = split(table, TelemetryKeys)
    if rest and not keys.exporter:
        key = next(iter(rest))
        hint = suggestion(key, TelemetryKeys._fields)
        hint += '; the settings of an exporter need its name, such as exporter = "otel"'
        raise ConfigurationError(f"{table.place.key(key)} is not a setting", hint=hint)
    name = keys.exporter or OTLP
    return TelemetrySettings(**keys.as_dict(), table=table.replace(name=name, type=name, table=rest))
