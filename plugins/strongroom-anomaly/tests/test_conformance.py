"""Each detector keeps the contract."""

from __future__ import annotations

import pytest

from strongroom.contracts import AnomalyDetector
from strongroom.testing import AnomalyDetectorContract, PluginContract
from strongroom_anomaly.plugin import strongroom_anomaly_detectors

SPECS = {spec.name: spec for spec in strongroom_anomaly_detectors()}


def new(kind: str) -> AnomalyDetector:
    return SPECS[kind].open(SPECS[kind].settings())


class TestPlugin(PluginContract):
    module = "strongroom_anomaly.plugin"
    heavy = tuple(
        f"strongroom_anomaly.{module}"
        for module in ("rate", "enumeration", "denied_burst", "first_use", "unusual_time", "unusual_source", "counting")
    )


@pytest.mark.parametrize("kind", SPECS)
class TestDetector(AnomalyDetectorContract):
    @pytest.fixture
    def detector(self, kind: str) -> AnomalyDetector:
        return new(kind)

    @pytest.fixture
    def another(self, kind: str) -> AnomalyDetector:
        return new(kind)
