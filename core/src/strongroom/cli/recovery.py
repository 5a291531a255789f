"""``undelete``, ``destroy`` and ``metadata``: deleted versions, and what is noted about a secret."""

from __future__ import annotations

import argparse

from typing import TYPE_CHECKING, Final

from strongroom.cli.command import Command, Session, UsageError, add_json, agreed, note, print_json, table
from strongroom.cli.substitutes import note_copy
from strongroom.cli.text import printable

if TYPE_CHECKING:
    from strongroom.operations.recovery import Description


def _configure_undelete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--version", metavar="VERSION", help="which version; the newest unless given")
    add_json(parser)


def _undelete(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        undeleted = manager.undelete(options.name, version=options.version)
    note_copy(undeleted)
    if options.json:
        print_json(undeleted.as_dict())
    else:
        note(f"{undeleted.name} version {undeleted.version} is there again")
    return 0


def _configure_destroy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "--version",
        action="append",
        dest="versions",
        metavar="VERSION",
        help="only this version; may be given several times",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)


def _destroy(session: Session, options: argparse.Namespace) -> int:
    versions = options.versions
    what = f"version {', '.join(versions)} of {options.name}" if versions else f"{options.name} with all its versions"
    question = f"Destroy {what}? Nothing brings it back. [y/N] "
    if not options.yes and not agreed(question, "what is destroyed stays destroyed"):
        note("nothing was destroyed")
        return 1
    with session.open() as manager:
        destroyed = manager.destroy(options.name, versions)
    note_copy(destroyed)
    if options.json:
        print_json(destroyed.as_dict())
    else:
        note(f"destroyed {what}" if destroyed.existed else f"there was nothing to destroy of {destroyed.name}")
    return 0


def _configure_metadata(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=TEXT", help="note this; may be given several times"
    )
    parser.add_argument("--unset", action="append", default=[], metavar="KEY", help="note this no longer; likewise")
    add_json(parser)


def _metadata(session: Session, options: argparse.Namespace) -> int:
    changes = dict(map(_noted, options.set))
    with session.open() as manager:
        found = manager.describe(options.name)
        if changes or options.unset:
            kept = {key: text for key, text in found.metadata.items() if key not in options.unset}
            manager.annotate(options.name, kept | changes)
            found = manager.describe(options.name)
    if options.json:
        print_json(found.as_dict() | {"facts": dict(found.facts)})
    else:
        table(_rows(found), ("KIND", "NAME", "VALUE"))
    return 0


def _noted(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set takes KEY=TEXT, not {text!r}", hint="write for example --set owner=shop")
    return key, value


def _rows(found: Description) -> list[tuple[str, str, str]]:
    known = (("version", found.version), ("created", found.created), ("updated", found.updated), *found.facts)
    facts = [("fact", name, str(value)) for name, value in known if value is not None]
    notes = [("note", name, text) for name, text in sorted(found.metadata.items())]
    # Somebody else may have noted what moves the cursor or starts another line.
    return [(kind, printable(name), printable(value)) for kind, name, value in (*facts, *notes)]


COMMANDS: Final = {
    "undelete": Command(
        summary="Bring a deleted secret back, where its backend keeps what was deleted.",
        configure=_configure_undelete,
        run=_undelete,
        examples="""
            strongroom undelete db/password
            strongroom undelete db/password --version 3
        """,
    ),
    "destroy": Command(
        summary="Remove a secret, or versions of it, so that nothing brings it back. It asks first.",
        configure=_configure_destroy,
        run=_destroy,
        examples="""
            strongroom destroy db/password
            strongroom destroy db/password --version 1 --version 2 --yes
        """,
    ),
    "metadata": Command(
        summary="Show what is known of a secret beside its value, and note something about it.",
        configure=_configure_metadata,
        run=_metadata,
        examples="""
            strongroom metadata db/password
            strongroom metadata db/password --set owner=shop --unset ticket
        """,
    ),
}
