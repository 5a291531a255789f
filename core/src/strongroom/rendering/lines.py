"""Finds the lines on which the tables of a TOML file begin."""

from __future__ import annotations

import re
import tomllib

from typing import Final

from strongroom.policy import Rule

_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'  # a text over several lines may end with up to two quotes of its own
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|(?P<start>^[ \t]*)?(?P<bracket>[\[\]{}])",
    re.DOTALL | re.MULTILINE,
)


def table_lines(text: str, name: str) -> list[int]:
    """Return the line of each ``[[name]]`` header, counted from 1, in their order.

    What stands in texts, comments and lists is no header. A list that is written
    as ``name = [{...}]`` has no headers, so nothing is found.

    Args:
        text: The content of a file that is valid TOML.
        name: The list's name.
    """
    header = re.compile(rf"\[\[[ \t]*([\"']?){re.escape(name)}\1[ \t]*\]\]")
    lines: list[int] = []
    depth = position = 0
    while found := _TOKEN.search(text, position):
        position = found.end()
        bracket = found["bracket"]
        if bracket is None:
            continue
        at = found.start("bracket")
        if depth == 0 and found["start"] is not None and (title := header.match(text, at)):
            lines.append(text.count("\n", 0, at) + 1)
            position = title.end()
        else:
            depth += 1 if bracket in "[{" else -1
    return lines


def line_of(rule: Rule) -> int | None:
    """Return the line of a rule's table in its file; ``None`` if it cannot be told.

    Args:
        rule: The rule.
    """
    try:
        with open(rule.file, encoding="utf-8") as file:
            text = file.read()
        tables = tomllib.loads(text).get("policies")
    except (OSError, ValueError):
        return None
    lines = table_lines(text, "policies")
    # If both ways of reading count alike, the n-th header is the n-th table.
    known = isinstance(tables, list) and len(tables) == len(lines) and 0 < rule.position <= len(lines)
    return lines[rule.position - 1] if known else None


def place_of(rule: Rule) -> str:
    """Return where a rule stands, in words: its id, and its line if that can be told.

    Args:
        rule: The rule.
    """
    line = line_of(rule)
    return rule.id if line is None else f"{rule.id}, line {line}"
