"""What of a setting may be shown: references as they stand, secrets never."""

from __future__ import annotations

import enum
import re
import types
import typing

from typing import Any, Final, get_args, get_origin

from strongroom._record import Record
from strongroom.config.convert import fields
from strongroom.config.references import is_reference
from strongroom.contracts import FilePath, KeySource, Seconds, Size
from strongroom.model import SecretValue

HIDDEN: Final = "<hidden>"

# A plugin's author may have declared a secret as a plain text, and a plugin that cannot be loaded declares nothing.
_SECRET_NAME: Final = re.compile(
    r"passw|passphrase|secret|token|credential|(^|[_.-])(pass|pwd|pin|key|private)([_.-]|$)|key$", re.IGNORECASE
)
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s]*(?=@)")
"""What stands before the last @ of an address is a user and a password."""
_HARMLESS: Final = (bool, int, float)


def shown(value: Any, key: str, kind: Any = None, *, guess: bool = True) -> Any:
    """Return a setting's value with everything secret replaced by ``<hidden>``.

    Args:
        value: The value as TOML gave it.
        key: The setting's name.
        kind: Its declared type; ``None`` if that is not known.
        guess: Whether a plain text is hidden too if its name looks like a secret's.

    Returns:
        The value: references such as ``{env = "X"}`` as they stand, and the rest
        of lists and tables likewise.
    """
    if is_reference(value):
        return value
    if is_secret(kind):
        return HIDDEN
    if _is_harmless(value, kind):
        return value
    if isinstance(value, dict):
        # The names join up: whatever is in a table called `tokens` is taken for one.
        return {
            name: shown(part, f"{key}.{name}", _kind_within(kind, name), guess=guess) for name, part in value.items()
        }
    if isinstance(value, list):
        return [shown(part, key, _kind_within(kind, None), guess=guess) for part in value]
    if guess and _SECRET_NAME.search(key):
        return HIDDEN
    return _URL_CREDENTIALS.sub(HIDDEN, value) if isinstance(value, str) else value


def hides(value: Any) -> bool:
    """Tell whether something in what :func:`shown` returned was hidden."""
    if isinstance(value, dict):
        return any(map(hides, value.values()))
    if isinstance(value, list):
        return any(map(hides, value))
    return bool(value == HIDDEN)


def is_secret(kind: Any) -> bool:
    """Tell whether a setting of this type is a secret, such as a key, or may be one."""
    if get_origin(kind) in {typing.Union, types.UnionType}:
        return any(map(is_secret, get_args(kind)))
    return kind in {KeySource, SecretValue}


def _is_harmless(value: Any, kind: Any) -> bool:
    if isinstance(value, _HARMLESS):
        return True
    members = get_args(kind) if get_origin(kind) in {typing.Union, types.UnionType} else (kind,)
    plain = [member for member in members if member is not type(None)]
    return bool(plain) and all(member in {Seconds, Size, FilePath} or _is_choice(member) for member in plain)


def _is_choice(kind: Any) -> bool:
    if get_origin(kind) is typing.Literal:
        return True
    return isinstance(kind, type) and issubclass(kind, (*_HARMLESS, enum.Enum))


def _kind_within(kind: Any, name: str | None) -> Any:
    """Return the type of a table's member, or of a list's, as far as it is declared."""
    if get_origin(kind) in {typing.Union, types.UnionType}:
        kind = next((member for member in get_args(kind) if member is not type(None)), None)
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    if get_origin(kind) in {list, tuple}:
        return get_args(kind)[0]
    if name is not None and isinstance(kind, type) and (issubclass(kind, Record) or hasattr(kind, "__attrs_attrs__")):
        return fields(kind)[0].get(name)
    return None
