"""Every configured backend and sink, each opened by itself so that one that fails hides no other."""

from __future__ import annotations

import os

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from strongroom._record import Record
from strongroom.audit.stage import GuardedSink
from strongroom.config.convert import fields
from strongroom.config.load import Configuration, PluginTable, SinkTable
from strongroom.contracts import FilePath, Health, HealthState
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import StrongroomError
from strongroom.opening import open_backend, open_sink
from strongroom.resilience.guarded import GuardedBackend


class Part(Record):
    """One backend or sink, and how it is."""

    kind: Kind
    name: str
    """A backend's configured name, a sink's type."""
    health: Health
    required: bool = True
    """Whether nothing works without it; false for sinks that may lose events."""
    opened: GuardedBackend | GuardedSink | None = None
    error: StrongroomError | None = None
    """Why it could not be opened."""


@contextmanager
def opened_parts(
    configuration: Configuration, *, kinds: tuple[Kind, ...] = (Kind.BACKEND, Kind.AUDIT_SINK)
) -> Iterator[list[Part]]:
    """Open every backend and sink, ask each how it is, and close them at the end.

    Nothing is recorded and no secret is read.

    Args:
        configuration: Names them.
        kinds: Of which kinds.
    """
    catalogue = Catalogue()
    parts: list[Part] = []
    if Kind.BACKEND in kinds:
        parts += [_backend(table, catalogue) for table in configuration.backends.values()]
    if Kind.AUDIT_SINK in kinds:
        parts += [_sink(table, catalogue) for table in configuration.sinks]
    try:
        yield parts
    finally:
        for part in parts:
            _close(part)


def told_facts(health: Health) -> str:
    """Return what a part says of itself beside its state, in one line; what is nothing or not so is left out.

    Args:
        health: What it said.
    """
    told = [(name.replace("_", " "), fact) for name, fact in health.facts if fact not in {"", "0", "no"}]
    return ", ".join(f"{name} {fact}" for name, fact in told)


def _close(part: Part) -> None:
    try:
        if part.opened is not None:
            part.opened.close()
    # The plugin boundary: what was found is worth more than how it ended.
    except Exception:  # noqa: BLE001, S110  # see above
        return


def _backend(table: PluginTable, catalogue: Catalogue) -> Part:
    try:
        backend = open_backend(table, catalogue)
    except StrongroomError as error:
        return Part(kind=Kind.BACKEND, name=table.name, health=_down(error), error=error)
    return Part(kind=Kind.BACKEND, name=table.name, health=backend.health(), opened=backend)


def _sink(table: SinkTable, catalogue: Catalogue) -> Part:
    try:
        sink = open_sink(table, catalogue)
        settings = settings_of(table, Kind.AUDIT_SINK, catalogue)
    except StrongroomError as error:
        return Part(kind=Kind.AUDIT_SINK, name=table.type, health=_down(error), error=error, required=table.required)
    health = sink.health()
    problem = "" if health.state is HealthState.DOWN else _storage_problem(settings)
    if problem:
        # A process that has recorded nothing yet may not have met what will stop it.
        hint = "free space on its disk, or check its folder and permissions"
        health = Health(state=HealthState.DOWN, reason=problem, hint=hint)
    return Part(kind=Kind.AUDIT_SINK, name=table.type, health=health, opened=sink, required=table.required)


def _down(error: StrongroomError) -> Health:
    return Health(state=HealthState.DOWN, reason=error.what, hint=error.hint)


def settings_of(table: PluginTable, kind: Kind, catalogue: Catalogue) -> Any:
    """Return the settings object of a table's plugin.

    Args:
        table: The table.
        kind: Which kind of plugin it configures.
        catalogue: Where the plugin is found.

    Raises:
        PluginError: No plugin offers it, or the one that does is broken.
        ConfigurationError: The table does not fit the plugin's settings.
    """
    return table.settings(catalogue.load(kind, table.type).settings)


def own_path(settings: Any) -> str | None:
    """Return the file in which a part keeps what it is given: its setting ``path``, if it has one.

    Args:
        settings: The part's settings object.
    """
    if fields(type(settings))[0].get("path") != FilePath:
        return None
    path: str = settings.path
    return path


def _storage_problem(settings: Any) -> str:
    """Say why nothing can be appended to the part's own file; an empty answer means that it can."""
    path = own_path(settings)
    if path is None:
        return ""
    place = path
    while not os.path.exists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    if os.path.isdir(place) == (place == path):
        return f"{place} is {'a folder' if place == path else 'no folder'}, so {path} cannot be written"
    if not os.access(place, os.W_OK):
        return f"{place} cannot be written to"
    return f"there is no space left for {path}" if free_bytes(place) == 0 else ""


def free_bytes(path: str) -> int | None:
    """Return how much this user can still write on the disk of a path, in bytes; ``None`` if it cannot be told.

    Args:
        path: A file or folder that exists.
    """
    try:
        status = os.statvfs(path)
    except (OSError, AttributeError):
        return None
    return status.f_bavail * status.f_frsize if status.f_blocks else None
