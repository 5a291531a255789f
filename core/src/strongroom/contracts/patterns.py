"""Patterns of names: ``*`` is one whole segment, ``**`` any number of them, none excepted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName

_WILDCARDS: Final = frozenset({"*", "**"})
_ANY_NUMBER: Final = "**"


@lru_cache(maxsize=4096)
def name_pattern(pattern: str) -> tuple[str, ...]:
    """Return a name pattern's segments, each in canonical form or a wildcard.

    Raises:
        InvalidNameError: Apart from its wildcards the pattern is not a canonical name,
            or a segment mixes a wildcard with other characters.
    """
    parts = pattern.split("/")
    for segment in parts:
        if segment not in _WILDCARDS and "*" in segment:
            raise InvalidNameError(
                f"the pattern {pattern!r} has a segment with a wildcard and other characters",
                hint="* stands for one whole segment, ** for any number of them",
            )
    canonical = SecretName("/".join("w" if part in _WILDCARDS else part for part in parts)).split("/")
    return tuple(part if part in _WILDCARDS else text for part, text in zip(parts, canonical, strict=True))


def matches(pattern: str, name: str) -> bool:
    """Tell whether a name pattern matches a whole canonical name.

    ``db/*`` matches ``db/a``, but neither ``db``, ``dbx`` nor ``db/a/b``;
    ``db/**`` matches ``db/a`` and ``db/a/b``; ``**`` matches every name.
    """
    return glob_matches(_tokens(pattern), name.split("/"), one="*", several=_ANY_NUMBER)


def _tokens(pattern: str) -> list[str]:
    # One or more segments are one of any kind, and then any number of them.
    return [token for part in name_pattern(pattern) for token in (("*", _ANY_NUMBER) if part == "**" else (part,))]


def matches_some_below(pattern: str, folder: str) -> bool:
    """Tell whether a name pattern matches any name below a folder, of all that there could be.

    Args:
        pattern: The pattern.
        folder: The folder's canonical name.
    """
    return any(_rests(pattern, folder))


def matches_all_below(pattern: str, folder: str) -> bool:
    """Tell whether a name pattern matches every name below a folder, however deep.

    Args:
        pattern: The pattern.
        folder: The folder's canonical name.
    """
    # What is left must take one segment, two, and so on, whatever they are, from some number on any number of them.
    wild = [rest for rest in _rests(pattern, folder) if set(rest) <= _WILDCARDS]
    endless = [rest.count("*") for rest in wild if _ANY_NUMBER in rest]
    lengths = {rest.count("*") for rest in wild}
    return bool(endless) and all(length in lengths for length in range(1, min(endless)))


def _rests(pattern: str, folder: str) -> list[list[str]]:
    """Return what may be left of a pattern once it has matched the folder: a list for each way to do that."""
    tokens = _tokens(pattern)
    places = _beyond(tokens, {0})
    for segment in folder.split("/"):
        passed = {place for place in places if tokens[place : place + 1] == [_ANY_NUMBER]}
        taken = {place + 1 for place in places if tokens[place : place + 1] in ([segment], ["*"])}
        places = _beyond(tokens, passed | taken)
    return [tokens[place:] for place in sorted(places)]


def _beyond(tokens: list[str], places: set[int]) -> set[int]:
    """Add to some places in a pattern those that are reached by leaving out what may stand for nothing."""
    reached = set(places)
    for place, token in enumerate(tokens):
        if token == _ANY_NUMBER and place in reached:
            reached.add(place + 1)
    return reached


def most_specific_first(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return name patterns in such an order that the first one that matches a name is the most specific.

    Two patterns are compared segment by segment from the left: a text is more
    specific than ``*``, and ``*`` than ``**``. If one ends before they differ, the
    longer one is more specific; if both do, the one that came first stays first.

    Raises:
        InvalidNameError: A pattern is malformed.
    """
    return tuple(sorted(patterns, key=_specificity, reverse=True))


def _specificity(pattern: str) -> tuple[int, ...]:
    ranks = {"*": 1, "**": 0}
    return tuple(ranks.get(part, 2) for part in name_pattern(pattern))


def first_match(patterns: Iterable[str], name: str) -> str | None:
    """Return the first of several patterns that matches a canonical name, or ``None``."""
    return next((pattern for pattern in patterns if matches(pattern, name)), None)


def malformed(patterns: Iterable[str]) -> list[str]:
    """Return a sentence on each pattern that is malformed, for the ``problems`` of a settings class."""
    found = []
    for pattern in patterns:
        try:
            name_pattern(pattern)
        except InvalidNameError as error:
            found.append(error.what)
    return found


def glob_matches(pattern: Sequence[str], text: Sequence[str], *, one: str | None, several: str) -> bool:
    """Match a whole text against a pattern in at most the product of their lengths.

    A regular expression would do, and take exponential time for some patterns.

    Args:
        pattern: Items that stand for themselves, or are one of the two wildcards.
        text: The items to match.
        one: Stands for any one item.
        several: Stands for any number of items, none included.
    """
    at = place = 0
    star = resume = -1
    while place < len(text):
        if at < len(pattern) and pattern[at] == several:
            star, resume = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in (text[place], one):
            at += 1
            place += 1
        elif star >= 0:
            # What follows the last wildcard did not fit here: let it take one item more.
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(item == several for item in pattern[at:])
