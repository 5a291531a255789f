"""References to secrets in text: ``strongroom://NAME`` and ``strongroom://NAME#FIELD``.

A text that is nothing but a reference stands for the secret's value, or for one member of it. Within other text a
reference has an explicit end: ``postgresql://shop:${strongroom://db/password}@db.example.com/shop``. Whatever else
stands there, another scheme included, is left alone.

The name and the field are written as in a URI (RFC 3986): ``%`` and two hexadecimal digits stand for one byte of
UTF-8, so ``%23`` is a ``#`` that belongs to the name, ``%25`` a percent sign and ``%7D`` a closing brace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Self

from strongroom._record import Record
from strongroom.errors import InvalidNameError
from strongroom.model import SecretName

__all__ = ["SCHEME", "Reference", "fill", "find", "is_reference", "segment", "unsegment"]

SCHEME: Final = "strongroom://"
"""What each reference begins with."""
_OPEN: Final = "${" + SCHEME
_CLOSE: Final = "}"
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~@+:,=")
"""What :func:`segment` leaves as it is; each of these can stand in a name of every backend or is escaped there."""


class Reference(Record):
    """One secret, or one member of it, as a text refers to it."""

    name: SecretName
    field: str | None = None
    """One member of a value that is a JSON object; ``None`` for the whole value."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text refers to that is nothing but a reference.

        Args:
            text: ``strongroom://NAME`` or ``strongroom://NAME#FIELD``.

        Raises:
            InvalidNameError: It is no reference, names no secret that can be, or has nothing behind its ``#``.
        """
        if not is_reference(text):
            raise InvalidNameError("that is no reference", hint=f"write {SCHEME}NAME or {SCHEME}NAME#FIELD")
        spelled, mark, field = text[len(SCHEME) :].partition("#")
        name = SecretName(_decoded(spelled))
        if mark and not field:
            raise InvalidNameError(
                f"the reference to {name} names no field behind its #",
                hint="leave out the # to mean the whole value; write %23 for one that belongs to the name",
            )
        return cls(name=name, field=_decoded(field) if mark else None)

    def __str__(self) -> str:
        """Return the reference as it is written."""
        spelled = "/".join(_encoded(part) for part in self.name.split("/"))
        return f"{SCHEME}{spelled}#{_encoded(self.field)}" if self.field is not None else f"{SCHEME}{spelled}"


def is_reference(text: str) -> bool:
    """Tell whether a text is nothing but a reference, well-formed or not."""
    return text.startswith(SCHEME)


def find(text: str) -> list[Reference]:
    """Return what a text refers to: itself if it is a reference, else each ``${strongroom://...}`` in it, in order.

    Args:
        text: Any text.

    Raises:
        InvalidNameError: One of them is malformed, or has no end.
    """
    if is_reference(text):
        return [Reference.parse(text)]
    return [part for part in _parts(text) if isinstance(part, Reference)]


def fill(text: str, value_of: Callable[[Reference], str]) -> str:
    """Return a text in which each reference is replaced by what it refers to; what is filled in is not looked at again.

    Args:
        text: Any text.
        value_of: Returns what stands for a reference.

    Raises:
        InvalidNameError: One of them is malformed, or has no end.
    """
    if is_reference(text):
        return value_of(Reference.parse(text))
    return "".join(part if isinstance(part, str) else value_of(part) for part in _parts(text))


def segment(text: str) -> str:
    """Return any text as one segment of a name: what may not stand there is written as ``%`` and two digits.

    Different texts give different segments, and :func:`unsegment` gives each back.

    Args:
        text: Such as the address of a service.

    Raises:
        InvalidNameError: It is empty, or holds half of a surrogate pair.
    """
    if not text:
        raise InvalidNameError("a part of a name is empty", hint="each part needs at least one character")
    # The dots by themselves would be steps in a path.
    return _escaped(text) if text not in {".", ".."} else text.replace(".", "%2E")


def unsegment(text: str) -> str:
    """Return what :func:`segment` has made a segment of.

    Args:
        text: A segment of a name.

    Raises:
        InvalidNameError: It is not one that ``segment`` makes.
    """
    plain = _decoded(text)
    if not plain or segment(plain) != text:
        raise InvalidNameError(f"{text!r} is not written as a part of a name is", hint="see strongroom.references")
    return plain


def _parts(text: str) -> list[str | Reference]:
    found: list[str | Reference] = []
    at = 0
    while (start := text.find(_OPEN, at)) >= 0:
        end = text.find(_CLOSE, start)
        if end < 0:
            raise InvalidNameError("a reference has no end", hint="close ${strongroom://... with a brace: }")
        found += [text[at:start], Reference.parse(text[start + 2 : end])]
        at = end + 1
    return [*found, text[at:]]


def _decoded(text: str) -> str:
    """Return a part of a reference with what is escaped in it put back."""
    first, *rest = text.split("%")
    made = bytearray(first.encode("utf-8", "surrogatepass"))
    for part in rest:
        digits = part[:2]
        if len(digits) != 2 or not _HEX.issuperset(digits):
            raise InvalidNameError("a reference has a % without two hexadecimal digits", hint="write %25 for a %")
        made += bytes([int(digits, 16)]) + part[2:].encode("utf-8", "surrogatepass")
    try:
        return made.decode()
    except UnicodeDecodeError:
        pass
    # Raised outside the handler: the decoding error carries what stands around the reference.
    raise InvalidNameError("a reference has bytes in it that are not UTF-8", hint="check what follows its %")


def _encoded(text: str) -> str:
    """Return a part of a reference with what would end it escaped."""
    return "".join(f"%{ord(character):02X}" if character in "%#}" else character for character in text)


def _escaped(text: str) -> str:
    try:
        return "".join(
            character if character in _PLAIN else "".join(f"%{byte:02X}" for byte in character.encode())
            for character in text
        )
    except UnicodeEncodeError:
        pass
    # Raised outside the handler: the encoding error carries the text.
    raise InvalidNameError("a part of a name is not text", hint="it holds half of a surrogate pair")
