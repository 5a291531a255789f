"""What the server can hold as notes about a secret, its custom metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MOST: Final = 64
_KEY_BYTES: Final = 128
_TEXT_BYTES: Final = 512


def notes_problem(notes: Mapping[str, str]) -> str:
    """Say why the server would refuse notes; an empty answer means that it would not."""
    if len(notes) > _MOST:
        return f"there are {len(notes)}, and it takes {_MOST} at most"
    for key, text in notes.items():
        for what, content, limit in (("name", key, _KEY_BYTES), ("text", text, _TEXT_BYTES)):
            trouble = _problem(content, limit)
            if trouble:
                return f"the {what} of the note {ascii(key)[:80]} {trouble}"
    return ""


def _problem(content: str, limit: int) -> str:
    if not content.isprintable():
        return "has a character that is not printable, or a blank other than the plain one"
    if not 0 < len(content.encode(errors="replace")) <= limit:
        return f"must have from 1 to {limit} bytes"
    return ""
