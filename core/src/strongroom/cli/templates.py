"""``render``: writes files from templates, with secrets in them; once, or whenever something has changed."""

from __future__ import annotations

import argparse
import sys

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from strongroom.cli.command import Command, Session, flush_notes, note, write_bytes
from strongroom.cli.filling import Job, job_of
from strongroom.cli.output import Access
from strongroom.cli.placing import changes, place
from strongroom.cli.substitutes import note_substitutes
from strongroom.cli.text import printable
from strongroom.inputs import STANDARD

if TYPE_CHECKING:
    from strongroom.config.load import Configuration
    from strongroom.manager import SecretManager
    from strongroom.templates.files import Files
    from strongroom.templates.keeper import Keeper
    from strongroom.templates.reads import Reads

WOULD_CHANGE: Final = 1
"""What `--check` exits with if a file is not as it is to be; also when a command of `--on-change` has failed."""
COMMAND_SECONDS: Final = 60.0
"""How long a command of `--on-change` may take."""

_EPILOG: Final = """\
templates:
  They are Jinja2, in its sandbox, so `pip install "strongroom[render]"` is needed.
  secret("NAME"), secret("NAME", field="KEY"), secret("NAME", version="3"),
  reference("strongroom://NAME#KEY"), names("FOLDER/"), secret_bytes("NAME").
  Write | json, | yaml, | toml, | shell, | dotenv, | urlencode or | b64encode behind
  one, so that whatever its characters are, readers of the file take it back exactly.
  They include others from their own folder only.

files:
  A new file is for its owner alone, mode 0600. One that is there keeps owner, group
  and mode unless others are named. It is replaced at once, or not at all, and left
  alone if it is the same already. Links are not followed. All templates are rendered
  before the first file is written.

exit status:
  1 if --check finds a file that would change, or a command of --on-change fails;
  0 when --watch is ended by TERM or INT. HUP makes it render at once."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "strongroom render [options] TEMPLATE [OUTPUT [TEMPLATE OUTPUT ...]]"
    parser.epilog = "\n\n".join([parser.epilog or "", _EPILOG])
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="TEMPLATE OUTPUT",
        help="a template and the file that is made of it; - for standard input and output",
    )
    parser.add_argument("--mode", metavar="MODE", help="the files' mode in octal digits, such as 0640")
    parser.add_argument("--owner", metavar="USER", help="the files' owner, by name or number; for root")
    parser.add_argument("--group", metavar="GROUP", help="the files' group, by name or number")
    parser.add_argument("--check", action="store_true", help="write nothing; the status tells whether anything would")
    parser.add_argument("--watch", action="store_true", help="go on, and render again when a secret has changed")
    parser.add_argument("--every", metavar="TIME", help="how often --watch looks, at least 1s; 30s unless given")
    parser.add_argument(
        "--on-change",
        metavar="COMMAND",
        help="run this after files have changed; split as a shell would, but no shell is started",
    )


def _render(session: Session, options: argparse.Namespace) -> int:
    job = job_of(options)
    if options.watch:
        return _keep(session, job)
    from strongroom.templates.files import Files
    from strongroom.templates.reads import Reads

    configuration = session.load()
    with session.open(configuration) as manager:
        reads = Reads(manager)
        files, text = _rendered(job, Files(), reads)
        if not options.check:
            # They are for whoever reads the files, when this has ended.
            manager.release_leases()
    # Closed: everything is recorded before anybody can use any of it.
    note_substitutes(reads.found())
    found = changes(files, job.wanted)
    if options.check:
        for path in found:
            note(f"would write {printable(path)}")
        return WOULD_CHANGE if found else 0
    _write(job, files, found)
    _print(text)
    trouble = _runner(job.command, configuration)() if found else ""
    if trouble:
        note(f"strongroom: {printable(trouble)}")
    return 1 if trouble else 0


def _rendered(job: Job, files: Files, reads: Reads) -> tuple[dict[str, bytes], bytes | None]:
    """Return what each file is to hold, and what standard output is to get."""
    from strongroom.templates.engine import Engine

    engine = Engine(files, reads)
    made = {output: engine.render(files.read(template)) for template, output in job.pairs}
    text = made.pop(STANDARD, None)
    return made, text


def _write(job: Job, files: dict[str, bytes], found: dict[str, Access]) -> None:
    """Write what is not there yet, and say what has become of each file."""
    place(files, found)
    for path in files:
        note(f"wrote {printable(path)}" if path in found else f"unchanged {printable(path)}")
        if path in found and found[path].mode & 0o004 and job.wanted.mode is None:
            note(f"strongroom: note: everybody may read {printable(path)}, as before: add --mode 0600 to change that")


def _print(text: bytes | None) -> None:
    if text is None:
        return
    if sys.stdout.isatty():
        note("strongroom: note: secrets follow in clear; name a file to have them in a private one")
    write_bytes(text)


def _keep(session: Session, job: Job) -> int:
    from strongroom.templates.bell import Bell
    from strongroom.templates.keeper import Keeper
    from strongroom.templates.notify import tell_systemd

    configuration = session.load()
    with session.open(configuration) as manager, Bell() as bell:
        keeper = Keeper(
            manager,
            bell,
            write=_writer(job, manager),
            command=_runner(job.command, configuration),
            every=job.every,
            say=_say(job.every),
            on_ready=lambda: tell_systemd("READY=1\nSTATUS=the files are up to date"),
        )
        with closing(keeper), _signals(keeper):
            manager.watch(job.every)
            keeper.start()
            keeper.run()
            tell_systemd("STOPPING=1")
        # The files stay, and with them what is leased to whoever reads them.
        manager.release_leases()
    return 0


def _writer(job: Job, manager: SecretManager) -> Callable[[Files, Reads], list[str]]:
    """Return what renders and writes once."""
    told: set[tuple[str, str]] = set()

    def write(files: Files, reads: Reads) -> list[str]:
        made, _ = _rendered(job, files, reads)
        # Everything is recorded before anybody can use any of it.
        manager.flush()
        note_substitutes(one for one in reads.found() if (one.name, one.version) not in told)
        told.clear()
        told.update((one.name, one.version) for one in reads.found() if one.age)
        found = changes(made, job.wanted)
        if found:
            _write(job, made, found)
        return list(found)

    return write


def _say(every: float) -> Callable[[str], None]:
    def say(trouble: str) -> None:
        for line in [*trouble.splitlines(), f"it is tried again within {every:g} s"]:
            note(f"strongroom: {printable(line)}")

    return say


@contextmanager
def _signals(keeper: Keeper) -> Iterator[None]:
    """Have signals end the keeper, or make it render, for the time of the block."""
    import signal

    meanings = {signal.SIGTERM: keeper.stop, signal.SIGINT: keeper.stop, signal.SIGHUP: keeper.ask}
    before = {number: signal.getsignal(number) for number in meanings}
    for number, meaning in meanings.items():
        signal.signal(number, lambda *_, meaning=meaning: meaning())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _runner(command: tuple[str, ...], configuration: Configuration) -> Callable[[], str]:
    """Return what runs the command of ``--on-change``, and says what went wrong."""
    if not command:
        return str
    from strongroom.cli.environment import inherited, own_credentials, without

    # Like what `strongroom run` starts, it does not get what opens the stores.
    environment = without(inherited(), own_credentials(configuration) | {"NOTIFY_SOCKET"}, ())

    def run() -> str:
        import subprocess

        sys.stdout.flush()
        flush_notes()
        try:
            status = subprocess.run(  # noqa: S603  # the point of the option
                command, env=environment, stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return f"{command[0]} has not ended within {COMMAND_SECONDS:.0f} s, and was killed"
        except OSError as error:
            return f"{command[0]} cannot be executed: {error.strerror}"
        return f"{command[0]} has ended with the status {status}" if status else ""

    return run


COMMANDS: Final = {
    "render": Command(
        summary="Write files from templates, with secrets in them: private, replaced at once, and only if they differ.",
        configure=_configure,
        run=_render,
        examples="""
            strongroom render app.conf.j2 app.conf
            strongroom render --mode 0640 --group www-data app.conf.j2 /etc/app/app.conf
            strongroom render --watch --on-change 'systemctl reload app' app.conf.j2 app.conf
            echo 'password = {{ secret("db/password") | toml }}' | strongroom render -
        """,
    ),
}
