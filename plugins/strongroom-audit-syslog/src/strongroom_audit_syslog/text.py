"""Texts inside a message: nothing that comes from outside can end one, begin one or steer a terminal."""

from __future__ import annotations

import json

from typing import Any

from strongroom.errors import AuditError


def visible(text: str) -> str:
    r"""Return a text with each character that cannot be seen as ``\uXXXX``: controls, separators, halves of pairs."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _code(character) for character in text)


def _code(character: str) -> str:
    number = ord(character)
    if number <= 0xFFFF:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


def parameter(value: object) -> str:
    """Return a value as it stands between the quotes of a parameter of structured data."""
    text = visible(value) if isinstance(value, str) else json.dumps(value)
    if '"' in text or "\\" in text or "]" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return text


def word(text: object, longest: int) -> str:
    """Return a text as a word of a message's header: cut, and with ``?`` for what must not stand there."""
    if text is None:
        return "-"
    return "".join(character if "!" <= character <= "~" else "?" for character in str(text)[:longest]) or "-"


def members(record: dict[str, Any]) -> str:
    """Return the members of a JSON object, without its braces.

    Raises:
        AuditError: JSON cannot express one of them.
    """
    try:
        # What JSON leaves as it is can still be invisible; in its strings this is the same character.
        return visible(json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))[1:-1])
    except (TypeError, ValueError) as error:
        raise AuditError(
            f"an audit event holds what JSON cannot express ({error})", hint="report this to whoever made the event"
        ) from error
