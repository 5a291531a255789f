"""``run``: start a program with secrets in its environment, and nowhere else."""

from __future__ import annotations

import argparse
import errno
import os
import sys

from typing import Final

from strongroom.cli import selection
from strongroom.cli.command import Command, Session, UsageError, note
from strongroom.cli.environment import Environment, inherited, native, own_credentials, pristine, with_secrets, without
from strongroom.cli.substitutes import note_substitutes
from strongroom.config.load import Configuration

OWN_FAILURE: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127

_EPILOG: Final = """\
environment:
  The program inherits this environment without what opens the stores themselves:
  STRONGROOM_MASTER_KEY, each variable that the configuration refers to or that is
  a setting of a backend, of the cache, telemetry, a detector or a sink, those by
  which a configured backend logs in by itself, and CREDENTIALS_DIRECTORY if the
  configuration refers to a credential.
  --pass-credentials leaves them in, --keep leaves one in. --pristine hands over
  nothing but the secrets and PATH, HOME, USER, LOGNAME, SHELL, TERM, LANG, LC_*,
  TZ and TMPDIR. A secret wins over an inherited variable, with a note.
  Where a backend keeps its secrets in variables, as type = "env" does, those that
  were not chosen are inherited like all others: add --pristine to hand over no more
  than was chosen.

core dumps:
  Neither strongroom nor the program leaves one, not even to a program that collects
  them: the limit is set so low that there is none, and the program cannot raise it.

exit status:
  The program takes the place of strongroom, so its status and its signals are its
  own. 125: strongroom itself failed; 126: the program cannot be executed; 127: it
  was not found. No shell is started: to have one, run it, as in the last example."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "strongroom run [options] -- PROGRAM [ARGUMENT ...]"
    parser.epilog = "\n\n".join([parser.epilog or "", selection.MAPPING_HELP, _EPILOG])
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="[VARIABLE=]NAME[#FIELD]",
        help="a secret for the program; repeatable",
    )
    selection.configure(parser)
    parser.add_argument("--pristine", action="store_true", help="hand over little else; see below")
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="VARIABLE",
        help="hand this variable over in any case; repeatable",
    )
    parser.add_argument(
        "--pass-credentials", action="store_true", help="hand over what opens the stores themselves, too"
    )
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="PROGRAM", help="what to run, with its arguments")


def _run(session: Session, options: argparse.Namespace) -> int:
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not any(program[:1]):
        raise UsageError("there is no program to run", hint="name it after the options: strongroom run ... -- PROGRAM")
    configuration = session.load()
    base = _base(configuration, options)
    with session.open(configuration) as manager:
        chosen = selection.variables(selection.choose(manager, options.secret, options), options)
        found = selection.fetch(manager, chosen.values())
        secrets = {variable: found[choice] for variable, choice in chosen.items()}
        environment = with_secrets(base, secrets, chosen)
    # Closed: everything is recorded before the program can use any of it.
    note_substitutes(found.values())
    for variable, choice in chosen.items():
        if variable.encode() in base:
            note(f"strongroom: note: {variable} is replaced by the secret {choice.label}")
    # The program is part of the same trace, if there is one; what was traced so far is sent before it begins.
    environment |= {name.encode(): text.encode() for name, text in session.exporting.environment().items()}
    session.exporting.close(None)
    return _start(program, environment)


def _base(configuration: Configuration, options: argparse.Namespace) -> Environment:
    """Return what the program gets besides the secrets."""
    # A variable without a name can be inherited but not handed on: the system refuses the whole environment.
    environment = {name: value for name, value in inherited().items() if name}
    if options.pristine:
        environment = pristine(environment, options.keep)
    if options.pass_credentials:
        return environment
    return without(environment, own_credentials(configuration), options.keep)


def _start(program: list[str], environment: Environment) -> int:
    """Become the program; return only if that fails, or where there is no such thing."""
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform == "win32":
        return _wait_for(program, native(environment))
    _restore_signals()
    try:
        os.execvpe(program[0], program, environment)  # noqa: S606  # the point of the command
    except OSError as error:
        number, reason = error.errno, error.strerror
    # Reported outside the handler: the frames of the error's traceback hold the environment.
    return _report(program[0], number or 0, reason or "")


def _restore_signals() -> None:
    """Give back what the interpreter ignores for its own sake; an exec would pass that on."""
    import signal

    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


def _wait_for(program: list[str], environment: dict[str, str]) -> int:
    import signal
    import subprocess

    # Ctrl-C reaches every process of the console; what it means is the program's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.run(program, env=environment, check=False).returncode  # noqa: S603  # the point of the command
    except OSError as error:
        number, reason = error.errno, error.strerror
    return _report(program[0], number or 0, reason or "")


def _report(program: str, number: int, reason: str) -> int:
    if number in {errno.ENOENT, errno.ENOTDIR}:
        note(f"strongroom: {program} was not found: check its spelling and PATH")
        return NOT_FOUND
    hints = {
        errno.ENOEXEC: "a script needs a first line such as #!/bin/sh",
        errno.E2BIG: "a secret is too large for an environment variable; hand it over in a file",
    }
    note(f"strongroom: {program} cannot be executed ({reason}): {hints.get(number, 'check its permissions')}")
    return NOT_EXECUTABLE


COMMANDS: Final = {
    "run": Command(
        summary="Run a program with secrets in its environment. It takes the place of strongroom.",
        configure=_configure,
        run=_run,
        failure_status=OWN_FAILURE,
        examples="""
            strongroom run --secret db/password -- ./server
            strongroom run --secret PGPASSWORD=db/config#password -- psql
            strongroom run --prefix app/ --strip-prefix -- ./server --port 80
            strongroom run --secret db/password -- sh -c 'echo "${#DB_PASSWORD} characters"'
        """,
    ),
}
