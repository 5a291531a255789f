"""The whole configuration, checked as far as it can be without loading a plugin."""

from __future__ import annotations

import os

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from strongroom._record import Record
from strongroom.config import files
from strongroom.config.convert import Place, convert, suggestion
from strongroom.config.layers import Layer
from strongroom.config.merge import COMMAND_TABLES, ENVIRONMENT, Item, Merged, environment_layer, merge
from strongroom.config.policies import checked_names, checked_pattern, policy_of
from strongroom.config.resilience import Resilience, ResilienceKeys
from strongroom.config.rotation import RotationKeys, RotationRule, RotationRules
from strongroom.config.tables import PluginTable as PluginTable
from strongroom.config.tables import split
from strongroom.config.telemetry import TelemetrySettings, telemetry_settings
from strongroom.config.top import top_keys
from strongroom.config.watch import WatchKeys
from strongroom.contracts.settings import Seconds
from strongroom.errors import ConfigurationError
from strongroom.model import Principal, PrincipalSource, current_user
from strongroom.policy import Policy

if TYPE_CHECKING:
    from strongroom.config.alerts import AlertTable
    from strongroom.config.announcements import AnnouncementTable

PROGRAMMATIC: Final = "<open()>"


class SinkTable(PluginTable):
    """One ``[[audit]]`` table."""

    required: bool = True


class DetectorTable(PluginTable):
    """One ``[[anomaly]]`` table."""

    block: bool = False
    required: bool = False
    cool_down: float = 600.0


class Origin(Record):
    """One line of what ``strongroom config`` shows."""

    setting: str
    value: Any
    """As it stands in the file, secrets included: show it only after :func:`strongroom.config.shown.shown`."""
    source: str
    section: str
    """The table's or list's name, such as ``backends``; empty for what stands at the top."""
    key: str
    type: str = ""
    """Of which plugin it is a setting; empty for the core's own."""


class SinkKeys(Record):
    """The core's own keys of an ``[[audit]]`` table, but for ``type`` and ``immediate``."""

    required: bool = True


class DetectorKeys(Record):
    """The core's own keys of an ``[[anomaly]]`` table, but for ``type``."""

    action: str = "alert"
    required: bool = False
    cool_down: Seconds = 600.0
    """For how long after an alert no other one about the same is sent."""


class CacheKeys(Record):
    """The core's own keys of the table ``[cache]``."""

    policy: str = "ttl"
    max_entries: int = 10000
    sweep_every: Seconds = 60.0


class Configuration(Record):
    """What ``strongroom.toml`` and its companions say."""

    source: str
    default_backend: str
    backends: dict[str, PluginTable]
    routes: tuple[tuple[str, str], ...]
    """Prefix and backend, longest prefix first."""
    cache: PluginTable
    max_entries: int
    sweep_every: float
    sinks: tuple[SinkTable, ...]
    detectors: tuple[DetectorTable, ...]
    policy: Policy
    principal: Principal
    immediate: tuple[str, ...]
    telemetry: TelemetrySettings
    commands: dict[str, PluginTable]
    """The settings of each command that has a table, such as ``agent``; empty where nothing is said of it."""
    origins: tuple[Origin, ...]
    layers: tuple[Layer, ...]
    """All that was read, also what another layer overrides."""
    alerts: tuple[AlertTable, ...] = ()
    announcements: tuple[AnnouncementTable, ...] = ()
    resilience: Resilience
    """What is to happen in an outage, and which backend keeps copies and the journal."""
    rotation: RotationRules = RotationRules()
    """Which names are rotated when, and by what."""
    watch: WatchKeys = WatchKeys()
    """Whether changes are noticed that others make."""
    state: str | None = None
    """The backend that keeps what detectors have learned; ``None`` if they forget it with the process."""
    state_every: float = 60.0
    lock_memory: bool = False
    rotate_every: float | None = None
    """How often a program that runs for long rotates what is due; ``None``: never by itself."""

    @property
    def spare(self) -> str | None:
        """The backend that keeps copies and the journal, if no name is routed to it."""
        used = {self.default_backend, *(backend for _, backend in self.routes)}
        return self.resilience.fallback if self.resilience.fallback not in used else None


def load(
    source: str | dict[str, Any] | None = None, *, ready: Iterable[str] = (), folder: str | None = None
) -> Configuration:
    """Read the configuration.

    Args:
        source: The path of a file, a mapping with the same content as a file, or
            ``None`` to search for ``strongroom.toml``. A mapping stands alone:
            neither files nor variables override it.
        ready: Names of backends that exist already and need no table.
        folder: What a mapping's relative paths are relative to; the working folder unless given.

    Raises:
        ConfigurationError: It cannot be read, or says something that is not usable;
            the message names the file and the table.
    """
    return _build(*_read(source, folder), ready)


