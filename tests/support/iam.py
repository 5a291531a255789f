"""Decides what an identity's policy allows, as the IAM user guide documents it, and refuses what it does not know.

No emulator does: theirs know no patterns of ARNs. What holds here:

- Nothing is allowed unless a statement allows it, and a statement that denies wins.
- Actions are compared without regard to case, resources with it. In both `*` stands for any run of characters, slashes
  and colons too, and `?` for exactly one. (The guide lets only a `*` at the end of an ARN's part run over colons; a
  secret's name has none, so that the wider reading allows nothing more.)
- An action that knows no resources is asked for with the resource `*`, which only the pattern `*` matches.
- All conditions of a statement have to hold; of several values of one key one is enough. A key that the request lacks
  fulfils no condition, but for `ForAllValues` and `IfExists`, and but for `Null` with `true`.
"""

from __future__ import annotations

import json
import re

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

Context = Mapping[str, Any]
"""The keys of a request, such as `aws:RequestedRegion`; a list for a key of several values."""


class Evaluator:
    """One policy of an identity.

    Raises:
        ValueError: It has something that is not known here, or that IAM refuses.
    """

    def __init__(self, text: str) -> None:
        document = json.loads(text)
        _known("the policy", document, required={"Version", "Statement"})
        if document["Version"] != "2012-10-17" or not document["Statement"]:
            raise ValueError("the version or the statements are not usable")
        self.statements: list[dict[str, Any]] = document["Statement"]
        for statement in self.statements:
            _check(statement)
        named = [statement["Sid"] for statement in self.statements]
        if len(named) != len(set(named)) or not all(re.fullmatch("[A-Za-z0-9]+", one) for one in named):
            raise ValueError(f"the Sids are not usable: {named}")

    def allows(self, action: str, resource: str, context: Context | None = None) -> bool:
        """Tell whether a request is allowed.

        Args:
            action: Such as `secretsmanager:GetSecretValue`.
            resource: The ARN, without wildcards; `*` for an action that knows no resources.
            context: The request's keys.
        """
        asked = {key.lower(): value for key, value in (context or {}).items()}
        effects = {
            statement["Effect"]
            for statement in self.statements
            if any(_expression(pattern.lower()).fullmatch(action.lower()) for pattern in statement["Action"])
            and any(_expression(pattern).fullmatch(resource) for pattern in statement["Resource"])
            and _fulfilled(statement.get("Condition", {}), asked)
        }
        return effects == {"Allow"}


def _check(statement: dict[str, Any]) -> None:
    _known("a statement", statement, required={"Sid", "Effect", "Action", "Resource"}, optional={"Condition"})
    if statement["Effect"] not in ("Allow", "Deny"):
        raise ValueError(f"the effect {statement['Effect']} is not known")
    texts = [*statement["Action"], *statement["Resource"]]
    if not statement["Action"] or not statement["Resource"] or "${" in "".join(texts):
        raise ValueError("a statement has no action, no resource, or a variable")
    for operator, keys in statement.get("Condition", {}).items():
        if operator not in _OPERATORS:
            raise ValueError(f"the operator {operator} is not known")
        if not keys:
            raise ValueError("a condition says nothing")


def _known(what: str, table: dict[str, Any], *, required: set[str], optional: set[str] = frozenset()) -> None:
    if not required <= table.keys() <= required | optional:
        raise ValueError(f"{what} has {sorted(table)}")


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    special = {"*": ".*", "?": "."}
    return re.compile("".join(special.get(part, re.escape(part)) for part in pattern), re.DOTALL)


def _fulfilled(condition: dict[str, dict[str, Any]], asked: dict[str, Any]) -> bool:
    return all(
        _OPERATORS[operator](asked.get(key.lower()), _listed(expected))
        for operator, keys in condition.items()
        for key, expected in keys.items()
    )


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _is_before(given: str | None, expected: list[str]) -> bool:
    return given is not None and any(datetime.fromisoformat(given) < datetime.fromisoformat(one) for one in expected)


_OPERATORS: dict[str, Callable[[Any, list[str]], bool]] = {
    "StringEquals": lambda given, expected: given in expected,
    "ForAllValues:StringEquals": lambda given, expected: all(one in expected for one in _listed(given or [])),
    "BoolIfExists": lambda given, expected: given is None or str(given).lower() in expected,
    "Null": lambda given, expected: str(given is None).lower() in expected,
    "DateLessThan": _is_before,
}
