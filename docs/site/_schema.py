"""Every table that a configuration may have and every key of it, from the schema that the command prints."""

from __future__ import annotations

import json

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from _distributions import command, offered

from strongroom.config.merge import COMMAND_TABLES

SELECTORS = {"cache": "policy", "rotation": "rotator", "telemetry": "exporter"}
"""By section: the key that chooses a plugin, whose settings the others are; `type` in all others."""
KINDS = {
    "backends": "backend",
    "cache": "cache policy",
    "audit": "audit sink",
    "anomaly": "anomaly detector",
    "rotation": "rotator",
    "telemetry": "telemetry exporter",
    **dict.fromkeys(COMMAND_TABLES, "command"),
}
PLACES = {
    "backends": "NAME",
    "rotation": '"PATTERN"',
    "resilience.names": '"PATTERN"',
    "agent.callers": "NAME",
    "mcp.actions": "NAME",
    "mcp.actions.NAME.parameters": "NAME",
}
"""What stands for a name of the user's own in a table's path."""


@dataclass(frozen=True)
class Table:
    """One table of the configuration.

    Attributes:
        path: Its path as a configuration has it, such as ``backends.NAME.auth``; empty at the top.
        listed: Whether it is one of a list, as ``[[audit]]`` is.
        selector: The key that says which plugin it is for; empty if it is for none.
        plugin: That plugin's name.
        keys: The schema of each key.
        required: The keys that must be there.
    """

    path: str
    listed: bool
    selector: str
    plugin: str
    keys: dict[str, dict[str, Any]]
    required: tuple[str, ...]

    @property
    def section(self) -> str:
        """The first word of its path."""
        return self.path.partition(".")[0].partition("[")[0]

    @property
    def distribution(self) -> str:
        """The distribution that has its plugin."""
        kind = KINDS.get(self.section)
        found = [one["distribution"] for one in offered() if (one["kind"], one["name"]) == (kind, self.plugin)]
        return found[0] if found else "strongroom"

    def key(self, name: str) -> str:
        """Return the whole key of a setting."""
        return f"{self.path}{'[]' if self.listed else ''}.{name}" if self.path else name


@cache
def tables() -> tuple[Table, ...]:
    """Return each table."""
    schema = json.loads(command("config", "--schema"))["properties"]
    routes = Table("routes", False, "", "", {"PREFIX": schema.pop("routes")}, ())
    top = {name: node for name, node in schema.items() if not list(_inner("", node))}
    found = [Table("", False, "", "", top | {"audit": {"const": "none"}}, ()), routes]
    for section, node in schema.items():
        for path, listed, inner in _inner(section, node):
            found += _tables(path, listed, inner)
    return tuple(found)


def _inner(path: str, node: dict[str, Any]) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """Yield each table that a key's schema allows, with its path and whether it is one of a list."""
    if "properties" in node and set(node["properties"]) not in ({"env"}, {"file"}, {"credential"}):
        yield path, False, node
    for choice in node.get("anyOf", ()):
        yield from _inner(path, choice)
    if isinstance(node.get("items"), dict):
        yield from ((inner, True, found) for inner, _, found in _inner(path, node["items"]))
    if isinstance(node.get("additionalProperties"), dict):
        yield from _inner(f"{path}.{PLACES.get(path, 'NAME')}", node["additionalProperties"])


def _tables(path: str, listed: bool, node: dict[str, Any], selector: str = "", plugin: str = "") -> Iterator[Table]:
    """Yield a table and those within it."""
    for key, kind in node["properties"].items():
        if "const" in kind:
            selector, plugin = key, kind["const"]
    if path in COMMAND_TABLES:
        plugin = path
    yield Table(path, listed, selector, plugin, node["properties"], tuple(node["required"]))
    for key, kind in node["properties"].items():
        for inner, within, found in _inner(f"{path}.{key}", kind):
            yield from _tables(inner, within, found, selector, plugin)
