"""``import``: secrets from files that other tools write, and from keyrings."""

from __future__ import annotations

import argparse

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from strongroom import dotenv
from strongroom._record import Record
from strongroom.cli import documents, sopsfile
from strongroom.cli.command import QUEUED_STATUS, Command, Session, UsageError, add_json, note, print_json
from strongroom.cli.problems import raise_all
from strongroom.cli.progress import Progress
from strongroom.cli.substitutes import note_copy, queued_note
from strongroom.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidNameError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.inputs import label_of, read_input
from strongroom.model import ABSENT, SecretName, SecretValue

if TYPE_CHECKING:
    from strongroom.manager import SecretManager
    from strongroom.operations.writing import Written

_FORMATS: Final = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
"""The format of a file by how its name ends; any other is ``dotenv``."""

_EPILOG: Final = """\
names:
  A key becomes a name as it stands, below --prefix: DATABASE_URL becomes
  app/DATABASE_URL with --prefix app/. `strongroom run --prefix app/ --strip-prefix`
  gives the program DATABASE_URL again. A JSON or YAML key may be a whole name: db/password.
  A password of a keyring is put where strongroom-keyring finds it: keyring/SERVICE/USERNAME.

values:
  In .env files nothing is interpolated, and what readers of such files take in
  different ways, such as a quote within an unquoted value, is refused. In JSON,
  text is stored as text and {"base64": "..."} as bytes; anything else is refused,
  unless --flatten makes nested objects folders and --stringify takes numbers, true
  and false as text. YAML is taken alike, with !!binary as bytes; what it takes for
  no text, such as no, 1e3, 012 or a date, needs quotes or --stringify.
  What SOPS has encrypted is refused: pipe what `sops decrypt` writes.
  The whole file is checked before anything is written."""


class Plan(Record):
    """What an import is going to do."""

    writes: dict[SecretName, SecretValue]
    skipped: tuple[SecretName, ...]
    conditional: frozenset[SecretName]
    """Names to write only if they are absent still."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    parser.add_argument("file", nargs="?", metavar="FILE", help="a .env, JSON or YAML file; - for standard input")
    parser.add_argument(
        "--format",
        choices=("dotenv", "json", "yaml"),
        help="by default json for *.json, yaml for *.yaml and *.yml, else dotenv",
    )
    parser.add_argument(
        "--keyring",
        nargs=2,
        action="append",
        default=[],
        metavar=("SERVICE", "USERNAME"),
        help="instead of FILE: take this password from the keyring; may be given several times",
    )
    parser.add_argument(
        "--keyring-backend", metavar="MODULE.CLASS", help="which keyring; the one that is configured unless given"
    )
    parser.add_argument(
        "--prefix", default="", metavar="FOLDER", help="put all names below this folder; keyring/ with --keyring"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything and write nothing")
    parser.add_argument(
        "--if-exists",
        choices=("overwrite", "skip", "error"),
        default="error",
        help="what to do about names that exist already (error: write nothing at all)",
    )
    parser.add_argument("--flatten", action="store_true", help="JSON and YAML: make nested objects folders")
    parser.add_argument(
        "--stringify", action="store_true", help="JSON and YAML: take numbers, true and false, and dates as text"
    )
    add_json(parser)


def _import(session: Session, options: argparse.Namespace) -> int:
    _check_usage(options)
    if options.keyring and not options.prefix:
        from strongroom.cli.keyringsource import FOLDER

        options.prefix = FOLDER
    values = _named(options)
    with session.open() as manager:
        plan = _plan(manager, values, options)
        if options.dry_run:
            _report(session, options, dict.fromkeys(plan.writes), plan.skipped)
            return 0
        written, late = _carry_out(manager, plan, options.if_exists)
    _report(session, options, written, (*plan.skipped, *late))
    return QUEUED_STATUS if any(one.queued for one in written.values()) else 0


def _check_usage(options: argparse.Namespace) -> None:
    hint = "see `strongroom import --help`"
    if options.file is None and not options.keyring:
        raise UsageError("the following arguments are required: FILE", hint=hint)
    if options.file is not None and options.keyring:
        raise UsageError("FILE and --keyring do not go together", hint=hint)
    if options.keyring_backend and not options.keyring:
        raise UsageError("--keyring-backend needs --keyring", hint=hint)


def _named(options: argparse.Namespace) -> dict[SecretName, SecretValue]:
    """Return the secrets under their names; every problem of the source is found here."""
    values, problems = _parsed(options)
    folder = f"{SecretName(options.prefix.removesuffix('/'))}/" if options.prefix else ""
    named: dict[SecretName, SecretValue] = {}
    for key, value in values.items():
        try:
            name = SecretName(folder + key)
        except InvalidNameError as error:
            problems.append(error)
            continue
        if name in named:
            problems.append(
                ConfigurationError(f"{name} stands in {label_of(options.file)} in two spellings", hint="keep one")
            )
        named[name] = value
    raise_all(problems)
    return named


def _parsed(options: argparse.Namespace) -> tuple[dict[str, SecretValue], list[StrongroomError]]:
    if options.keyring:
        from strongroom.cli import keyringsource

        return keyringsource.read(options.keyring, options.keyring_backend)
    content = read_input(options.file)
    form = options.format or next((_FORMATS[end] for end in _FORMATS if options.file.endswith(end)), "dotenv")
    if form == "dotenv":
        sopsfile.refuse_text(content, options.file)
        return dotenv.parse(content, label_of(options.file)), []
    document, problems = _document(content, form, options)
    sopsfile.refuse(document, options.file, form)
    reader = documents.Reader(
        label_of(options.file), documents.Shapes(flatten=options.flatten, stringify=options.stringify), problems
    )
    reader.take(document)
    return reader.found, reader.problems


def _document(
    content: SecretValue, form: str, options: argparse.Namespace
) -> tuple[documents.Members, list[StrongroomError]]:
    # Each is imported only where it is asked for: the usual file is a .env file.
    if form == "json":
        from strongroom.cli import jsonfile

        return jsonfile.parse(content, label_of(options.file)), []
    from strongroom.cli import yamlfile

    return yamlfile.parse(content, label_of(options.file), stringify=options.stringify)


def _plan(manager: SecretManager, values: dict[SecretName, SecretValue], options: argparse.Namespace) -> Plan:
    """Decide about each name, having checked all that can be checked without writing.

    Raises:
        StrongroomError: At least one could not be written; the notes name the others.
    """
    mode = options.if_exists
    present = _listed(manager, options.prefix) & values.keys() if mode != "overwrite" else set()
    problems: list[StrongroomError] = []
    conditional: set[SecretName] = set()
    unsure: set[SecretName] = set()
    for name in [name for name in values if name not in present]:
        try:
            sure = _check(manager, name, values[name], only_if_absent=mode != "overwrite")
        except StrongroomError as error:
            problems.append(error)
        else:
            (conditional if sure else unsure).add(name)
    if mode != "overwrite":
        present |= _readable(manager, unsure, problems)
    raise_all([*(_exists(name) for name in sorted(present) if mode == "error"), *problems])
    writes = {name: value for name, value in values.items() if name not in present}
    return Plan(writes=writes, skipped=tuple(sorted(present)), conditional=frozenset(conditional))


def _listed(manager: SecretManager, prefix: str) -> set[SecretName]:
    try:
        return set(manager.list(prefix))
    except UnsupportedOperationError:
        return set()  # then each write, or else a read, finds out by itself


def _readable(manager: SecretManager, names: set[SecretName], problems: list[StrongroomError]) -> set[SecretName]:
    """Return which of these exist by reading them: what a principal may not list is in no list."""
    with Progress("reading") as progress:
        batch = manager.get_many(sorted(names), progress=progress)
    for name, error in batch.errors.items():
        if isinstance(error, AccessDeniedError):
            problems.append(_unknown(name))
        elif not isinstance(error, SecretNotFoundError):
            problems.append(error)
    return names & batch.found.keys()


def _unknown(name: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"whether {name} exists already is not known, as reading it is denied",
        name=name,
        hint="allow `read`, or add --if-exists overwrite; nothing was imported",
    )


def _exists(name: SecretName) -> VersionConflictError:
    return VersionConflictError(
        f"{name} exists already",
        expected="absent",
        found=None,
        name=name,
        hint="add --if-exists overwrite or skip; nothing was imported",
    )


def _check(manager: SecretManager, name: SecretName, value: SecretValue, *, only_if_absent: bool) -> bool:
    """Check one write, and tell whether it can be made to depend on the name's absence."""
    if only_if_absent:
        try:
            manager.check_set(name, value, expect_version=ABSENT)
            return True
        except UnsupportedOperationError:
            pass  # without check-and-set, what is there now has to do
    manager.check_set(name, value)
    return False


