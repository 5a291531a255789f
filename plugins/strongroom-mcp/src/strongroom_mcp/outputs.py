"""The declared form of an answer: which members of a JSON document the model gets."""

from __future__ import annotations

import json
import math
import re

from collections.abc import Mapping
from typing import Any, Final

from strongroom_mcp.errors import RefusedError

Form = Mapping[str, str]
"""The type of each member by its path: ``"id"``, ``"user.login"``, ``"labels[]"``, ``"items[].name"``."""

MOST_ITEMS: Final = 1000
"""How many items of one list the model gets."""
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(?:\[\])?(?:\.[A-Za-z0-9_-]+(?:\[\])?)*")
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def problems(form: Form) -> list[str]:
    """Return what is wrong with a form."""
    found = [f"output has {path!r}, which is no path of members" for path in form if not _PATH.fullmatch(path)]
    if found:
        return found
    try:
        _tree(form)
    except ValueError:
        found.append("output says of one member that it is two things")
    return found


def schema(form: Form) -> dict[str, Any]:
    """Return a form as a JSON schema, as clients are told it."""
    return _schema(_tree(form))


def _schema(node: Any) -> dict[str, Any]:
    if isinstance(node, str):
        return {"type": node}
    if isinstance(node, list):
        return {"type": "array", "items": _schema(node[0])}
    properties = {key: _schema(inner) for key, inner in node.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def pick(form: Form, text: str) -> dict[str, Any]:
    """Return the declared members of a JSON document, and drop all else.

    Args:
        form: The form.
        text: The document; a member that is missing or ``null`` is left out.

    Raises:
        RefusedError: It is no such document.
    """
    try:
        content = json.loads(text, parse_constant=_refuse)
        found = _picked(_tree(form), content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RefusedError("the answer is not of the form that is declared for it", result="unusable_answer")
    return found


def _refuse(constant: str) -> float:
    """Refuse what Python reads as a number and JSON does not have."""
    raise ValueError(constant)


def _picked(node: Any, content: Any) -> Any:
    """Return what a part of the form keeps.

    Raises:
        ValueError: It is of another type.
    """
    if isinstance(node, str):
        if not isinstance(content, _KINDS[node]) or (isinstance(content, bool) and node != "boolean"):
            raise ValueError("another type")
        if isinstance(content, float) and not math.isfinite(content):
            raise ValueError("a number that JSON cannot express")
        return content
    if isinstance(node, list):
        if not isinstance(content, list):
            raise ValueError("no list")
        return [_picked(node[0], one) for one in content[:MOST_ITEMS]]
    if not isinstance(content, dict):
        raise ValueError("no object")
    return {key: _picked(inner, content[key]) for key, inner in node.items() if content.get(key) is not None}


def _tree(form: Form) -> dict[str, Any]:
    """Return a form as objects, lists of one item, and types.

    Raises:
        ValueError: Two paths contradict each other.
    """
    root: dict[str, Any] = {}
    for path, kind in form.items():
        node: Any = root
        *folders, last = path.split(".")
        for step in folders:
            node = _step(node, step, {})
        if _step(node, last, kind) != kind:
            raise ValueError("two things")
    return root


def _step(node: Any, step: str, new: Any) -> Any:
    """Enter a member, which is made if it is not there yet."""
    if not isinstance(node, dict):
        raise ValueError("two things")
    name = step.removesuffix("[]")
    if name == step:
        return node.setdefault(name, new)
    inner = node.setdefault(name, [new])
    if not isinstance(inner, list):
        raise ValueError("two things")
    return inner[0]
