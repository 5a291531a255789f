"""Finds the command that was called, runs it, and turns errors into exit statuses."""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys

from importlib import import_module
from typing import Final

from strongroom.cli.command import Command, Parser, Session, UsageError, flush_notes, forget, note
from strongroom.errors import StrongroomError

COMMANDS: Final = {
    "init": ("init", "make a store, a key file and a commented configuration"),
    "choose": ("choose", "ask what fits here, and write the configuration for it"),
    "get": ("values", "print a secret"),
    "set": ("values", "create or update a secret"),
    "list": ("values", "list names"),
    "versions": ("values", "list a secret's versions"),
    "delete": ("values", "delete a secret"),
    "undelete": ("recovery", "bring a deleted secret back"),
    "destroy": ("recovery", "remove a secret so that nothing brings it back"),
    "metadata": ("recovery", "show or change what is noted about a secret"),
    "rotate": ("rotation", "replace a secret's value, and have what depends on it take the new one"),
    "rotation": ("rotation", "show how rotations stand, and make units that run them"),
    "schedule": ("schedule", "show when secrets are rotated, and what is due"),
    "encrypt": ("keys", "encrypt with a named key"),
    "decrypt": ("keys", "decrypt what was encrypted with a named key"),
    "run": ("run", "run a program with secrets in its environment"),
    "render": ("templates", "write files from templates, with secrets in them"),
    "git": ("git", "tell git its passwords, as a credential helper"),
    "systemd": ("systemd", "give systemd's units their credentials"),
    "import": ("importing", "read secrets from a .env, JSON or YAML file, or a keyring"),
    "export": ("transfer", "write secrets as .env lines, shell exports or JSON"),
    "copy": ("moving", "copy secrets from one backend to another"),
    "diff": ("moving", "compare the secrets of two backends"),
    "rekey": ("store", "change the key that opens the local store"),
    "local": ("store", "verify or back up the local store"),
    "journal": ("journal", "show and decide about writes that wait for a backend"),
    "policy": ("policy", "explain, test and render the policies"),
    "audit": ("audit", "follow, verify and summarise the audit trail"),
    "anomaly": ("anomaly", "explain what a detector found, and try detectors on a recorded trail"),
    "health": ("health", "show the state of every backend and audit sink"),
    "stats": ("stats", "show how reads have been served"),
    "plugins": ("plugins", "list what installed distributions offer"),
    "config": ("settings", "show each setting and where it came from"),
    "doctor": ("doctor", "find what is wrong here, and how to mend it"),
    "completion": ("completion", "print what makes a shell complete this command"),
}
"""Each command's module and summary."""

FURTHER: Final = """\
Other distributions add commands, such as `agent` of strongroom-agent; `strongroom plugins` lists them."""

STATUSES: Final = """\
exit status:
  0 fine; 1 other; 2 usage or configuration; 3 not found; 4 denied;
  5 authentication; 6 outage; 7 conflict; 8 damaged or wrong key;
  9 suspicious; 10 audit; 11 queued; 12 rotation.  `run`: 125, 126, 127 or the program's own.
  With STRONGROOM_DEBUG=1 an internal error shows its traceback, which may hold values."""


def run_process(arguments: list[str] | None = None) -> int:
    """Run one command as a process of its own; what the installed script calls.

    Args:
        arguments: As :func:`main` takes them.

    Returns:
        The exit status.
    """
    # A command makes its objects once and ends: looking for garbage among them, while they
    # are made and again when the interpreter ends, would take a tenth of the whole run.
    gc.set_threshold(100_000)
    _open_what_is_closed()
    _buffer_output()
    status = _written_out(main(arguments))
    gc.freeze()
    return status


