"""Who may do what to which names.

Without a rule everything is allowed. As soon as there is one, what no rule
allows is denied, and a rule that denies wins whatever its place.
"""

from __future__ import annotations

import enum

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from strongroom._record import Record
from strongroom.errors import AccessDeniedError, ConfigurationError, InvalidNameError
from strongroom.model import Principal, SecretName


class Action(enum.Enum):
    """What somebody may do to a secret."""

    READ = "read"
    LIST = "list"
    CREATE = "create"
    UPDATE = "update"
    ROTATE = "rotate"
    DELETE = "delete"
    IMPERSONATE = "impersonate"
    """Act as another principal with that one's rights; ``names`` then match principals."""


WRITE: Final = "write"
"""In a rule: ``create`` and ``update``."""

_WILDCARDS: Final = frozenset({"*", "**"})
_ANY_NUMBER: Final = "**"


class Rule(Record):
    """One line of a policy."""

    id: str
    """Where it stands, such as ``policies[2]``; recorded with each decision it makes."""
    principal: str
    """The principal's exact name, or a pattern with ``*`` for any run of characters."""
    allow: bool
    actions: frozenset[Action]
    names: tuple[str, ...]
    """Exact names, or patterns: ``*`` is one whole segment, ``**`` any number of them, none excepted."""


class Ruling(Record):
    """A decision and the rule that made it."""

    allowed: bool
    rule: str
    """The deciding rule's id, ``default deny``, or ``no policy``."""


def parse_actions(texts: list[str], where: str, *, allow: bool) -> frozenset[Action]:
    """Return the actions that a rule names.

    Args:
        texts: Actions as in the configuration. ``write`` stands for two, ``*`` for all;
            a rule that allows must name ``impersonate`` itself.
        where: The rule's place, for the error.
        allow: Whether the rule allows.

    Raises:
        ConfigurationError: One of them is not an action.
    """
    known = {action.value: frozenset({action}) for action in Action}
    known[WRITE] = frozenset({Action.CREATE, Action.UPDATE})
    known["*"] = frozenset(Action) - ({Action.IMPERSONATE} if allow else set())
    for text in texts:
        if text not in known:
            raise ConfigurationError(f"{where}: {text!r} is not an action", hint=f"use some of {', '.join(known)}")
    return frozenset().union(*(known[text] for text in texts))


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
    # One or more segments are one of any kind, and then any number of them.
    tokens = [token for part in name_pattern(pattern) for token in (("*", _ANY_NUMBER) if part == "**" else (part,))]
    return _glob(tokens, name.split("/"), one="*", several=_ANY_NUMBER)


def principal_matches(pattern: str, principal: str) -> bool:
    """Tell whether a pattern, in which ``*`` is any run of characters, matches a principal's whole name."""
    return _glob(pattern, principal, one=None, several="*")


def _glob(pattern: Sequence[str], text: Sequence[str], *, one: str | None, several: str) -> bool:
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


class Policy:
    """Decides by a fixed list of rules.

    Args:
        rules: The rules in the order of their files; the order changes no decision.
        enforced: Whether what no rule allows is denied; by default if there is a rule.

    Raises:
        InvalidNameError: A rule's name pattern is malformed.
    """

    def __init__(self, rules: tuple[Rule, ...], *, enforced: bool | None = None) -> None:
        self.rules = rules
        self.enforced = bool(rules) if enforced is None else enforced
        for rule in rules:
            for pattern in rule.names:
                name_pattern(pattern)

    def decide(self, principal: str, action: Action, name: str) -> Ruling:
        """Return whether the principal may do this to the name, and which rule says so."""
        if not self.enforced:
            return Ruling(allowed=action is not Action.IMPERSONATE, rule="no policy")
        deciding: Rule | None = None
        for rule in self.rules:
            if self._applies(rule, principal, action, name):
                if not rule.allow:
                    return Ruling(allowed=False, rule=rule.id)
                deciding = deciding or rule
        if deciding is None:
            return Ruling(allowed=False, rule="default deny")
        return Ruling(allowed=True, rule=deciding.id)

    def check(self, principal: Principal, action: Action, name: SecretName) -> Ruling:
        """Return the ruling that allows this.

        Raises:
            AccessDeniedError: It is denied; the message names the rule.
        """
        ruling = self.decide(principal.name, action, name)
        if not ruling.allowed:
            raise denied(principal.name, action, name, ruling.rule)
        return ruling

    @staticmethod
    def _applies(rule: Rule, principal: str, action: Action, name: str) -> bool:
        return (
            action in rule.actions
            and principal_matches(rule.principal, principal)
            and any(matches(pattern, name) for pattern in rule.names)
        )


def denied(principal: str, action: Action, name: str, rule: str) -> AccessDeniedError:
    """Make the error that says who was denied what by which rule."""
    error = AccessDeniedError(
        f"{principal!r} may not {action.value} {name} ({rule})",
        name=name,
        hint="add a rule under [[policies]] that allows it, or act as another principal",
    )
    error.rule = rule
    return error
