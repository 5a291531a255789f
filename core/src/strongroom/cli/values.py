"""``get``, ``set``, ``list``, ``versions`` and ``delete``."""

from __future__ import annotations

import argparse
import sys

from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.command import (
    QUEUED_STATUS,
    Command,
    Session,
    UsageError,
    add_json,
    note,
    print_json,
    table,
    write_bytes,
)
from strongroom.cli.substitutes import note_copy, note_substitutes, queued_note
from strongroom.cli.text import printable
from strongroom.errors import InvalidValueError
from strongroom.inputs import read_file, read_standard_input
from strongroom.model import ABSENT, Secret, SecretValue, ValueType

if TYPE_CHECKING:
    from strongroom.operations.writing import Written


def _configure_get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--field", metavar="KEY", help="one member of a value that is a JSON object")
    parser.add_argument("--version", metavar="VERSION", help="an older version; see `strongroom versions`")
    parser.add_argument("--newline", action="store_true", help="end with a line feed even into a pipe or file")
    add_json(parser)


def _get(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        secret = manager.get(options.name, version=options.version, field=options.field)
        # It is for whoever called this, who is to have it when this has ended.
        manager.release_leases()
        note_substitutes([secret])
        if options.json:
            print_json(_described(secret) | _spelled_out(secret))
            return 0
        write_value(secret.reveal(), newline=options.newline)
    return 0


def write_value(content: bytes, *, newline: bool) -> None:
    """Write a value to standard output: its exact bytes, with a line feed added at a terminal.

    Args:
        content: The value's bytes.
        newline: Whether to add the line feed anywhere else, too.
    """
    write_bytes(content + (b"\n" if newline or sys.stdout.isatty() else b""))


def _described(secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.name,
        "version": secret.version,
        "created": secret.created.isoformat() if secret.created else None,
        "type": secret.value.type.value,
        "backend": secret.backend,
        "freshness": secret.freshness.value,
        "age": secret.age,
        "place": secret.place,
    }


def _spelled_out(secret: Secret) -> dict[str, str]:
    """Return the value in the one key that fits its type: JSON has no bytes."""
    if secret.value.type is ValueType.TEXT:
        return {"value": secret.reveal_text()}
    import base64

    return {"value_base64": base64.b64encode(secret.reveal()).decode()}


def _configure_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    # Taken only to be refused in words: a value in the argument list is visible to every process.
    parser.add_argument("value", nargs="?", metavar="@FILE", help="read the value from this file; - for standard input")
    parser.add_argument("--file", metavar="FILE", help="read the value from this file, byte for byte")
    parser.add_argument("--binary", action="store_true", help="store bytes; otherwise the value must be UTF-8 text")
    parser.add_argument("--trim-newline", action="store_true", help="leave out one final line feed")
    parser.add_argument("--expect-version", metavar="VERSION", help="write only over this version")
    parser.add_argument("--if-absent", action="store_true", help="write only if there is no such secret")
    add_json(parser)


def _set(session: Session, options: argparse.Namespace) -> int:
    if options.if_absent and options.expect_version:
        raise UsageError("--if-absent and --expect-version exclude each other", hint="use one of them")
    path = _value_path(options)
    expected = ABSENT if options.if_absent else options.expect_version
    with session.open() as manager:
        value = _value(content(options.name, path), binary=options.binary, trim=options.trim_newline)
        written = manager.set(options.name, value, expect_version=expected)
    return report_written(session, options, "stored", written)


def _value_path(options: argparse.Namespace) -> str | None:
    """Return the file to read the value from; ``None`` for standard input or the prompt."""
    if options.value is None or options.value == "-":
        path: str | None = options.file
        return path
    if options.value.startswith("@") and options.file is None:
        return str(options.value[1:])
    raise UsageError(
        "the value must not stand on the command line, where every process and the shell's history can see it",
        hint="pipe it in, name a file with @FILE, or leave it out to be asked for it",
    )


def content(name: str, path: str | None) -> bytes:
    """Return what a file, standard input or a hidden prompt gives, byte for byte.

    Args:
        name: Whose value is asked for.
        path: The file; ``None`` for standard input or the prompt.

    Raises:
        ConfigurationError: The file cannot be read.
        UsageError: Nothing was typed, or no text.
        ValueTooLargeError: It has more than ``inputs.MOST_BYTES``.
    """
    if path is not None:
        return read_file(path).reveal()
    if not sys.stdin.isatty():
        return read_standard_input().reveal()
    return _typed(name)


def _typed(name: str) -> bytes:
    import getpass

    try:
        return getpass.getpass(f"Value of {printable(name)} (not shown): ").encode()
    except EOFError:
        what = "nothing was typed"
    except UnicodeError:
        what = "what was typed is not UTF-8 text"
    # Raised outside the handler: the error in there may hold what was typed.
    raise UsageError(what, hint="type the value and a line feed, or pipe it in")


def _value(content: bytes, *, binary: bool, trim: bool) -> SecretValue:
    if trim:
        content = content.removesuffix(b"\n").removesuffix(b"\r")
    if binary:
        return SecretValue(content)
    value = SecretValue.of_bytes(content, ValueType.TEXT)
    try:
        value.reveal_text()
    except InvalidValueError:
        raise InvalidValueError(
            "the value is not UTF-8 text", code="not_text", hint="add --binary to store the bytes as they are"
        ) from None  # the same error with a hint that fits the command
    return value


def report_written(session: Session, options: argparse.Namespace, verb: str, written: Written) -> int:
    """Say what became of a write, and return the exit status."""
    note_copy(written)
    if options.json:
        print_json(
            {
                "name": written.name,
                "version": written.version,
                "status": "queued" if written.queued else verb,
                "queued": written.queued,
                "copy_failed": written.copy_failed,
            }
        )
    elif written.queued:
        note(queued_note("rotation" if verb == "rotated" else "write", written, session.fallback))
    else:
        note(f"{verb} {written.name} version {written.version}")
    return QUEUED_STATUS if written.queued else 0


def _configure_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="a folder such as db/")
    parser.add_argument("--folders", action="store_true", help="one level only: names, and folders with a final slash")
    add_json(parser)


