"""Which secret an entry of a keyring is: ``FOLDER/SERVICE/USERNAME``, each part escaped into one segment."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import Record
from strongroom.errors import InvalidNameError
from strongroom.references import segment, unsegment

FOLDER: Final = "keyring/"
"""Below which the entries are kept unless told otherwise."""
_EMPTY: Final = "%"
"""Stands for an empty service or user: no text is escaped into this."""


class Entry(Record):
    """What a keyring knows a password by."""

    service: str
    username: str


def folder_of(prefix: str, service: str | None = None) -> str:
    """Return the folder of all entries, or of those of one service, without its final slash; empty for the root.

    Args:
        prefix: The folder of all entries, with or without its final slash.
        service: Whose entries; all unless given.

    Raises:
        InvalidNameError: The service holds half of a surrogate pair.
    """
    folder = prefix.removesuffix("/")
    if service is None:
        return folder
    return f"{folder}/{_part(service)}" if folder else _part(service)


def name_of(prefix: str, entry: Entry) -> str:
    """Return the name of an entry's secret.

    Args:
        prefix: The folder of all entries, with or without its final slash.
        entry: The entry.

    Raises:
        InvalidNameError: A part of it holds half of a surrogate pair.
    """
    return f"{folder_of(prefix, entry.service)}/{_part(entry.username)}"


def entry_of(prefix: str, name: str) -> Entry | None:
    """Return the entry that a secret is; ``None`` if it is none.

    Args:
        prefix: The folder of all entries, with or without its final slash.
        name: The secret's name, below that folder.
    """
    folder = folder_of(prefix)
    service, _, username = name[len(folder) + 1 if folder else 0 :].partition("/")
    if not service or not username or "/" in username:
        return None
    try:
        return Entry(service=_text(service), username=_text(username))
    except InvalidNameError:
        return None


def _part(text: str) -> str:
    return segment(text) if text else _EMPTY


def _text(part: str) -> str:
    return "" if part == _EMPTY else unsegment(part)
