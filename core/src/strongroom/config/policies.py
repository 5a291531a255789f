"""The tables ``[[policies]]``."""

from __future__ import annotations

from typing import Any

from strongroom._record import Record
from strongroom.config.convert import Place, convert
from strongroom.config.merge import Merged
from strongroom.config.units import parse_moment
from strongroom.contracts.names import refuse_reserved
from strongroom.errors import ConfigurationError, InvalidNameError
from strongroom.policy import Policy, Rule, name_pattern, parse_actions


class PolicyKeys(Record):
    """A ``[[policies]]`` table."""

    principal: str
    effect: str
    actions: list[str]
    names: list[str]
    expires: Any = None


def checked_pattern(pattern: str, where: str) -> None:
    """Refuse a name pattern that is malformed.

    Args:
        pattern: What the file says.
        where: The setting's place, for the error.

    Raises:
        ConfigurationError: It is malformed.
    """
    try:
        name_pattern(pattern)
    except InvalidNameError as error:
        raise ConfigurationError(f"{where}: {error.what}", hint=error.hint) from error


def checked_names(pattern: str, where: str) -> None:
    """Refuse a pattern of secrets' names that is malformed, or for names of which no secret is.

    Args:
        pattern: What the file says.
        where: The setting's place, for the error.

    Raises:
        ConfigurationError: It is such.
    """
    checked_pattern(pattern, where)
    try:
        refuse_reserved(pattern)
    except InvalidNameError as error:
        raise ConfigurationError(f"{where}: {error.what}", hint=error.hint) from error


def policy_of(merged: Merged) -> Policy:
    """Return the rules of all ``[[policies]]`` tables.

    Args:
        merged: What the files say.

    Raises:
        ConfigurationError: A table is not usable.
    """
    rules = []
    for item in merged.lists["policies"]:
        place = Place(file=item.layer.path, table=f"policies[{item.position}]", folder=item.layer.folder)
        keys = convert(PolicyKeys, item.table, place)
        if keys.effect not in {"allow", "deny"}:
            raise ConfigurationError(f"{place.key('effect')} is not usable", hint='expected "allow" or "deny"')
        for pattern in keys.names:
            checked_pattern(pattern, place.key("names"))
        expires = None if keys.expires is None else moment(keys.expires, place.key("expires"))
        rules.append(
            Rule(
                id=f"policies[{item.position}] of {item.layer.path}",
                principal=keys.principal,
                allow=keys.effect == "allow",
                actions=parse_actions(keys.actions, place.key("actions"), allow=keys.effect == "allow"),
                names=tuple(keys.names),
                expires=expires,
                file=item.layer.path,
                position=item.position,
            )
        )
    # Who includes files of policies has policies: that none is found must not allow everything.
    return Policy(tuple(rules), enforced=bool(rules) or merged.including)


def moment(value: Any, where: str) -> float:
    """Return a point in time in seconds since 1970 UTC.

    Args:
        value: What the file says.
        where: The setting's place, for the error.

    Raises:
        ConfigurationError: It is no date and time with an offset.
    """
    try:
        return parse_moment(value)
    except ValueError as error:
        raise ConfigurationError(f"{where} is not usable", hint=f"expected {error.args[0]}") from None
