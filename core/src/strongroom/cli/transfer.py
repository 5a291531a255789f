"""``export``: secrets to files that other tools read."""

from __future__ import annotations

import argparse
import sys

from collections.abc import Callable
from typing import Final

from strongroom import dotenv
from strongroom.cli import jsonfile, selection
from strongroom.cli.command import Command, Session, note, write_bytes
from strongroom.cli.problems import raise_all
from strongroom.cli.substitutes import note_substitutes
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.model import SecretValue

_LINES: Final[dict[str, Callable[[str, SecretValue], str]]] = {
    "dotenv": dotenv.dotenv_line,
    "shell": dotenv.shell_line,
}


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{selection.MAPPING_HELP}"
    parser.add_argument("names", nargs="*", metavar="[VARIABLE=]NAME[#FIELD]", help="secrets to write out")
    selection.configure(parser)
    parser.add_argument(
        "--format",
        choices=("dotenv", "shell", "json"),
        default="dotenv",
        help="json keeps names and bytes as they are, shell all text; dotenv, the default, refuses the few texts that "
        "its readers do not agree on",
    )
    parser.add_argument("--output", metavar="FILE", help="a new private file instead of standard output")
    parser.add_argument("--force", action="store_true", help="let --output replace a file")


def _export(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        chosen = _keyed(selection.choose(manager, options.names, options), options)
        found = selection.fetch(manager, chosen.values())
    note_substitutes(found.values())
    values = {key: found[choice].value for key, choice in chosen.items()}
    _hand_over(_rendered(values, options.format), options)
    return 0


def _keyed(choices: list[selection.Choice], options: argparse.Namespace) -> dict[str, selection.Choice]:
    """Return each choice under its variable, or in JSON under its name."""
    if options.format != "json":
        return selection.variables(choices, options)
    found: dict[str, selection.Choice] = {}
    for choice in choices:
        key = choice.variable or (f"{choice.short}#{choice.field}" if choice.field else choice.short)
        if key in found:
            raise ConfigurationError(
                f"{found[key].label} and {choice.label} would both be {key}", hint="leave out --strip-prefix"
            )
        found[key] = choice
    return found


def _rendered(values: dict[str, SecretValue], form: str) -> str:
    if form == "json":
        return jsonfile.render(values)
    problems: list[StrongroomError] = []
    lines = []
    for variable, value in values.items():
        try:
            lines.append(_LINES[form](variable, value))
        except StrongroomError as error:
            problems.append(error)
    raise_all(problems)
    return "".join(lines)


def _hand_over(text: str, options: argparse.Namespace) -> None:
    if options.output is not None:
        from strongroom.cli.output import write_private

        write_private(options.output, text.encode(), replace=options.force)
        note(f"wrote {options.output}")
        return
    if sys.stdout.isatty():
        note("strongroom: note: secrets follow in clear; --output FILE writes them into a private file")
    write_bytes(text.encode())


COMMANDS: Final = {
    "export": Command(
        summary="Write secrets as .env lines, shell exports or JSON.",
        configure=_configure_export,
        run=_export,
        examples="""
            strongroom export --prefix app/ --strip-prefix --output .env
            eval "$(strongroom export db/password --format shell)"
            strongroom export --prefix '' --format json > everything.json
        """,
    ),
}
