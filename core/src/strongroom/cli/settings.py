"""``config``: each setting, its value and where it came from."""

from __future__ import annotations

import argparse
import enum
import json
import os
import sys

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from strongroom._record import Record
from strongroom.cli.command import Command, Session, add_json, print_json, table
from strongroom.cli.main import report
from strongroom.cli.parts import settings_of
from strongroom.cli.text import printable
from strongroom.config import files
from strongroom.config.convert import fields
from strongroom.config.load import Configuration, Origin, PluginTable, load
from strongroom.config.merge import COMMAND_TABLES
from strongroom.config.references import is_reference
from strongroom.config.shown import HIDDEN, is_secret, shown
from strongroom.contracts import KeySource, Seconds
from strongroom.discovery import Catalogue, Kind, Spec
from strongroom.errors import StrongroomError
from strongroom.model import PrincipalSource, SecretValue

DEFAULT: Final = "<default>"
KINDS: Final = {
    "backends": Kind.BACKEND,
    "audit": Kind.AUDIT_SINK,
    "anomaly": Kind.ANOMALY_DETECTOR,
    "cache": Kind.CACHE_POLICY,
    "rotation": Kind.ROTATOR,
    "telemetry": Kind.TELEMETRY_EXPORTER,
    **dict.fromkeys(COMMAND_TABLES, Kind.COMMAND),
}
"""Which kind of plugin each section configures."""


class Line(Record):
    """One setting as it may be shown."""

    setting: str
    value: Any
    source: str


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--schema", action="store_true", help="print a JSON schema of strongroom.toml for editors")
    add_json(parser)


def _run(session: Session, options: argparse.Namespace) -> int:
    if options.schema:
        return _print_schema()
    configuration = load(session.config)
    catalogue = Catalogue()
    problems = list(setting_problems(configuration, catalogue))
    lines = [*_given(configuration, catalogue), *_defaults(configuration, catalogue)]
    considered = files_considered(session.config, configuration)
    if options.json:
        print_json(
            {
                "settings": [line.as_dict() for line in lines],
                "files": dict(considered),
                "problems": [str(problem) for problem in problems],
            }
        )
    else:
        rows = [(printable(line.setting), toml(line.value), printable(line.source)) for line in lines]
        table(rows, ("SETTING", "VALUE", "FROM"))
        sys.stdout.write("\n")
        table([(printable(path), state) for path, state in considered], ("FILE", "STATE"))
    sys.stdout.flush()
    for problem in problems:
        report(problem)
    return max((problem.exit_status for problem in problems), default=0)


def _print_schema() -> int:
    from strongroom.config.schema import schema

    catalogue = Catalogue()
    specs: dict[Kind, list[Spec]] = {kind: [] for kind in Kind}
    for kind, name in dict.fromkeys((point.kind, point.name) for point in catalogue.points):
        try:
            specs[kind].append(catalogue.load(kind, name))
        except StrongroomError as error:
            report(error)
    print_json(schema(specs))
    return 0


def plugin_tables(configuration: Configuration) -> list[tuple[Kind, PluginTable]]:
    """Return each table whose other keys are a plugin's settings, with the plugin's kind.

    Args:
        configuration: The configuration.
    """
    return [
        *((Kind.BACKEND, table) for table in configuration.backends.values()),
        (Kind.CACHE_POLICY, configuration.cache),
        *((Kind.AUDIT_SINK, table) for table in configuration.sinks),
        *((Kind.ANOMALY_DETECTOR, table) for table in configuration.detectors),
        *((Kind.ROTATOR, rule.table) for rule in configuration.rotation.by_pattern.values()),
        *([(Kind.TELEMETRY_EXPORTER, configuration.telemetry.table)] if configuration.telemetry.is_named else []),
        *((Kind.COMMAND, table) for table in configuration.commands.values() if table.table),
    ]


def setting_problems(configuration: Configuration, catalogue: Catalogue) -> Iterator[StrongroomError]:
    """Yield what is wrong with each plugin's settings.

    Args:
        configuration: The configuration.
        catalogue: Where the plugins are found.
    """
    for kind, plugin_table in plugin_tables(configuration):
        try:
            settings_of(plugin_table, kind, catalogue)
        except StrongroomError as error:
            yield error


def declared(section: str, name: str, catalogue: Catalogue) -> dict[str, Any]:
    """Return the types of a plugin's settings; an empty answer if the plugin cannot be loaded.

    Args:
        section: In which section the plugin is configured, such as ``backends``.
        name: The plugin's name.
        catalogue: Where it is found.
    """
    own = {"key": SecretValue} if section == "telemetry" else {}
    if section in {"alerts", "announcements"}:
        from strongroom.config.targets import KINDS as TARGETS

        return fields(TARGETS[name])[0] if name in TARGETS else {}
    if section not in KINDS or not name:
        return own
    try:
        return fields(catalogue.load(KINDS[section], name).settings)[0] | own
    except StrongroomError:
        return own


