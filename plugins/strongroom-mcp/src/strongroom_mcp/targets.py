"""Where parameters go: whole arguments of a command, whole parts of a path, whole texts of a query or of JSON."""

from __future__ import annotations

import json

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from unicodedata import normalize
from urllib.parse import quote, unquote, urlencode, urlsplit

from strongroom import references
from strongroom.references import Reference
from strongroom_mcp.errors import invalid_parameters
from strongroom_mcp.parameters import Value, place
from strongroom_mcp.settings import ActionSettings

Resolve = Callable[[Reference], str]
"""Returns what stands for a reference."""

_ROUNDS: Final = 8
"""How often a part of a path may be decoded until nothing changes; whoever nests deeper means no good."""


def arguments(settings: ActionSettings, values: Mapping[str, Value]) -> list[str]:
    """Return the program and its arguments.

    Args:
        settings: The action.
        values: The parameters.

    Raises:
        RefusedError: An argument would be an option.
    """
    return [part for text in settings.command for part in _argument(settings, text, values)]


def _argument(settings: ActionSettings, text: str, values: Mapping[str, Value]) -> list[str]:
    name = place(text)
    if name is None:
        return [text]
    value = values[name]
    if isinstance(value, bool):
        flag = settings.parameters[name].flag
        return [flag] if value and flag is not None else []
    filled = str(value)
    if filled.startswith("-") and not settings.parameters[name].leading_dash:
        raise invalid_parameters(f"{name} begins with a dash, as options do")
    return [filled]


def address(settings: ActionSettings, values: Mapping[str, Value]) -> str:
    """Return the address to be called.

    Args:
        settings: The action.
        values: The parameters.

    Raises:
        RefusedError: A part of its path would lead somewhere else.
    """
    assert settings.url is not None, "it is an action of this kind"
    parts = urlsplit(settings.url)
    path = "/".join(_segment(text, values) for text in parts.path.split("/"))
    # A query is given as a list, so that what is empty is sent, too.
    query = urlencode([(key, _plain(_chosen(text, values))) for key, text in settings.query.items()], quote_via=quote)
    return f"{parts.scheme}://{parts.netloc}{path or '/'}" + (f"?{query}" if query else "")


def _segment(text: str, values: Mapping[str, Value]) -> str:
    name = place(text)
    if name is None:
        return text
    value = _plain(values[name])
    if not value or _climbs(value):
        raise invalid_parameters(f"{name} cannot be a part of a path")
    return quote(value, safe="")


def _climbs(text: str) -> bool:
    """Tell whether a text, decoded as often as careless servers might, has a step to another folder in it."""
    for _ in range(_ROUNDS):
        # To some servers, what looks like a dot or a slash is one.
        text = normalize("NFKC", text)
        # What follows a semicolon is a parameter of the step to some servers.
        steps = [step.partition(";")[0].strip() for step in text.replace("\\", "/").split("/")]
        if any(step in {".", ".."} for step in steps):
            return True
        decoded = unquote(text)
        if decoded == text:
            return False
        text = decoded
    return True


def body(settings: ActionSettings, values: Mapping[str, Value], resolve: Resolve) -> bytes | None:
    """Return the JSON to be sent; ``None`` if there is none.

    Args:
        settings: The action.
        values: The parameters; references in them have no meaning.
        resolve: Returns what stands for a reference.
    """
    if settings.body is None:
        return None

    def leaf(text: str) -> Value:
        name = place(text)
        return references.fill(text, resolve) if name is None else values[name]

    return json.dumps(_mapped(json.loads(settings.body), leaf)).encode()


def _mapped(content: Any, leaf: Callable[[str], Value]) -> Any:
    if isinstance(content, dict):
        return {key: _mapped(value, leaf) for key, value in content.items()}
    if isinstance(content, list):
        return [_mapped(value, leaf) for value in content]
    return leaf(content) if isinstance(content, str) else content


def texts_of(content: Any) -> Iterator[str]:
    """Yield each text in what JSON holds, but for the names of members."""
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from texts_of(value)
    if isinstance(content, str):
        yield content


def filled(templates: Mapping[str, str], resolve: Resolve) -> dict[str, str]:
    """Return headers or variables with their references filled in.

    Args:
        templates: Their texts by name.
        resolve: Returns what stands for a reference.
    """
    return {name: references.fill(text, resolve) for name, text in templates.items()}


def _chosen(text: str, values: Mapping[str, Value]) -> Value:
    name = place(text)
    return text if name is None else values[name]


def _plain(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
