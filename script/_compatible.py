"""Tells whether what has changed between two records may change in a minor version.

The rules are those of ``docs/adr/0031-what-may-change-when.md``.
"""

from __future__ import annotations

import ast

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

GROWS_BY_HAND: Final = ("strongroom.contracts.", "strongroom.testing.")
"""Where plugins override methods: one more argument would be one that they do not take."""


class Way(Enum):
    """How a fact differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Difference(NamedTuple):
    """One fact that is in one record and not, or not so, in the other."""

    way: Way
    key: str
    before: str
    after: str
    problem: str
    """Why it may come with a major version only; empty if a minor one may have it."""

    def __str__(self) -> str:
        """Return a line for people."""
        told = self.after if self.way is Way.ADDED else self.before
        if self.way is Way.CHANGED:
            told = f"{self.before}  ->  {self.after}"
        verdict = f"NOT in a minor version: {self.problem}" if self.problem else "allowed in a minor version"
        return f"{self.way.value}: {self.key}: {told}\n    {verdict}"


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """Return how two records differ, by key."""
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, ""), after.get(key, "")
        if key not in after:
            found.append(Difference(Way.REMOVED, key, old, new, "somebody relies on it; deprecate it until the next"))
        elif key not in before:
            found.append(Difference(Way.ADDED, key, old, new, _added(key, new, before)))
        elif old != new:
            found.append(Difference(Way.CHANGED, key, old, new, _changed(key, old, new)))
    return found


def _added(key: str, fact: str, before: Mapping[str, str]) -> str:
    owner = key.rpartition("." if key.startswith(("strongroom.", "given ")) else " ")[0]
    if owner not in before and not (key.startswith("setting ") and _has_others(owner, before)):
        return ""  # as new as what it belongs to
    if fact.startswith("abstract"):
        return "plugins that were written before do not have it; give it a working default"
    if fact.startswith("field ") and " = " not in fact and not key.startswith("given "):
        return "whoever makes such a record does not give it; give it a default"
    if fact.startswith("required ") or fact.endswith(" required"):
        return "what was written before does not give it; let it be left out"
    return ""


def _has_others(owner: str, before: Mapping[str, str]) -> bool:
    return any(key.startswith(owner + " ") for key in before)


def _changed(key: str, old: str, new: str) -> str:
    if old == new.replace("abstract ", "", 1) or new.startswith("abstract ") > old.startswith("abstract "):
        return "what was written before does not have it; give it a working default"
    old, new = old.removeprefix("abstract "), new.removeprefix("abstract ")
    if old == new:
        return ""
    if key.startswith(("setting ", "command ")):
        return _choice(old, new)
    if old.startswith("class(") and new.startswith("class("):
        lost = _parts(old[6:-1], ", ") - _parts(new[6:-1], ", ")
        return f"it is no longer a {' or '.join(sorted(lost))}" if lost else ""
    if "constant {" in old and "constant {" in new:
        lost = _parts(old[10:-1], ", ") - _parts(new[10:-1], ", ")
        return f"{', '.join(sorted(lost))} has gone" if lost else ""
    if old.startswith("field ") and new.startswith("field ") and " = " not in old:
        return "" if new.startswith(f"{old} = ") else "its type is another one"
    return _called(key, old, new)


def _choice(old: str, new: str) -> str:
    """Judge a setting, an option or an argument: what was accepted is, and what is left out stands for the same."""
    freely = old.removeprefix("required ")
    if new in {freely, f"{freely} ?"} or old.removesuffix(" required") == new.partition(" = ")[0]:
        return ""  # it may now be left out
    before, after = (text.partition(" = ") for text in (old, new))
    if before[2] != after[2]:
        return "its default is another one"
    lost = _parts(before[0], " | ") - _parts(after[0], " | ")
    kinds = [text.partition(" of ")[0] for text in (before[0], after[0])]
    if " of " in before[0]:
        lost = _parts(before[0].partition(" of ")[2], " | ") - _parts(after[0].partition(" of ")[2], " | ")
        return "" if kinds[0] == kinds[1] and not lost else "something that was accepted no longer is"
    return "" if not lost else "something that was accepted no longer is"


def _parts(text: str, separator: str) -> set[str]:
    return set(filter(None, text.split(separator)))


def _called(key: str, old: str, new: str) -> str:
    """Judge a function or method: each call that was right stays right, and gives what it gave."""
    before, after = _signature(old), _signature(new)
    if before is None or after is None:
        return "it is another thing"
    if old.partition(" (")[0] != new.partition(" (")[0]:
        return "it is called in another way"
    if key.startswith(GROWS_BY_HAND) and "method" in old:
        return "plugins override it with the arguments that it had; put what is new into the request"
    if not _is_part(after.returns, before.returns):
        return "it gives something else"
    return _arguments(before.args, after.args)


def _signature(fact: str) -> ast.FunctionDef | None:
    """Return a signature as a function's definition; nothing if the fact has none."""
    place = fact.find("(")
    if place < 0 or fact.startswith(("class", "field", "attribute", "member", "alias", "constant")):
        return None
    (node,) = ast.parse(f"def f{fact[place:].replace('= ...', '= 0')}: ...").body
    return node if isinstance(node, ast.FunctionDef) else None


def _arguments(before: ast.arguments, after: ast.arguments) -> str:
    placed, now_placed = before.posonlyargs + before.args, after.posonlyargs + after.args
    if [one.arg for one in placed] != [one.arg for one in now_placed][: len(placed)]:
        return "arguments that are given by their place are others"
    if (before.vararg is None) > (after.vararg is None) or (before.kwarg is None) < (after.kwarg is None):
        return "it takes fewer arguments"
    old, new = _named(before), _named(after)
    for name, (hint, default) in old.items():
        if name not in new:
            return f"the argument {name} has gone"
        if default is not None and new[name][1] != default:
            return f"the argument {name} is another one when it is left out"
        if not _is_part(hint, new[name][0]):
            return f"the argument {name} takes less"
    needed = [name for name, (_, default) in new.items() if name not in old and default is None]
    return f"the argument {needed[0]} has to be given" if needed else ""


def _named(arguments: ast.arguments) -> dict[str, tuple[ast.expr | None, str | None]]:
    """Return each argument's annotation and its default, if it has one."""
    placed = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(placed) - len(arguments.defaults)) + list(arguments.defaults)
    pairs = [*zip(placed, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {one.arg: (one.annotation, ast.unparse(default) if default is not None else None) for one, default in pairs}


def _is_part(narrow: ast.expr | None, wide: ast.expr | None) -> bool:
    if narrow is None or wide is None:
        return narrow is wide
    return _parts(ast.unparse(narrow), " | ") <= _parts(ast.unparse(wide), " | ")
