"""Filters that spell a text so that a format's readers take it back exactly, whatever characters are in it."""

from __future__ import annotations

import base64
import json

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from strongroom.dotenv import dotenv_line
from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue

_SHORT: Final = {'"': '\\"', "\\": "\\\\"}


def printed(value: object) -> object:
    """Return what stands in the text for a value that is printed as it is.

    Args:
        value: What the template prints.

    Raises:
        InvalidValueError: It is neither text nor a number.
    """
    if isinstance(value, str | int | float):
        return value
    # What is undefined, and bytes, say by themselves why they are no text.
    str(value)
    raise InvalidValueError(
        f"something of the type {type(value).__name__} cannot stand in a text", hint="add | join(', ') or | json"
    )


def as_json(value: object) -> str:
    """Return a text, a number, a list or a dictionary as JSON on one line.

    Args:
        value: What to write.

    Raises:
        InvalidValueError: JSON has nothing for it.
    """
    text = None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        str(value)
    if text is not None:
        return text
    # Raised outside the handler: the error in there may quote a part of the value.
    raise InvalidValueError("JSON has no spelling for it", hint="give | json a text, a number, a list or a dictionary")


def as_shell(value: object) -> str:
    """Return a text as one word for any POSIX shell, in single quotes.

    Args:
        value: The text.

    Raises:
        InvalidValueError: It is not text, or holds a NUL.
    """
    text = _text(value, "shell")
    if "\0" not in text:
        return "'" + text.replace("'", "'\\''") + "'"
    raise InvalidValueError("a shell cannot hold a text with a NUL in it", hint="add | b64encode, and decode it there")


def as_dotenv(value: object) -> str:
    """Return a text as it stands behind ``NAME=`` in a ``.env`` file, so that all readers take it alike.

    Args:
        value: The text.

    Raises:
        InvalidValueError: It is not text, or there is no such spelling.
    """
    content = SecretValue(_text(value, "dotenv"))
    try:
        return dotenv_line("X", content).removeprefix("X=").removesuffix("\n")
    except InvalidValueError as error:
        raise InvalidValueError(
            "the text has no spelling in a .env file that all its readers take alike",
            hint="use | shell for a file that only shells read, or | json",
        ) from error


def as_quoted(value: object) -> str:
    """Return a text in double quotes as YAML and TOML both read it.

    Args:
        value: The text.

    Raises:
        InvalidValueError: It is not text.
    """
    return '"' + "".join(map(_escaped, _text(value, "yaml or | toml"))) + '"'


def as_url(value: object) -> str:
    """Return a text or bytes as a part of a URL: all but letters, digits and ``-._~`` is escaped, slashes too.

    Args:
        value: The text or the bytes.

    Raises:
        InvalidValueError: It is neither.
    """
    return quote(_bytes(value, "urlencode"), safe="")


def as_base64(value: object) -> str:
    """Return a text, in UTF-8, or bytes in base64 on one line.

    Args:
        value: The text or the bytes.

    Raises:
        InvalidValueError: It is neither.
    """
    return base64.b64encode(_bytes(value, "b64encode")).decode()


def _escaped(character: str) -> str:
    if character.isprintable():
        return _SHORT.get(character, character)
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _text(value: object, name: str) -> str:
    text = str(value)
    if isinstance(value, str | int | float):
        return text
    del text
    raise InvalidValueError(
        f"| {name} takes a text, not {type(value).__name__}", hint="apply it to each text by itself"
    )


def _bytes(value: object, name: str) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    content: SecretValue | InvalidValueError = SecretValue.wrap(_text(value, name))
    if isinstance(content, InvalidValueError):
        raise content
    return content.reveal()


FILTERS: Final[dict[str, Callable[[Any], str]]] = {
    "json": as_json,
    "shell": as_shell,
    "dotenv": as_dotenv,
    "yaml": as_quoted,
    "toml": as_quoted,
    "urlencode": as_url,
    "b64encode": as_base64,
}
"""What a template can write behind a ``|``, besides what Jinja2 has."""
