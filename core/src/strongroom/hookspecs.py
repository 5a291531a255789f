"""The hooks: how a distribution offers what it has.

A hook takes no arguments and returns descriptions. Secrets never travel through
a hook, so no plugin sees another's traffic. ``docs/hooks/`` has a page for each,
made from the docstrings below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from strongroom.contracts import (
        BackendSpec,
        CachePolicySpec,
        CommandSpec,
        DetectorSpec,
        ExporterSpec,
        RotatorSpec,
        SinkSpec,
    )

__all__ = [
    "hookimpl",
    "strongroom_anomaly_detectors",
    "strongroom_audit_sinks",
    "strongroom_backends",
    "strongroom_cache_policies",
    "strongroom_commands",
    "strongroom_rotators",
    "strongroom_telemetry_exporters",
]

PROJECT: Final = "strongroom"
MARKER: Final = "strongroom_hook"

Hook = TypeVar("Hook", bound=Callable[..., object])


def hookimpl(function: Hook) -> Hook:
    """Mark a function as the implementation of the hook that has its name.

    It only sets an attribute: importing a plugin's module does not import pluggy,
    which a command that opens one configured plugin has no need of.
    """
    setattr(function, MARKER, {"implementation": True})
    return function


def _hookspec(function: Hook) -> Hook:
    setattr(function, MARKER, {"implementation": False})
    return function


@_hookspec
def strongroom_backends() -> Iterable[BackendSpec]:
    """Offer backends: places that keep secrets.

    Called when a configuration names one of the entry point's names in
    ``[backends.*] type``, and by ``strongroom plugins`` and ``doctor``. At that
    moment no secret has been read, and the client library must not be imported:
    do that in the function given as ``open``.

    Entry-point group: ``strongroom.backends``.

    Returns:
        One ``BackendSpec`` for each backend; each name must be the name of an
        entry point that leads to this module.

    Example:
        .. code-block:: python

            @hookimpl
            def strongroom_backends():
                yield BackendSpec(
                    name="acme",
                    summary="Secrets kept in Acme.",
                    settings=AcmeSettings,
                    open=_open,
                    capabilities=frozenset({Capability.WRITE}),
                )
    """
    raise AssertionError("a specification is never called")


@_hookspec
def strongroom_cache_policies() -> Iterable[CachePolicySpec]:
    """Offer cache policies: how long an answer may be used.

    Called when a configuration names one in ``[cache] policy``, and by
    ``strongroom plugins`` and ``doctor``.

    Entry-point group: ``strongroom.cache_policies``.

    Returns:
        One ``CachePolicySpec`` for each policy.

    Example:
        .. code-block:: python

            @hookimpl
            def strongroom_cache_policies():
                yield CachePolicySpec(
                    name="office-hours",
                    summary="Short by day.",
                    settings=OfficeHours,
                    open=OfficeHoursPolicy,
                )
    """
    raise AssertionError("a specification is never called")


@_hookspec
def strongroom_audit_sinks() -> Iterable[SinkSpec]:
    """Offer audit sinks: places that record who accessed what.

    Called when a configuration names one in ``[[audit]] type``, and by
    ``strongroom plugins`` and ``doctor``. Events reach a sink through its own
    ``write`` method, never through a hook.

    Entry-point group: ``strongroom.audit_sinks``.

    Returns:
        One ``SinkSpec`` for each sink.

    Example:
        .. code-block:: python

            @hookimpl
            def strongroom_audit_sinks():
                yield SinkSpec(name="ledger", summary="Lines in a ledger.", settings=LedgerSettings, open=_open)
    """
    raise AssertionError("a specification is never called")


@_hookspec
def strongroom_anomaly_detectors() -> Iterable[DetectorSpec]:
    """Offer anomaly detectors: judges of each access.

    Called when a configuration names one in ``[[anomaly]] type``, and by
    ``strongroom plugins`` and ``doctor``. A detector sees metadata only.

    Entry-point group: ``strongroom.anomaly_detectors``.

    Returns:
        One ``DetectorSpec`` for each detector.

    Example:
        .. code-block:: python

            @hookimpl
            def strongroom_anomaly_detectors():
                yield DetectorSpec(name="siesta", summary="No access at noon.", settings=Siesta, open=SiestaDetector)
    """
    raise AssertionError("a specification is never called")


@_hookspec
def strongroom_rotators() -> Iterable[RotatorSpec]:
    """Offer rotators: makers of new values, which have a dependent take them.

    Called when a configuration names one in ``[rotation."..."] rotator``, and by
    ``strongroom plugins`` and ``doctor``. Values reach a rotator through its own
    methods, never through a hook.

    Entry-point group: ``strongroom.rotators``.

    Returns:
        One ``RotatorSpec`` for each rotator.

    Example:
        .. code-block:: python

            @hookimpl
            def strongroom_rotators():
                yield RotatorSpec(name="acme", summary="Users of Acme.", settings=AcmeSettings, open=AcmeRotator)
    """
    raise AssertionError("a specification is never called")


@_hookspec
def strongroom_telemetry_exporters() -> Iterable[ExporterSpec]:
    """Offer telemetry exporters: senders of what the command and the agent trace and measure.

    Called when a configuration names one in ``[telemetry] exporter``, when the
    environment asks for the one named ``otel``, and by ``strongroom plugins`` and
    ``doctor``. A program that uses the library sets OpenTelemetry up by itself.

    Entry-point group: ``strongroom.telemetry_exporters``.

    Returns:
        One ``ExporterSpec`` for each exporter.

    Example:
        .. code-block:: python

            @hookimpl
            def strongroom_telemetry_exporters():
                yield ExporterSpec(name="acme", summary="To Acme's service.", settings=AcmeSettings, open=AcmeExporter)
    """
    raise AssertionError("a specification is never called")


@_hookspec
def strongroom_commands() -> Iterable[CommandSpec]:
    """Offer commands: further words that ``strongroom`` understands.

    Called when that word is given and no command of the core has it, and by
    ``strongroom plugins`` and ``doctor``.

    Entry-point group: ``strongroom.commands``.

    Returns:
        One ``CommandSpec`` for each command.

    Example:
        .. code-block:: python

            @hookimpl
            def strongroom_commands():
                yield CommandSpec(name="greet", summary="Say hello.", configure=_arguments, run=_greet)
    """
    raise AssertionError("a specification is never called")