def _open_what_is_closed() -> None:
    """Open nothing in the place of each standard stream that is closed, lest another file get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # open as long as the process


def _buffer_output() -> None:
    """Have all of the output written, or an error, even with ``PYTHONUNBUFFERED``, as containers often set it.

    Python does not look then whether the system has taken all of it: a value would end where the disk is full.
    """
    raw = sys.stdout.buffer
    if isinstance(raw, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stdout.encoding, sys.stdout.errors, line_buffering=True
        )


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The command line without the program's name; the process's own unless given.

    Returns:
        The exit status.
    """
    try:
        return _dispatch(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        forget(sys.stdout)
        return 0
    except Exception as error:  # noqa: BLE001  # a traceback may show values, so none reaches the user unasked
        return _failed(error)


def _written_out(status: int) -> int:
    """Write what is left in the buffers of the output; return the exit status, given the command's own."""
    try:
        sys.stdout.flush()
    except KeyboardInterrupt:
        forget(sys.stdout)
        status = 130
    except OSError as error:
        forget(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            status = status or _failed(error)
    flush_notes()
    return status


def _failed(error: Exception) -> int:
    """Say what went wrong, and return the exit status."""
    if isinstance(error, StrongroomError):
        report(error)
        return error.exit_status
    if os.environ.get("STRONGROOM_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno:
        # The system's words for the number: the error's own text may be anybody's.
        _complain(f"the system has refused something: {os.strerror(error.errno)}: check where the output goes")
    else:
        _complain(f"internal error: {type(error).__name__}: report it")
    return 1


def report(error: StrongroomError) -> None:
    """Print an error as ``strongroom: what: what to do`` on standard error."""
    for line in (str(error), *getattr(error, "__notes__", ())):
        _complain(line)


def _complain(line: str) -> None:
    """Print a line in which nothing that stands in a file or a name can move the cursor or start another line."""
    from strongroom.cli.text import printable

    # A backslash may stay one: what an error quotes has been escaped where that matters.
    shown = "".join(character if character == "\\" else printable(character) for character in line)
    note(f"strongroom: {shown}")


def _dispatch(arguments: list[str]) -> int:
    options = argparse.Namespace(config=None, principal=None, version=False, command=None, arguments=arguments)
    if arguments[:1] and arguments[0] in COMMANDS:
        # The usual case, in which the parser of the global options would only cost time.
        options.command, options.arguments = arguments[0], arguments[1:]
    else:
        options = _root_parser().parse_args(arguments)
    if options.version:
        return _print_version()
    if options.command is None:
        _root_parser().print_help()
        return 0
    return _run(load(options.command), options)


def _run(command: Command, options: argparse.Namespace) -> int:
    session = Session(options)
    status = 1
    try:
        status = command.run(session, command.parser(options.command).parse_args(options.arguments))
    except Exception as error:
        status = getattr(error, "exit_status", 1)
        if command.failure_status is None or isinstance(error, BrokenPipeError):
            raise
        _failed(error)
        status = command.failure_status
    finally:
        session.exporting.close(status)
    return status


def _print_version() -> int:
    from importlib.metadata import version

    sys.stdout.write(f"strongroom {version('strongroom')}\n")
    return 0


def load(name: str) -> Command:
    """Import a command's module and return the command.

    Args:
        name: One of ``COMMANDS``, or one that another distribution adds.

    Raises:
        UsageError: There is no such command.
        PluginError: The distribution that adds it is broken.
    """
    if name not in COMMANDS:
        from strongroom.cli import added
        from strongroom.config.convert import suggestion

        found = added.load(name)
        if found is not None:
            return found
        raise UsageError(f"there is no command {name!r}", hint=_where_it_comes_from(name) or suggestion(name, COMMANDS))
    module = import_module(f"strongroom.cli.{COMMANDS[name][0]}")
    command: Command = module.COMMANDS[name]
    return command


def _where_it_comes_from(name: str) -> str:
    from strongroom._ours import OURS

    distribution = OURS["strongroom.commands"].get(name)
    return f"it comes with another distribution: pip install {distribution}" if distribution else ""


def _root_parser() -> Parser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name.ljust(width)}  {summary}" for name, (_, summary) in COMMANDS.items())
    parser = Parser(
        prog="strongroom",
        usage="strongroom [--config FILE] [--as PRINCIPAL] COMMAND ...",
        description=f"One command for secrets, whatever keeps them.\n\ncommands:\n{listing}\n\n{FURTHER}",
        epilog=f"`strongroom COMMAND --help` shows a command's options with examples.\n\n{STATUSES}",
    )
    parser.add_argument("--config", metavar="FILE", help="the configuration file; searched for unless given")
    parser.add_argument("--as", dest="principal", metavar="PRINCIPAL", help="act as this principal")
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
