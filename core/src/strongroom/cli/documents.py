"""The secrets of a document that is made of mappings, such as a JSON object or a YAML file."""

from __future__ import annotations

import binascii

from collections.abc import Sequence
from typing import Any, Final

from strongroom._record import Record
from strongroom.errors import ConfigurationError, InvalidValueError, StrongroomError
from strongroom.model import MAX_NAME_BYTES, SecretValue

BYTES_KEY: Final = "base64"
"""The only key of a mapping that stands for bytes."""


class Shapes(Record):
    """What else than texts and bytes a document may hold."""

    flatten: bool = False
    """Nested mappings are folders."""
    stringify: bool = False
    """Numbers, true and false are taken as the text that stands in the file."""


class Members:
    """A mapping with every member, those that come twice included; it shows none of them.

    Args:
        members: Key and value: text, bytes, ``None``, :class:`Word`, ``Members``, a list, ``REFUSED`` or ``TWICE``.
        lines: The line of each, counted from 1; empty where nobody knows.
        kind: What such a mapping is called where the file comes from.
    """

    def __init__(self, members: list[tuple[str, Any]], lines: tuple[int, ...] = (), kind: str = "an object") -> None:
        self.members = members
        self.lines = lines
        self.kind = kind

    def is_bytes(self) -> bool:
        """Tell whether it stands for bytes."""
        return len(self.members) == 1 and self.members[0][0] == BYTES_KEY and isinstance(self.members[0][1], str)


class Word:
    """A number, true or false as it stands in the file."""

    def __init__(self, text: str) -> None:
        self.text = text


REFUSED: Final = object()
"""Stands for a member about which a problem has been reported already."""
TWICE: Final = object()
"""Stands for a member whose key the same mapping has had before."""


class Reader:
    """Collects the secrets of a document, and what is wrong with it.

    Args:
        source: The file's name, for errors.
        shapes: What it may hold.
        problems: What has been found wrong with it so far.

    Attributes:
        found: The secrets, by name.
        problems: One error for each thing that cannot be used.
    """

    def __init__(self, source: str, shapes: Shapes, problems: Sequence[StrongroomError] = ()) -> None:
        self.found: dict[str, SecretValue] = {}
        self.problems = [*problems]
        self._source = source
        self._shapes = shapes
        self._line = 0

    def take(self, document: Members, folder: str = "") -> None:
        """Take the members of a mapping as secrets below a folder."""
        for position, (key, member) in enumerate(document.members):
            self._line = document.lines[position] if document.lines else 0
            name = folder + key
            if isinstance(member, Members) and not member.is_bytes() and self._shapes.flatten:
                self._enter(member, name)
            elif member is TWICE or name in self.found:
                self._refuse(name, "stands there twice", "keep one of them")
            elif member is not REFUSED:
                self._keep(name, member)

    def _enter(self, member: Members, name: str) -> None:
        if name.endswith("/") or not name:
            # No name has an empty part, and of such levels no length would bound the number.
            return self._refuse(name, "has an empty key", "name it")
        if len(name) <= MAX_NAME_BYTES:
            return self.take(member, f"{name}/")
        # No name below it can be one, and to make them all would take as much memory as there are, times its length.
        return self._refuse(f"{name[:40]}...", "is too long for a folder", "shorten it")

    def _keep(self, name: str, member: Any) -> None:
        if isinstance(member, str):
            self._keep_text(name, member)
        elif isinstance(member, bytes):
            self.found[name] = SecretValue(member)
        elif isinstance(member, Members) and member.is_bytes():
            self._keep_bytes(name, member.members[0][1])
        elif isinstance(member, Members):
            self._refuse(name, f"is {member.kind}", "add --flatten to make it a folder")
        elif isinstance(member, Word | bool) and self._shapes.stringify:
            self._keep_text(name, member.text if isinstance(member, Word) else str(member).lower())
        elif isinstance(member, Word | bool):
            self._refuse(name, "is not text", "put it in quotes, or add --stringify")
        else:
            self._refuse(name, "is null" if member is None else "is a list", "put text there")

    def _keep_text(self, name: str, text: str) -> None:
        try:
            self.found[name] = SecretValue(text)
        except InvalidValueError:
            self._refuse(name, "holds half of a surrogate pair", "mend the text")

    def _keep_bytes(self, name: str, text: str) -> None:
        try:
            self.found[name] = SecretValue(binascii.a2b_base64(text, strict_mode=True))
        except ValueError:
            self._refuse(name, "is not valid base64", "mend it")

    def _refuse(self, name: str, what: str, hint: str) -> None:
        place = f"{self._source} line {self._line}" if self._line else self._source
        self.problems.append(ConfigurationError(f"{name!a} in {place} {what}", hint=hint))
