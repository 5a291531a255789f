"""``run``: start a program with secrets in its environment, and nowhere else."""

from __future__ import annotations

import argparse
import errno
import os
import sys

from typing import TYPE_CHECKING, Final

from strongroom._record import Record
from strongroom.cli import referring, selection
from strongroom.cli.command import Command, Session, UsageError, flush_notes, note
from strongroom.cli.environment import Environment, inherited, native, own_credentials, pristine, with_secrets, without
from strongroom.cli.referring import Variable
from strongroom.cli.selection import Choice
from strongroom.cli.substitutes import note_substitutes
from strongroom.config.load import Configuration
from strongroom.errors import SecretNotFoundError

if TYPE_CHECKING:
    from strongroom.cli.supervising.handover import Handover, Report
    from strongroom.leases.held import LeaseStatus
    from strongroom.manager import SecretManager
    from strongroom.model import SecretName

OWN_FAILURE: Final = 125
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
_MOST_HANDED_OVER: Final = 6 * 2**20
"""Bytes of arguments and variables that Linux takes at most, however large the stack may be."""

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

on change:
  With --on-change, strongroom stays as the parent of the program. It looks whether
  other versions of the secrets are current and which there are below each --prefix,
  and has no value itself. `restart` reads all of them anew, sends the program SIGTERM,
  after --stop-timeout SIGKILL, and starts it with the new values; while they cannot be
  read, the program goes on with what it has. It does so before a leased credential
  ends, too. `hup` sends SIGHUP: the environment stays what it was, so leased
  credentials are refused. Signals are passed on, the program's status is passed back,
  128 and more if a signal has ended it. On Linux the program is killed if strongroom
  is; elsewhere it lives on.

core dumps:
  Neither strongroom nor the program leaves one, not even to a program that collects
  them: the limit is set so low that there is none, and the program cannot raise it.

exit status:
  The program takes the place of strongroom, so its status and its signals are its
  own. 125: strongroom itself failed; 126: the program cannot be executed; 127: it
  was not found. No shell is started: to have one, run it, as in the fourth example."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "strongroom run [options] -- PROGRAM [ARGUMENT ...]"
    parser.epilog = "\n\n".join([parser.epilog or "", selection.MAPPING_HELP, referring.REFERENCES_HELP, _EPILOG])
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="[VARIABLE=]NAME[#FIELD]",
        help="a secret for the program; repeatable",
    )
    selection.configure(parser)
    referring.configure(parser)
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
    _configure_changes(parser)
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="PROGRAM", help="what to run, with its arguments")


def _configure_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on-change",
        choices=("restart", "hup"),
        help="what to do when a secret changes: start the program anew, or send it SIGHUP; see below",
    )
    for option, meaning in (
        ("--every", "how much time lies between two looks for changes at most (30s)"),
        ("--stop-timeout", "how long the program has to end before it is killed (10s)"),
        ("--splay", "start it anew up to this much later, at random (0)"),
    ):
        parser.add_argument(option, metavar="TIME", help=f"with --on-change: {meaning}")
    # How a process knows that it was started by another one that watches.
    parser.add_argument("--handover", help=argparse.SUPPRESS)


def _run(session: Session, options: argparse.Namespace) -> int:
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not any(program[:1]):
        raise UsageError("there is no program to run", hint="name it after the options: strongroom run ... -- PROGRAM")
    if not options.on_change:
        _refuse_without_watch(options)
    elif options.handover is None:
        return _supervise(session, options)
    handover = _handover(options)
    configuration = session.load()
    handed = _handed_over(session, configuration, options)
    # The program is part of the same trace, if there is one; what was traced so far is sent before it begins.
    environment = handed.environment | {
        name.encode(): text.encode() for name, text in session.exporting.environment().items()
    }
    session.exporting.close(None)
    if handover is not None and handed.report is not None:
        if _is_too_large(program, environment):
            # Found out before the program that runs is ended, so that it goes on.
            return _report(program[0], errno.E2BIG, os.strerror(errno.E2BIG))
        if not handover.agreed(handed.report):
            return OWN_FAILURE
    return _start(program, environment)


def _handover(options: argparse.Namespace) -> Handover | None:
    """Return how to ask whoever watches; ``None`` if nobody does."""
    if options.handover is None:
        return None
    from strongroom.cli.supervising.handover import Handover

    return Handover(options.handover)


