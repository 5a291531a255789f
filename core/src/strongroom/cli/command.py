"""What every command is made of."""

from __future__ import annotations

import argparse
import os
import sys

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

from strongroom._record import Record
from strongroom.cli.exporting import Exporting
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.config.load import Configuration
    from strongroom.manager import SecretManager
    from strongroom.wiring import Parts


QUEUED_STATUS: Final = 11
"""What a command exits with whose change is accepted, and waits for a backend that is out of reach."""


class UsageError(StrongroomError):
    """The command line itself is not usable."""

    codes = ("usage",)
    exit_status = 2


class Parser(argparse.ArgumentParser):
    """A parser that reports errors as strongroom does, and keeps the layout of examples."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_formatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing.

        Raises:
            UsageError: Always.
        """
        raise UsageError(message, hint=f"see `{self.prog} --help`")


def _formatter(prog: str) -> argparse.HelpFormatter:
    # argparse makes a formatter for each argument it is given. Left to find the width by itself, it imports
    # shutil, and with that three compression libraries, before any command has begun.
    try:
        width = os.get_terminal_size().columns - 2
    except OSError:
        width = 98
    return argparse.RawDescriptionHelpFormatter(prog, width=max(width, 40))


class Session:
    """What all commands of one call share: the global options.

    Attributes:
        arguments: What followed the command's name.
        fallback: The configured name of the backend that keeps copies and the journal, once a manager is open.
        exporting: Sends what the command traces and measures.
        parts: The stages of the manager, once one is open.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.config: str | None = options.config
        self.principal: str | None = options.principal
        self.arguments: list[str] = getattr(options, "arguments", [])
        self.fallback: str | None = None
        self.exporting = Exporting(options.command or "")
        self.parts: Parts | None = None

    def load(self) -> Configuration:
        """Return the configuration, and begin to send telemetry if it says so.

        Raises:
            ConfigurationError: The configuration cannot be read or is not usable.
            PluginError: The telemetry exporter that it names is missing or broken.
        """
        from strongroom.config.load import load

        configuration = load(self.config)
        self.exporting.start(configuration)
        return configuration

    @contextmanager
    def open(self, configuration: Configuration | None = None) -> Iterator[SecretManager]:
        """Lend the manager that the configuration describes, as the principal that was asked for.

        Args:
            configuration: The configuration, where a command has loaded it already.

        Raises:
            AuditError: At the end: a required sink could not record what was done.
            ConfigurationError: The memory is to be locked, and cannot be.
        """
        from strongroom.manager import SecretManager
        from strongroom.memory import forbid_core_dumps, lock_memory
        from strongroom.wiring import Parts

        found = configuration or self.load()
        self.fallback = found.resilience.fallback
        # From here on the process may hold values; what `run` starts inherits this.
        forbid_core_dumps()
        if found.lock_memory:
            lock_memory()
        # Closing a view of a manager closes nothing, so it is the manager itself that is held.
        self.parts = Parts(found)
        with SecretManager(self.parts, found.principal) as manager:
            yield manager.as_principal(self.principal) if self.principal else manager


class Command(Record):
    """One command: how its arguments look, and what it does."""

    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Session, argparse.Namespace], int]
    """Returns the exit status."""
    failure_status: int | None = None
    """What its own failures exit with, where statuses are the program's that it runs; else the error's own."""
    examples: str = ""
    """Lines for the end of ``--help``, each a command that works as it stands."""

    def parser(self, name: str) -> Parser:
        """Return the command's parser."""
        parser = Parser(prog=f"strongroom {name}", description=self.summary, epilog=_epilog(self.examples))
        self.configure(parser)
        return parser


def _epilog(examples: str) -> str:
    lines = [f"  {line.strip()}" for line in examples.strip().splitlines()]
    return "\n".join(["examples:", *lines]) if lines else ""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a command the option ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def print_json(content: object) -> None:
    """Print an answer for programs: one JSON document, in ASCII, with a final line feed."""
    import json

    sys.stdout.write(json.dumps(content, indent=2, default=_in_json) + "\n")


def _in_json(content: Any) -> str:
    # A time in ISO 8601, as in the trail; anything else, such as a name, as it is shown.
    return content.isoformat() if hasattr(content, "isoformat") else str(content)


def note(text: str) -> None:
    """Tell the person at the terminal something, on standard error."""
    # Where nobody reads it, the command goes on, and its status tells how it has ended.
    with suppress(OSError):
        sys.stderr.write(text + "\n")


def flush_notes() -> None:
    """Have all written that was told on standard error; what nobody takes there is lost, and no error."""
    try:
        sys.stderr.flush()
    except OSError:
        forget(sys.stderr)


def forget(stream: TextIO) -> None:
    """Lose what is left in a stream's buffer; else each flush would try once more, and at exit Python ends with 120.

    The stream itself stays what it is, for a program that is started after this.

    Args:
        stream: One that the system has an open file for.
    """
    number = stream.fileno()
    own, nothing = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, number)
        stream.flush()
    finally:
        os.dup2(own, number)
        os.close(own)
        os.close(nothing)


def write_bytes(content: bytes) -> None:
    """Write exact bytes to standard output at once, behind the text that was written before."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def agreed(question: str, warning: str) -> bool:
    """Ask the person at the terminal before something is done that cannot be undone.

    Args:
        question: What is asked, with the answers that there are.
        warning: Why it has to be asked, for the error if there is nobody.

    Raises:
        UsageError: There is nobody to ask.
    """
    from strongroom.cli.text import printable

    if not sys.stdin.isatty():
        raise UsageError(f"{warning}, and there is nobody to ask", hint="add --yes")
    sys.stderr.write(printable(question))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def table(rows: Sequence[tuple[str, ...]], headings: tuple[str, ...]) -> None:
    """Print rows in columns that are as wide as they need to be."""
    shown = [headings, *rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(headings))]
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
