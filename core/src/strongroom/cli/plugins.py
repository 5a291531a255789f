"""``plugins``: what installed distributions offer."""

from __future__ import annotations

import argparse

from typing import Final

from strongroom.cli.command import Command, Session, add_json, note, print_json, table
from strongroom.cli.text import printable
from strongroom.discovery import Catalogue


def _run(_session: Session, options: argparse.Namespace) -> int:
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


COMMANDS: Final = {
    "plugins": Command(
        summary="List what installed distributions offer, and load each. Broken ones are listed with their error.",
        configure=add_json,
        run=_run,
        examples="""
            strongroom plugins
            strongroom plugins --json
        """,
    ),
}