def _supervise(session: Session, options: argparse.Namespace) -> int:
    if sys.platform == "win32":
        raise UsageError("--on-change needs signals, which Windows does not have", hint="start the program without it")
    from strongroom.cli.supervising.command import supervise

    return supervise(session, options)


def _refuse_without_watch(options: argparse.Namespace) -> None:
    given = [option for option in ("every", "stop_timeout", "splay") if getattr(options, option) is not None]
    if given:
        shown = ", ".join(f"--{option.replace('_', '-')}" for option in given)
        raise UsageError(f"{shown} is of no use without --on-change", hint="add --on-change restart or hup")


class _Handed(Record):
    """What the program gets."""

    environment: Environment
    report: Report | None
    """Which secrets are in it, if somebody watches them."""

    def __repr__(self) -> str:
        return "<_Handed>"


def _handed_over(session: Session, configuration: Configuration, options: argparse.Namespace) -> _Handed:
    """Return what the program gets, with all secrets in it; everything is recorded by then."""
    passed = _passed(configuration, options)
    referred = referring.collect(passed, options)
    base = pristine(passed, options.keep) if options.pristine else passed
    missing: dict[Choice, SecretNotFoundError] = {}
    listed: set[SecretName] = set()
    leases: list[LeaseStatus] = []
    with session.open(configuration) as manager:
        chosen = selection.variables(_choices(manager, referred, options, listed), options)
        variables = referring.overruled(referred, chosen, base)
        wanted = [*chosen.values(), *(choice for variable in variables for choice in variable.choices)]
        if options.on_change == "hup":
            from strongroom.cli.supervising.reporting import refuse_leased

            refuse_leased(session, wanted)
        found = selection.fetch(manager, wanted, missing if options.if_missing != "error" else None, leases)
        secrets = {variable: found[choice] for variable, choice in chosen.items() if choice in found}
        # Left out altogether is what cannot be filled in: neither the reference stays, nor what was inherited.
        replaced = {*(name.encode() for name in chosen), *(one.name for one in referred)}
        environment = {name: value for name, value in base.items() if name not in replaced}
        environment = with_secrets(environment, secrets, chosen) | referring.resolved(variables, found, missing)
        report = None
        if options.handover is not None:
            from strongroom.cli.supervising.reporting import report_on

            report = report_on(session, wanted, found, missing, listed=listed, leases=leases)
    # Closed: everything is recorded before the program can use any of it.
    note_substitutes(found.values())
    if options.if_missing == "warn":
        referring.note_missing(variables, chosen, missing)
    for variable, choice in chosen.items():
        if variable.encode() in base and choice in found:
            note(f"strongroom: note: {variable} is replaced by the secret {choice.label}")
    return _Handed(environment=environment, report=report)


def _passed(configuration: Configuration, options: argparse.Namespace) -> Environment:
    """Return what is inherited, without what opens the stores themselves."""
    environment = inherited()
    if options.pass_credentials:
        return environment
    return without(environment, own_credentials(configuration), options.keep)


def _choices(
    manager: SecretManager, referred: list[Variable], options: argparse.Namespace, listed: set[SecretName]
) -> list[Choice]:
    """Return what the command line names; nothing is an error only where nothing else refers to secrets."""
    if (referred or options.env_file) and not options.secret and not options.prefix:
        return []
    return selection.choose(manager, options.secret, options, listed)


def _is_too_large(program: list[str], environment: Environment) -> bool:
    """Tell whether Linux refuses one of the variables for its length, or all that is handed over; see execve(2)."""
    if sys.platform != "linux":
        return False
    lengths = [len(name) + len(value) + len(b"=\0") for name, value in environment.items()]
    whole = [*lengths, *(len(os.fsencode(argument)) + len(b"\0") for argument in program)]
    most = min(os.sysconf("SC_ARG_MAX"), _MOST_HANDED_OVER) - os.sysconf("SC_PAGE_SIZE")
    return max(lengths, default=0) > 32 * os.sysconf("SC_PAGE_SIZE") or sum(whole) + 8 * len(whole) > most


def _start(program: list[str], environment: Environment) -> int:
    """Become the program; return only if that fails, or where there is no such thing."""
    sys.stdout.flush()
    flush_notes()
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
            strongroom run --env-file .env -- ./server
            strongroom run --on-change restart --prefix app/ -- ./server
        """,
    ),
}
