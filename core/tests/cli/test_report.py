"""The summaries of a trail: `audit report` and `stats`."""

from __future__ import annotations

from typing import Any

import pytest

EVENTS: list[dict[str, Any]] = [
    {"number": 1, "event": "opened", "key": None, "principal": None},
    {"number": 2, "event": "set", "phase": "attempt", "id": "s", "backend": "main"},
    {"number": 3, "event": "set", "id": "s", "backend": "main"},
    {"number": 4, "source": "backend", "backend": "main", "duration": 0.5},
    {"number": 5, "source": "cache", "cache_hit": True, "backend": "main"},
    {"number": 6, "source": "stale", "cache_hit": True, "backend": "main"},
    {"number": 7, "principal": "bob", "result": "denied", "rule": "default deny"},
    {"number": 8, "principal": "bob", "key": "nope", "result": "not_found", "source": "backend", "backend": "main"},
    {"number": 9, "principal": "bob", "key": "nope", "result": "not_found", "source": "cache", "backend": "main"},
    {"number": 10, "principal": "bob", "result": "timeout", "source": "backend", "backend": "main", "duration": 2.0},
    {"number": 11, "principal": "bob", "event": "alert", "result": "blocked", "rule": "rate"},
    {"number": 12, "principal": "bob", "result": "suspicious"},
    {"number": 13, "event": "rotate", "phase": "attempt", "id": "open", "key": "api/key"},
    {"number": 14, "event": "list", "key": "db/", "count": 2},
]


def test_the_report_counts_by_principal(desk: Any) -> None:
    desk.record(*EVENTS)
    report = desk("audit", "report", "--json").json
    alice, bob = report["by_principal"]["alice"], report["by_principal"]["bob"]
    figures = ("reads", "hits", "changes", "denials", "missing", "errors", "alerts")
    assert [alice[figure] for figure in figures] == [3, 2, 1, 0, 0, 0, 0]
    assert [bob[figure] for figure in figures] == [0, 0, 0, 2, 2, 1, 1]
    assert bob["last"] == "2030-01-01T00:00:12.000000+00:00"
    assert report["events"] == len(EVENTS)


def test_the_report_counts_by_name(desk: Any) -> None:
    desk.record(*EVENTS)
    names = desk("audit", "report", "--json").json["by_name"]
    assert list(names) == ["db/password", "nope"]
    assert (names["db/password"]["reads"], names["nope"]["missing"]) == (3, 2)


def test_a_change_without_an_outcome_is_an_open_attempt(desk: Any) -> None:
    desk.record(*EVENTS)
    attempts = desk("audit", "report", "--json").json["open_attempts"]
    assert [(attempt["id"], attempt["key"]) for attempt in attempts] == [("open", "api/key")]
    shown = desk("audit", "report").lines
    assert "1 attempts without an outcome" in shown
    assert "rotate  api/key  process 1 on here" in shown[-1]


def test_the_report_tells_who_read_a_name_since_a_time(desk: Any) -> None:
    desk.record(*EVENTS)
    done = desk("audit", "report", "--json", "--name", "db/**", "--since", "2030-01-01T00:00:05")
    assert {name: row["reads"] for name, row in done.json["by_principal"].items()} == {"alice": 2, "bob": 0}
    assert done.json["since"] == "2030-01-01T00:00:05.000000+00:00"


def test_the_report_for_people_is_safe_to_print(desk: Any) -> None:
    desk.record({"key": "a\x1b[2J", "principal": "x\ny"})
    done = desk("audit", "report")
    assert all(line.isprintable() for line in done.lines)
    assert r"a\x1b[2J" in done.stdout


def test_the_report_of_an_empty_trail_is_empty(desk: Any) -> None:
    report = desk("audit", "report", "--json").json
    assert (report["events"], report["by_principal"], report["open_attempts"]) == (0, {}, [])
    assert desk("audit", "report").status == 0


def test_stats_tell_how_reads_were_answered(desk: Any) -> None:
    desk.record(*EVENTS)
    stats = desk("stats", "--json").json
    total = stats["total"]
    kinds = ("hits", "misses", "negative_hits", "stale_hits", "fallback_hits", "denied", "errors")
    assert [total[kind] for kind in kinds] == [1, 2, 1, 1, 0, 2, 1]
    assert total["reads"] == sum(total[kind] for kind in kinds)
    assert total["hit_rate"] == 3 / 6
    main = stats["backends"]["main"]
    assert (main["reads"], main["median_seconds"], main["slowest_seconds"]) == (6, 1.25, 2.0)


