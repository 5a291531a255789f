"""Sends what one command traces and measures to where the configuration or the environment says."""

from __future__ import annotations

import time

from typing import TYPE_CHECKING, Final

from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.config.load import Configuration
    from strongroom.contracts.telemetry import TelemetryExporter
    from strongroom.telemetry import CommandSpan

CLOSE_SECONDS: Final = 1.0
"""How long a command waits at its end for a collector that does not answer."""


class Exporting:
    """The telemetry of one command; nothing is imported and nothing done before ``start``.

    Args:
        command: The command's name, for the span around it.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        self._begun = time.time_ns()
        self._exporter: TelemetryExporter | None = None
        self._span: CommandSpan | None = None

    def start(self, configuration: Configuration) -> None:
        """Begin to send, if that is wanted; later calls do nothing.

        Args:
            configuration: Says whether, and where to.

        Raises:
            PluginError: The exporter that the configuration names is missing or broken.
            ConfigurationError: Its settings, or the variables of the environment, are not usable. Where the
                configuration names none, either is a warning only: such variables are meant for other programs, too.
        """
        table = configuration.telemetry.wanted
        if table is None or self._exporter is not None:
            return
        from strongroom._warner import Warner
        from strongroom.discovery import Catalogue, Kind
        from strongroom.opening import open_exporter
        from strongroom.telemetry import CommandSpan

        catalogue = Catalogue()
        if not configuration.telemetry.is_named and not catalogue.offers(Kind.TELEMETRY_EXPORTER, table.type):
            return
        try:
            self._exporter = open_exporter(table, catalogue)
        except StrongroomError as error:
            if configuration.telemetry.is_named:
                raise
            Warner(time.monotonic).warn(f"spans and metrics are not sent: {error}")
            return
        self._span = CommandSpan(self._command, begun=self._begun)

    def environment(self) -> dict[str, str]:
        """Return the variables that tell a program of which trace it is a part."""
        return self._span.environment() if self._span is not None else {}

    def close(self, status: int | None) -> None:
        """End the command's span and send what waits, for a second at most; twice is no error.

        Args:
            status: The exit status; ``None`` if the command has become another program.
        """
        if self._span is not None:
            self._span.end(status)
        exporter, self._exporter = self._exporter, None
        try:
            if exporter is not None:
                exporter.close(CLOSE_SECONDS)
        # The plugin boundary: what was done is done, whether or not anybody could be told.
        except Exception:  # noqa: BLE001, S110  # see above
            return
