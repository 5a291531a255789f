"""Metrics: what a manager tells of itself, that it is counted once, and that it costs nothing where nobody looks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from opentelemetry import context

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Decision, Health, HealthState, Verdict
from strongroom.errors import AuditError, BackendUnavailableError, SecretNotFoundError
from strongroom.telemetry import quiet
from strongroom.telemetry.names import CACHE_READS
from strongroom.telemetry.observed import OBSERVED, Observation, Observed
from strongroom.testing import FakeClock, FaultyBackend
from strongroom.testing.meters import Meters
from strongroom.testing.spans import Spans

NAME = "db/password"


@pytest.fixture
def meters() -> Iterator[Meters]:
    with Meters() as made:
        yield made


@pytest.fixture
def spans() -> Spans:
    return Spans()


def test_reads_are_counted_by_what_answered_them(open_manager: Any, meters: Meters) -> None:
    manager = open_manager({NAME: "s3cret"})
    for _ in range(3):
        manager.get(NAME)
    for _ in range(2):
        with pytest.raises(SecretNotFoundError):
            manager.get("no/such")
    told = {kind: meters.value("cache.reads", outcome=kind) for kind in ("hit", "miss", "negative", "error")}
    assert told == {"hit": 2, "miss": 2, "negative": 1, "error": 0}
    assert meters.value("cache.entries") == 2
    assert meters.value("cache.lives", within="inf") == 2


def test_what_leaves_the_cache_is_counted(open_manager: Any, meters: Meters, clock: FakeClock) -> None:
    manager = open_manager({f"n{number}": "x" for number in range(3)}, cache={"max_entries": 2, "ttl": "10s"})
    for number in range(3):
        manager.get(f"n{number}")
    assert meters.value("cache.removed", outcome="evicted") == 1
    assert (meters.value("cache.entries"), meters.value("cache.limit")) == (2, 2)


def test_several_managers_are_added_up_and_a_closed_one_stays_counted(open_manager: Any, meters: Meters) -> None:
    one, other = open_manager({NAME: "a"}), open_manager({NAME: "b"})
    for manager in (one, one, other):
        manager.get(NAME)
    assert meters.value("cache.reads", outcome="miss") == 2
    assert meters.value("cache.entries") == 2
    one.close()
    assert meters.value("cache.reads", outcome="miss") == 2
    assert meters.value("cache.reads", outcome="hit") == 1
    assert meters.value("cache.entries") == 1


class Counting:
    """An owner of a counter, as a manager is."""

    count = 0.0
    is_leaving = False

    def look_up(self) -> list[Observation]:
        return [(self.count, ())]


def counts(observed: Observed) -> float:
    return observed.values(CACHE_READS)[()]


def observing(look_up: Callable[[Any], list[Observation]] = Counting.look_up) -> tuple[Observed, Counting]:
    observed, owner = Observed((CACHE_READS,)), Counting()
    observed.make()
    observed.watch(owner, lambda owner: {CACHE_READS.name: lambda: look_up(owner)})
    owner.count = 5
    return observed, owner


def test_a_counter_does_not_go_back_when_one_fails_to_answer() -> None:
    def look_up(owner: Counting) -> list[Observation]:
        if owner.count == 6:
            raise RuntimeError("it is just being closed")
        return owner.look_up()

    observed, owner = observing(look_up)
    told = []
    for owner.count in (5, 6, 7):
        told.append(counts(observed))
    assert told == [5, 5, 7]


def test_a_counter_does_not_go_back_while_its_owner_leaves() -> None:
    collected: list[float] = []

    def look_up(owner: Counting) -> list[Observation]:
        if owner.is_leaving:
            owner.is_leaving = False
            # Somebody collects in between.
            collected.append(counts(observed))
        return [(owner.count, ())]

    observed, owner = observing(look_up)
    collected.append(counts(observed))
    owner.is_leaving = True
    observed.leave(owner)
    assert [*collected, counts(observed)] == [5, 5, 5]


def test_a_counter_does_not_go_back_when_its_owner_is_gone_without_a_word() -> None:
    observed, owner = observing()
    assert counts(observed) == 5
    del owner
    gc.collect()
    assert counts(observed) == 5


def test_metrics_are_observed_although_the_api_was_being_imported(
    open_manager: Any, meters: Meters, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "opentelemetry.metrics", ModuleType("metrics"))
        OBSERVED.start_afresh()
        open_manager({NAME: "a"}).get(NAME)
    open_manager({NAME: "a"}).get(NAME)
    assert meters.value("cache.reads", outcome="miss") == 2


def test_each_call_is_measured_and_points_to_its_trace(
    open_manager: Any, meters: Meters, spans: Spans, backend: FaultyBackend
) -> None:
    manager = open_manager(backends={"memory": backend}, tracer_provider=spans.provider)
    manager.get(NAME)
    backend.error = BackendUnavailableError("it refuses", code="connection_refused")
    with pytest.raises(BackendUnavailableError):
        manager.refresh(NAME)
    points = [point for name, told, point in meters.points() if told.get("strongroom.operation") == "read"]
    assert sum(point.count for point in points) == 2
    found = [point for point in points if point.attributes.get("error.type") == "connection_refused"]
    assert [point.count for point in found] == [1]
    (exemplar,) = found[0].exemplars
    assert exemplar.span_id in {span.context.span_id for span in spans.finished() if span.context is not None}


def test_accesses_are_counted_by_how_they_ended(open_manager: Any, meters: Meters) -> None:
    manager = open_manager(
        {NAME: "s3cret"}, policies=[{"principal": "*", "effect": "allow", "actions": ["read"], "names": ["db/*"]}]
    )
    manager.get(NAME)
    with pytest.raises(Exception, match="may not"):
        manager.get("other/name")
    assert meters.value("accesses", operation="get", outcome="ok") == 1
    assert meters.value("accesses", operation="get", outcome="denied") == 1


def test_verdicts_and_alerts_are_counted(open_manager: Any, watched: Any, meters: Meters) -> None:
    manager = open_manager({NAME: "s3cret"}, anomaly=[{"type": "watch"}])
    manager.get(NAME)
    watched.verdict = Verdict(decision=Decision.ALERT, reason="odd")
    manager.refresh(NAME)
    assert meters.value("anomaly.verdicts", outcome="alert") == 1
    assert meters.value("anomaly.alerts", outcome="alert") == 1


def test_what_a_sink_recorded_and_lost_is_counted(open_manager: Any, sink: Any, meters: Meters) -> None:
    manager = open_manager({NAME: "s3cret"})
    manager.get(NAME)
    recorded = meters.value("audit.events")
    assert recorded == len(sink.events)
    sink.failing = True
    with pytest.raises(AuditError):
        manager.refresh(NAME)
    assert meters.value("audit.events") == recorded
    assert meters.value("audit.lost") == 0


def test_what_is_lost_when_a_manager_closes_is_counted_too(open_manager: Any, sink: Any, meters: Meters) -> None:
    manager = open_manager({NAME: "s3cret"})
    manager.get(NAME)
    manager._parts.audit.sinks[0].required = False
    sink.failing = True
    manager.close()
    assert meters.value("audit.lost") == 1


def test_figures_that_a_backend_gives_of_itself_become_gauges(open_manager: Any, meters: Meters) -> None:
    class Told(MemoryBackend):
        def health(self) -> Health:
            figures = (("token_seconds", 90.0), ("store_bytes", 4096.0), ("key_uses", 7.0), ("moon", 1.0))
            return Health(state=HealthState.DEGRADED, reason="it is old", figures=figures)

    open_manager(backends={"memory": Told(MemorySettings())}).health()
    assert meters.value("part.up", backend="memory") == 0.5
    assert meters.value("token.remaining", backend="memory") == 90
    assert meters.value("store.size") == 4096
    assert meters.value("store.key.uses") == 7


def test_a_manager_that_was_opened_first_is_observed_once_somebody_looks() -> None:
    program = (
        "import strongroom\n"
        "manager = strongroom.open({'audit': 'none', 'backends': {'m': {'type': 'memory'}}})\n"
        "manager.set('a', '1'); manager.get('a'); manager.get('a')\n"
        "from opentelemetry import metrics\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "reader = InMemoryMetricReader()\n"
        "metrics.set_meter_provider(MeterProvider([reader]))\n"
        "manager.refresh('a')\n"
        "scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics\n"
        "found = {m.name: m for scope in scopes for m in scope.metrics}\n"
        "print(sum(point.value for point in found['strongroom.cache.reads'].data.data_points))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stderr, int(done.stdout)) == ("", 3)


# Windows has none.
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where there is fork")
def test_a_forked_child_counts_only_its_own(open_manager: Any, meters: Meters) -> None:
    manager = open_manager({NAME: "s3cret"})
    manager.get(NAME)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        told = b"?"
        try:
            manager.get(NAME)
            told = f"{meters.value('cache.reads', outcome='miss')}".encode()
        finally:
            os.write(writer, told)
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 9) in {b"1", b"1.0"}
    os.close(reader)
    os.close(writer)


def test_within_a_call_other_instrumentation_is_switched_off(open_manager: Any, spans: Spans) -> None:
    seen: list[bool] = []

    class Looking(MemoryBackend):
        def read(self, request: Any) -> Any:
            seen.append(bool(context.get_value("suppress_instrumentation")))
            seen.append(bool(context.get_value(context._SUPPRESS_HTTP_INSTRUMENTATION_KEY)))
            return super().read(request)

    manager = open_manager(backends={"memory": Looking(MemorySettings())}, tracer_provider=spans.provider)
    manager.set(NAME, "s3cret")
    manager.get(NAME)
    assert seen == [True, True]
    assert not context.get_value("suppress_instrumentation")


def test_quiet_ends_with_an_error_as_well() -> None:
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert not context.get_value("suppress_instrumentation")
