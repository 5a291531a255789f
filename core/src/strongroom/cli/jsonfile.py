"""Secrets as a JSON object: text as strings, bytes as ``{"base64": "..."}``."""

from __future__ import annotations

import binascii
import json

from typing import Any, Final, Never

from strongroom._record import Record
from strongroom.errors import ConfigurationError, InvalidValueError, StrongroomError
from strongroom.model import SecretValue, ValueType

BYTES_KEY: Final = "base64"


class JsonOptions(Record):
    """What else than texts and bytes a JSON file may hold."""

    flatten: bool = False
    """Nested objects are folders."""
    stringify: bool = False
    """Numbers, true and false are taken as the text that stands in the file."""


def render(values: dict[str, SecretValue]) -> str:
    """Return secrets as a JSON document in ASCII, with a final line feed."""
    content = {key: _rendered(value) for key, value in values.items()}
    return json.dumps(content, indent=2) + "\n"


def _rendered(value: SecretValue) -> str | dict[str, str]:
    if value.type is ValueType.TEXT:
        return value.reveal_text()
    return {BYTES_KEY: binascii.b2a_base64(value.reveal(), newline=False).decode()}


def parse(
    content: SecretValue, source: str, options: JsonOptions
) -> tuple[dict[str, SecretValue], list[StrongroomError]]:
    """Return what a JSON file holds, by name, and each thing in it that cannot be used.

    Args:
        content: The file's bytes.
        source: The file's name, for errors.
        options: What it may hold.

    Raises:
        ConfigurationError: It is not JSON, or no object.
    """
    document, problem = _document(content.reveal())
    if problem:
        # Raised here, where no local variable shows the content.
        raise ConfigurationError(f"{source} {problem}", hint="mend the file; nothing of it was used")
    if not isinstance(document, _Object):
        raise ConfigurationError(f"{source} is not a JSON object", hint='expected {"name": "value", ...}')
    reader = _Reader(source, options)
    reader.take(document, "")
    return reader.found, reader.problems


class _Object:
    """A JSON object with every member, those that come twice included; it shows none of them."""

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        self.members = members

    def is_bytes(self) -> bool:
        return len(self.members) == 1 and self.members[0][0] == BYTES_KEY and isinstance(self.members[0][1], str)


class _Word:
    """A number, true or false as it stands in the file."""

    def __init__(self, text: str) -> None:
        self.text = text


def _no_constant(_: str) -> Never:
    raise ValueError


def _document(content: bytes) -> tuple[Any, str]:
    """Return the document, and what is wrong."""
    try:
        document = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_Object,
            parse_int=_Word,
            parse_float=_Word,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        return None, f"line {error.lineno} is not JSON"
    except (ValueError, RecursionError):
        return None, "is not JSON: it is not UTF-8, holds NaN or is nested without end"
    return document, ""


class _Reader:
    """Collects the secrets of a document, and what is wrong with it."""

    def __init__(self, source: str, options: JsonOptions) -> None:
        self.found: dict[str, SecretValue] = {}
        self.problems: list[StrongroomError] = []
        self._source = source
        self._options = options

    def take(self, document: _Object, folder: str) -> None:
        for key, member in document.members:
            name = folder + key
            if isinstance(member, _Object) and not member.is_bytes() and self._options.flatten:
                self.take(member, f"{name}/")
            elif name in self.found:
                self._refuse(name, "stands there twice", "keep one of them")
            else:
                self._keep(name, member)

    def _keep(self, name: str, member: Any) -> None:
        if isinstance(member, str):
            self._keep_text(name, member)
        elif isinstance(member, _Object) and member.is_bytes():
            self._keep_bytes(name, member.members[0][1])
        elif isinstance(member, _Object):
            self._refuse(name, "is an object", "add --flatten to make it a folder")
        elif isinstance(member, _Word | bool) and self._options.stringify:
            self._keep_text(name, member.text if isinstance(member, _Word) else str(member).lower())
        elif isinstance(member, _Word | bool):
            self._refuse(name, "is not text", "put it in quotes, or add --stringify")
        else:
            self._refuse(name, "is null" if member is None else "is a list", "put text there")

    def _keep_text(self, name: str, text: str) -> None:
        try:
            self.found[name] = SecretValue(text)
        except InvalidValueError:
            self._refuse(name, "holds half of a surrogate pair", "mend the text")

    def _keep_bytes(self, name: str, text: str) -> None:
        try:
            self.found[name] = SecretValue(binascii.a2b_base64(text, strict_mode=True))
        except ValueError:
            self._refuse(name, "is not valid base64", "mend it")

    def _refuse(self, name: str, what: str, hint: str) -> None:
        self.problems.append(ConfigurationError(f"{name!a} in {self._source} {what}", hint=hint))
