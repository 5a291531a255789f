"""``policy test``: compares what the policies say with what a file expects."""

from __future__ import annotations

import sys

from typing import Any, Final

from strongroom._record import Record
from strongroom.cli.asking import ACTIONS, ask
from strongroom.cli.command import note, print_json
from strongroom.cli.text import printable
from strongroom.config.convert import Place, convert
from strongroom.config.layers import read
from strongroom.config.policies import moment
from strongroom.errors import ConfigurationError, InvalidNameError
from strongroom.policy import Policy

TABLE: Final = "expect"
_HINT: Final = "expected [[expect]] tables with principal, action, name and allowed"


class Expectation(Record):
    """One ``[[expect]]`` table."""

    principal: str
    action: str
    name: str
    allowed: bool
    at: Any = None
    """For which time; the current one unless given."""
    rule: str | None = None
    """The rule that has to decide: its id, its id without the file, or with the end of the file's path."""


class Failure(Record):
    """An expectation that the policies do not meet."""

    number: int
    """Its place in the file, from 1."""
    expectation: Expectation
    decided: tuple[str, ...]
    """What decided, with its line if a rule did; for ``write`` twice."""
    reason: str


def run_expectations(policy: Policy, path: str, *, as_json: bool, now: float) -> int:
    """Compare and print what differs.

    Args:
        policy: The policy.
        path: The file with the expectations.
        as_json: Whether to print JSON.
        now: The time, in seconds since 1970 UTC.

    Returns:
        0 if all expectations are met, else 1.

    Raises:
        ConfigurationError: The file cannot be read, or an expectation is not usable.
    """
    expectations = _read(path)
    failures = [
        failure
        for number, one in enumerate(expectations, start=1)
        if (failure := _failure(policy, number, one, path, now)) is not None
    ]
    if as_json:
        content = [failure.as_dict() | {"expectation": failure.expectation.as_dict()} for failure in failures]
        print_json({"expectations": len(expectations), "failures": content})
    else:
        for failure in failures:
            sys.stdout.write(f"{printable(_where(path, failure.number))}: {printable(failure.reason)}\n")
        sys.stdout.flush()  # before what goes to standard error
        note(f"{len(expectations)} expectations, {len(failures)} not met")
    return 1 if failures else 0


def _where(path: str, number: int) -> str:
    return f"{TABLE}[{number}] in {path}"


def _read(path: str) -> list[Expectation]:
    content = read(path).content
    others = sorted(content.keys() - {TABLE})
    if others:
        raise ConfigurationError(f"{others[0]} in {path} is not usable", hint=_HINT)
    tables = content.get(TABLE)
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(f"{path} has no expectations", hint=_HINT)
    return [_expectation(table, path, number) for number, table in enumerate(tables, start=1)]


def _expectation(table: dict[str, Any], path: str, number: int) -> Expectation:
    place = Place(file=path, table=f"{TABLE}[{number}]", folder="")
    made: Expectation = convert(Expectation, table, place)
    if made.action not in ACTIONS:
        raise ConfigurationError(f"{place.key('action')} is not usable", hint=f"expected one of {', '.join(ACTIONS)}")
    return made if made.at is None else made.replace(at=moment(made.at, place.key("at")))


def _failure(policy: Policy, number: int, one: Expectation, path: str, now: float) -> Failure | None:
    try:
        answer = ask(policy, one.principal, one.action, one.name, now if one.at is None else one.at)
    except InvalidNameError as error:
        raise ConfigurationError(f"{_where(path, number)}: {error.what}", hint=error.hint) from error
    # What is denied was not decided by a rule that allows the other half of it.
    decisive = [action for action, ruling in answer.rulings.items() if ruling.allowed is answer.allowed]
    decided = tuple(dict.fromkeys(map(answer.place, decisive)))
    by = f"decided by {' and '.join(decided)}"
    reason = ""
    if answer.allowed is not one.allowed:
        what = f"{one.principal} {one.action} {answer.name}"
        reason = f"{what} is {_word(answer.allowed)}, expected {_word(one.allowed)}; {by}"
    elif one.rule is not None and not any(_is_meant(answer.rulings[action].rule, one.rule) for action in decisive):
        reason = f"expected {one.rule} to decide; {by}"
    return Failure(number=number, expectation=one, decided=decided, reason=reason) if reason else None


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "denied"


def _is_meant(rule: str, wanted: str) -> bool:
    """Tell whether a rule is meant: absolute paths are the same on few machines."""
    table, _, file = rule.partition(" of ")
    wanted_table, _, wanted_file = wanted.partition(" of ")
    return table == wanted_table and (not wanted_file or file == wanted_file or file.endswith(f"/{wanted_file}"))
