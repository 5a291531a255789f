"""Values on their way to pydantic, which do not show themselves: it puts what it refuses into its errors.

Each of them is an object of its plain type to whoever uses it. Pydantic makes plain ones of them where a field says
which type it has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from numbers import Number
from typing import Any, Final

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

SHOWN: Final = "[hidden]"
_TELLING: Final = 4
"""Numbers of fewer digits are no secrets in a field that shows them, and stand in messages by themselves."""


class _HiddenText(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return SHOWN


class _HiddenBytes(bytes):
    __slots__ = ()

    def __repr__(self) -> str:
        return SHOWN


class _HiddenInteger(int):
    __slots__ = ()

    def __repr__(self) -> str:
        return SHOWN


class _HiddenNumber(float):
    __slots__ = ()

    def __repr__(self) -> str:
        return SHOWN


_KINDS: Final[dict[type, type]] = {str: _HiddenText, bytes: _HiddenBytes, int: _HiddenInteger, float: _HiddenNumber}


def hide(value: Any) -> Any:
    """Return the same value with all text, bytes and numbers in it such that ``repr`` does not show them."""
    if isinstance(value, dict):
        return {key: hide(member) for key, member in value.items()}
    if isinstance(value, list):
        return [hide(member) for member in value]
    kind = _KINDS.get(type(value))
    return value if kind is None else kind(value)


def texts(value: Any) -> list[str]:
    """Return as text what is hidden in a value, for comparison with what is about to be shown."""
    if isinstance(value, dict):
        return [text for member in value.values() for text in texts(member)]
    if isinstance(value, list):
        return [text for member in value for text in texts(member)]
    if isinstance(value, bytes):
        return [value.decode("utf-8", "backslashreplace")]
    return [str.__str__(value)] if isinstance(value, str) else [_digits(value)]


def held_texts(value: Any) -> list[str]:
    """Return the texts that are in a model or in what it holds, in those fields as well that do not show them.

    What is made of a text, such as an address with a password in it, counts as what it is written as. So does a number
    of four digits or more, and any number in a field that does not show it.
    """
    found: list[str] = []
    left = [value]
    # Models may hold each other. They are kept, so that nothing else gets the number of one that is gone.
    seen: dict[int, Any] = {}
    while left:
        one = left.pop()
        if id(one) in seen or one is None:
            continue
        seen[id(one)] = one
        members = _members(one)
        if members is None:
            found += _written(one)
        else:
            left += members
    return [text for text in found if text]


def _written(value: Any) -> list[str]:
    """Return as what something is written that is not made of others; nothing if that tells nothing."""
    if isinstance(value, str | bytes):
        return texts(value)
    if isinstance(value, Number):
        text = _number(value)
        return [text] if sum(map(str.isdigit, text)) >= _TELLING else []
    try:
        text = str(value)
    # Foreign code: what it raises would lead to pydantic's error, and so to all values.
    except Exception:  # noqa: BLE001  # see above
        return []
    return [text] if text != object.__repr__(value) else []


def _members(value: Any) -> Iterable[Any] | None:
    """Return what something holds; ``None`` if it is not made of others."""
    if isinstance(value, BaseModel):
        beside = [value.model_extra, value.__pydantic_private__]
        return [*vars(value).values(), *(member for held in beside for member in (held or {}).values())]
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, one.name, None) for one in fields(value)]
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, Secret | SecretStr | SecretBytes):
        content = value.get_secret_value()
        return [_number(content) if isinstance(content, Number) else content]
    return None


def _number(value: Number) -> str:
    # Numbers that hide themselves do so as text, too.
    return _digits(value) if isinstance(value, int | float) else str(value)


def _digits(value: Any) -> str:
    if isinstance(value, float):
        return float.__repr__(value)
    # Neither a truth value nor null is worth hiding.
    return int.__repr__(value) if isinstance(value, int) and not isinstance(value, bool) else ""
