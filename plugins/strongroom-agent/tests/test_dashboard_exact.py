"""The dashboard's figures against the plainest way to get them: look at every event of a trail, and count."""

from datetime import UTC, datetime
from math import ceil
from random import Random
from typing import Any

import pytest

from dashboards import event
from strongroom.model import AuditEvent
from strongroom_agent.figures import OTHERS
from strongroom_agent.overview import MOST_TOLD_APART, figures_part
from strongroom_agent.window import Window

NOW = datetime(2030, 3, 1, 0, 7, 31, 250_000, tzinfo=UTC).timestamp()
"""Shortly after midnight, and after the end of a month."""
DENIED = {"denied", "suspicious"}
RESULTS = ["ok"] * 12 + ["queued", "not_found", "deleted", "denied", "suspicious", "timeout", "unavailable"]
RARE = [f"seldom-{number}" for number in range(60)]


class Nobody:
    """A manager without trails."""

    def trails(self) -> tuple[()]:
        return ()


def trail(random: Random, count: int) -> list[AuditEvent]:
    """Return events of 30 hours, in the order of their time."""
    times = sorted((NOW - 30 * 3600 * random.random() ** 3 for _ in range(count)), key=float)
    made = []
    for number, seconds in enumerate(times):
        fields: dict[str, Any] = {
            "event": random.choice(["get"] * 8 + ["set", "rotate", "alert", "opened", "list"]),
            "phase": random.choice(["outcome"] * 9 + ["attempt"]),
            "result": random.choice(RESULTS),
            "source": random.choice(["cache", "cache", "stale", "backend", "fallback", None]),
            "backend": random.choice(["local", "vault", None]),
            "duration": random.choice([None, random.lognormvariate(-5, 2)]),
            # Those who come seldom come first: who does most must be told apart all the same.
            "principal": random.choice(RARE if number % 5 == 0 else ["web", "web", "cron", None]),
        }
        made.append(event(number, datetime.fromtimestamp(seconds, UTC), **fields))
    return made


def shown(events: list[AuditEvent], step: int) -> dict[str, Any]:
    window = Window(Nobody, 100, wall_clock=lambda: NOW)
    for one in events:
        window.add(one)
    return figures_part(window.series(step=step))


def within(events: list[AuditEvent], figures: dict[str, Any]) -> list[AuditEvent]:
    """Return what has happened in a span, without attempts."""
    start = datetime.fromisoformat(figures["start"])
    return [one for one in events if one.phase != "attempt" and datetime.fromisoformat(one.timestamp) >= start]


def operations(events: list[AuditEvent]) -> list[AuditEvent]:
    return [one for one in events if one.principal is not None and one.event not in {"alert", "opened"}]


def reads(events: list[AuditEvent]) -> list[AuditEvent]:
    return [one for one in operations(events) if one.event == "get" and one.result not in DENIED]


@pytest.fixture(params=[1, 2, 3])
def events(request: pytest.FixtureRequest) -> list[AuditEvent]:
    return trail(Random(request.param), 6000)


@pytest.mark.parametrize(("step", "span"), [(1, 3600), (20, 24 * 3600)])
def test_counts_are_those_of_the_trail(events: list[AuditEvent], step: int, span: int) -> None:
    figures = shown(events, step)
    start = datetime.fromisoformat(figures["start"]).timestamp()
    assert span - 60 <= NOW - start < span + 60 * step
    past = within(events, figures)
    read = reads(past)
    hits = [one for one in read if one.source in {"cache", "stale"}]
    assert figures["total"] == {
        "reads": len(read),
        "hits": len(hits),
        "operations": len(operations(past)),
        "denied": len([one for one in operations(past) if one.result in DENIED]),
        "failed": len([one for one in operations(past) if one.result in {"timeout", "unavailable"}]),
        "alerts": len([one for one in past if one.event == "alert"]),
        "rotations": len([one for one in operations(past) if one.event == "rotate" and one.result in {"ok", "queued"}]),
    }
    assert figures["hit_rate"] == len(hits) / len(read)


@pytest.mark.parametrize("step", [1, 20])
def test_each_bar_is_what_has_happened_in_its_time(events: list[AuditEvent], step: int) -> None:
    figures = shown(events, step)
    start = datetime.fromisoformat(figures["start"]).timestamp()
    expected = [0] * len(figures["charts"]["reads"])
    for one in reads(within(events, figures)):
        expected[int((datetime.fromisoformat(one.timestamp).timestamp() - start) // (60 * step))] += 1
    assert figures["charts"]["reads"] == expected


@pytest.mark.parametrize("step", [1, 20])
def test_percentiles_are_those_of_the_sorted_times(events: list[AuditEvent], step: int) -> None:
    figures = shown(events, step)
    answered = [one for one in reads(within(events, figures)) if one.source == "backend" and one.duration is not None]
    assert {one["backend"] for one in figures["latencies"]} == {one.backend or "" for one in answered}
    for told in figures["latencies"]:
        times = sorted(one.duration or 0.0 for one in answered if (one.backend or "") == told["backend"])
        assert told["reads"] == len(times)
        for part in (50, 90, 99):
            assert told[f"p{part}"] == pytest.approx(times[ceil(part / 100 * len(times)) - 1], rel=0.1, abs=5e-5)


@pytest.mark.parametrize("step", [1, 20])
def test_who_does_most_is_told_apart_and_nobody_is_lost(events: list[AuditEvent], step: int) -> None:
    figures = shown(events, step)
    expected: dict[str, list[int]] = {}
    for one in operations(within(events, figures)):
        counts = expected.setdefault(one.principal or "", [0, 0, 0])
        counts[0] += 1
        counts[1] += one.result in DENIED
        counts[2] += one.result in {"timeout", "unavailable"}
    found = {one["principal"]: [one["operations"], one["denied"], one["failed"]] for one in figures["principals"]}
    rest = found.pop(OTHERS)
    assert len(found) == MOST_TOLD_APART
    assert found == {name: expected[name] for name in found}
    most = sorted((counts[0] for counts in expected.values()), reverse=True)[:MOST_TOLD_APART]
    assert sorted((counts[0] for counts in found.values()), reverse=True) == most
    together = [sum(column) for column in zip(*expected.values(), strict=True)]
    assert [sum(column) for column in zip(rest, *found.values(), strict=True)] == together
