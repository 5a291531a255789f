"""The contract of a telemetry exporter: it sends what a process traces and measures to where people look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from strongroom._record import Record


class TelemetryExporter(ABC):
    """Sets OpenTelemetry up for a process and sends what is recorded there.

    Only programs use one, such as the command and the agent: a library never
    installs a provider in a process that is not its own. A program calls
    ``start`` once, and ``close`` at its end.
    """

    @abstractmethod
    def start(self) -> None:
        """Install the providers of spans and metrics for the whole process.

        It waits for nobody: whether anybody is there to receive shows later. What is there already stays.

        Raises:
            ConfigurationError: The settings, or the variables of the environment, are not usable.
        """

    @abstractmethod
    def close(self, seconds: float) -> None:
        """Send what waits, and stop; twice is no error.

        Args:
            seconds: How long that may take at most. What could not be sent by then is given up.
        """


class ExporterSpec(Record):
    """Describes a telemetry exporter; what the hook ``strongroom_telemetry_exporters`` yields."""

    name: str
    """What ``exporter = "..."`` in ``[telemetry]`` says; the entry point's name."""
    summary: str
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], TelemetryExporter]

    kind: ClassVar[str] = "telemetry_exporter"
