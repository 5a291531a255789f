"""A JSON schema of ``strongroom.toml`` for editors, made from the settings classes themselves."""

from __future__ import annotations

import enum
import types
import typing

from collections.abc import Iterable
from typing import Any, Final, get_args, get_origin

from strongroom._record import Record
from strongroom.config.alerts import AlertKeys
from strongroom.config.announcements import EVENTS, AnnouncementKeys
from strongroom.config.convert import fields
from strongroom.config.layers import INCLUDE
from strongroom.config.load import CacheKeys, DetectorKeys, SinkKeys
from strongroom.config.merge import COMMAND_TABLES, SECTIONS
from strongroom.config.policies import PolicyKeys
from strongroom.config.references import KINDS
from strongroom.config.resilience import ResilienceKeys
from strongroom.config.rotation import RotationKeys
from strongroom.config.targets import KINDS as TARGETS
from strongroom.config.telemetry import TelemetryKeys
from strongroom.config.top import TopKeys
from strongroom.config.watch import WatchKeys
from strongroom.contracts import FilePath, KeySource, Seconds, Size
from strongroom.discovery import Kind, Spec
from strongroom.model import SecretValue

DIALECT: Final = "http://json-schema.org/draft-07/schema#"

_TEXT: Final = {"type": "string"}
_REFERENCE: Final = {"$ref": "#/definitions/reference"}
_SIMPLE: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema(specs: dict[Kind, list[Spec]]) -> dict[str, Any]:
    """Return a schema of the whole file.

    Args:
        specs: What the installed plugins offer; a type that none of them offers does not pass.
    """
    sinks = {
        "type": "array",
        "items": _either(
            _plugin_table(spec, _table(SinkKeys) | {"immediate": _list(_TEXT)}) for spec in specs[Kind.AUDIT_SINK]
        ),
    }
    detectors = _either(_plugin_table(spec, _table(DetectorKeys)) for spec in specs[Kind.ANOMALY_DETECTOR])
    backends = _either(_plugin_table(spec, {}) for spec in specs[Kind.BACKEND])
    properties: dict[str, Any] = {
        "backend": _TEXT | {"description": "The name of the backend that is used where no route leads elsewhere."},
        "principal": _TEXT | {"description": "Who asks; the operating-system user unless given."},
        "locked": _list({"enum": sorted(SECTIONS - {"locked"})}),
        INCLUDE: _list(_TEXT) | {"description": "Files of policies, relative to this one; * and ? are patterns."},
        "backends": {"type": "object", "additionalProperties": backends},
        "routes": {"type": "object", "additionalProperties": _TEXT},
        "cache": _either(_cache_table(spec) for spec in specs[Kind.CACHE_POLICY]),
        "audit": {"anyOf": [{"const": "none"}, sinks]},
        "anomaly": {"type": "array", "items": detectors},
        "policies": {"type": "array", "items": _policy()},
        "telemetry": _either([_object(TelemetryKeys), *map(_telemetry_table, specs[Kind.TELEMETRY_EXPORTER])]),
        **{
            name: _either(_object(spec.settings) for spec in specs[Kind.COMMAND] if spec.name == name)
            for name in COMMAND_TABLES
        },
        "resilience": _object(ResilienceKeys),
        "rotation": {
            "type": "object",
            "additionalProperties": _either(_rotation_table(spec) for spec in specs[Kind.ROTATOR]),
        },
        "watch": _object(WatchKeys),
        "alerts": _list(_either(_target_table(kind, _table(AlertKeys)) for kind in TARGETS)),
        "announcements": _list(_either(_target_table(kind, _announcement_keys()) for kind in TARGETS)),
        # At the top no reference may stand for a value.
        **{name: _of_type(kind) for name, kind in fields(TopKeys)[0].items()},
    }
    return {
        "$schema": DIALECT,
        "title": "strongroom.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "definitions": {"reference": {"anyOf": [_exactly(kind) for kind in KINDS]}},
    }


def _policy() -> dict[str, Any]:
    made = _object(PolicyKeys)
    # TOML's own dates and times reach a schema as texts.
    made["properties"]["expires"] = _TEXT | {"format": "date-time"}
    return made


