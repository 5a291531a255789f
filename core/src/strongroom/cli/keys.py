"""``encrypt`` and ``decrypt``: with keys that stay where they are."""

from __future__ import annotations

import argparse

from typing import Final

from strongroom.cli.command import Command, Session, add_json, print_json
from strongroom.cli.values import content, write_value
from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue


def _configure(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("key", metavar="KEY", help="the key's name")
    parser.add_argument("--file", metavar="FILE", help=f"read {what} from this file; else from standard input")
    parser.add_argument(
        "--associated-data", default="", metavar="TEXT", help="what it is bound to, and has to be stated again"
    )
    parser.add_argument("--newline", action="store_true", help="end with a line feed even into a pipe or file")
    add_json(parser)


def _configure_encrypt(parser: argparse.ArgumentParser) -> None:
    _configure(parser, "the exact bytes")


def _encrypt(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        plaintext = SecretValue(content(options.key, options.file))
        ciphertext = manager.encrypt(options.key, plaintext, associated_data=_data(options))
    if options.json:
        print_json({"key": options.key, "ciphertext": ciphertext})
    else:
        write_value(ciphertext.encode(), newline=options.newline)
    return 0


def _configure_decrypt(parser: argparse.ArgumentParser) -> None:
    _configure(parser, "the ciphertext")


def _decrypt(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        # No ciphertext has blanks around it, and an editor or `echo` adds a line feed.
        ciphertext = content(options.key, options.file).decode("utf-8", "replace").strip()
        plaintext = manager.decrypt(options.key, ciphertext, associated_data=_data(options))
    if options.json:
        import base64

        print_json({"key": options.key, "value_base64": base64.b64encode(plaintext.reveal()).decode()})
    else:
        write_value(plaintext.reveal(), newline=options.newline)
    return 0


def _data(options: argparse.Namespace) -> bytes:
    text: str = options.associated_data
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    # Raised outside the handler, whose error holds the text.
    raise InvalidValueError("the associated data is not UTF-8 text", code="not_text")


COMMANDS: Final = {
    "encrypt": Command(
        summary="Encrypt with a named key: exact bytes from standard input, the ciphertext to standard output.",
        configure=_configure_encrypt,
        run=_encrypt,
        examples="""
            printf %s "$NUMBER" | strongroom encrypt orders > number.enc
            strongroom encrypt orders --file card.json --associated-data "order 7"
        """,
    ),
    "decrypt": Command(
        summary="Decrypt what was encrypted with a named key, and print its exact bytes.",
        configure=_configure_decrypt,
        run=_decrypt,
        examples="""
            strongroom decrypt orders < number.enc
            strongroom decrypt orders --file card.enc --associated-data "order 7"
        """,
    ),
}
