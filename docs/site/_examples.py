"""An example for each setting, which a configuration may have as it stands."""

from __future__ import annotations

import re
import tomllib

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from _schema import Table

BY_TYPE = {
    "text": '"example"',
    "whole number": "4",
    "number": "0.5",
    "duration": '"30s"',
    "size": '"1MiB"',
    "path": '"example.pem"',
    "reference": '{ env = "EXAMPLE" }',
    "list of texts": '["example"]',
    "list of paths": '["example.env"]',
    "list of patterns": '["db/**"]',
    "table of texts": '{ example = "text" }',
    "table of references": '{ example = { env = "EXAMPLE" } }',
    "table of durations": '{ "db/**" = "30s" }',
}


@dataclass(frozen=True)
class Wanted:
    """The setting that an example is for.

    Attributes:
        group: The words of its table.
        key: Its key.
        kind: Its type in words.
        default: Its default as the documentation shows it.
        table: Where it stands.
    """

    group: str
    key: str
    kind: str
    default: str
    table: Table


@cache
def _known() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("examples.toml").read_text(encoding="utf-8"))


def example(wanted: Wanted) -> str:
    """Return lines of a configuration that have the setting and what its table cannot do without."""
    table = wanted.table
    known = _known().get(wanted.group, {}).get(wanted.key, {})
    head, inner = _heads(table)
    outer = known.get("outer", _known()["outer"].get(wanted.group, ()))
    lines = [*known.get("before", ()), *(() if inner else outer), *head]
    if inner:
        lines += [*outer, "", inner]
    more = known.get("with", [])
    skipped = {wanted.key, table.selector, *known.get("without", ()), *(line.partition(" ")[0] for line in more)}
    needed = _known()["needed"].get(f"{table.path.partition('.')[0]}.{table.plugin}", {}) if not inner else {}
    needed = needed | _known()["needed"].get(table.path, {})
    lines += [f"{key} = {value}" for key, value in needed.items() if key not in skipped]
    lines += more
    if table.selector != wanted.key:
        lines.append(f"{_key(wanted)} = {_value(wanted, known)}")
    return "\n".join(lines).strip("\n") + "\n"


def _key(wanted: Wanted) -> str:
    return '"ci/"' if wanted.key == "PREFIX" else wanted.key


def _heads(table: Table) -> tuple[list[str], str]:
    """Return the head of a plugin's table with its selector, and the head of the table within it, if it is one."""
    path = table.path.replace(".NAME", ".main").replace('"PATTERN"', '"db/password"')
    if not path:
        return [], ""
    choice = [f'{table.selector} = "{table.plugin}"'] if table.selector else []
    own = re.match(r'(backends\.main|rotation\."db/password"|\w+)(\..+)?', path)
    assert own is not None
    if table.listed:
        return [f"[[{path}]]", *choice], ""
    if own[2] and choice:
        return [f"[{own[1]}]", *choice], f"[{path}]"
    return [f"[{path}]", *choice], ""


def _value(wanted: Wanted, known: dict[str, Any]) -> str:
    if "value" in known:
        return str(known["value"])
    if choices := re.findall(r'`"?([\w.-]+)"?`', wanted.kind):
        if "true" in choices:
            return "false" if wanted.default == "`true`" else "true"
        other = [word for word in choices if word != wanted.default.strip('`"')]
        return f'["{choices[0]}"]' if wanted.kind.startswith("list") else f'"{other[0]}"'
    default = wanted.default.strip("`")
    if wanted.default.startswith("`"):
        return f'"{default}"' if wanted.kind in {"text", "path"} and not default.startswith('"') else default
    return BY_TYPE.get(wanted.kind.partition(", or")[0], '"example"')
