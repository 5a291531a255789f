"""The kit's checks of the sink, over HTTP, and of the module that offers it and the exporter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collector import Kept
from strongroom.contracts import AuditSink
from strongroom.testing import AuditSinkContract, PluginContract
from strongroom_otel.sink import OtelSink


class TestPlugin(PluginContract):
    module = "strongroom_otel.plugin"
    heavy = ("opentelemetry", "google.protobuf", "grpc", "strongroom_otel.sink", "strongroom_otel.exporter")


class TestSink(AuditSinkContract):
    @pytest.fixture
    def sink(self, open_sink: Callable[..., OtelSink]) -> OtelSink:
        return open_sink()

    @pytest.fixture
    def recorded(self, kept: Kept) -> Callable[[], list[object]]:
        return kept.events

    @pytest.fixture
    def failing(self, open_sink: Callable[..., OtelSink]) -> AuditSink:
        return open_sink(endpoint="http://127.0.0.1:9")


class TestCompressingSink(TestSink):
    @pytest.fixture
    def sink(self, open_sink: Callable[..., OtelSink]) -> OtelSink:
        return open_sink(compression="gzip")
