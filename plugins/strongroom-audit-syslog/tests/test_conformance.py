"""The kit's checks of the sink, over every transport, and of the module that offers it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Issued
from strongroom.testing import AuditSinkContract, PluginContract
from strongroom_audit_syslog.sink import SyslogSink
from syslogserver import TRANSPORTS, Arriving, Collector, collecting, server_context


class TestPlugin(PluginContract):
    module = "strongroom_audit_syslog.plugin"
    heavy = ("ssl", "socket", "strongroom_audit_syslog.sink", "strongroom_audit_syslog.rules")


class TestSink(AuditSinkContract):
    # Of the fixture rather than of the class, since not every check uses it.
    @pytest.fixture(params=TRANSPORTS)
    def transport(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def collector(self, short: Path, transport: str, server: Issued) -> Iterator[Collector]:
        context = server_context(server.certificate, server.key) if transport == "tls" else None
        with collecting(short, transport, context) as collector:
            yield collector

    @pytest.fixture
    def sink(self, collector: Collector, trusting: dict[str, Any], open_sink: Callable[..., SyslogSink]) -> Arriving:
        settings = trusting if collector.transport == "tls" else {}
        return Arriving(open_sink(collector.address, **settings), collector)

    @pytest.fixture
    def recorded(self, collector: Collector) -> Any:
        return collector.events

    @pytest.fixture
    def failing(
        self, collector: Collector, trusting: dict[str, Any], open_sink: Callable[..., SyslogSink]
    ) -> SyslogSink:
        collector.close()
        return open_sink(collector.address, **(trusting if collector.transport == "tls" else {}))
