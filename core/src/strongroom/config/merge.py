"""Merges layers into one configuration and remembers where each setting came from.

Later layers win key by key. Lists of tables (``[[audit]]`` and the like) of a
later file are added. What the user's or the system's file marks ``locked`` stays
theirs: :mod:`strongroom.config.locks` says what others may still add.
"""

from __future__ import annotations

import os

from typing import Any, Final

from strongroom._record import Record
from strongroom.config.convert import suggestion
from strongroom.config.layers import INCLUDE, Layer
from strongroom.config.locks import Locks
from strongroom.config.references import Text, is_reference
from strongroom.contracts.names import refuse_reserved
from strongroom.errors import ConfigurationError, InvalidNameError
from strongroom.model import SecretName

LISTS: Final = frozenset({"audit", "anomaly", "alerts", "announcements", "policies"})
COMMAND_TABLES: Final = ("agent", "mcp")
"""Commands of other distributions that have a table of settings, which is called like the command."""
TABLES: Final = frozenset(
    {"backends", "routes", "cache", "telemetry", "resilience", "rotation", "watch", *COMMAND_TABLES}
)
SCALARS: Final = frozenset(
    {"backend", "fallback", "principal", "locked", "state", "state_every", "lock_memory", "rotate_every"}
)
_NESTED: Final = frozenset({"backends", "rotation"})
"""Tables whose keys are the names of tables."""
_SWITCHES: Final = frozenset({"lock_memory"})
SECTIONS: Final = LISTS | TABLES | SCALARS
ENVIRONMENT: Final = "<environment>"
_PREFIX: Final = "STRONGROOM_"


class Item(Record):
    """One table of a list such as ``[[audit]]``, with the layer that declares it."""

    table: dict[str, Any]
    layer: Layer
    position: int
    """Its place among the tables of that list in its file, from 1."""
    locked: bool = False


class Merged(Record):
    """All layers in one."""

    settings: dict[tuple[str, ...], Any]
    """Each single setting by its path, such as ``("cache", "ttl")``."""
    origins: dict[tuple[str, ...], Layer]
    lists: dict[str, tuple[Item, ...]]
    audit_off: Layer | None
    """The layer that says ``audit = "none"``, if one does."""
    including: bool = False
    """Whether a layer includes files of policies, whether or not there are any."""

    def table(self, *path: str) -> dict[str, Any]:
        """Return a table's keys and values, nested tables included."""
        content: dict[str, Any] = {}
        for key, value in self.settings.items():
            if key[: len(path)] == path and len(key) > len(path):
                inner = content
                for part in key[len(path) : -1]:
                    inner = inner.setdefault(part, {})
                if value == {}:
                    # A table of which nothing is said; another layer may have said something.
                    inner.setdefault(key[-1], {})
                else:
                    inner[key[-1]] = value
        return content


def environment_layer(environment: dict[str, str]) -> Layer:
    """Return the settings that environment variables give.

    ``STRONGROOM_BACKEND`` is the setting ``backend``, ``STRONGROOM_CACHE__TTL``
    is ``ttl`` in ``[cache]``: two underscores step into a table. A name with small
    letters is no setting.
    """
    content: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        path = variable[len(_PREFIX) :].lower().split("__")
        known = (len(path) == 1 and path[0] in SCALARS | {"audit"}) or (len(path) > 1 and path[0] in TABLES)
        exact = variable.startswith(_PREFIX) and variable == variable.upper()
        if not exact or not known or path[0] == "locked":
            continue
        inner = content
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigurationError(
                    f"{variable} steps into a table, and another variable says that it is none",
                    hint="unset one of the two",
                )
        inner[path[-1]] = Text(text)
    return Layer(path=ENVIRONMENT, folder=os.getcwd(), content=content, text=True)


def merge(layers: list[Layer], locking: list[Layer]) -> Merged:
    """Merge the layers, later ones over earlier ones, under what others have locked.

    Raises:
        ConfigurationError: A section is unknown or of the wrong shape, or a layer
            tries to weaken what is locked.
    """
    merged = Merged(settings={}, origins={}, lists=dict.fromkeys(LISTS, ()), audit_off=None)
    locks = Locks(SECTIONS - {"locked"})
    for layer in locking:
        merged = _add_locked(merged, layer, locks)
    for layer in layers:
        merged = _add(merged, layer, layer.content, locks)
        for part in layer.included:
            merged = _add(merged, part, part.content, locks)
        if layer.binding:
            _choose_only(merged, layer, locks.add(layer))
    return merged


