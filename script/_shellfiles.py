"""The completion scripts and the manual page of the command, made from its parsers: no run of it pays for them."""

import argparse
import os
import sys

from collections.abc import Iterator
from pathlib import Path

import shtab

from _manpage import manual
from _workspace import ROOT
from strongroom._ours import OURS
from strongroom.cli import main as command
from strongroom.cli.command import Parser

ADDED = tuple(OURS["strongroom.commands"])
"""The commands that our other distributions add: whoever has not installed them is told where they come from."""

SCRIPTS = {"bash": "strongroom.bash", "zsh": "_strongroom", "fish": "strongroom.fish"}
"""The file of each shell, as the shells want it to be called."""

PROGRAM: dict[str, str | dict[str, str]] = {
    "bash": "_strongroom_program",
    "zsh": "_command_names -e",
    "fish": "(__fish_complete_command)",
}
"""What completes the program that `run` starts."""

BASH = """
_strongroom_program() {
  compgen -A command -- "$1"
}
"""


def parser() -> Parser:
    """Return the whole command as one parser, with every command below it, which no run of it ever needs."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    root = command._root_parser()
    whole = Parser(prog="strongroom", description=f"{root.description}".partition("\n")[0], add_help=False)
    for action in root._actions:
        if action.option_strings:
            whole._add_action(action)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")
    for name in [*command.COMMANDS, *ADDED]:
        loaded = command.load(name)
        summary = command.COMMANDS[name][1] if name in command.COMMANDS else loaded.summary
        alone, inner = loaded.parser(name), commands.add_parser(name, help=summary, description=loaded.summary)
        loaded.configure(inner)
        inner.epilog = alone.epilog
    for action in each_argument(whole):
        complete = what_completes(action)
        if complete is not None:
            action.complete = complete  # type: ignore[attr-defined]  # where shtab looks for it
    return whole


def each_argument(whole: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield every argument and option of a parser, and of those below it."""
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from each_argument(inner)
        else:
            yield action


def what_completes(action: argparse.Action) -> dict[str, str | dict[str, str]] | None:
    """Return how an argument's values are completed: from the file system, or not at all.

    Names of secrets are not completed: a key pressed in a shell would be a recorded access, and a call of a server.
    """
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if metavar == "PROGRAM":
        return PROGRAM
    if metavar in {"FOLDER", "DIR"} and action.dest != "prefix":
        return shtab.DIRECTORY
    return shtab.FILE if metavar == "PATH" or ("FILE" in metavar and "@" not in metavar) else None


def files() -> dict[Path, str]:
    """Return the content of each file that is made."""
    whole = parser()
    core = ROOT / "core"
    made = {core / "share/man/man1/strongroom.1": manual(whole, command.STATUSES)}
    for shell, name in SCRIPTS.items():
        script = shtab.complete(whole, shell, preamble=BASH if shell == "bash" else "")
        made[core / "src/strongroom/cli/completions" / name] = "\n".join(map(str.rstrip, script.splitlines())) + "\n"
    return made


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` say which of them are not what would be written."""
    if arguments not in ([], ["--check"]):
        sys.exit("usage: script/completion [--check]")
    stale = [file for file, text in files().items() if not file.exists() or file.read_text() != text]
    if arguments:
        print("".join(f"stale: {file.relative_to(ROOT)}; run script/completion\n" for file in stale), end="")
        return 1 if stale else 0
    for file, text in files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return 0
