"""The telemetry exporter."""

from __future__ import annotations

from strongroom.contracts import TelemetryExporter
from strongroom.errors import ConfigurationError
from strongroom_frozen.settings import ExporterSettings


class FrozenExporter(TelemetryExporter):
    """Notes that it was started and closed."""

    def __init__(self, settings: ExporterSettings) -> None:
        self._path = settings.path

    def _note(self, text: str) -> None:
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be written", hint="choose another path") from error

    def start(self) -> None:
        """Note it."""
        self._note("started")

    def close(self, seconds: float) -> None:
        """Note it."""
        self._note(f"closed within {seconds >= 0}")
