"""Health, readiness and metrics."""

from __future__ import annotations

import asyncio

from pathlib import Path

import pytest

from opentelemetry import metrics as api
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from agents import RunningAgent, running, settings
from strongroom.errors import BackendUnavailableError
from strongroom.telemetry import METRIC_ATTRIBUTES, METRICS
from strongroom.testing import FakeClock, FaultyBackend
from strongroom_agent.health import HealthWatch
from strongroom_agent.scraping import Scrape, Tally


def test_anybody_may_ask_whether_it_lives(agent: RunningAgent) -> None:
    reply = agent.ask("/healthz", token="")
    assert (reply.status, reply.body) == (200, b"ok\n")


def test_a_stranger_learns_the_state_and_nothing_else(agent: RunningAgent) -> None:
    reply = agent.ask("/readyz", token="")
    assert (reply.status, reply.json()) == (200, {"state": "ready"})


def test_readiness_is_no_place_to_try_tokens_at(agent: RunningAgent) -> None:
    statuses = [agent.ask("/readyz", token="x" * 43).status for _ in range(130)]
    assert statuses[0] == 401
    assert 429 in statuses
    assert agent.ask("/readyz", token="").status == 200


def test_a_caller_learns_each_parts_state(agent: RunningAgent) -> None:
    content = agent.ask("/readyz").json()
    assert content["parts"] == [{"kind": "backend", "name": "held", "state": "up", "breaker": "healthy"}] + [
        part for part in content["parts"] if part["kind"] == "audit"
    ]
    assert content["journal"] is None


def test_what_is_down_is_not_ready_and_no_reason_leaves(agent: RunningAgent, backend: FaultyBackend) -> None:
    backend.error = BackendUnavailableError("db/password is out of reach")
    agent.state.health.look()
    reply = agent.ask("/readyz")
    assert (reply.status, reply.json()["state"]) == (503, "unhealthy")
    assert b"db/password" not in reply.raw
    assert agent.ask("/healthz").status == 200
    backend.error = None
    agent.state.health.look()
    assert agent.ask("/readyz").json()["state"] == "ready"


def test_an_agent_that_is_stopping_is_not_ready(agent: RunningAgent) -> None:
    agent.state.stopping = True
    reply = agent.ask("/readyz")
    assert (reply.status, reply.json()) == (503, {"state": "stopping"})


class _Asked:
    def __init__(self, backend: FaultyBackend) -> None:
        import strongroom

        self.manager = strongroom.open({"audit": "none", "backend": "held"}, backends={"held": backend})


def test_what_was_found_long_ago_is_not_known_any_more(backend: FaultyBackend) -> None:
    clock = FakeClock()
    asked = _Asked(backend)
    watch = HealthWatch(lambda: asked.manager, lambda: 10.0, clock=clock)
    assert watch.latest() is None
    watch.look()
    clock.advance(60)
    assert watch.latest().word == "ready"
    clock.advance(20)
    assert watch.latest() is None
    asked.manager.close()


def test_a_backend_that_breaks_does_not_end_the_watch(backend: FaultyBackend) -> None:
    asked = _Asked(backend)
    watch = HealthWatch(lambda: asked.manager, lambda: 10.0)
    backend.error = RuntimeError("db/password")
    report = watch.look()
    assert report.word == "unhealthy"
    backend.error = None
    assert watch.look().word == "ready"
    asked.manager.close()
    assert watch.look().word == "unhealthy"


def test_metrics_are_for_callers_unless_they_are_open(agent: RunningAgent) -> None:
    assert agent.ask("/metrics", token="").status == 401
    assert agent.ask("/metrics").status == 200


def test_open_metrics_are_for_everybody(tmp_path: Path, backend: FaultyBackend) -> None:
    with running(settings(tmp_path, metrics="open"), backend) as agent:
        assert agent.ask("/metrics", token="").status == 200


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        ("", "text/plain; version=0.0.4", plain),
        ("text/plain", "text/plain; version=0.0.4", plain),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0", openmetrics),
    ],
)
def test_metrics_come_as_they_are_asked_for(agent: RunningAgent, accept: str, kind: str, parse) -> None:
    agent.get("db/password")
    agent.get("db/password")
    reply = agent.ask("/metrics", Accept=accept)
    assert reply.headers["content-type"].startswith(kind)
    families = {family.name: family for family in parse(reply.body.decode())}
    requests = families["strongroom_agent_requests"].samples
    assert [
        sample.value
        for sample in requests
        if sample.labels == {"endpoint": "/v1/get", "code": "200"} and sample.name.endswith("_total")
    ] == [2.0]
    assert "strongroom_cache_reads" in families
    assert "strongroom_client_operation_duration_seconds" in families


def test_no_label_holds_a_name_or_a_value(agent: RunningAgent) -> None:
    for name in ("db/password", "db/user", "gone", "key/denied"):
        agent.get(name)
    agent.ask("/v1/db-password-in-a-path")
    text = agent.ask("/metrics").body.decode()
    assert "password" not in text
    assert "s3cret" not in text
    own = {"endpoint", "code", "reason", "outcome", "le"}
    allowed = own | {attribute.replace(".", "_") for attribute in METRIC_ATTRIBUTES}
    families = [family for family in plain(text) if family.name.startswith("strongroom")]
    assert {label for family in families for sample in family.samples for label in sample.labels} <= allowed
    known = {metric.name.replace(".", "_") for metric in METRICS}
    assert {
        family.name
        for family in families
        if not family.name.startswith("strongroom_agent_") and not any(family.name.startswith(name) for name in known)
    } == set()


def test_who_scrapes_often_causes_no_work(agent: RunningAgent) -> None:
    first = agent.ask("/metrics").body
    agent.get("db/password")
    assert agent.ask("/metrics").body == first


def test_a_meter_provider_that_is_there_already_stays_and_gets_a_reader_more() -> None:
    """An exporter has set one up before the agent begins, or another agent of the process."""
    first = Scrape(Tally(), clock=FakeClock())
    provider = api.get_meter_provider()
    clock = FakeClock()
    second = Scrape(Tally(), clock=clock)
    assert api.get_meter_provider() is provider
    api.get_meter("test").create_counter("test.of.two.readers").add(3)
    for scrape in (first, second):
        assert b"test_of_two_readers_total 3.0" in asyncio.run(scrape.answer(""))[0]
    second.close()
    clock.advance(10)
    assert b"test_of_two_readers" not in asyncio.run(second.answer(""))[0]
    assert api.get_meter_provider() is provider
    first.close()


def test_answers_are_counted_by_how_long_they_took() -> None:
    tally = Tally()
    for seconds in (0.00005, 0.0001, 0.003, 100.0):
        tally.answered("/v1/get", 200, seconds)
    [family] = [one for one in tally.collect() if one.name.endswith("request_duration_seconds")]
    counts = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert (counts["0.0001"], counts["0.0025"], counts["0.005"], counts["10.0"], counts["+Inf"]) == (2, 2, 3, 3, 4)
