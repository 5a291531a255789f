"""The hook: what this distribution offers. Nothing here loads the server."""

from __future__ import annotations

import argparse

from collections.abc import Iterator

from strongroom.contracts import CommandCall, CommandSpec
from strongroom.hookspecs import hookimpl
from strongroom_agent.settings import AgentSettings


@hookimpl
def strongroom_commands() -> Iterator[CommandSpec]:
    """Offer the command ``strongroom agent``."""
    yield CommandSpec(
        name="agent",
        summary="Serve secrets, health and metrics to the programs of this machine.",
        configure=_configure,
        run=_run,
        settings=AgentSettings,
        examples="""
            strongroom agent
            strongroom agent token web
            strongroom agent check
            strongroom agent units /etc/systemd/system
        """,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("serve", help="serve until told to stop; the same as no action")
    token = actions.add_parser("token", help="make a token by which a caller is known")
    token.add_argument("caller", metavar="NAME", help="the caller's name in the configuration")
    token.add_argument("--output", metavar="FILE", help="where to write it; where the setting says unless given")
    token.add_argument("--replace", action="store_true", help="replace a token that is there")
    check = actions.add_parser("check", help="ask the agent whether it is ready; exits with 0, or 6 if it is not")
    check.add_argument("--live", action="store_true", help="ask only whether it answers")
    units = actions.add_parser("units", help="print or write systemd units that run the agent")
    units.add_argument("folder", nargs="?", metavar="FOLDER", help="where to write them; they are printed unless given")
    units.add_argument("--user", metavar="USER", help="the user to run as; one that systemd makes up unless given")


def _run(call: CommandCall) -> int:
    # Imported here: `--help` needs none of it.
    from strongroom_agent.command import run

    return run(call)
