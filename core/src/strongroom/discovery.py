"""Finds what installed distributions offer, and loads only what is asked for.

The walk reads the ``entry_points.txt`` of each distribution itself: the
standard library's takes longer than all else that reading one secret needs,
and pluggy's loader stops at the first plugin that fails. Here each plugin has
its own ``try``, and one that fails becomes a record.
"""

from __future__ import annotations

import enum
import os
import sys

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Final

from strongroom import hookspecs
from strongroom._record import Record
from strongroom.contracts.anomaly import DetectorSpec
from strongroom.contracts.audit import SinkSpec
from strongroom.contracts.backend import BackendSpec
from strongroom.contracts.cache import CachePolicySpec
from strongroom.contracts.commands import CommandSpec
from strongroom.contracts.rotation import RotatorSpec
from strongroom.contracts.telemetry import ExporterSpec
from strongroom.errors import PluginError
from strongroom.hookspecs import MARKER

OFF_SWITCH: Final = "STRONGROOM_NO_PLUGINS"
"""Set to anything but ``0`` or the empty string: only what the core itself offers is found."""

Spec = BackendSpec | CachePolicySpec | SinkSpec | DetectorSpec | RotatorSpec | ExporterSpec | CommandSpec


class Kind(enum.Enum):
    """A kind of plugin: its entry-point group, its hook and the class it describes itself with."""

    BACKEND = ("strongroom.backends", "strongroom_backends", BackendSpec)
    CACHE_POLICY = ("strongroom.cache_policies", "strongroom_cache_policies", CachePolicySpec)
    AUDIT_SINK = ("strongroom.audit_sinks", "strongroom_audit_sinks", SinkSpec)
    ANOMALY_DETECTOR = ("strongroom.anomaly_detectors", "strongroom_anomaly_detectors", DetectorSpec)
    ROTATOR = ("strongroom.rotators", "strongroom_rotators", RotatorSpec)
    TELEMETRY_EXPORTER = ("strongroom.telemetry_exporters", "strongroom_telemetry_exporters", ExporterSpec)
    COMMAND = ("strongroom.commands", "strongroom_commands", CommandSpec)

    def __init__(self, group: str, hook: str, spec: type[Any]) -> None:
        self.group = group
        self.hook = hook
        self.spec = spec

    @property
    def label(self) -> str:
        """The kind's name for people, such as ``audit sink``."""
        return self.name.lower().replace("_", " ")


class Point(Record):
    """One entry point of one distribution."""

    kind: Kind
    name: str
    target: str
    """The module, or ``module:object``, that holds the hook."""
    distribution: str
    version: str
    folder: str
    """Where the distribution's metadata lies."""


class PluginRecord(Record):
    """What ``strongroom plugins`` shows of one entry point."""

    kind: str
    name: str
    distribution: str
    version: str
    state: str
    """``ok``, ``broken`` or ``clash``."""
    error: str = ""
    summary: str = ""


