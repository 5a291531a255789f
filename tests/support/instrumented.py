"""A program in which others' instrumentations are all switched on, and which uses managers in every way.

It is started with the configurations as JSON, and prints as JSON what has been traced and measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from collections.abc import Callable
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.instrumentation.click import ClickInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import strongroom

from strongroom.aio.manager import open_async
from strongroom.errors import StrongroomError

TIME_LIMIT = 30.0
INSTRUMENTORS: tuple[Any, ...] = (
    BotocoreInstrumentor,
    ClickInstrumentor,
    RequestsInstrumentor,
    SQLite3Instrumentor,
    # It has each thread begin with the context of whoever starts it.
    ThreadingInstrumentor,
    URLLibInstrumentor,
    URLLib3Instrumentor,
)


class Recording:
    """Everything that is traced and measured in this process."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(MeterProvider([self._reader]))
        for each in INSTRUMENTORS:
            each().instrument()

    def told(self) -> dict[str, Any]:
        """Return it as it can be printed."""
        data = self._reader.get_metrics_data()
        scopes = [scope for part in (data.resource_metrics if data else ()) for scope in part.scope_metrics]
        return {
            "spans": [
                {
                    "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
                    "name": span.name,
                    "attributes": dict(span.attributes or {}),
                    "whole": span.to_json(),
                }
                for span in self._spans.get_finished_spans()
            ],
            "metrics": [
                {
                    "scope": scope.scope.name,
                    "name": metric.name,
                    "attributes": dict(point.attributes or {}),
                    "whole": point.to_json(),
                }
                for scope in scopes
                for metric in scope.metrics
                for point in metric.data.data_points
            ],
        }


class Application:
    """Makes requests that have nothing to do with strongroom, so that it shows that others do trace.

    Args:
        url: Whom it asks.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, where: str) -> None:
        """Make one request."""
        import requests

        requests.get(f"{self._url}/by-requests/{where}", timeout=10)

    def ask_by_each_library(self) -> None:
        """Make one request by each of those that are instrumented."""
        import sqlite3
        import urllib.request

        import urllib3

        self.ask("itself")
        urllib3.PoolManager().request("POST", f"{self._url}/by-urllib3", timeout=10)
        urllib.request.urlopen(urllib.request.Request(f"{self._url}/by-urllib", b""), timeout=10).close()
        connection = sqlite3.connect(":memory:")
        connection.cursor().execute("SELECT 'by-sqlite3'")
        connection.close()


def until(done: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + TIME_LIMIT
    while not done():
        if time.monotonic() > end:
            raise AssertionError("it never came")
        time.sleep(0.05)


def use(manager: strongroom.SecretManager, names: list[str], value: str, application: Application) -> None:
    """Do whatever a backend can do."""
    for name in names:
        manager.set(name, value)
        manager.get(name)
        manager.refresh(name)
        list(manager.versions(name))
    manager.get_many(names)
    for number, _ in enumerate(manager.list()):
        if not number:
            application.ask("list")
    missing = f"{names[0]}/missing"
    # Not every backend keeps notes about its secrets.
    for ask, name in ((manager.get, missing), (manager.describe, missing), (manager.describe, names[0])):
        try:
            ask(name)
        except StrongroomError:
            continue
    manager.health()


async def use_async(config: dict[str, Any], names: list[str]) -> None:
    """Read at once and one by one, in an event loop."""
    async with open_async(config) as manager:
        await asyncio.gather(*(manager.get(name) for name in names))
        await manager.health()


def work(
    config: dict[str, Any],
    names: list[str],
    value: str,
    application: Application,
    *,
    rotated: str | None,
    renewed: bool,
) -> None:
    """Use one manager until its threads have done what they do."""
    seen: list[object] = []

    def updated(update: object) -> None:
        if not seen:
            application.ask("callback")
        seen.append(update)

    with strongroom.open(config) as manager, strongroom.open(config) as other:
        use(manager, names, value, application)
        manager.on_update(names[0], updated)
        other.set(names[0], f"{value} again")
        until(lambda: seen)
        if rotated is not None:
            manager.set(rotated, "none")
            manager.rotate(rotated)
        if renewed:
            until(lambda: facts(manager).get("renewals", "0") != "0")
    asyncio.run(use_async(config, names))
    with strongroom.open(config) as manager:
        manager.delete(names[-1])


def facts(manager: strongroom.SecretManager) -> dict[str, str]:
    """Return what the backends tell of themselves."""
    return {key: text for part in manager.health().parts for key, text in part.health.facts}


def main() -> None:
    """Do what the first argument says."""
    told = json.loads(sys.argv[1])
    recording = Recording()
    application = Application(told["control"])
    application.ask_by_each_library()
    for one in told["managers"]:
        more = {"rotated": one.get("rotated"), "renewed": one.get("renewed", False)}
        work(one["config"], told["names"], told["value"], application, **more)
    application.ask("end")
    print(json.dumps(recording.told()))


if __name__ == "__main__":
    main()
