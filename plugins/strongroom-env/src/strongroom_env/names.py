"""How a secret's name becomes a variable's, and back.

``db/password`` is ``DB__PASSWORD``. The rules, in full:

- a slash is ``__``;
- a lower-case letter is its capital, and a digit is itself;
- an underscore between two letters or digits is itself;
- every other character is ``_x``, its code point in hexadecimal, ``_``. That goes
  for capitals, hyphens and dots, for a digit at the very start, where a variable's
  name must not have one, and for any other underscore.

So each name has exactly one variable, no two names share one, and the variable can
be set in any shell. The lower-case ``x`` cannot stand for anything else.
"""

from __future__ import annotations

import re

from typing import Final

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName

_CHARACTER: Final = re.compile(
    r"(?P<slash>/)"
    r"|(?P<plain>[a-z]|(?<!^)[0-9]|(?<=[a-z0-9])(?<!^[0-9])_(?=[a-z0-9]))"  # ^: not the digit at the very start
    r"|(?P<odd>.)"
)
_SPELLING: Final = re.compile(r"_x(?P<odd>[0-9A-F]{1,6})_|(?P<slash>__)|(?P<plain>[A-Z0-9_])")


def variable_of(name: SecretName) -> str:
    """Return the variable that holds a secret, without the prefix."""
    return _CHARACTER.sub(_spelt, name)


def name_of(variable: str) -> SecretName | None:
    """Return the name of the secret that a variable holds.

    Args:
        variable: Without the prefix.

    Returns:
        The name, or ``None`` if the variable belongs to no name.
    """
    try:
        name = SecretName(_SPELLING.sub(_read, variable))
    except (InvalidNameError, ValueError, OverflowError):
        return None
    # Some spellings could be read as a name, but are not the one that the name has.
    return name if variable_of(name) == variable else None


def _spelt(character: re.Match[str]) -> str:
    if character["slash"]:
        return "__"
    if character["plain"]:
        return character["plain"].upper()
    return f"_x{ord(character['odd']):X}_"


def _read(spelling: re.Match[str]) -> str:
    if spelling["slash"]:
        return "/"
    if spelling["plain"]:
        return spelling["plain"].lower()
    return chr(int(spelling["odd"], 16))
