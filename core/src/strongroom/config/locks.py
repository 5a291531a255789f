"""Locks: what the system's and the user's file keep everybody else from changing."""

from __future__ import annotations

import os

from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

from strongroom.config.layers import Layer
from strongroom.config.references import absolute, is_reference
from strongroom.errors import ConfigurationError

_TOGETHER: Final = {
    # Who may choose the principal may choose the rights.
    "policies": ("principal",),
    # Who may choose where names lead may choose what is found there; and who may choose where copies are kept gets
    # the values of all that is read.
    "backends": ("backend", "routes", "fallback"),
    "backend": ("routes",),
    "routes": ("backend",),
}


class Locks:
    """Which sections are locked and by whom, and so what another layer may set.

    Args:
        sections: All that can be locked.
    """

    def __init__(self, sections: Iterable[str]) -> None:
        self._lockable = frozenset(sections)
        self._holders: dict[str, list[Layer]] = {}

    def sections(self, layer: Layer) -> list[str]:
        """Return what a layer locks, with what is locked together with that.

        Raises:
            ConfigurationError: What it says is no list of sections.
        """
        stated = layer.content.get("locked", [])
        if not isinstance(stated, list) or any(str(section) not in self._lockable for section in stated):
            raise ConfigurationError(
                f"locked in {layer.path} is not usable",
                hint=f"expected a list of {', '.join(sorted(self._lockable))}",
            )
        together = [other for section in stated for other in _TOGETHER.get(section, ())]
        return list(dict.fromkeys([*stated, *together]))

    def is_free(self, section: str) -> bool:
        """Tell whether nobody has locked a section."""
        return section not in self._holders

    def add(self, layer: Layer) -> list[str]:
        """Lock what a layer locks, and return the sections that it is the first to lock, and so owns.

        Raises:
            ConfigurationError: What it says is no list of sections.
        """
        sections = self.sections(layer)
        own = list(filter(self.is_free, sections))
        for section in sections:
            self._holders.setdefault(section, []).append(layer)
        return own

    def admit(self, layer: Layer, path: tuple[str, ...], value: Any, held: Any) -> bool:
        """Tell whether a layer's value counts; if not, it repeats what the lock's owner says, who keeps the setting.

        Args:
            layer: Who wants to set it.
            path: The setting, such as ``("cache", "ttl")``.
            value: What it would become.
            held: What it is; ``None`` if it is not set.

        Raises:
            ConfigurationError: It is locked, and the value would change it.
        """
        owner = self._owner(path)
        if owner is None:
            return True
        verb = f"change {'.'.join(path)} in" if len(path) > 1 else "set"
        if value != held:
            _refuse(layer, f"{verb} {path[0]}", owner)
        if layer.folder != owner.folder and _depends_on_folder(path, value):
            _refuse(layer, f"{verb} {path[0]}", owner, ": a relative path means another file there")
        return False

    def _owner(self, path: tuple[str, ...]) -> Layer | None:
        """Return whose setting it is; none's is one of a backend that the owner of `backends` does not have."""
        if path[0] not in self._holders:
            return None
        owner = self._holders[path[0]][0]
        backends = owner.content.get("backends")
        return None if path[0] == "backends" and backends and path[1] not in backends else owner

    def check_off(self, layer: Layer, section: str) -> None:
        """Refuse to switch a locked section off.

        Raises:
            ConfigurationError: It is locked.
        """
        for holder in self._holders.get(section, ()):
            _refuse(layer, f"switch off {section}", holder)

    def check_tables(
        self, layer: Layer, section: str, tables: list[dict[str, Any]], held: Iterable[tuple[Layer, dict[str, Any]]]
    ) -> None:
        """Refuse tables of a list that would weaken those of the layers that have locked it.

        Args:
            layer: Who wants to add them.
            section: The list, such as ``audit``.
            tables: What it wants to add.
            held: The tables that are there, each with its layer.

        Raises:
            ConfigurationError: A policy allows something, or another table uses a file of a locked one.
        """
        holders = self._holders.get(section, [])
        if section == "policies":
            if holders and any(table.get("effect") != "deny" for table in tables):
                _refuse(layer, "allow more in policies", holders[0])
            return  # names look like paths, and a policy has no file
        if section in {"alerts", "announcements"}:
            return  # nor has whoever is told of something; a program may be told twice
        locked = [(owner, table) for owner, table in held if any(owner is holder for holder in holders)]
        for owner, own in locked:
            taken = set(_places(own, owner.folder, every=True))
            if any(_belongs(place, taken) for table in tables for place in _places(table, layer.folder, every=False)):
                _refuse(layer, f"use a file that belongs to {section}", owner)


def _refuse(layer: Layer, deed: str, owner: Layer, reason: str = "") -> NoReturn:
    raise ConfigurationError(
        f"{layer.path} tries to {deed}, which {owner.path} has locked",
        hint=f"remove the setting from the first file{reason}",
    )


def _depends_on_folder(path: tuple[str, ...], value: Any) -> bool:
    """Tell whether a setting may mean another file if another folder's file says it.

    Only the plugin knows which texts are paths, so in a backend's table each may be.
    """
    if is_reference(value):
        return "file" in value and not os.path.isabs(str(value["file"]))
    if isinstance(value, dict | list):
        return any(_depends_on_folder(path, part) for part in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and path[0] == "backends" and path[-1] != "type" and not _is_absolute(value)


def _is_absolute(text: str) -> bool:
    return os.path.isabs(text) or "://" in text


def _places(table: dict[str, Any], folder: str, *, every: bool) -> Iterator[str]:
    """Yield the real paths to which a table's texts lead, and for files that exist their identity.

    Args:
        table: A table of a plugin, so that nobody here knows which texts are paths.
        folder: What they are relative to.
        every: Whether even a mere word is taken for a path.
    """
    for key, value in table.items():
        for text in _texts(value) if key != "type" else ():
            path = absolute(text, folder)
            if every or "/" in text or "." in text or os.path.lexists(path):
                yield os.path.realpath(path)
                if os.path.exists(path):
                    status = os.stat(path)
                    yield f"file {status.st_dev}:{status.st_ino}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value and "://" not in value and "\0" not in value:
        yield value
    elif isinstance(value, dict | list) and not is_reference(value):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _belongs(place: str, taken: set[str]) -> bool:
    """Tell whether it is one of those files, or one with its key, its lock or what was before it."""
    return place in taken or any(place.startswith((f"{other}.", f"{other}-")) for other in taken)
