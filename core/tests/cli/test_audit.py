"""`audit tail`, `verify` and `head` on a trail of a plugin's own."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.audit import event_line
from strongroom.model import AuditEvent

SIXTY = [{"number": number, "key": f"db/n{number}" if number % 2 else "api/key"} for number in range(50)]


def keys(lines: list[str]) -> list[str]:
    return [line.split("  ")[3] for line in lines]


def test_tail_prints_time_principal_event_name_result_and_source(desk: Any) -> None:
    desk.record({"number": 7, "result": "ok", "source": "backend"})
    done = desk("audit", "tail")
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout == "2030-01-01T00:00:07.000000+00:00  alice  get  db/password  ok  backend\n"


def test_tail_prints_the_newest_twenty_oldest_first(desk: Any) -> None:
    desk.record(*SIXTY)
    lines = desk("audit", "tail").lines
    assert len(lines) == 20
    assert lines == sorted(lines)
    assert "00:00:49" in lines[-1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--last", "3"], ["db/n47", "api/key", "db/n49"]),
        (["--last", "0"], []),
        (["--last", "2", "--name", "db/*"], ["db/n47", "db/n49"]),
        (["--last", "2", "--name", "api/key"], ["api/key", "api/key"]),
        (["--since", "2030-01-01T00:00:48Z"], ["api/key", "db/n49"]),
        (["--since", "2030-01-01T01:00:48+01:00"], ["api/key", "db/n49"]),
        (["--since", "2030-01-01T00:00:48"], ["api/key", "db/n49"]),
        (["--until", "2030-01-01T00:00:02"], ["api/key", "db/n1"]),
        (["--principal", "bob"], []),
        (["--name", "db/**", "--until", "2030-01-01T00:00:04"], ["db/n1", "db/n3"]),
    ],
)
def test_tail_prints_what_the_options_select(desk: Any, options: list[str], expected: list[str]) -> None:
    desk.record(*SIXTY)
    assert keys(desk("audit", "tail", *options).lines) == expected


def test_a_duration_counts_back_from_now(desk: Any) -> None:
    now = datetime.now(UTC)
    desk.record(
        {"key": "old", "timestamp": (now - timedelta(hours=3)).isoformat()},
        {"key": "new", "timestamp": (now - timedelta(hours=1)).isoformat()},
    )
    assert keys(desk("audit", "tail", "--since", "2h").lines) == ["new"]


def test_an_attempt_is_shown_as_one_and_has_no_result_to_select(desk: Any) -> None:
    desk.record({"event": "set", "phase": "attempt"}, {"event": "set"}, {"result": "denied"})
    assert [line.split("  ")[4] for line in desk("audit", "tail").lines] == ["attempt", "ok", "denied"]
    assert [line.split("  ")[4] for line in desk("audit", "tail", "--result", "ok").lines] == ["ok"]
    assert [line.split("  ")[4] for line in desk("audit", "tail", "--result", "denied").lines] == ["denied"]


def test_what_others_wrote_cannot_reach_the_terminal(desk: Any) -> None:
    desk.record({"key": "a\nb\x1b[2J\u202e", "principal": "eve\r", "result": "invalid_name", "detail": "x\x07"})
    done = desk("audit", "tail")
    assert len(done.lines) == 1
    assert done.stdout.rstrip("\n").isprintable()
    assert r"eve\r  get  a\nb\x1b[2J\u202e  invalid_name" in done.stdout


@given(key=st.text(), principal=st.text(), detail=st.text())
def test_every_event_is_one_printable_line(key: str, principal: str, detail: str) -> None:
    event = AuditEvent(id="1", timestamp="2030", event="get", key=key, principal=principal, detail=detail)
    assert event_line(event).isprintable()


def test_json_is_one_object_a_line(desk: Any) -> None:
    desk.record({"key": "a\nb"}, {"key": "c"})
    events = [json.loads(line) for line in desk("audit", "tail", "--json").lines]
    assert [event["key"] for event in events] == ["a\nb", "c"]
    assert set(events[0]) == set(AuditEvent._fields)


@pytest.mark.parametrize(
    "options",
    [["--since", "yesterday"], ["--last", "-1"], ["--name", "d*b"], ["--sink", "other"], ["--until", "5 parsecs"]],
)
def test_what_cannot_be_understood_is_a_usage_error(desk: Any, options: list[str]) -> None:
    done = desk("audit", "tail", *options)
    assert (done.status, done.stdout) == (2, "")
    assert options[-1] in done.stderr or options[0] in done.stderr
    assert len(done.stderr.splitlines()) == 1


class Follower:
    """`audit tail --follow` at work, whose lines come within a time or not at all."""

    def __init__(self, desk: Any, *options: str) -> None:
        self.process = subprocess.Popen(
            desk.command("audit", "tail", "--follow", *options),
            cwd=desk.folder,
            env=desk.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self) -> str:
        """Return the next line, or fail."""
        return self._lines.get(timeout=30)

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; return the status and what is on standard error."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        return self.process.wait(30), errors


@pytest.mark.parametrize(
    "options", [[], ["--name", "db/**"], ["--last", "1", "--name", "db/**"], ["--since", "2029-01-01"]]
)
def test_following_goes_on_with_what_comes(desk: Any, options: list[str]) -> None:
    desk.record({"number": 1})
    follower = Follower(desk, *options)
    try:
        assert keys([follower.line()]) == ["db/password"]
        desk.record({"number": 2, "key": "db/first"}, {"number": 3, "key": "db/second"})
        assert keys([follower.line(), follower.line()]) == ["db/first", "db/second"]
        assert follower.interrupt() == (130, "")
    finally:
        follower.process.kill()


def test_a_reader_that_goes_away_is_no_error(desk: Any) -> None:
    desk.record(*(SIXTY * 100))
    out, into = os.pipe()
    os.close(out)
    try:
        done = subprocess.run(
            desk.command("audit", "tail", "--last", "5000"),
            cwd=desk.folder,
            env=desk.environment(),
            stdout=into,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(into)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("action", ["tail", "verify", "head", "report"])
def test_nothing_is_opened_or_recorded_by_reading(desk: Any, action: str) -> None:
    desk.record({"number": 1})
    before = desk.trail.read_bytes()
    assert desk("audit", action).status == 0
    assert desk.trail.read_bytes() == before
    assert not (desk.folder / "opened").exists()


@pytest.mark.parametrize(
    ("content", "state", "status"),
    [("", "sealed", 0), ("unsealed\n", "unsealed", 10), ("gap\n", "gap", 10), ("broken\n", "broken", 10)],
)
def test_verify_succeeds_only_if_all_is_sealed(desk: Any, content: str, state: str, status: int) -> None:
    desk.record({"number": 1})
    with desk.trail.open("a") as file:
        file.write(content)
    done = desk("audit", "verify")
    assert done.status == status
    assert done.lines[0] == f"{state}: 1 events in 1 file"
    assert len(done.lines) == 1 + bool(content)
    report = desk("audit", "verify", "--json")
    assert report.status == status
    assert report.json["state"] == state
    assert [finding["kind"] for finding in report.json["findings"]] == ([state] if content else [])


def test_a_head_is_printed_in_the_form_that_verify_takes(desk: Any) -> None:
    desk.record({"number": 1})
    head = desk("audit", "head").stdout.strip()
    assert head == f"1:{'ab' * 32}"
    assert desk("audit", "head", "--json").json == {
        "position": 1,
        "digest": "ab" * 32,
        "sink": "notebook",
        "head": head,
    }
    assert desk("audit", "verify", "--head", head).status == 0
    assert desk("audit", "verify", "--head", "1:cdcd").status == 10
    assert desk("audit", "verify", "--head", "cdcd").status == 2