def test_a_queued_change_counts_once_and_a_copy_as_what_it_is(desk: Any) -> None:
    """It counts when it is accepted, not again when it is made."""
    desk.record(
        {"number": 1, "event": "degraded", "principal": None, "key": None, "backend": "main", "result": "timeout"},
        {"number": 2, "source": "fallback", "backend": "main"},
        {"number": 3, "event": "set", "phase": "attempt", "id": "s"},
        {"number": 4, "event": "set", "id": "s", "result": "queued", "version": "queued:e"},
        {"number": 5, "event": "replay", "phase": "attempt", "id": "r"},
        {"number": 6, "event": "replay", "id": "r", "version": "2"},
        {"number": 7, "event": "replay", "phase": "attempt", "id": "c"},
        {"number": 8, "event": "replay", "id": "c", "result": "conflict"},
    )
    alice = desk("audit", "report", "--json").json["by_principal"]["alice"]
    assert (alice["reads"], alice["changes"], alice["errors"]) == (1, 1, 1)
    total = desk("stats", "--json").json["total"]
    assert (total["fallback_hits"], total["misses"], total["hit_rate"]) == (1, 0, 0.0)


def test_stats_say_where_they_come_from(desk: Any) -> None:
    desk.record(*EVENTS)
    done = desk("stats")
    assert done.lines[0].split()[:3] == ["BACKEND", "READS", "HITS"]
    assert done.lines[1].split()[0] == "main"
    assert "from the audit trail" in done.stderr


def test_stats_since_a_time_leave_out_what_was_before(desk: Any) -> None:
    desk.record(*EVENTS)
    stats = desk("stats", "--json", "--since", "2030-01-01T00:00:10").json
    assert (stats["total"]["reads"], stats["total"]["hits"]) == (2, 0)


def test_stats_without_a_read_are_zero(desk: Any) -> None:
    total = desk("stats", "--json").json["total"]
    assert (total["reads"], total["hit_rate"], total["slowest_seconds"]) == (0, 0.0, None)
    assert desk("stats").status == 0


def test_an_action_counts_by_its_end_like_the_reads_within_it(desk: Any) -> None:
    desk.record(
        {"number": 1, "event": "action", "phase": "attempt", "id": "1", "detail": "deploy"},
        {"number": 2, "event": "get", "key": "api/key", "result": "denied"},
        {"number": 3, "event": "action", "id": "1", "result": "denied", "detail": "deploy", "duration": 0.5},
        {"number": 4, "event": "action", "result": "not_approved", "detail": "deploy"},
        {"number": 5, "event": "action", "result": "ok", "detail": "deploy"},
        {"number": 6, "event": "get", "result": "timeout"},
        {"number": 7, "event": "action", "result": "timeout", "detail": "deploy", "duration": 0.5},
    )
    [figures] = desk("audit", "report", "--json").json["by_principal"].values()
    assert (figures["denials"], figures["errors"], figures["changes"], figures["reads"]) == (2, 3, 0, 0)


@pytest.mark.parametrize("duration", [None, 0.5])
def test_an_action_that_the_program_has_denied_counts_as_denied_begun_or_not(desk: Any, duration: float | None) -> None:
    desk.record({"event": "action", "result": "denied", "detail": "deploy", "duration": duration})
    [figures] = desk("audit", "report", "--json").json["by_principal"].values()
    assert figures["denials"] == 1


def test_an_action_without_an_outcome_is_listed_with_what_it_was(desk: Any) -> None:
    desk.record({"event": "action", "phase": "attempt", "key": None, "detail": "deploy/shop: approval: \x1b[2J"})
    shown = desk("audit", "report").lines
    assert "action  -  process 1 on here  deploy/shop: approval: \\x1b[2J" in shown[-1]


def test_the_line_of_an_action_says_what_it_was(desk: Any) -> None:
    desk.record({"event": "action", "key": None, "result": "not_approved", "detail": "deploy/shop: approval: operator"})
    assert "action  -  not_approved  -  deploy/shop: approval: operator" in desk("audit", "tail").lines[-1]
