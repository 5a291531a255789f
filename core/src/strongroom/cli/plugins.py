"""``plugins``: what installed distributions offer, and the beginning of a new one."""

from __future__ import annotations

import argparse

from typing import Final

from strongroom.cli.command import Command, Session, add_json, note, print_json, table
from strongroom.cli.text import printable
from strongroom.discovery import Catalogue

_EPILOG: Final = """\
new:
  It makes a folder with all that a plugin needs: its code, which works and is
  documented, tests with the conformance kit, metadata and a README. NAME is the
  distribution's; a configuration says it without `strongroom-` in front."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    add_json(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    new = actions.add_parser("new", help="begin a plugin of one's own: a distribution whose tests pass at once")
    new.add_argument("name", metavar="NAME", help="the distribution's name, such as strongroom-acme")
    new.add_argument(
        "--kind",
        required=True,
        choices=("backend", "audit", "cache", "detector", "rotator"),
        help="what it offers: a backend, an audit sink, a cache policy, an anomaly detector or a rotator",
    )
    new.add_argument("--directory", default=".", metavar="DIR", help="where to make its folder (this folder)")
    # The default is the option's before `new`, which this must not undo.
    new.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the answer as JSON")


def _run(_session: Session, options: argparse.Namespace) -> int:
    return _new(options) if options.action == "new" else _list(options)


def _list(options: argparse.Namespace) -> int:
    records = Catalogue().load_all()
    if options.json:
        print_json([record.as_dict() for record in records])
    else:
        headings = ("NAME", "KIND", "DISTRIBUTION", "VERSION", "STATE", "SUMMARY")
        rows = [
            (record.name, record.kind, record.distribution, record.version, record.state, record.summary)
            for record in records
        ]
        table([tuple(map(printable, row)) for row in rows], headings)
    for record in records:
        if record.state != "ok":
            owner = f"{record.distribution} {record.version}"
            note(printable(f"strongroom: warning: the {record.kind} {record.name} of {owner}: {record.error}"))
    return 0


def _new(options: argparse.Namespace) -> int:
    # Imported here: nothing else needs it.
    import os
    import shlex

    from strongroom.cli.scaffold import SORTS, files_for, names_for, write_out

    names = names_for(options.name, SORTS[options.kind])
    files = files_for(options.kind, names)
    folder = os.path.normpath(os.path.join(options.directory, names.distribution))
    write_out(files, folder)
    steps = [f"cd {shlex.quote(folder)}", "python -m pip install -e '.[testing]'", "python -m pytest"]
    if options.json:
        print_json(names.as_dict() | {"kind": options.kind, "folder": folder, "files": list(files), "next": steps})
    else:
        note(printable(f"made {folder}, with {len(files)} files; a configuration says {names.offered!r}"))
        note("next:")
        for step in steps:
            note(printable(f"  {step}"))
    return 0


COMMANDS: Final = {
    "plugins": Command(
        summary="List what installed distributions offer, and load each. Broken ones are listed with their error.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom plugins
            strongroom plugins --json
            strongroom plugins new strongroom-acme --kind backend
        """,
    ),
}