def _list(session: Session, options: argparse.Namespace) -> int:
    if options.folders:
        return _list_one_level(session, options)
    with session.open() as manager:
        names = manager.list(options.prefix)
    if options.json:
        print_json(names)
    else:
        sys.stdout.writelines(f"{name}\n" for name in names)
    return 0


def _list_one_level(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        found = manager.browse(options.prefix)
    if options.json:
        print_json(found.as_dict())
    else:
        sys.stdout.writelines(f"{entry}\n" for entry in sorted([*found.names, *(f"{one}/" for one in found.folders)]))
    return 0


def _configure_versions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    add_json(parser)


def _versions(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        versions = manager.versions(options.name)
    if options.json:
        print_json([version.as_dict() for version in versions])
    else:
        rows = [(found.version, found.state, str(found.created or "-")) for found in versions]
        table(rows, ("VERSION", "STATE", "CREATED"))
    return 0


def _configure_delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    add_json(parser)


def _delete(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        deleted = manager.delete(options.name)
    note_copy(deleted)
    if options.json:
        print_json(deleted.as_dict())
    elif deleted.queued:
        note(queued_note("delete", deleted, session.fallback))
    elif deleted.existed:
        until = f", recoverable until {deleted.recoverable_until}" if deleted.recoverable_until else ""
        note(f"deleted {deleted.name}{until}")
    else:
        note(f"there was no secret {deleted.name}")
    return QUEUED_STATUS if deleted.queued else 0


COMMANDS: Final = {
    "get": Command(
        summary="Print a secret: its exact bytes into a pipe or file, with a line feed added on a terminal.",
        configure=_configure_get,
        run=_get,
        examples="""
            strongroom get db/password
            strongroom get db/config --field user
            strongroom get tls/key > key.pem
        """,
    ),
    "set": Command(
        summary="Create or update a secret. The value comes from standard input, a file or a hidden prompt.",
        configure=_configure_set,
        run=_set,
        examples="""
            printf %s "$VALUE" | strongroom set db/password
            strongroom set tls/key @key.pem
            strongroom set db/password --expect-version 3
        """,
    ),
    "list": Command(
        summary="List the names below a prefix, however deep, or one level of them.",
        configure=_configure_list,
        run=_list,
        examples="""
            strongroom list
            strongroom list db/ --json
            strongroom list db/ --folders
        """,
    ),
    "versions": Command(
        summary="List the versions of a secret that are kept.",
        configure=_configure_versions,
        run=_versions,
        examples="strongroom versions db/password",
    ),
    "delete": Command(
        summary="Delete a secret; deleting an absent one is no error.",
        configure=_configure_delete,
        run=_delete,
        examples="strongroom delete db/password",
    ),
}
