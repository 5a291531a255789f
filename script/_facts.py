"""What else others rely on: hooks, codes, the command, settings, variables, telemetry and formats on disk, as facts."""

from __future__ import annotations

import argparse
import ast
import enum
import re

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from _workspace import distributions, metadata
from strongroom import errors
from strongroom.cli import main
from strongroom.cli.command import Command
from strongroom.config.alerts import AlertKeys
from strongroom.config.announcements import AnnouncementKeys
from strongroom.config.convert import fields
from strongroom.config.load import CacheKeys, DetectorKeys, SinkKeys
from strongroom.config.policies import PolicyKeys
from strongroom.config.resilience import ResilienceKeys
from strongroom.config.rotation import RotationKeys
from strongroom.config.schema import schema
from strongroom.config.targets import KINDS
from strongroom.config.telemetry import TelemetryKeys
from strongroom.config.top import TopKeys
from strongroom.config.watch import WatchKeys
from strongroom.contracts import Record
from strongroom.discovery import Catalogue, Kind
from strongroom.telemetry import ATTRIBUTES, METRICS

FORMATS: Final = {
    "local store": ("strongroom_local.encoding", "FORMAT"),
    "audit file": ("strongroom_audit_jsonl.lines", "FORMAT"),
    "learned by detectors": ("strongroom_anomaly.stored", "FORMAT"),
    "rotation record": ("strongroom.rotation.records", "FORMAT"),
}
"""Where the version of each format stands that is read again by a later version."""

TABLES: Final[dict[str, type[Record]]] = {
    "": TopKeys,
    "alerts": AlertKeys,
    "announcements": AnnouncementKeys,
    "anomaly": DetectorKeys,
    "audit": SinkKeys,
    "cache": CacheKeys,
    "policies": PolicyKeys,
    "resilience": ResilienceKeys,
    "rotation": RotationKeys,
    "telemetry": TelemetryKeys,
    "watch": WatchKeys,
}
"""The core's own keys of each table."""

STATUSES: Final = {
    "0": "fine",
    "11": "queued",
    "125": "run itself failed",
    "126": "run may not run the program",
    "127": "run did not find the program",
    "130": "interrupted",
}
"""The exit statuses that no error has."""

LABELS: Final = ("STRONGROOM_CANDIDATE", "STRONGROOM_STAGED")
"""What looks like a variable, and is a label of a version on AWS."""
VARIABLE: Final = re.compile(r"STRONGROOM_[A-Z][A-Z_]*[A-Z]")


def other_facts() -> dict[str, str]:
    """Return every fact that is none of the Python API."""
    makers = (_hooks, _codes, _commands, _settings, _variables, _telemetry, _formats)
    return {key: fact for maker in makers for key, fact in maker()}


def _hooks() -> Iterator[tuple[str, str]]:
    for kind in Kind:
        yield f"hook {kind.hook}", f"{kind.spec.__name__} group {kind.group}"


def _codes() -> Iterator[tuple[str, str]]:
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, errors.StrongroomError):
            for number, code in enumerate(cls.codes):
                usual = " unless another is given" if number == 0 else ""
                yield f"error {name} {code}", f"exit status {cls.exit_status}{usual}"
    for status, meaning in STATUSES.items():
        yield f"exit status {status}", meaning


def _commands() -> Iterator[tuple[str, str]]:
    yield from _arguments("strongroom", main._root_parser())  # it is told from the others by being run first only
    added = (point.name for point in Catalogue().points if point.kind is Kind.COMMAND and _is_ours(point.distribution))
    for name in (*main.COMMANDS, *added):
        command: Command = main.load(name)
        yield from _arguments(f"strongroom {name}", command.parser(name))


def _arguments(words: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    yield f"command {words}", "command"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _arguments(f"{words} {name}", inner)
        elif not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
            called = "/".join(action.option_strings) or (action.metavar or action.dest)
            yield f"command {words} {called}", _argument(action)


def _argument(action: argparse.Action) -> str:
    needed = action.required if action.option_strings else action.nargs not in {"?", "*"}
    kind = "required " if needed else ""
    if action.nargs == 0:
        return f"{kind}flag"
    kind += "option" if action.option_strings else "argument"
    many = f" {action.nargs}" if action.nargs is not None else ""
    choices = f" of {' | '.join(map(str, action.choices))}" if action.choices else ""
    default = f" = {action.default!r}" if action.default is not None else ""
    return f"{kind}{many}{choices}{default}"


def _settings() -> Iterator[tuple[str, str]]:
    for name in schema({kind: [] for kind in Kind})["properties"]:
        yield f"setting {name}", "table"
    for table, keys in TABLES.items():
        yield from _keys(table, keys)
    for name, target in KINDS.items():
        yield from _keys(f"alerts and announcements of type {name}", target)
    catalogue = Catalogue()
    for point in catalogue.points:
        if _is_ours(point.distribution):
            spec = catalogue.load(point.kind, point.name)
            yield f"offered {point.kind.label} {point.name}", f"by {point.distribution}"
            yield from _keys(f"{point.kind.label} {point.name}", spec.settings)
            for one in sorted(getattr(spec, "capabilities", ()), key=lambda one: str(one.value)):
                yield f"offered {point.kind.label} {point.name} {one.value}", "capability"


def _is_ours(distribution: str) -> bool:
    return distribution in {metadata(folder)["project"]["name"] for folder in distributions()}


def _keys(table: str, settings: type[Any]) -> Iterator[tuple[str, str]]:
    kinds, optional = fields(settings)
    for name, kind in kinds.items():
        place = f"setting {table} {name}".replace("  ", " ")
        default = f" = {_default(settings, name)}" if name in optional else " required"
        yield place, _told(settings, name) + default
        for inner in _records_in(kind):
            yield from _keys(f"{table} {name}".strip(), inner)


def _default(settings: type[Any], name: str) -> str:
    if issubclass(settings, Record):
        value = settings._defaults[name]
    else:
        value = next(one.default for one in settings.__attrs_attrs__ if one.name == name)
    if isinstance(value, enum.Enum):
        return repr(value.value)
    return "..." if isinstance(value, Record) else repr(value)


def _told(settings: type[Any], name: str) -> str:
    """Return a setting's type as the source has it."""
    owners = (vars(owner).get("__annotations__", {}) for owner in settings.__mro__)
    return str(next(kinds[name] for kinds in owners if name in kinds))


def _records_in(kind: Any) -> list[type[Record]]:
    if isinstance(kind, type) and issubclass(kind, Record):
        return [kind]
    return [found for part in getattr(kind, "__args__", ()) for found in _records_in(part)]


def _variables() -> Iterator[tuple[str, str]]:
    """Yield each variable that some module of ours has a text for."""
    for folder in distributions():
        for file in (folder / "src").rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                    yield f"{'label' if node.value in LABELS else 'variable'} {node.value}", "read"


def _telemetry() -> Iterator[tuple[str, str]]:
    for attribute in ATTRIBUTES:
        yield f"span attribute {attribute}", "attribute"
    for metric in METRICS:
        yield f"metric {metric.name}", f"{metric.kind} in {metric.unit}"
        for attribute in metric.attributes:
            yield f"metric {metric.name} {attribute}", "attribute"


def _formats() -> Iterator[tuple[str, str]]:
    for name, (module, constant) in FORMATS.items():
        yield f"format {name}", f"version {getattr(import_module(module), constant)}"