class Catalogue:
    """What is installed, as found by one walk over the path; nothing is imported by making it."""

    def __init__(self) -> None:
        folders = list(_metadata_folders())
        found = [point for folder in folders for point in _points_in(folder)]
        if os.environ.get(OFF_SWITCH, "") not in {"", "0"}:
            found = [point for point in found if point.distribution == hookspecs.PROJECT]
        self.points = sorted(found, key=lambda point: (point.kind.name, point.name, point.distribution))
        self._core_version = _core_version(folders)

    def offers(self, kind: Kind, name: str) -> bool:
        """Tell whether some distribution has an entry point of that kind and name; nothing is imported."""
        return any(point.kind is kind and point.name == name for point in self.points)

    def load(self, kind: Kind, name: str) -> Any:
        """Return the specification that the configuration asks for by kind and name.

        Raises:
            PluginError: No distribution offers it, several do, or the one that does
                is broken; the message names the distribution.
        """
        offers = [point for point in self.points if point.kind is kind]
        named = [point for point in offers if point.name == name]
        if not named:
            raise _missing(kind, name, offers)
        if len(named) > 1:
            raise PluginError(_clash(named), code="plugin_clash", hint="uninstall one of them")
        return self._loaded(named[0])

    def load_all(self) -> list[PluginRecord]:
        """Load every plugin that is installed and say how that went; for ``plugins`` and ``doctor``.

        Here pluggy checks each module against the hook specifications too, as a
        module may implement hooks that no entry point leads to.
        """
        registry = _registry()
        return [self._record(point, registry) for point in self.points]

    def _record(self, point: Point, registry: Any) -> PluginRecord:
        record = PluginRecord(
            kind=point.kind.label,
            name=point.name,
            distribution=point.distribution,
            version=point.version,
            state="ok",
        )
        same = [other for other in self.points if (other.kind, other.name) == (point.kind, point.name)]
        if len(same) > 1:
            return record.replace(state="clash", error=_clash(same))
        try:
            spec = self._loaded(point)
            module = _target(point)
            if not registry.is_registered(module):
                registry.register(module)
        except PluginError as error:
            return record.replace(state="broken", error=error.what)
        # pluggy's own complaint about a hook that no specification knows.
        except Exception as error:  # noqa: BLE001  # see above
            return record.replace(state="broken", error=f"{type(error).__name__}: {error}")
        return record.replace(summary=spec.summary)

    def _loaded(self, point: Point) -> Any:
        try:
            return self._specs(point)[point.name]
        except KeyboardInterrupt:
            raise
        # The plugin boundary: whatever a plugin's module raises, SystemExit included, is its own failure.
        except BaseException as error:
            reason = error.what if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            raise PluginError(
                f"the {point.kind.label} {point.name!r} of {point.distribution} {point.version} is broken: {reason}",
                code="plugin_broken",
                hint="upgrade or uninstall that distribution",
            ) from error

    def _specs(self, point: Point) -> dict[str, Any]:
        """Return all that the point's hook yields, or raise; half of it is never kept."""
        problem = _requirement_problem(point, self._core_version)
        if problem:
            raise PluginError(problem)
        hook: Any = getattr(_target(point), point.kind.hook, None)
        if not getattr(hook, MARKER, {}).get("implementation"):
            raise PluginError(f"{point.target} has no function {point.kind.hook} marked with @hookimpl")
        specs = {spec.name: spec for spec in self._checked(hook(), point)}
        if point.name not in specs:
            raise PluginError(f"its hook describes {', '.join(specs) or 'nothing'}, but no {point.name!r}")
        return specs

    def _checked(self, described: Iterable[Any], point: Point) -> Iterator[Any]:
        names = {other.name for other in self.points if (other.kind, other.target) == (point.kind, point.target)}
        for spec in described:
            if not isinstance(spec, point.kind.spec):
                raise PluginError(f"its hook gave a {type(spec).__name__} instead of a {point.kind.spec.__name__}")
            if spec.name not in names:
                raise PluginError(f"its hook describes {spec.name!r}, which is not the name of an entry point")
            yield spec


def _metadata_folders() -> Iterator[str]:
    """Yield each distribution's metadata folder once: the first on the path hides the others."""
    seen_places: set[str] = set()
    seen_names: set[str] = set()
    for entry in sys.path:
        place = os.path.realpath(entry or os.curdir)
        if place in seen_places or not os.path.isdir(place):
            continue
        seen_places.add(place)
        for folder in _listed(place):
            name = _normalized(folder.rpartition(".")[0].partition("-")[0])
            if name not in seen_names:
                seen_names.add(name)
                yield os.path.join(place, folder)


def _listed(place: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(place) if name.endswith((".dist-info", ".egg-info")))
    except OSError:
        return []  # a folder that may not be read; importing passes over it, too


