"""Audit events as log records, through a real collector."""

from __future__ import annotations

import json
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import strongroom

from collector import Collector, Kept, attributes, collector
from commandline import Cli
from faultproxy import FaultProxy
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import AuditSink
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom.testing import AuditSinkContract
from strongroom_otel.plugin import OtelSinkSettings
from strongroom_otel.records import ATTRIBUTES
from strongroom_otel.sink import OtelSink

PROTOCOLS = ("http/protobuf", "grpc")
VALUE = "zq9-marker-77d20c1f"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collector(tmp_path_factory.mktemp("collector")) as made:
        yield made


@pytest.fixture
def kept(running: Collector) -> Iterator[Kept]:
    settle(running.kept)
    running.kept.clear()
    yield running.kept
    assert VALUE not in running.kept.text()
    for record in running.kept.records():
        assert attributes(record).keys() <= set(ATTRIBUTES.values())


def settle(kept: Kept) -> None:
    """Wait until nothing more comes: the collector passes on what it has within 50 ms."""
    seen, since = len(kept.requests), time.monotonic()
    while time.monotonic() - since < 0.3:
        time.sleep(0.02)
        if len(kept.requests) != seen:
            seen, since = len(kept.requests), time.monotonic()


class ThroughACollector(AuditSinkContract):
    """The kit's checks, with what the collector has passed on."""

    protocol = ""

    @pytest.fixture
    def sink(self, running: Collector, kept: Kept) -> Iterator[OtelSink]:
        made = OtelSink(OtelSinkSettings(**running.settings(self.protocol)))
        yield made
        made.close()

    @pytest.fixture
    def recorded(self, kept: Kept) -> Callable[[], list[AuditEvent]]:
        def read() -> list[AuditEvent]:
            settle(kept)
            return kept.events()

        return read

    @pytest.fixture
    def failing(self) -> AuditSink:
        return OtelSink(OtelSinkSettings(endpoint="http://127.0.0.1:9", protocol=self.protocol))


class TestOverHttp(ThroughACollector):
    protocol = "http/protobuf"


class TestOverGrpc(ThroughACollector):
    protocol = "grpc"


def opened(sink: dict[str, Any], **more: Any) -> strongroom.SecretManager:
    config = {"backend": "memory", "audit": [{"type": "otel"} | sink], **more}
    return strongroom.open(config, backends={"memory": MemoryBackend()})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_event_arrives_exactly_once(running: Collector, kept: Kept, protocol: str) -> None:
    with opened(running.settings(protocol)) as manager:
        manager.set("db/password", VALUE)
        for _ in range(500):
            manager.get("db/password")
        manager.delete("db/password")
    kept.wait(lambda: any(event.event == "closed" for event in kept.events()))
    settle(kept)
    events = kept.events()
    assert len({(event.id, event.event, event.phase) for event in events}) == len(events)
    assert [event.event for event in events if event.phase == "outcome" and event.event != "get"] == [
        *("opened", "set", "delete", "closed")
    ]
    assert len([event for event in events if event.event == "get"]) == 500
    assert {event.key for event in events if event.event == "get"} == {"db/password"}


def test_records_are_linked_with_the_trace(cli: Cli, store: Path, running: Collector, kept: Kept) -> None:
    assert cli("set", "app/token", stdin=VALUE).status == 0
    settings = running.settings("http/protobuf")
    file = store / "strongroom.toml"
    table = "".join(f"{key} = {json.dumps(text)}\n" for key, text in settings.items())
    file.write_text(f'{file.read_text()}\n[[audit]]\ntype = "otel"\n{table}\n[telemetry]\nexporter = "otel"\n{table}')
    done = cli("get", "app/token")
    assert (done.status, done.stdout, done.stderr) == (0, VALUE, "")
    kept.wait(lambda: any(span.name == "strongroom.command" for span in kept.spans()))
    settle(kept)
    (root,) = (span for span in kept.spans() if span.name == "strongroom.command")
    (read,) = (record for record in kept.records() if attributes(record)["strongroom.event"] == "get")
    assert read.trace_id == root.trace_id
    writes = {span.span_id for span in kept.spans() if span.name == "strongroom.audit_write"}
    assert read.span_id in writes
    assert attributes(read)["strongroom.key"] == "app/token"
    assert read.severity_text == "INFO"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_its_collector_a_required_sink_has_everything_refused(protocol: str) -> None:
    manager = opened({"endpoint": "http://127.0.0.1:9", "protocol": protocol})
    for use in (manager.get, manager.delete, manager.describe):
        with pytest.raises(AuditError, match="cannot be reached"):
            use("db/password")
    manager.close()


def test_a_required_sink_whose_collector_goes_away_has_reads_refused_until_it_is_back(
    running: Collector, kept: Kept
) -> None:
    with FaultProxy(int(running.http.rpartition(":")[2])) as proxy:
        sink = {"endpoint": f"http://127.0.0.1:{proxy.port}"}
        with opened(sink, cache={"policy": "none"}) as manager:
            manager.set("db/password", VALUE)
            proxy.refuse()
            for _ in range(2):
                with pytest.raises(AuditError, match="nobody listens"):
                    manager.get("db/password")
            with pytest.raises(AuditError, match="nobody listens"):
                manager.set("db/password", "another")
            proxy.listen()
            assert manager.get("db/password").reveal_text() == VALUE


def test_an_optional_sink_loses_events_and_says_how_many(running: Collector, kept: Kept) -> None:
    with FaultProxy(int(running.http.rpartition(":")[2])) as proxy:
        sink = {"endpoint": f"http://127.0.0.1:{proxy.port}", "required": False}
        with opened(sink, cache={"policy": "none"}) as manager:
            manager.set("db/password", VALUE)
            proxy.refuse()
            for _ in range(7):
                assert manager.get("db/password").reveal_text() == VALUE
            proxy.listen()
            manager.get("db/password")
    kept.wait(lambda: any(event.event == "closed" for event in kept.events()))
    gaps = [event for event in kept.events() if event.event == "gap"]
    assert [gap.count for gap in gaps] == [7]
    (record,) = (each for each in kept.records() if attributes(each)["strongroom.event"] == "gap")
    assert record.severity_text == "WARN"
