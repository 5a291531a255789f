"""``completion``: what makes a shell complete the command."""

from __future__ import annotations

import argparse
import os
import sys

from typing import Final

from strongroom.cli.command import Command, Session

_FILES: Final = {"bash": "strongroom.bash", "zsh": "_strongroom", "fish": "strongroom.fish"}

_EPILOG: Final = """\
what is completed:
  Commands, options and file names. Names of secrets are not: a key pressed in a
  shell would be a recorded access. The scripts are made when strongroom is, so
  that a shell starts nothing to complete a word."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    parser.add_argument("shell", choices=tuple(_FILES), help="which shell")


def _run(_session: Session, options: argparse.Namespace) -> int:
    path = os.path.join(os.path.dirname(__file__), "completions", _FILES[options.shell])
    with open(path, encoding="utf-8") as file:
        sys.stdout.write(file.read())
    return 0


COMMANDS: Final = {
    "completion": Command(
        summary="Print a script by which a shell completes commands and options.",
        configure=_configure,
        run=_run,
        examples="""
            source <(strongroom completion bash)
            strongroom completion zsh > ~/.zfunc/_strongroom
            strongroom completion fish > ~/.config/fish/completions/strongroom.fish
        """,
    ),
}
