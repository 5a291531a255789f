"""What is wrong with the actions that are declared, and which secrets they use."""

from __future__ import annotations

import json
import os
import re
import sys

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

from strongroom import references
from strongroom.errors import InvalidNameError
from strongroom.references import SCHEME, Reference
from strongroom_mcp import outputs
from strongroom_mcp.parameters import NAME, place, places_within
from strongroom_mcp.settings import ActionSettings, McpSettings
from strongroom_mcp.targets import texts_of

LIST: Final = "list_secrets"
"""The one tool that is not declared."""
_ACTION: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_INTERPRETER: Final = re.compile(
    r"(?:ba|da|z|k|a|fi)?sh|python[\d.]*|perl[\d.]*|ruby[\d.]*|node|nodejs|deno|bun|php[\d.]*|lua[\d.]*|pwsh|psql|mysql|sqlite3"
)
_CODE: Final = re.compile(r"-[A-Za-z]{0,3}[ceErp]|--eval|--print|--command|--execute|-Command")
"""Options of interpreters whose argument is run, also as the last of several (``bash -lc``)."""
_OURS: Final = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})
_OF_COMMANDS: Final = ("environment", "files", "pass_environment")
_OF_CALLS: Final = ("query", "headers", "body", "ca_file", "http_on_loopback")


def server_problems(settings: McpSettings) -> list[str]:
    """Return what is wrong with the settings as a whole."""
    found = [
        f"{name!r} cannot be the name of an action: small letters, digits, _ and -, and not {LIST}"
        for name in settings.actions
        if not _ACTION.fullmatch(name) or name == LIST
    ]
    if not settings.principal:
        found.append("principal is empty")
    if settings.approve and not os.path.isabs(settings.approve[0]):
        found.append("approve begins with a program by its absolute path")
    if not settings.approve and any(one.approval == "command" for one in settings.actions.values()):
        found.append("an action wants the approval of a program, and approve names none")
    if not settings.approval_timeout > 0:
        found.append("approval_timeout must be more than 0")
    return found


def problems(action: ActionSettings) -> list[str]:
    """Return what is wrong with one action."""
    if bool(action.command) == (action.url is not None):
        return ["an action has either a command or a url"]
    others = _OF_CALLS if action.command else _OF_COMMANDS
    found = [f"{name} is not for this kind of action" for name in others if getattr(action, name)]
    found += _command_problems(action) if action.command else _call_problems(action)
    found += [f"{name!r} cannot be the name of a parameter" for name in action.parameters if not NAME.fullmatch(name)]
    found += _placing_problems(action)
    amounts = ("max_output", "timeout", "calls_per_minute", "concurrency")
    found += [f"{name} must be more than 0" for name in amounts if not getattr(action, name) > 0]
    if action.principal == "":
        found.append("principal is empty")
    return found + outputs.problems(action.output)


def used(action: ActionSettings) -> list[Reference]:
    """Return the references to secrets in an action, each once, in the order in which they stand there."""
    found = {str(one): one for text in _templates(action) for one in references.find(text)}
    return list(found.values())


def principal_of(settings: McpSettings, name: str) -> str:
    """Return as whom an action reads secrets.

    Args:
        settings: The server's settings.
        name: The action's name.
    """
    return settings.actions[name].principal or f"{settings.principal}/{name}"


def _templates(action: ActionSettings) -> Iterator[str]:
    yield from action.environment.values()
    yield from action.files.values()
    yield from action.headers.values()
    yield from texts_of(_json(action.body)) if action.body is not None else ()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _command_problems(action: ActionSettings) -> list[str]:
    found = []
    program, *rest = action.command
    if not os.path.isabs(program):
        found.append("command begins with a program by its absolute path")
    if any(SCHEME in text for text in action.command):
        found.append("command holds a secret, which every user of the machine could read: use environment or files")
    if any(place(text) is None and set(places_within(text)) & set(action.parameters) for text in rest):
        found.append("command has a parameter within an argument: a parameter is a whole argument")
    if any(_runs(one) and _CODE.fullmatch(option) and place(text) for one, option, text in _triples(action.command)):
        found.append("command has an interpreter run what the model writes")
    if rest and place(rest[0]) and (_runs(program) or os.path.basename(program) == "env"):
        found.append("command runs a program that the model chooses")
    if any("\0" in text for text in action.command):
        found.append("command has a NUL in it")
    names = [*action.environment, *action.files, *action.pass_environment]
    found += [f"{name!r} cannot be a variable" for name in names if not _VARIABLE.fullmatch(name)]
    if any(name.startswith("STRONGROOM_") for name in action.pass_environment):
        found.append("pass_environment would hand over what may open a store")
    found += [f"{name} is said twice" for name in sorted({one for one in names if names.count(one) > 1})]
    found += _reference_problems({**action.environment, **action.files})
    if any(not references.is_reference(text) for text in action.files.values()):
        found.append(f"files refers to something that is not just {SCHEME}NAME")
    if action.files and sys.platform != "linux":
        found.append("files needs Linux")
    return found


