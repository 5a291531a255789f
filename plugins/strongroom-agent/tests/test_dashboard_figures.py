"""The counters of the dashboard, minute by minute."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards import event
from strongroom_agent.figures import MOST_BACKENDS, MOST_PRINCIPALS, OTHERS, STEPS, Figures, Latency, Series
from strongroom_agent.rows import row_of

NOON = datetime(2030, 1, 2, 12, 0, 30, tzinfo=UTC)
NOW = NOON.timestamp()


def figures(*events: tuple[datetime, dict[str, Any]]) -> Figures:
    made = Figures()
    for number, (when, fields) in enumerate(events, 1):
        made.add(row_of(event(number, when, **fields), number, NOW), NOW)
    return made


def hour(made: Figures) -> Series:
    return made.series(NOW, step=1)


def test_reads_are_told_apart_by_what_answered_them() -> None:
    total = hour(
        figures(
            (NOON, {"source": "cache"}),
            (NOON, {"source": "stale"}),
            (NOON, {"source": "cache", "result": "not_found"}),
            (NOON, {"source": "backend", "duration": 0.01}),
            (NOON, {"source": None, "result": "timeout"}),
            (NOON, {"source": None, "result": "denied"}),
            (NOON, {"source": None, "result": "suspicious"}),
            (NOON, {"event": "set", "source": None}),
        )
    ).total
    # As `strongroom stats` counts them: what was denied was never a read.
    assert (total.counts["reads"], total.counts["hits"]) == (5, 3)
    assert total.hit_rate == 0.6
    assert (total.counts["denied"], total.counts["failed"], total.counts["operations"]) == (2, 1, 8)


def test_without_a_read_there_is_no_hit_rate() -> None:
    assert hour(figures()).total.hit_rate is None


@pytest.mark.parametrize("result", ["ok", "queued", "not_found", "deleted"])
def test_what_is_an_answer_is_no_failure(result: str) -> None:
    assert hour(figures((NOON, {"result": result}))).total.counts["failed"] == 0


@pytest.mark.parametrize("notice", ["opened", "closed", "head", "gap", "alert"])
def test_what_nobody_has_done_is_no_operation(notice: str) -> None:
    total = hour(figures((NOON, {"event": notice, "result": "broken"}))).total
    assert (total.counts["operations"], total.counts["failed"], total.principals) == (0, 0, {})


def test_alerts_and_rotations_are_counted() -> None:
    total = hour(
        figures(
            (NOON, {"event": "alert", "result": "blocked"}),
            (NOON, {"event": "rotate", "source": None}),
            (NOON, {"event": "rotate", "source": None, "result": "timeout"}),
        )
    ).total
    assert (total.counts["alerts"], total.counts["rotations"], total.counts["failed"]) == (1, 1, 1)


def test_each_principal_has_its_own_counts() -> None:
    total = hour(
        figures((NOON, {}), (NOON, {"result": "denied"}), (NOON, {"principal": "cron", "result": "timeout"}))
    ).total
    assert total.principals == {"web": [2, 1, 0], "cron": [1, 0, 1]}


def test_principals_beyond_the_limit_are_counted_together() -> None:
    names = [f"p{number}" for number in range(MOST_PRINCIPALS + 30)]
    total = hour(figures(*((NOON, {"principal": name}) for name in names))).total
    assert len(total.principals) == MOST_PRINCIPALS + 1
    assert total.principals[OTHERS] == [30, 0, 0]
    assert total.counts["operations"] == len(names)


def test_backends_beyond_the_limit_are_counted_together() -> None:
    reads = ((NOON, {"source": "backend", "backend": f"b{number}", "duration": 0.1}) for number in range(50))
    latencies = hour(figures(*reads)).total.latencies
    assert len(latencies) == MOST_BACKENDS + 1
    assert latencies[OTHERS].count == 50 - MOST_BACKENDS


def test_who_comes_late_is_told_apart_from_those_who_came_before() -> None:
    """Many who did one thing each do not hide who did most, later."""
    early = NOON - timedelta(minutes=30)
    events = [(early, {"principal": f"p{number}"}) for number in range(MOST_PRINCIPALS)]
    late = [(NOON, {"principal": "busy", "source": "backend", "backend": "vault", "duration": 0.1})] * 5
    assert hour(figures(*events, *late)).total.principals["busy"] == [5, 0, 0]


def test_only_what_a_backend_has_answered_counts_for_its_latency() -> None:
    total = hour(
        figures(
            (NOON, {"source": "backend", "backend": "vault", "duration": 0.2}),
            (NOON, {"source": "backend", "backend": "vault", "duration": None}),
            (NOON, {"source": "cache", "backend": "vault", "duration": 0.2}),
        )
    ).total
    assert {name: one.count for name, one in total.latencies.items()} == {"vault": 1}


def test_an_hour_has_sixty_slots_of_a_minute_up_to_now() -> None:
    made = hour(
        figures(
            (NOON, {}),
            (NOON - timedelta(minutes=1), {}),
            (NOON - timedelta(minutes=59), {}),
            (NOON - timedelta(minutes=60), {}),
        )
    )
    reads = [slot.counts["reads"] for slot in made.slots]
    assert reads == [1] + [0] * 57 + [1, 1]
    assert made.total.counts["reads"] == 3
    assert (made.start, made.step) == (int(NOW) // 60 * 60 - 59 * 60, 60)


def test_a_day_has_all_of_its_events_in_larger_slots() -> None:
    made = figures(*((NOON - timedelta(minutes=15 * number), {}) for number in range(96))).series(NOW, step=20)
    assert sum(slot.counts["reads"] for slot in made.slots) == made.total.counts["reads"] == 96
    assert made.start <= NOW - 24 * 3600 + 60
    assert made.start % (20 * 60) == 0


@pytest.mark.parametrize(("step", "minutes"), STEPS.items())
def test_what_is_older_is_left_out_and_forgotten(step: int, minutes: int) -> None:
    made = figures((NOON - timedelta(minutes=minutes + step), {}), (NOON - timedelta(minutes=minutes - 1), {}))
    assert made.series(NOW, step=step).total.counts["reads"] == 1
    for number in range(3 * minutes):
        later = NOON + timedelta(minutes=number)
        made.add(row_of(event(1, later), 1, later.timestamp()), later.timestamp())
    assert len(made._slots[step]) <= minutes // step + 1


def test_an_event_of_the_future_counts_as_now() -> None:
    """A clock that is wrong must not push out what is right."""
    made = figures((NOON, {}), (NOON + timedelta(days=400), {}))
    assert hour(made).slots[-1].counts["reads"] == 2


@settings(deadline=None)
@given(st.lists(st.floats(0, 2000), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_near_the_true_ones(times: list[float], part: float) -> None:
    latency = Latency()
    for seconds in times:
        latency.add(seconds)
    true = sorted(times)[max(0, -(-int(part * len(times) * 1000) // 1000) - 1)]
    found = latency.quantile(part)
    assert found is not None
    neighbours = sorted(times)
    place = neighbours.index(true)
    low, high = neighbours[max(0, place - 1)], neighbours[min(len(times) - 1, place + 1)]
    # A histogram has steps: an eighth of a doubling, from 50 microseconds to two minutes.
    assert found >= min(low, 120.0) / 1.1 - 50e-6
    assert found <= high * 1.1 + 50e-6


def test_nothing_has_no_quantile() -> None:
    assert Latency().quantile(0.5) is None


@settings(deadline=None)
@given(st.lists(st.floats(0, 200), max_size=50), st.lists(st.floats(0, 200), max_size=50))
def test_merged_latencies_are_those_of_both(first: list[float], second: list[float]) -> None:
    together, one, other = Latency(), Latency(), Latency()
    for seconds in first:
        one.add(seconds)
        together.add(seconds)
    for seconds in second:
        other.add(seconds)
        together.add(seconds)
    one.merge(other)
    assert (one.count, one.quantile(0.9)) == (together.count, together.quantile(0.9))