def _carry_out(manager: SecretManager, plan: Plan, mode: str) -> tuple[dict[SecretName, Written], list[SecretName]]:
    """Write, and return what that did, with the names that somebody else has made meanwhile."""
    written: dict[SecretName, Written] = {}
    late: list[SecretName] = []
    try:
        with Progress("writing") as progress:
            for name, value in plan.writes.items():
                expected = ABSENT if name in plan.conditional else None
                try:
                    written[name] = manager.set(name, value, expect_version=expected)
                except VersionConflictError:
                    if mode != "skip":
                        raise
                    late.append(name)
                progress(len(written) + len(late), len(plan.writes))
    except BaseException:
        # Ctrl-C included: whatever ended it, what has been written stays.
        rest = [name for name in plan.writes if name not in written and name not in late]
        note(f"strongroom: written: {', '.join(written) or 'nothing'}")
        note(f"strongroom: not written, in this order: {', '.join(rest) or 'nothing'}")
        raise
    return written, late


def _report(
    session: Session,
    options: argparse.Namespace,
    written: Mapping[SecretName, Written | None],
    skipped: tuple[SecretName, ...],
) -> None:
    for made in filter(None, written.values()):
        note_copy(made)
    if options.json:
        entries = [{"name": name} | _told(one) for name, one in written.items()]
        print_json({"dry_run": options.dry_run, "written": entries, "skipped": sorted(skipped)})
        return
    for name, one in written.items():
        if one is None:
            note(f"would write {name}")
        elif one.queued:
            note(queued_note("write", one, session.fallback))
        else:
            note(f"stored {name} version {one.version}")
    for name in sorted(skipped):
        note(f"{'would skip' if options.dry_run else 'skipped'} {name}, which exists already")
    if not written and not skipped:
        note(f"{label_of(options.file)} holds no secret")


def _told(written: Written | None) -> dict[str, str | None]:
    return {
        "version": written.version if written is not None else None,
        "queued": written.queued if written is not None else None,
    }


COMMANDS: Final = {
    "import": Command(
        summary="Read secrets from a .env, JSON or YAML file, or a keyring: all of it is sound, or nothing is written.",
        configure=_configure,
        run=_import,
        examples="""
            strongroom import .env --prefix app/ --dry-run
            strongroom import .env --prefix app/
            strongroom import backup.json --if-exists skip
            sops decrypt secrets.yaml | strongroom import - --format yaml --flatten
            strongroom import --keyring https://upload.pypi.org/legacy/ __token__
        """,
    ),
}
