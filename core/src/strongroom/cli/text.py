"""Text that others wrote, made safe for a terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    """Return a text in which nothing can move the cursor, hide or start a new line.

    Whatever is not printable, such as control, bidirectional and zero-width
    characters, is written as an escape with a backslash, and so is the backslash
    itself: two different texts never look the same.

    Args:
        text: The text, or a number or the like.
    """
    content = str(text)
    if content.isprintable() and "\\" not in content:
        return content
    return "".join(map(_escaped, content))


def _escaped(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode("ascii")


def has_control(text: str) -> bool:
    """Tell whether a text could pose as several lines, or as something else than text.

    Args:
        text: The text.
    """
    # Half of a surrogate pair, which JSON can spell, is no text either.
    return any(ord(one) < 32 or ord(one) == 127 or "\ud800" <= one <= "\udfff" for one in text)


def seconds(duration: float) -> str:
    """Return a duration in the unit that suits it, with three digits.

    Args:
        duration: In seconds.
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if duration >= size:
            return f"{duration / size:.3g} {unit}"
    return f"{duration * 1e6:.3g} µs"