def load_policy(source: str | dict[str, Any] | None = None) -> Policy:
    """Read the policy only: nothing else need be usable, and no key is read.

    Args:
        source: As for :func:`load`.

    Raises:
        ConfigurationError: It cannot be read, or a policy is not usable.
    """
    _, layers, locking = _read(source)
    return policy_of(merge(layers, locking))


def load_backends(source: str | dict[str, Any] | None = None) -> dict[str, PluginTable]:
    """Read the backends' tables only, the default one first.

    Args:
        source: As for :func:`load`.

    Raises:
        ConfigurationError: It cannot be read, or a backend has no type.
    """
    path, layers, locking = _read(source)
    merged = merge(layers, locking)
    found = _backends(merged)
    default = _default_backend(path, merged, found) if found else ""
    return dict(sorted(found.items(), key=lambda item: item[0] != default))


def has_rotation(source: str | dict[str, Any] | None = None) -> bool:
    """Tell whether a ``[rotation]`` table says of any names that they are rotated.

    Args:
        source: As for :func:`load`.

    Raises:
        ConfigurationError: It cannot be read.
    """
    _, layers, locking = _read(source)
    return bool(merge(layers, locking).table("rotation"))


def _read(source: str | dict[str, Any] | None, folder: str | None = None) -> tuple[str, list[Layer], list[Layer]]:
    """Return where the configuration is, its layers, and those that only lock."""
    if isinstance(source, dict):
        layer = Layer(path=PROGRAMMATIC, folder=folder or os.getcwd(), content=source)
        return PROGRAMMATIC, [files.with_included(layer)], []
    path = files.find(source)
    return path, [*files.layers(path), environment_layer(dict(os.environ))], files.locking_layers(path)


def _build(source: str, layers: list[Layer], locking: list[Layer], ready: Iterable[str]) -> Configuration:
    merged = merge(layers, locking)
    backends = {name: _ready(name) for name in ready} | _backends(merged)
    cache, keys = _cache(merged)
    detectors = _detectors(merged)
    top = top_keys(merged)
    for key in ("state", "fallback"):
        if (named := getattr(top, key)) is not None:
            _known_backend(named, backends, f"{key} in {merged.origins[key,].path}")
    resilience = convert(ResilienceKeys, merged.table("resilience"), _place(merged, "resilience"))
    return Configuration(
        source=source,
        default_backend=_default_backend(source, merged, backends),
        backends=backends,
        routes=_routes(merged, backends),
        cache=cache,
        max_entries=keys.max_entries,
        sweep_every=keys.sweep_every,
        sinks=_sinks(source, merged),
        detectors=detectors,
        policy=policy_of(merged),
        principal=_principal(merged),
        immediate=_immediate(merged),
        telemetry=telemetry_settings(_table(merged, "telemetry")),
        commands={name: _table(merged, name) for name in COMMAND_TABLES},
        origins=_origins(merged),
        layers=tuple(part for layer in (*locking, *layers) for part in (layer, *layer.included)),
        alerts=_alerts(merged, detectors),
        announcements=_announcements(merged),
        resilience=Resilience(resilience, top.fallback),
        rotation=RotationRules(_rotation_rule(merged, pattern) for pattern in merged.table("rotation")),
        watch=convert(WatchKeys, merged.table("watch"), _place(merged, "watch")),
        state=top.state,
        state_every=top.state_every,
        lock_memory=top.lock_memory,
        rotate_every=top.rotate_every,
    )


def _alerts(merged: Merged, detectors: tuple[DetectorTable, ...]) -> tuple[AlertTable, ...]:
    if not merged.lists["alerts"]:
        return ()
    from strongroom.config.alerts import alert_tables

    return alert_tables(merged.lists["alerts"], {table.type for table in detectors})


def _announcements(merged: Merged) -> tuple[AnnouncementTable, ...]:
    if not merged.lists["announcements"]:
        return ()
    from strongroom.config.announcements import announcement_tables

    return announcement_tables(merged.lists["announcements"])


def _table(merged: Merged, name: str) -> PluginTable:
    """Return a table at the top that is a plugin's, wholly or in part."""
    place, from_text = _place(merged, name), _from_text(merged, name)
    return PluginTable(name=name, type=name, table=merged.table(name), place=place, from_text=from_text)