def _normalized(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _points_in(folder: str) -> Iterator[Point]:
    try:
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return  # no entry points, or none that can be read: nothing of ours
    if "strongroom." not in text:
        return
    stem = os.path.basename(folder).rpartition(".")[0]
    distribution, _, version = stem.partition("-")
    kinds = {kind.group: kind for kind in Kind}
    kind: Kind | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            kind = kinds.get(line.strip("[]").strip())
        elif kind is not None and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            yield Point(
                kind=kind,
                name=name.strip(),
                target=target.strip(),
                distribution=_normalized(distribution),
                version=version,
                folder=folder,
            )


def _missing(kind: Kind, name: str, offers: list[Point]) -> PluginError:
    from difflib import get_close_matches

    from strongroom._ours import OURS

    installed = [point.name for point in offers]
    ours = OURS[kind.group]
    close = get_close_matches(name, {*installed, *ours}, n=1)
    if name in ours:
        way = f"pip install {ours[name]}"
    elif close:
        way = f"write {close[0]!r} if that is meant"
    else:
        way = "install the distribution that offers it"
    return PluginError(
        f"no installed distribution offers the {kind.label} {name!r}",
        code="plugin_missing",
        hint=f"{way}, or use one of those installed: {', '.join(installed) or 'none'}",
    )


def _clash(named: list[Point]) -> str:
    owners = " and ".join(f"{point.distribution} {point.version}" for point in named)
    return f"the {named[0].kind.label} {named[0].name!r} is offered by {owners}"


def _target(point: Point) -> Any:
    module, _, attribute = point.target.partition(":")
    target: Any = import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        target = getattr(target, part)
    return target


def _core_version(folders: list[str]) -> str:
    prefix = f"{hookspecs.PROJECT}-"
    own = next((name for name in map(os.path.basename, folders) if name.startswith(prefix)), "")
    return own.removeprefix(prefix).rpartition(".")[0]


def _requirement_problem(point: Point, core_version: str) -> str:
    """Say how the distribution's stated requirement on the core is not met, before it is imported."""
    for requirement in _requirements(point.folder):
        clauses = requirement[len(hookspecs.PROJECT) :]
        if clauses.startswith("["):
            clauses = clauses.partition("]")[2]
        clauses = clauses.strip(" ()")
        if clauses[:1] in {"<", ">", "=", "!", "~"} and core_version and not _satisfies(core_version, clauses):
            return f"it needs {requirement}, and strongroom is {core_version}"
    return ""


def _requirements(folder: str) -> list[str]:
    """Return what a distribution requires whose name begins like the core's, but not for an extra."""
    try:
        with open(os.path.join(folder, "METADATA"), encoding="utf-8") as file:
            # After the first empty line comes the readme, which may say anything.
            headers = file.read().partition("\n\n")[0].splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    lines = [line.partition(":")[2].strip() for line in headers if line.lower().startswith("requires-dist:")]
    parts = [line.partition(";") for line in lines if line.lower().startswith(hookspecs.PROJECT)]
    return [requirement.strip() for requirement, _, marker in parts if "extra" not in marker]


def _satisfies(version: str, clauses: str) -> bool:
    """Compare plain numeric versions; the installer has checked anything beyond that."""
    have = _numbers(version)
    for clause in clauses.split(","):
        operator = clause.strip().rstrip("0123456789.abcrdevpost*+! ")
        want = _numbers(clause.strip()[len(operator) :])
        width = max(len(have), len(want))
        left, right = (part + [0] * (width - len(part)) for part in (have, want))
        same = have[: len(want)] == want if clause.rstrip().endswith(".*") else left == right
        compatible = left >= right and have[: len(want) - 1] == want[:-1]
        outcome = {">=": left >= right, ">": left > right, "<": left < right, "<=": left <= right}
        if not (outcome | {"==": same, "!=": not same, "~=": compatible}).get(operator, True):
            return False
    return True


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.strip().split(".") if part.isdigit()]


def _registry() -> Any:
    """Make a pluggy manager that knows our specifications and our marker."""
    import pluggy

    class Registry(pluggy.PluginManager):
        def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
            marked = getattr(getattr(plugin, name, None), MARKER, {}).get("implementation")
            return {"specname": None} | dict.fromkeys(_FLAGS, False) if marked else None

        def parse_hookspec_opts(self, module_or_class: object, name: str) -> Any:
            marked = getattr(getattr(module_or_class, name, None), MARKER, {}).get("implementation")
            return {"firstresult": False, "historic": False} if marked is False else None

    registry = Registry(hookspecs.PROJECT)
    registry.add_hookspecs(hookspecs)
    return registry


_FLAGS: Final = ("wrapper", "hookwrapper", "optionalhook", "tryfirst", "trylast")