def shown_origin(origin: Origin, catalogue: Catalogue, *, guess: bool = True) -> Any:
    """Return a setting's value as it may be shown; see :func:`strongroom.config.shown.shown`.

    Args:
        origin: The setting.
        catalogue: Where its plugin is found.
        guess: Whether a plain text is hidden too if its name looks like a secret's.
    """
    if origin.section in {"routes", "policies", ""}:
        return origin.value
    kind = declared(origin.section, origin.type, catalogue).get(origin.key)
    return shown(origin.value, origin.key, kind, guess=guess)


def _given(configuration: Configuration, catalogue: Catalogue) -> Iterator[Line]:
    for origin in configuration.origins:
        yield Line(setting=origin.setting, value=shown_origin(origin, catalogue), source=origin.source)
    if configuration.principal.source is PrincipalSource.OPERATING_SYSTEM:
        yield Line(setting="principal", value=configuration.principal.name, source="<operating system>")


def _defaults(configuration: Configuration, catalogue: Catalogue) -> Iterator[Line]:
    """Yield what plugins' settings are where the configuration does not give them."""
    for kind, plugin_table in plugin_tables(configuration):
        try:
            found = defaults_of(plugin_table, kind, catalogue)
        except StrongroomError:
            continue  # reported already
        for name, value in found.items():
            yield Line(setting=f"{plugin_table.place.table}.{name}", value=value, source=DEFAULT)


def defaults_of(plugin_table: PluginTable, kind: Kind, catalogue: Catalogue) -> dict[str, Any]:
    """Return a plugin's settings where its table does not give them, as the file would say them.

    Args:
        plugin_table: The table.
        kind: Which kind of plugin it configures.
        catalogue: Where the plugin is found.

    Raises:
        PluginError: No plugin offers it, or the one that does is broken.
        ConfigurationError: The table does not fit the plugin's settings.
    """
    settings = settings_of(plugin_table, kind, catalogue)
    return {
        name: _plain(getattr(settings, name), declared_kind)
        for name, declared_kind in fields(type(settings))[0].items()
        if name not in plugin_table.table
    }


def _plain(value: Any, kind: Any) -> Any:
    """Return a default as the file would say it."""
    if value is None:
        return None
    if is_secret(kind) or isinstance(value, KeySource | SecretValue):
        return HIDDEN
    if kind == Seconds:
        return f"{value:.15g}s" if value else 0  # never with an exponent, which the file does not take
    if isinstance(value, enum.Enum):
        return value.value
    return value if isinstance(value, str | int | float | list | dict) else str(value)


def files_considered(explicit: str | None, configuration: Configuration) -> list[tuple[str, str]]:
    """Return each file that could have had a say, and which say it had.

    Args:
        explicit: The path that was given with ``--config``.
        configuration: What was loaded.
    """
    source = configuration.source
    chosen = explicit or os.environ.get(files.VARIABLE)
    named = f"in force, named by {'--config' if explicit else files.VARIABLE}"
    found = [(source, named)] if chosen else []
    for path in () if chosen else files.search_path():
        found.append((path, _search_state(path, source)))
        if path == source:
            break
    overlay = os.path.join(os.path.dirname(source), files.OVERLAY)
    found.append((overlay, "in force, over the one beside it" if os.path.isfile(overlay) else "not there"))
    locking = files.locking_layers(source)
    found += [(layer.path, f"in force, locks {', '.join(layer.content['locked'])}") for layer in locking]
    includes = [(part.path, layer.path) for layer in configuration.layers for part in layer.included]
    return found + [(path, f"in force, included by {by}") for path, by in includes]


def _search_state(path: str, source: str) -> str:
    return "in force" if path == source else "not there"


def toml(value: Any) -> str:
    """Return a value as TOML has it, on one line.

    Args:
        value: A text, number, truth value, date with time, list or table; ``None`` for nothing.
    """
    if isinstance(value, dict):
        marked = ", ".join(f"{printable(key)} = {toml(part)}" for key, part in value.items())
        return f"{{{marked}}}" if is_reference(value) else f"{{ {marked} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or value == HIDDEN:
        return "-" if value is None else HIDDEN
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isprintable() else json.dumps(value, default=str)


COMMANDS: Final = {
    "config": Command(
        summary="Show each setting, its value and where it came from. Secrets are never shown, references are.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom config
            strongroom config --json
            strongroom config --schema > strongroom.schema.json
        """,
    ),
}