def _place(merged: Merged, *path: str) -> Place:
    """Return where a table stands: the first file that has it, and each key that another one gives."""
    layers = {key[len(path)]: layer for key, layer in merged.origins.items() if key[: len(path)] == (*path,) != key}
    table = ".".join(path)
    if not layers:
        return Place(file="the configuration", table=table, folder=os.getcwd())
    main = next((layer for layer in layers.values() if not layer.text), next(iter(layers.values())))
    elsewhere = {key: (layer.path, layer.folder) for key, layer in layers.items() if layer is not main}
    return Place(file=main.path, table=table, folder=main.folder, elsewhere=elsewhere)


def _from_text(merged: Merged, *path: str) -> tuple[str, ...]:
    return tuple(
        key[len(path)]
        for key, layer in merged.origins.items()
        if layer.text and key[: len(path)] == path and len(key) > len(path)
    )


def _ready(name: str) -> PluginTable:
    return PluginTable(name=name, type=name, table={}, place=Place(file=PROGRAMMATIC, table=name, folder=os.getcwd()))


def _backends(merged: Merged) -> dict[str, PluginTable]:
    found: dict[str, PluginTable] = {}
    for name, table in merged.table("backends").items():
        place = _place(merged, "backends", name)
        if not isinstance(table, dict) or not isinstance(table.get("type"), str):
            raise ConfigurationError(
                f"{place.key('type')} is missing", hint='expected the name of a backend, such as type = "local"'
            )
        found[name] = PluginTable(
            name=name,
            type=table["type"],
            table={key: part for key, part in table.items() if key != "type"},
            place=place,
            from_text=_from_text(merged, "backends", name),
        )
    return found


def _rotation_rule(merged: Merged, pattern: str) -> RotationRule:
    """Split ``[rotation."..."]`` into the core's keys and the rotator's."""
    place = _place(merged, "rotation", pattern)
    checked_names(pattern, place.table)
    table = merged.table("rotation", pattern)
    own = {key: value for key, value in table.items() if key in RotationKeys._fields}
    keys = convert(RotationKeys, own, place)
    rest = {key: value for key, value in table.items() if key not in own}
    rotator = PluginTable(name=pattern, type=keys.rotator, table=rest, place=place)
    return RotationRule(pattern=pattern, keys=keys, table=rotator)


def _default_backend(source: str, merged: Merged, backends: dict[str, PluginTable]) -> str:
    if not backends:
        raise ConfigurationError(f"{source} has no backend", hint='add a table [backends.local] with type = "local"')
    name = merged.settings.get(("backend",))
    if name is None:
        if len(backends) > 1:
            raise ConfigurationError(
                f"{source} has several backends and no default",
                hint=f'add backend = "{next(iter(backends))}" at the top',
            )
        return next(iter(backends))
    return _known_backend(name, backends, f"backend in {merged.origins['backend',].path}")


def _known_backend(name: Any, backends: dict[str, PluginTable], where: str) -> str:
    if not isinstance(name, str):
        raise ConfigurationError(f"{where} is not usable", hint="expected the name of a backend")
    if name not in backends:
        raise ConfigurationError(
            f"{where} names the backend {name!r}, which has no table", hint=suggestion(str(name), backends)
        )
    return str(name)


def _routes(merged: Merged, backends: dict[str, PluginTable]) -> tuple[tuple[str, str], ...]:
    place = _place(merged, "routes")
    routes = [
        (prefix, _known_backend(backend, backends, place.key(prefix)))
        for prefix, backend in merged.table("routes").items()
    ]
    return tuple(sorted(routes, key=lambda route: -len(route[0])))


def _cache(merged: Merged) -> tuple[PluginTable, CacheKeys]:
    """Split ``[cache]`` into the core's keys and the policy's."""
    table = _table(merged, "cache")
    place = table.place
    keys, rest = split(table, CacheKeys)
    if keys.max_entries < 1:
        raise ConfigurationError(f"{place.key('max_entries')} is not usable", hint="expected at least 1")
    if not keys.sweep_every > 0:
        raise ConfigurationError(f"{place.key('sweep_every')} is not usable", hint="expected more than 0")
    return table.replace(name=keys.policy, type=keys.policy, table=rest), keys


def _split(item: Item, section: str, own: type[Record]) -> tuple[dict[str, Any], Any, Place]:
    """Split a list's table into its ``type``, the core's keys and the plugin's."""
    place = Place(file=item.layer.path, table=f"{section}[{item.position}]", folder=item.layer.folder)
    if not isinstance(item.table.get("type"), str):
        raise ConfigurationError(f"{place.key('type')} is missing", hint="expected the name of an installed plugin")
    names = own._fields
    keys = convert(own, {key: value for key, value in item.table.items() if key in names}, place)
    rest = {key: value for key, value in item.table.items() if key not in {*names, "type", "immediate"}}
    return rest, keys, place


