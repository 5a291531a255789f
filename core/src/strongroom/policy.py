"""Who may do what to which names.

Without a rule everything is allowed. As soon as there is one, what no rule
allows is denied, and a rule that denies wins whatever its place. A rule that
has expired decides nothing any more; that there is a rule it still says.
"""

from __future__ import annotations

import enum
import time

from collections.abc import Iterator
from typing import Final

from strongroom._record import Record
from strongroom.contracts.patterns import glob_matches, matches_all_below, matches_some_below
from strongroom.contracts.patterns import matches as matches
from strongroom.contracts.patterns import name_pattern as name_pattern
from strongroom.errors import AccessDeniedError, ConfigurationError


class Action(enum.Enum):
    """What somebody may do to a secret, or with a key."""

    READ = "read"
    LIST = "list"
    CREATE = "create"
    UPDATE = "update"
    ROTATE = "rotate"
    DELETE = "delete"
    ENCRYPT = "encrypt"
    """Encrypt, re-wrap and make data keys; ``names`` then match keys, as for the next three."""
    DECRYPT = "decrypt"
    SIGN = "sign"
    VERIFY = "verify"
    IMPERSONATE = "impersonate"
    """Act as another principal with that one's rights; ``names`` then match principals."""


WRITE: Final = "write"
"""In a rule: ``create`` and ``update``."""


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
    expires: float | None = None
    """From when on the rule decides nothing, in seconds since 1970 UTC; ``None`` for never."""
    file: str = ""
    """The file that it stands in, or a name in angle brackets for what is not a file."""
    position: int = 0
    """Its place among the rules of that file, from 1; 0 if it stands in none."""

    def expired(self, now: float) -> bool:
        """Tell whether the rule has expired.

        Args:
            now: The time, in seconds since 1970 UTC.
        """
        return self.expires is not None and self.expires <= now


class Ruling(Record):
    """A decision and the rule that made it."""

    allowed: bool
    rule: str
    """The deciding rule's id, ``default deny``, or ``no policy``."""
    until: float | None = None
    """When the decision could change because that rule expires, in seconds since 1970 UTC; ``None`` for never."""


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


def principal_matches(pattern: str, principal: str) -> bool:
    """Tell whether a pattern, in which ``*`` is any run of characters, matches a principal's whole name.

    Spellings that differ in their Unicode normal form only are one name.
    """
    return glob_matches(_composed(pattern), _composed(principal), one=None, several="*")


def _composed(text: str) -> str:
    if text.isascii():
        return text
    # Imported here: most names are ASCII, and the table is a shared library of its own.
    from unicodedata import normalize

    return normalize("NFC", text)


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

    def decide(self, principal: str, action: Action, name: str, *, now: float | None = None) -> Ruling:
        """Return whether the principal may do this to the name, and which rule says so.

        Args:
            principal: The principal's name.
            action: What is asked for.
            name: The canonical name; with ``impersonate`` the other principal's.
            now: For which time to decide, in seconds since 1970 UTC; the current one unless given.
        """
        if not self.enforced:
            return Ruling(allowed=action is not Action.IMPERSONATE, rule="no policy")
        deciding: Rule | None = None
        for rule in self.applying(principal, action, name):
            if rule.expires is not None:
                now = time.time() if now is None else now
                if rule.expired(now):
                    continue
            if not rule.allow:
                deciding = rule
                break
            deciding = deciding or rule
        if deciding is None:
            return Ruling(allowed=False, rule="default deny")
        # Rules only ever expire, so nothing changes before the deciding one does.
        return Ruling(allowed=deciding.allow, rule=deciding.id, until=deciding.expires)

    def reaches_below(self, principal: str, action: Action, folder: str, *, now: float) -> bool:
        """Tell whether the principal may do this to any name below a folder, whether there is one or not.

        Rules that deny count if a single pattern of theirs takes in the whole folder.

        Args:
            principal: The principal's name.
            action: What is asked for.
            folder: The folder's canonical name.
            now: For which time to decide, in seconds since 1970 UTC.
        """
        if not self.enforced:
            return True
        concerned = [
            rule
            for rule in self.rules
            if action in rule.actions and principal_matches(rule.principal, principal) and not rule.expired(now)
        ]
        granted = any(matches_some_below(one, folder) for rule in concerned if rule.allow for one in rule.names)
        denied = any(matches_all_below(one, folder) for rule in concerned if not rule.allow for one in rule.names)
        return granted and not denied

    def applying(self, principal: str, action: Action, name: str) -> Iterator[Rule]:
        """Yield each rule that speaks of this request, expired ones too, in the order of the rules.

        Args:
            principal: The principal's name.
            action: What is asked for.
            name: The canonical name; with ``impersonate`` the other principal's.
        """
        if action is Action.IMPERSONATE:
            # A pattern is in canonical form, and a principal's name need not be.
            name = _composed(name)
        for rule in self.rules:
            if (
                action in rule.actions
                and principal_matches(rule.principal, principal)
                and any(matches(pattern, name) for pattern in rule.names)
            ):
                yield rule


def denied(principal: str, action: Action, name: str, rule: str) -> AccessDeniedError:
    """Make the error that says who was denied what by which rule."""
    error = AccessDeniedError(
        f"{principal!r} may not {action.value} {name} ({rule})",
        name=name,
        hint="add a rule under [[policies]] that allows it, or act as another principal",
    )
    error.rule = rule
    return error
