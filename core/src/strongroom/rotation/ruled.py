"""Which secrets ``[rotation]`` tables are for: the names that these give, and those that backends list."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom._record import Record
from strongroom.config.rotation import RotationRule
from strongroom.contracts.backend import ListRequest
from strongroom.contracts.patterns import name_pattern
from strongroom.errors import ClosedError, StrongroomError
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts

_WILDCARDS = frozenset({"*", "**"})


class Ruled(Record):
    """A secret that a rule is for."""

    name: SecretName
    rule: RotationRule
    backend: str
    """The configured name of its backend."""
    asked: bool = False
    """Whether nobody but the caller says that there is such a secret."""


class Unlisted(Record):
    """A rule with a pattern, and why a backend does not tell for which names it is."""

    rule: RotationRule
    backend: str
    error: StrongroomError


class Found(Record):
    """What was found below a folder."""

    ruled: tuple[Ruled, ...]
    """Sorted by name."""
    unlisted: tuple[Unlisted, ...]


def find_ruled(parts: Parts, gate: Gate, folder: str, action: Action, *, itself: bool) -> Found:
    """Return the secrets below a folder that rules are for.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may do.
        folder: The folder's canonical name; empty for the root.
        action: What the principal has to be allowed.
        itself: Whether the secret with the folder's own name is meant as well.
    """
    found: dict[SecretName, Ruled] = {}
    for one in _given(parts, folder, itself=itself):
        found.setdefault(one.name, one)
    unlisted: list[Unlisted] = []
    for backend, place, rules in _places(parts, folder):
        try:
            names = parts.backend(backend).list(ListRequest(prefix=place)).names
        except ClosedError:
            raise
        except StrongroomError as error:
            if gate.permits_below(action, place):
                unlisted += [Unlisted(rule=rule, backend=backend, error=error) for rule in rules]
            continue
        for name in names:
            rule = parts.configuration.rotation.rule(name)
            if rule is not None and name.is_below(folder) and parts.routing.of(name) == backend:
                found[name] = Ruled(name=name, rule=rule, backend=backend)
    visible = sorted((one for one in found.values() if gate.permits(action, one.name)), key=lambda one: one.name)
    return Found(ruled=tuple(visible), unlisted=tuple(unlisted))


def _given(parts: Parts, folder: str, *, itself: bool) -> Iterator[Ruled]:
    """Return the names that tables give exactly, and the one that the caller does."""
    rules = parts.configuration.rotation
    for pattern, rule in rules.by_pattern.items():
        segments = name_pattern(pattern)
        if _WILDCARDS.isdisjoint(segments):
            name = SecretName("/".join(segments))
            if name.is_below(folder) or (itself and name == folder):
                yield Ruled(name=name, rule=rule, backend=parts.routing.of(name))
    if itself and folder:
        name = SecretName(folder)
        own = rules.rule(name)
        if own is not None:
            yield Ruled(name=name, rule=own, backend=parts.routing.of(name), asked=True)


def _places(parts: Parts, folder: str) -> Iterator[tuple[str, str, list[RotationRule]]]:
    """Return what is to be listed for the rules with patterns: backend, folder, and the rules that need it."""
    needed: dict[tuple[str, str], list[RotationRule]] = {}
    for pattern, rule in parts.configuration.rotation.by_pattern.items():
        head = _head(pattern)
        place = None if head is None else _common(head, folder)
        if place is not None:
            for backend in parts.routing.below(place):
                needed.setdefault((backend, place), []).append(rule)
    for backend, place in sorted(needed):
        above = [other for kept, other in needed if kept == backend and other != place]
        # What is listed as part of a larger folder need not be listed once more.
        if not any(_is_in(place, other) for other in above):
            inside = [rules for (kept, other), rules in needed.items() if kept == backend and _is_in(other, place)]
            yield backend, place, [rule for rules in inside for rule in rules]


def _head(pattern: str) -> str | None:
    """Return the deepest folder in which all names are that a pattern matches; ``None`` if it is a name itself."""
    segments = name_pattern(pattern)
    first = next((place for place, part in enumerate(segments) if part in _WILDCARDS), None)
    return None if first is None else "/".join(segments[:first])


def _common(one: str, other: str) -> str | None:
    """Return the deeper of two folders, if it is in the other one."""
    if _is_in(one, other):
        return one
    return other if _is_in(other, one) else None


def _is_in(folder: str, other: str) -> bool:
    return not other or folder == other or folder.startswith(other + "/")
