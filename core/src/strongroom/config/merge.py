"""Merges layers into one configuration and remembers where each setting came from.

Later layers win key by key. Lists of tables (``[[audit]]`` and the like) of a
later file are added. What the user's or the system's file marks ``locked`` can
be added to, never changed, switched off or redirected.
"""

from __future__ import annotations

import os

from typing import Any, Final

from strongroom._record import Record
from strongroom.config.convert import suggestion
from strongroom.config.files import Layer
from strongroom.config.references import Text, is_reference
from strongroom.errors import ConfigurationError

LISTS: Final = frozenset({"audit", "anomaly", "policies"})
TABLES: Final = frozenset({"backends", "routes", "cache", "telemetry"})
SCALARS: Final = frozenset({"backend", "principal", "locked"})
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

    def table(self, *path: str) -> dict[str, Any]:
        """Return a table's keys and values, nested tables included."""
        content: dict[str, Any] = {}
        for key, value in self.settings.items():
            if key[: len(path)] == path and len(key) > len(path):
                inner = content
                for part in key[len(path) : -1]:
                    inner = inner.setdefault(part, {})
                inner[key[-1]] = value
        return content


def environment_layer(environment: dict[str, str]) -> Layer:
    """Return the settings that environment variables give.

    ``STRONGROOM_BACKEND`` is the setting ``backend``, ``STRONGROOM_CACHE__TTL``
    is ``ttl`` in ``[cache]``: two underscores step into a table.
    """
    content: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        path = variable[len(_PREFIX) :].lower().split("__")
        known = (len(path) == 1 and path[0] in SCALARS | {"audit"}) or (len(path) > 1 and path[0] in TABLES)
        if not variable.startswith(_PREFIX) or not known or path[0] == "locked":
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
    locked = {section: layer for layer in reversed(locking) for section in _locked_sections(layer)}
    for layer in locking:
        kept = {key: value for key, value in layer.content.items() if locked.get(key) is layer}
        merged = _add(merged, layer.replace(content=kept), {}, locking=True)
    for layer in layers:
        merged = _add(merged, layer, locked, locking=False)
        if layer.binding and layer.content.get("locked"):
            locked = dict.fromkeys(_locked_sections(layer), layer) | locked
    return merged


def _locked_sections(layer: Layer) -> list[str]:
    sections = layer.content["locked"]
    if not isinstance(sections, list) or any(section not in SECTIONS for section in sections):
        raise ConfigurationError(
            f"locked in {layer.path} is not usable",
            hint=f"expected a list of {', '.join(sorted(SECTIONS - {'locked'}))}",
        )
    # Who may choose the principal may choose the rights: the two are locked together.
    return [*sections, "principal"] if "policies" in sections else sections


def _add(merged: Merged, layer: Layer, locked: dict[str, Layer], *, locking: bool) -> Merged:
    for section, value in layer.content.items():
        if section not in SECTIONS:
            raise ConfigurationError(f"{section} in {layer.path} is not a setting", hint=suggestion(section, SECTIONS))
        if section == "audit" and value == "none":
            merged = merged.replace(audit_off=layer)
            _refuse_if_locked(section, "switch off", layer, locked)
        elif section in LISTS:
            merged = _add_list(merged, section, value, layer, locked, locking=locking)
        elif section in TABLES:
            _add_table(merged, section, value, layer, locked)
        elif section != "locked":
            _add_scalar(merged, section, value, layer, locked)
    return merged


def _refuse_if_locked(section: str, verb: str, layer: Layer, locked: dict[str, Layer]) -> None:
    if section in locked:
        raise ConfigurationError(
            f"{layer.path} tries to {verb} {section}, which {locked[section].path} has locked",
            hint="remove the setting from the first file",
        )


def _add_list(
    merged: Merged, section: str, value: Any, layer: Layer, locked: dict[str, Layer], *, locking: bool
) -> Merged:
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        hint = f"expected [[{section}]] tables" + (', or audit = "none"' if section == "audit" else "")
        raise ConfigurationError(f"{section} in {layer.path} is not usable", hint=hint)
    if section == "policies" and section in locked and any(table.get("effect") != "deny" for table in value):
        _refuse_if_locked(section, "allow more in", layer, locked)
    items = tuple(
        Item(table=table, layer=layer, position=position, locked=locking)
        for position, table in enumerate(value, start=1)
    )
    return merged.replace(lists=merged.lists | {section: merged.lists[section] + items})


def _add_table(merged: Merged, section: str, value: Any, layer: Layer, locked: dict[str, Layer]) -> None:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{section} in {layer.path} is not usable", hint=f"expected a table [{section}]")
    nested = section == "backends"
    for path, leaf in _leaves(value, (section,), depth=2 if nested else 1):
        if nested and len(path) == 2:
            raise ConfigurationError(f"{'.'.join(path)} in {layer.path} is not usable", hint="expected a table")
        old: Any = merged.settings.get(path)
        within = layer.text and _is_table(leaf) and _is_table(old)
        new = _over(old, leaf) if within else leaf
        if section in locked and old != new and (path in merged.settings or _closed(merged, path, locked[section])):
            _refuse_if_locked(section, f"change {'.'.join(path)} in", layer, locked)
        merged.settings[path] = new
        # A variable that reaches into a nested table leaves the rest of it, and its paths, where they stood.
        merged.origins[path] = merged.origins[path] if within else layer


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and not is_reference(value)


def _over(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a table in which the new one's keys win, tables within it included."""
    both = {key: _over(old[key], new[key]) for key in new if _is_table(new[key]) and _is_table(old.get(key))}
    return old | new | both


def _closed(merged: Merged, path: tuple[str, ...], lock: Layer) -> bool:
    """Tell whether a new setting would change what a locked one means: within its table, or below its route."""
    locked = [key for key, layer in merged.origins.items() if layer.path == lock.path and key[0] == path[0]]
    if path[0] == "routes":
        return any(f"{path[1].rstrip('/')}/".startswith(f"{key[1].rstrip('/')}/") for key in locked)
    return any(key[:-1] == path[:-1] for key in locked)


def _leaves(table: dict[str, Any], path: tuple[str, ...], *, depth: int) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in table.items():
        if isinstance(value, dict) and depth > 1:
            found += _leaves(value, (*path, key), depth=depth - 1)
        else:
            found.append(((*path, key), value))
    return found


def _add_scalar(merged: Merged, section: str, value: Any, layer: Layer, locked: dict[str, Layer]) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{section} in {layer.path} is not usable", hint="expected a text")
    if merged.settings.get((section,)) != value:
        _refuse_if_locked(section, "set", layer, locked)
    merged.settings[(section,)] = value
    merged.origins[(section,)] = layer