def _triples(command: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Yield each program that there may be, such as one behind `env`, with each argument after it and the next one."""
    for number, one in enumerate(command):
        rest = command[number + 1 :]
        yield from ((one, option, text) for option, text in pairwise(rest))


def _runs(program: str) -> bool:
    return _INTERPRETER.fullmatch(os.path.basename(program)) is not None


def _call_problems(action: ActionSettings) -> list[str]:
    found = _address_problems(action)
    for name, text in action.headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OURS:
            found.append(f"{name!r} cannot be a header of its own")
        if any(not " " <= character <= "~" for character in text):
            found.append(f"the header {name} has a character in it that headers cannot have")
    if any(set(places_within(text)) & set(action.parameters) for text in action.headers.values()):
        found.append("headers have a parameter in them: it belongs into the path, the query or the body")
    if any(SCHEME in text for text in action.query.values()):
        found.append("query holds a secret, which servers write into their logs: use headers or body")
    if action.body is not None and _json(action.body) is None:
        found.append("body is not JSON")
    if action.body is not None and action.method == "GET":
        found.append("a GET has no body")
    texts = dict(enumerate(texts_of(_json(action.body)))) if action.body is not None else {}
    return found + _reference_problems(action.headers) + _reference_problems(texts)


def _address_problems(action: ActionSettings) -> list[str]:
    assert action.url is not None, "it is an action of this kind"
    try:
        parts = urlsplit(action.url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ["url is not an address"]
    netloc = parts.netloc.removesuffix(f":{port}")
    if not host or not _HOST.fullmatch(netloc):
        return ["url names no host, or more than a host: what logs in belongs into headers"]
    found = []
    if SCHEME in action.url:
        found.append("url holds a secret, which servers write into their logs: use headers or body")
    if parts.query or parts.fragment or "?" in action.url or "#" in action.url:
        found.append("url has a query or a fragment: say query")
    segments = parts.path.split("/")
    if any(place(one) is None and (not _SEGMENT.fullmatch(one) or one in {".", ".."}) for one in segments):
        found.append("a part of the url's path is neither plain nor a parameter as a whole")
    if parts.scheme == "http" and not (action.http_on_loopback and host in _LOOPBACK):
        found.append("url is not https://; http:// is for addresses of this machine, with http_on_loopback = true")
    elif parts.scheme not in {"http", "https"}:
        found.append("url is not https://")
    return found


def _reference_problems(templates: Mapping[Any, str]) -> list[str]:
    found = []
    for text in templates.values():
        try:
            # Whatever looks like a reference has to be one: what is sent as it stands would be a surprise.
            if SCHEME in text and not references.find(text):
                found.append(f"a reference within other text is written ${{{SCHEME}NAME}}")
        except InvalidNameError as error:
            found.append(str(error))
    return found


def _placing_problems(action: ActionSettings) -> list[str]:
    placed = set(_placed(action))
    found = [f"{{{name}}} is no parameter of it" for name in sorted(placed - set(action.parameters))]
    found += [f"the parameter {name} is not used" for name in sorted(set(action.parameters) - placed)]
    flags = [name for name, one in action.parameters.items() if one.type == "boolean" and one.flag is None]
    if action.command:
        found += [f"the parameter {name} needs a flag" for name in flags]
    return found


def _placed(action: ActionSettings) -> Iterator[str]:
    path = urlsplit(action.url).path.split("/") if action.url is not None and not _address_problems(action) else []
    body = texts_of(_json(action.body)) if action.body is not None else ()
    texts: Iterable[str] = (*action.command[1:], *path, *action.query.values(), *body)
    yield from (name for name in map(place, texts) if name is not None)
