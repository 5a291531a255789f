"""The hook: what this distribution offers. Nothing here loads the server."""

from __future__ import annotations

import argparse

from collections.abc import Iterator

from strongroom.contracts import CommandCall, CommandSpec
from strongroom.hookspecs import hookimpl
from strongroom_mcp.settings import McpSettings


@hookimpl
def strongroom_commands() -> Iterator[CommandSpec]:
    """Offer the command ``strongroom mcp``."""
    yield CommandSpec(
        name="mcp",
        summary="Let a language model run declared actions with secrets that it never sees.",
        configure=_configure,
        run=_run,
        settings=McpSettings,
        examples="""
            strongroom mcp check
            strongroom mcp check --json
            strongroom mcp stop
            strongroom mcp resume
        """,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("serve", help="serve one client on standard input and output; the same as no action")
    check = actions.add_parser("check", help="validate the settings, and print the actions as the model will see them")
    check.add_argument("--json", action="store_true", help="print what clients are told, as JSON")
    actions.add_parser("stop", help="end all that runs, in every server with this kill switch, and refuse what comes")
    actions.add_parser("resume", help="let actions run again")


def _run(call: CommandCall) -> int:
    # Imported here: `--help` needs none of it.
    from strongroom_mcp.command import run

    return run(call)
