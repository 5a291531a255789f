"""The files and key sources that the configuration names, as far as its settings' types tell."""

from __future__ import annotations

import os

from collections.abc import Iterator
from typing import Any

from strongroom._record import Record
from strongroom.audit.stage import GuardedSink
from strongroom.cli.diagnosis.finding import Place
from strongroom.cli.keyfile import OLD
from strongroom.cli.parts import opened_parts, own_path, settings_of
from strongroom.cli.settings import plugin_tables
from strongroom.config import files
from strongroom.config.convert import fields
from strongroom.config.load import Configuration
from strongroom.config.references import NEW
from strongroom.contracts import KeySource, Trail
from strongroom.discovery import Kind
from strongroom.errors import StrongroomError
from strongroom.trails import OpenTrail


class NamedKey(Record):
    """A key source and the setting that names it."""

    setting: str
    source: KeySource


def all_settings(place: Place) -> Iterator[tuple[str, Any]]:
    """Yield the table's name and the settings object of each configured plugin whose settings are usable."""
    if place.configuration is None:
        return
    for kind, table in plugin_tables(place.configuration):
        try:
            yield table.place.table, settings_of(table, kind, place.catalogue)
        except StrongroomError:
            continue  # another check tells


def keys(place: Place) -> list[NamedKey]:
    """Return every key source that is configured."""
    return [
        NamedKey(setting=f"{table}.{name}", source=value)
        for table, settings in all_settings(place)
        for name in fields(type(settings))[0]
        if isinstance(value := getattr(settings, name), KeySource)
    ]


def key_files(place: Place) -> list[str]:
    """Return the files that hold a key."""
    return [key.source.path for key in keys(place) if key.source.path is not None]


def left_keys(place: Place) -> list[str]:
    """Return what changes of keys have left beside the key files: new keys not in use yet, and old ones."""
    return [
        path
        for key in dict.fromkeys(key_files(place))
        for path in _with_companions(key)
        if path == key + NEW or path.startswith(key + OLD)
    ]


def kept_files(place: Place) -> list[str]:
    """Return the files in which stores and trails are kept, with what lies beside them under the same name."""
    found: list[str] = []
    for _, settings in all_settings(place):
        path = own_path(settings)
        if path is not None:
            found += _with_companions(path)
    return found


def _with_companions(path: str) -> list[str]:
    """Return a file and its lock, key, rotated predecessors and the like: same folder, same beginning."""
    folder, name = os.path.split(path)
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [
        os.path.join(folder, other) for other in names if other == name or other.startswith((f"{name}.", f"{name}-"))
    ]


def configuration_files(place: Place) -> list[str]:
    """Return the configuration's own files that exist."""
    if place.configuration is None:
        return []
    source = place.configuration.source
    overlay = os.path.join(os.path.dirname(source), files.OVERLAY)
    included = [part.path for layer in place.configuration.layers for part in layer.included]
    return [path for path in (source, overlay, *included) if os.path.isfile(path)]


def opened_trails(configuration: Configuration) -> Iterator[OpenTrail]:
    """Yield the trails that can be read back, of the sinks that can be opened; they are closed at the end."""
    with opened_parts(configuration, kinds=(Kind.AUDIT_SINK,)) as parts:
        for part in parts:
            if isinstance(part.opened, GuardedSink) and isinstance(part.opened.wrapped, Trail):
                yield OpenTrail(part.opened)