def _add_locked(merged: Merged, layer: Layer, locks: Locks) -> Merged:
    """Add what a layer locks; where an earlier one has locked the same, only tables of lists."""
    sections = locks.sections(layer)
    held = {
        section: value
        for section, value in layer.content.items()
        if section in sections and (section in LISTS or locks.is_free(section))
    }
    if "policies" in sections and INCLUDE in layer.content:
        held[INCLUDE] = layer.content[INCLUDE]
    merged = _add(merged, layer, held, locks, locked=True)
    for part in layer.included if "policies" in sections else ():
        merged = _add(merged, part, part.content, locks, locked=True)
    _choose_only(merged, layer, locks.add(layer))
    return merged


def _choose_only(merged: Merged, layer: Layer, own: list[str]) -> None:
    """Make the only backend of a layer that locks `backends` the default, so that further ones change nothing."""
    backends = layer.content.get("backends", {})
    if "backends" in own and len(backends) == 1:
        path = ("backend",)
        merged.settings.setdefault(path, next(iter(backends)))
        merged.origins.setdefault(path, layer)


def _add(merged: Merged, layer: Layer, content: dict[str, Any], locks: Locks, *, locked: bool = False) -> Merged:
    for section, value in content.items():
        if section == INCLUDE:
            merged = merged.replace(including=merged.including or bool(value))
            continue
        if section not in SECTIONS:
            hint = suggestion(section, SECTIONS | {INCLUDE})
            raise ConfigurationError(f"{section} in {layer.path} is not a setting", hint=hint)
        if section == "audit" and value == "none":
            locks.check_off(layer, section)
            merged = merged.replace(audit_off=layer)
        elif section in LISTS:
            merged = _add_list(merged, section, value, layer, locks, locked=locked)
        elif section in TABLES:
            _add_table(merged, section, value, layer, locks)
        elif section != "locked":
            _add_scalar(merged, section, value, layer, locks)
    return merged


def _add_list(merged: Merged, section: str, value: Any, layer: Layer, locks: Locks, *, locked: bool) -> Merged:
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        hint = f"expected [[{section}]] tables" + (', or audit = "none"' if section == "audit" else "")
        raise ConfigurationError(f"{section} in {layer.path} is not usable", hint=hint)
    old = merged.lists[section]
    locks.check_tables(layer, section, value, [(item.layer, item.table) for item in old])
    items = tuple(
        Item(table=table, layer=layer, position=position, locked=locked)
        for position, table in enumerate(value, start=1)
    )
    return merged.replace(lists=merged.lists | {section: old + items})


def _add_table(merged: Merged, section: str, value: Any, layer: Layer, locks: Locks) -> None:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{section} in {layer.path} is not usable", hint=f"expected a table [{section}]")
    nested = section in _NESTED
    if section == "routes":
        value = {_prefix(prefix, layer): backend for prefix, backend in value.items()}
    for path, leaf in _leaves(value, (section,), depth=2 if nested else 1):
        if nested and len(path) == 2 and leaf != {}:
            raise ConfigurationError(f"{'.'.join(path)} in {layer.path} is not usable", hint="expected a table")
        old: Any = merged.settings.get(path)
        within = layer.text and _is_table(leaf) and _is_table(old)
        new = _over(old, leaf) if within else leaf
        if locks.admit(layer, path, new, old):
            merged.settings[path] = new
            # A variable that reaches into a nested table leaves the rest of it, and its paths, where they stood.
            merged.origins[path] = merged.origins[path] if within else layer


def _prefix(prefix: str, layer: Layer) -> str:
    """Return a route's prefix in the one form that names have, so that no two spellings of it are two routes."""
    try:
        name = SecretName(prefix.rstrip("/"))
        refuse_reserved(name)
        return str(name)
    except InvalidNameError as error:
        raise ConfigurationError(
            f"routes.{prefix} in {layer.path} is not a prefix of names: {error.what}", hint=error.hint
        ) from error


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and not is_reference(value)


def _over(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a table in which the new one's keys win, tables within it included."""
    both = {key: _over(old[key], new[key]) for key in new if _is_table(new[key]) and _is_table(old.get(key))}
    return old | new | both


def _leaves(table: dict[str, Any], path: tuple[str, ...], *, depth: int) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in table.items():
        if isinstance(value, dict) and depth > 1:
            # A table of which nothing is said is there all the same.
            found += _leaves(value, (*path, key), depth=depth - 1) or [((*path, key), {})]
        else:
            found.append(((*path, key), value))
    return found


def _add_scalar(merged: Merged, section: str, value: Any, layer: Layer, locks: Locks) -> None:
    if not isinstance(value, str) and not (isinstance(value, bool) and section in _SWITCHES):
        expected = "true or false" if section in _SWITCHES else "a text"
        raise ConfigurationError(f"{section} in {layer.path} is not usable", hint=f"expected {expected}")
    path = (section,)
    if locks.admit(layer, path, value, merged.settings.get(path)):
        merged.settings[path] = value
        merged.origins[path] = layer
