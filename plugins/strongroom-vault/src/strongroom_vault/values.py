"""How a value is kept in the fields of an engine."""

from __future__ import annotations

import base64
import binascii
import decimal
import json

from collections.abc import Sequence
from typing import Any, Final, Never

from strongroom.contracts import first_match
from strongroom.errors import InvalidValueError
from strongroom.model import SecretName, SecretValue, ValueType

_WHOLE: Final = 1e21
"""Below it the server writes a whole number with all its digits, from it on with an exponent."""


class Codec:
    """Turns values into fields, and fields into values.

    A text is kept in the one field ``value_key``, bytes in ``<value_key>_base64``.
    An object with any other fields, which another program wrote, is one text: the
    object as JSON with its members in the order of their names. For names that
    ``fields`` matches, that is also how a text is written.

    Args:
        value_key: The field of a secret that is one value.
        fields: Patterns of names whose text is a JSON object, kept as fields.
    """

    def __init__(self, value_key: str, fields: Sequence[str] = ()) -> None:
        self._text = value_key
        self._binary = f"{value_key}_base64"
        self._fields = tuple(fields)

    def encode(self, name: SecretName, value: SecretValue) -> dict[str, Any] | InvalidValueError:
        """Return the fields for a value, or the error that says why there are none.

        The error is returned for the caller to raise, once it no longer holds the value.
        """
        if self._fields and first_match(self._fields, name) is not None:
            return self._object(name, value)
        if value.type is ValueType.BINARY:
            return {self._binary: base64.b64encode(value.reveal()).decode()}
        return {self._text: value.reveal_text()}

    def decode(self, fields: dict[str, Any]) -> SecretValue | InvalidValueError:
        """Return the value that fields hold, or the error that says why there is none, to be raised elsewhere."""
        if len(fields) == 1:
            content = self._single(fields)
            if content is not None:
                return SecretValue.wrap(content)
        try:
            return SecretValue.wrap(json.dumps(fields, ensure_ascii=False, sort_keys=True))
        except RecursionError:
            return InvalidValueError(
                "the fields have too many levels to be one JSON text", hint="read it with the server's own command"
            )

    def _single(self, fields: dict[str, Any]) -> str | bytes | None:
        text = fields.get(self._text)
        if isinstance(text, str):
            return text
        encoded = fields.get(self._binary)
        return _bytes_in(encoded) if isinstance(encoded, str) else None

    def _object(self, name: SecretName, value: SecretValue) -> dict[str, Any] | InvalidValueError:
        fields, trouble = _parsed(value)
        if not trouble and self._single(fields) is not None and len(fields) == 1:
            trouble = "would come back as the one value that it holds"
        if trouble:
            return InvalidValueError(
                f"the value of {name} cannot be kept as fields: it {trouble}",
                name=name,
                code="not_json",
                hint="give a JSON object, with numbers of another kind as text; `fields` in the configuration names it",
            )
        return fields


def _bytes_in(text: str) -> bytes | None:
    """Return what a text holds in base64, if it is exactly what we would have written."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return content if base64.b64encode(content).decode() == text else None


class _AlteredError(ValueError):
    """The server would give back something else. Its text repeats nothing of the value."""


def _parsed(value: SecretValue) -> tuple[dict[str, Any], str]:
    """Return the members of a JSON object, or what is wrong with it."""
    if value.type is ValueType.BINARY:
        return {}, "is not text"
    try:
        found = json.loads(
            value.reveal_text(),
            object_pairs_hook=_unique,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_refuse_constant,
        )
        json.dumps(found, ensure_ascii=False).encode()
    except _AlteredError as error:
        return {}, str(error)
    except UnicodeEncodeError:
        return {}, "holds half of a surrogate pair"
    except (ValueError, RecursionError):
        return {}, "is not JSON"
    return (found, "") if isinstance(found, dict) else ({}, "is not a JSON object")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _AlteredError("has a member twice")
    return members


def _number(text: str) -> int | float:
    """Return a number as the server gives it back, which keeps each as a float."""
    kept = float(text)
    # The shortest digits that mean this float, which is also what the server writes.
    written = decimal.Decimal(repr(kept))
    try:
        same = decimal.Decimal(text) == written
    except decimal.InvalidOperation:
        same = False
    if not same:
        raise _AlteredError("has a number that the server cannot keep exactly")
    return int(written) if kept.is_integer() and abs(kept) < _WHOLE else kept


def _refuse_constant(_: str) -> Never:
    raise _AlteredError("has a number that JSON does not know")
