"""Commands that other distributions add."""

from __future__ import annotations

import argparse

from functools import partial

from strongroom._record import Record
from strongroom.cli.command import Command, Session
from strongroom.contracts.commands import CommandCall, CommandSpec
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import ConfigurationError


def load(name: str) -> Command | None:
    """Import an added command; ``None`` if no distribution has one of that name.

    Args:
        name: Its name.

    Raises:
        PluginError: The distribution that offers it is broken, or several do.
    """
    catalogue = Catalogue()
    if not catalogue.offers(Kind.COMMAND, name):
        return None
    spec: CommandSpec = catalogue.load(Kind.COMMAND, name)
    return Command(summary=spec.summary, configure=spec.configure, run=partial(_run, spec), examples=spec.examples)


def _run(spec: CommandSpec, session: Session, options: argparse.Namespace) -> int:
    # A function, not a partial one: the session leads to the telemetry exporter, and an attribute must not.
    def settings() -> object:
        return _settings(spec, session)

    return spec.run(CommandCall(options=options, config=session.config, principal=session.principal, settings=settings))


def _settings(spec: CommandSpec, session: Session) -> object:
    if spec.settings is Record:
        return Record()
    table = session.load().commands.get(spec.name)
    if table is None:
        raise ConfigurationError(
            f"the command {spec.name!r} has settings, and there is no table for them",
            hint="upgrade or uninstall the distribution that offers it; `strongroom plugins` names it",
        )
    return table.settings(spec.settings)
