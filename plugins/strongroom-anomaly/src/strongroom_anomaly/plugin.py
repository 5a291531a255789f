"""The hook: what this distribution offers. Each detector's module is loaded when one is opened."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import AnomalyDetector, DetectorSpec
from strongroom.hookspecs import hookimpl
from strongroom_anomaly.settings import (
    DeniedBurstSettings,
    EnumerationSettings,
    FirstUseSettings,
    RateSettings,
    UnusualSourceSettings,
    UnusualTimeSettings,
)


@hookimpl
def strongroom_anomaly_detectors() -> Iterator[DetectorSpec]:
    """Offer the detectors."""
    yield DetectorSpec(
        name="rate",
        summary="Far more accesses a minute than is usual for a principal, or for its use of a name.",
        settings=RateSettings,
        open=_open_rate,
    )
    yield DetectorSpec(
        name="enumeration",
        summary="Many names that a principal never read before, fast or slowly, or that do not exist.",
        settings=EnumerationSettings,
        open=_open_enumeration,
    )
    yield DetectorSpec(
        name="denied-burst",
        summary="Many denials, fast or slowly.",
        settings=DeniedBurstSettings,
        open=_open_denied_burst,
    )
    yield DetectorSpec(
        name="first-use",
        summary="The first use of a name that belongs to others.",
        settings=FirstUseSettings,
        open=_open_first_use,
    )
    yield DetectorSpec(
        name="unusual-time",
        summary="An access at an hour at which a principal never is at work.",
        settings=UnusualTimeSettings,
        open=_open_unusual_time,
    )
    yield DetectorSpec(
        name="unusual-source",
        summary="An access from a machine or program that is new for a principal.",
        settings=UnusualSourceSettings,
        open=_open_unusual_source,
    )


def _open_rate(settings: RateSettings) -> AnomalyDetector:
    from strongroom_anomaly.rate import RateDetector

    return RateDetector(settings)


def _open_enumeration(settings: EnumerationSettings) -> AnomalyDetector:
    from strongroom_anomaly.enumeration import EnumerationDetector

    return EnumerationDetector(settings)


def _open_denied_burst(settings: DeniedBurstSettings) -> AnomalyDetector:
    from strongroom_anomaly.denied_burst import DeniedBurstDetector

    return DeniedBurstDetector(settings)


def _open_first_use(settings: FirstUseSettings) -> AnomalyDetector:
    from strongroom_anomaly.first_use import FirstUseDetector

    return FirstUseDetector(settings)


def _open_unusual_time(settings: UnusualTimeSettings) -> AnomalyDetector:
    from strongroom_anomaly.unusual_time import UnusualTimeDetector

    return UnusualTimeDetector(settings)


def _open_unusual_source(settings: UnusualSourceSettings) -> AnomalyDetector:
    from strongroom_anomaly.unusual_source import UnusualSourceDetector

    return UnusualSourceDetector(settings)
