"""The hooks."""

from __future__ import annotations

import argparse
import os
import pickle

from collections.abc import Iterator

from strongroom.contracts import (
    AnomalyDetector,
    AuditSink,
    Backend,
    BackendSpec,
    CachePolicy,
    CachePolicySpec,
    Capability,
    CommandCall,
    CommandSpec,
    DetectorSpec,
    ExporterSpec,
    Rotator,
    RotatorSpec,
    SinkSpec,
    TelemetryExporter,
)
from strongroom.hookspecs import hookimpl
from strongroom_frozen.settings import (
    DetectorSettings,
    ExporterSettings,
    PolicySettings,
    RotatorSettings,
    SinkSettings,
    StoreSettings,
)


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the backend."""
    yield BackendSpec(
        name="frozen",
        summary="Secrets in one file, as in 1.0.",
        settings=StoreSettings,
        open=_open_backend,
        capabilities=frozenset(
            {
                Capability.WRITE,
                Capability.LIST,
                Capability.VERSIONS,
                Capability.CHECK_AND_SET,
                Capability.BATCH,
            }
        ),
        create=_create,
        credential_variables=("FROZEN_TOKEN",),
    )


def _open_backend(settings: StoreSettings) -> Backend:
    from strongroom_frozen.backend import FrozenBackend

    return FrozenBackend(settings)


def _create(settings: StoreSettings) -> None:
    with open(settings.path, "xb") as file:
        pickle.dump({}, file)


@hookimpl
def strongroom_cache_policies() -> Iterator[CachePolicySpec]:
    """Offer the cache policy."""
    yield CachePolicySpec(name="frozen", summary="Times as in 1.0.", settings=PolicySettings, open=_open_policy)


def _open_policy(settings: PolicySettings) -> CachePolicy:
    from strongroom_frozen.policy import FrozenPolicy

    return FrozenPolicy(settings)


@hookimpl
def strongroom_audit_sinks() -> Iterator[SinkSpec]:
    """Offer the sink."""
    yield SinkSpec(name="frozen", summary="A line for each event, as in 1.0.", settings=SinkSettings, open=_open_sink)


def _open_sink(settings: SinkSettings) -> AuditSink:
    from strongroom_frozen.sink import FrozenSink

    return FrozenSink(settings)


@hookimpl
def strongroom_anomaly_detectors() -> Iterator[DetectorSpec]:
    """Offer the detector."""
    yield DetectorSpec(
        name="frozen", summary="A bound for each principal.", settings=DetectorSettings, open=_open_detector
    )


def _open_detector(settings: DetectorSettings) -> AnomalyDetector:
    from strongroom_frozen.detector import FrozenDetector

    return FrozenDetector(settings)


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer the rotator."""
    yield RotatorSpec(
        name="frozen",
        summary="A door that accepts values in a file.",
        settings=RotatorSettings,
        open=_open_rotator,
        overlap=0.0,
        dependent=True,
    )


def _open_rotator(settings: RotatorSettings) -> Rotator:
    from strongroom_frozen.rotator import FrozenRotator

    return FrozenRotator(settings)


@hookimpl
def strongroom_telemetry_exporters() -> Iterator[ExporterSpec]:
    """Offer the exporter."""
    yield ExporterSpec(name="frozen", summary="Notes in a file.", settings=ExporterSettings, open=_open_exporter)


def _open_exporter(settings: ExporterSettings) -> TelemetryExporter:
    from strongroom_frozen.exporter import FrozenExporter

    return FrozenExporter(settings)


@hookimpl
def strongroom_commands() -> Iterator[CommandSpec]:
    """Offer the command ``strongroom frozen``."""
    yield CommandSpec(
        name="frozen",
        summary="Say what 1.0 was told.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom frozen --shout db/password
        """,
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the name of a secret")
    parser.add_argument("--shout", action="store_true", help="in capitals")


def _run(call: CommandCall) -> int:
    import strongroom

    call.settings()
    with strongroom.open(call.config) as manager:
        reader = manager if call.principal is None else manager.as_principal(call.principal)
        secret = reader.get(call.options.name)
    text = f"{secret.name} {len(secret.value)} {call.principal or os.curdir}"
    print(text.upper() if call.options.shout else text)
    return 0
