"""Secrets as a JSON object: text as strings, bytes as ``{"base64": "..."}``."""

from __future__ import annotations

import binascii
import json

from typing import Any, Never

from strongroom.cli.documents import BYTES_KEY, Members, Word
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue, ValueType


def render(values: dict[str, SecretValue]) -> str:
    """Return secrets as a JSON document in ASCII, with a final line feed."""
    content = {key: _rendered(value) for key, value in values.items()}
    return json.dumps(content, indent=2) + "\n"


def _rendered(value: SecretValue) -> str | dict[str, str]:
    if value.type is ValueType.TEXT:
        return value.reveal_text()
    return {BYTES_KEY: binascii.b2a_base64(value.reveal(), newline=False).decode()}


def parse(content: SecretValue, source: str) -> Members:
    """Return what a JSON file holds.

    Args:
        content: The file's bytes.
        source: The file's name, for errors.

    Raises:
        ConfigurationError: It is not JSON, or no object.
    """
    document, problem = _document(content.reveal())
    if problem:
        # Raised here, where no local variable shows the content.
        raise ConfigurationError(f"{source} {problem}", hint="mend the file; nothing of it was used")
    if not isinstance(document, Members):
        raise ConfigurationError(f"{source} is not a JSON object", hint='expected {"name": "value", ...}')
    return document


def _no_constant(_: str) -> Never:
    raise ValueError


def _document(content: bytes) -> tuple[Any, str]:
    """Return the document, and what is wrong."""
    try:
        document = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=Members,
            parse_int=Word,
            parse_float=Word,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        return None, f"line {error.lineno} is not JSON"
    except (ValueError, RecursionError):
        return None, "is not JSON: it is not UTF-8, holds NaN or is nested without end"
    return document, ""