def _sinks(source: str, merged: Merged) -> tuple[SinkTable, ...]:
    items = merged.lists["audit"]
    if merged.audit_off is not None and any(item.layer is not merged.audit_off for item in items):
        raise ConfigurationError(f'audit = "none" in {merged.audit_off.path}, but another file has [[audit]] tables')
    if not items and merged.audit_off is None:
        raise ConfigurationError(
            f"{source} has no audit sink",
            hint='add an [[audit]] table with type = "jsonl", or audit = "none" if no record is wanted',
        )
    found = []
    for item in items:
        rest, keys, place = _split(item, "audit", SinkKeys)
        kind = item.table["type"]
        found.append(SinkTable(name=kind, type=kind, table=rest, place=place, required=keys.required))
    return tuple(found)


def _immediate(merged: Merged) -> tuple[str, ...]:
    """Return the name patterns whose hits are recorded at once."""
    patterns: list[str] = []
    for item in merged.lists["audit"]:
        value = item.table.get("immediate", [])
        where = f"audit[{item.position}].immediate in {item.layer.path}"
        if not isinstance(value, list) or not all(isinstance(pattern, str) for pattern in value):
            raise ConfigurationError(f"{where} is not usable", hint="expected a list of name patterns")
        for pattern in value:
            checked_pattern(pattern, where)
        patterns += value
    return tuple(patterns)


def _detectors(merged: Merged) -> tuple[DetectorTable, ...]:
    found = []
    for item in merged.lists["anomaly"]:
        rest, keys, place = _split(item, "anomaly", DetectorKeys)
        if keys.action not in {"alert", "block"}:
            raise ConfigurationError(f"{place.key('action')} is not usable", hint='expected "alert" or "block"')
        if keys.cool_down < 0:
            raise ConfigurationError(f"{place.key('cool_down')} is not usable", hint="expected at least 0s")
        kind = item.table["type"]
        found.append(
            DetectorTable(
                name=kind,
                type=kind,
                table=rest,
                place=place,
                block=keys.action == "block",
                required=keys.required,
                cool_down=keys.cool_down,
            )
        )
    return tuple(found)


def _principal(merged: Merged) -> Principal:
    name = merged.settings.get(("principal",))
    if name:
        return Principal(name=name, source=PrincipalSource.CONFIGURATION)
    return Principal(name=current_user(), source=PrincipalSource.OPERATING_SYSTEM)


def _origins(merged: Merged) -> tuple[Origin, ...]:
    found = [_single_origin(merged, path, value) for path, value in merged.settings.items()]
    for section, items in sorted(merged.lists.items()):
        found += [origin for item in items for origin in _item_origins(section, item)]
    if merged.audit_off is not None:
        found.append(Origin(setting="audit", value="none", source=merged.audit_off.path, section="", key="audit"))
    return tuple(found)


def _single_origin(merged: Merged, path: tuple[str, ...], value: Any) -> Origin:
    layer = merged.origins[path]
    variable = "STRONGROOM_" + "__".join(path).upper()
    kind = ""
    if path[0] == "backends" and len(path) > 2:
        kind = str(merged.settings.get((*path[:2], "type"), ""))
    elif path[0] == "cache":
        kind = str(merged.settings.get(("cache", "policy"), CacheKeys.policy))
    elif path[0] == "telemetry":
        kind = str(merged.settings.get(("telemetry", "exporter"), ""))
    elif path[0] in COMMAND_TABLES:
        kind = path[0]
    elif path[0] == "rotation" and len(path) > 2:
        kind = str(merged.settings.get((*path[:2], "rotator"), RotationKeys.rotator))
    return Origin(
        setting=".".join(path),
        value=value,
        source=f"{ENVIRONMENT} {variable}" if layer.text else layer.path,
        section=path[0] if len(path) > 1 else "",
        key=path[-1] if len(path) < 3 else path[2],
        type=kind,
    )


def _item_origins(section: str, item: Item) -> list[Origin]:
    source = f"{item.layer.path} (locked)" if item.locked else item.layer.path
    return [
        Origin(
            setting=f"{section}[{item.position}].{key}",
            value=value,
            source=source,
            section=section,
            key=key,
            type=str(item.table.get("type", "")),
        )
        for key, value in item.table.items()
    ]