def _target_table(kind: str, own: dict[str, Any]) -> dict[str, Any]:
    made = _object(TARGETS[kind])
    made["properties"] |= own | {"type": {"const": kind}}
    return made


def _announcement_keys() -> dict[str, Any]:
    return _table(AnnouncementKeys) | {"events": _list({"enum": list(EVENTS)})}


def _exactly(kind: str) -> dict[str, Any]:
    return {"type": "object", "properties": {kind: _TEXT}, "required": [kind], "additionalProperties": False}


def _either(members: Iterable[dict[str, Any]]) -> dict[str, Any]:
    found = list(members)
    # Without a plugin no table can pass, and a schema must not have an empty choice.
    return {"anyOf": found} if found else {"not": {}}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _plugin_table(spec: Spec, own: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a table with ``type`` and a plugin's settings."""
    made = _object(spec.settings)
    made["description"] = spec.summary
    made["properties"] = {"type": {"const": spec.name}} | own | made["properties"]
    made["required"] = ["type", *made["required"]]
    return made


def _cache_table(spec: Spec) -> dict[str, Any]:
    made = _object(spec.settings)
    made["description"] = spec.summary
    made["properties"] = _table(CacheKeys) | {"policy": {"const": spec.name}} | made["properties"]
    if spec.name != CacheKeys.policy:
        made["required"] = ["policy", *made["required"]]
    return made


def _rotation_table(spec: Spec) -> dict[str, Any]:
    made = _object(spec.settings)
    made["description"] = spec.summary
    made["properties"] = _table(RotationKeys) | {"rotator": {"const": spec.name}} | made["properties"]
    if spec.name != RotationKeys.rotator:
        made["required"] = ["rotator", *made["required"]]
    return made


def _telemetry_table(spec: Spec) -> dict[str, Any]:
    made = _object(spec.settings)
    made["description"] = spec.summary
    made["properties"] = _table(TelemetryKeys) | {"exporter": {"const": spec.name}} | made["properties"]
    made["required"] = ["exporter", *made["required"]]
    return made


def _object(settings: type[Any]) -> dict[str, Any]:
    kinds, optional = fields(settings)
    return {
        "type": "object",
        "properties": _table(settings),
        "required": [name for name in kinds if name not in optional],
        "additionalProperties": False,
    }


def _table(settings: type[Any]) -> dict[str, Any]:
    return {name: _with_reference(kind) for name, kind in fields(settings)[0].items()}


def _with_reference(kind: Any) -> dict[str, Any]:
    """Return a setting's schema: wherever a single value may stand, a reference may."""
    made = _of_type(kind)
    if made.get("type") in {"object", "array"} or not made:
        return made
    choices = made.get("anyOf", [made])
    return made if _REFERENCE in choices else {"anyOf": [*choices, _REFERENCE]}


def _of_type(kind: Any) -> dict[str, Any]:
    if kind == Seconds:
        return {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$"}, {"const": 0}]}
    if kind == Size:
        pattern = r"^\d+\s*(B|KiB|MiB|GiB|)$"
        return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern}]}
    if kind == FilePath:
        return _TEXT
    if kind in {KeySource, SecretValue}:
        return {"anyOf": [_REFERENCE, _TEXT]}
    if get_origin(kind) in {typing.Union, types.UnionType}:
        return _union(kind)
    if get_origin(kind) is typing.Literal:
        return {"enum": list(get_args(kind))}
    if get_origin(kind) in {list, tuple}:
        return _list(_of_type(get_args(kind)[0]))
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _with_reference(get_args(kind)[1])}
    return _of_class(kind)


def _union(kind: Any) -> dict[str, Any]:
    members = [_of_type(part) for part in get_args(kind) if part is not type(None)]
    choices = [choice for member in members for choice in member.get("anyOf", [member])]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _of_class(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if isinstance(kind, type) and (issubclass(kind, Record) or hasattr(kind, "__attrs_attrs__")):
        return _object(kind)
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    return {"type": {list: "array", dict: "object"}[kind]} if kind in {list, dict} else {}
