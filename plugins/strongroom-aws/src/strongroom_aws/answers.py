"""Whether an answer is one of the service's: botocore hands on whatever has come, without a look at most of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "blob": bytes,
    "boolean": bool,
    "integer": int,
    "list": list,
    "long": int,
    "map": dict,
    "string": str,
    "structure": dict,
    "timestamp": datetime,
}
_NEEDED: Final = {
    "ReplicationStatusType": ("Region",),
    "SecretListEntry": ("ARN", "Name"),
    "SecretVersionsListEntry": ("VersionId",),
    "Tag": ("Key",),
}
"""The texts without which a part of an answer says nothing. The service's description calls none of them required."""
_ONE_OF: Final = {"BatchGetSecretValueResponse": ("SecretValues", "Errors", "NextToken")}


def is_sound(data: dict[str, Any], shape: Any, expects: str = "") -> bool:
    """Tell whether an answer has what the service's description says, each part of its kind.

    Args:
        data: The answer; what the description does not know is left alone.
        shape: botocore's description of it; ``None`` if the service answers with nothing.
        expects: What it must have, and not as an empty text.
    """
    if expects and data.get(expects, "") == "":
        return False
    return shape is None or _fits(data, shape)


def _fits(value: Any, shape: Any) -> bool:
    kind = shape.type_name
    check = _PARTS.get(kind)
    return isinstance(value, _KINDS.get(kind, object)) and (check is None or check(value, shape))


def _structure_fits(value: dict[str, Any], shape: Any) -> bool:
    members = shape.members
    if not all(_fits(part, members[key]) for key, part in value.items() if key in members):
        return False
    one_of = _ONE_OF.get(shape.name)
    if one_of is not None and value.keys().isdisjoint(one_of):
        return False
    return all(value.get(key) for key in _NEEDED.get(shape.name, ()))


def _list_fits(value: list[Any], shape: Any) -> bool:
    member = shape.member
    return all(_fits(part, member) for part in value)


def _map_fits(value: dict[Any, Any], shape: Any) -> bool:
    return all(isinstance(key, str) and _fits(part, shape.value) for key, part in value.items())


_PARTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "list": _list_fits,
    "map": _map_fits,
    "structure": _structure_fits,
}
