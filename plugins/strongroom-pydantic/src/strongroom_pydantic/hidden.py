"""Values on their way to pydantic, which do not show themselves: it puts what it refuses into its errors.

Each of them is an object of its plain type to whoever uses it. Pydantic makes plain ones of them where a field says
which type it has.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

SHOWN: Final = "[hidden]"


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

    Numbers are left out: most of them are no secrets, and stand in messages by themselves.
    """
    if isinstance(value, BaseModel):
        return held_texts([*vars(value).values(), *(value.model_extra or {}).values()])
    if isinstance(value, dict):
        return held_texts(list(value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return [text for member in value for text in held_texts(member)]
    if isinstance(value, Secret | SecretStr | SecretBytes):
        return held_texts(value.get_secret_value())
    return [text for text in texts(value) if text] if isinstance(value, str | bytes) else []


def _digits(value: Any) -> str:
    if isinstance(value, float):
        return float.__repr__(value)
    # Neither a truth value nor null is worth hiding.
    return int.__repr__(value) if isinstance(value, int) and not isinstance(value, bool) else ""
