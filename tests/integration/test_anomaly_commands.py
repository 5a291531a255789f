"""Explaining alerts and replaying a trail, with the real detectors and a real trail in a file."""

import json
import shutil
import subprocess
import sys
import textwrap

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commandline import Cli, clean_environment

DETECTORS = """
[[anomaly]]
type = "enumeration"
action = "block"
distinct = 5
block_at = 2
while_learning = 1
cool_down = "0s"

[[anomaly]]
type = "rate"
at_least = 4
at_least_per_name = 4
learn_for = "1s"
"""

# A principal asks for one name after the other, most of which do not exist.
SEARCH = """
    import strongroom

    from strongroom.errors import StrongroomError

    with strongroom.open() as manager:
        for name in ["db/password", *(f"guess/{number}" for number in range(30)), "db/password"]:
            try:
                manager.as_principal("intruder").get(name)
            except StrongroomError:
                pass
"""

# Two weeks in which a principal reads once an hour, and then 400 times within a minute.
FORTNIGHT = """
    import strongroom

    from strongroom.testing import FakeClock

    clock = FakeClock()
    with strongroom.open(clock=clock, wall_clock=lambda: int(clock.time() * 1e9)) as manager:
        for _ in range(14 * 24):
            manager.get("db/password")
            manager.flush()
            clock.advance(3600)
        for _ in range(400):
            manager.get("db/password")
            clock.advance(0.1)
"""


@pytest.fixture
def watched(store: Path, cli: Cli) -> Path:
    """The store's folder, with one secret and detectors."""
    assert cli("set", "db/password", stdin="one").status == 0
    with (store / "strongroom.toml").open("a") as file:
        file.write(DETECTORS)
    return store


def run_program(store: Path, home: Path, source: str) -> None:
    """Run a file called ``worker.py`` in the folder of the store."""
    path = home / "worker.py"
    path.write_text(textwrap.dedent(source))
    environment = clean_environment(home)
    subprocess.run([sys.executable, str(path)], cwd=store, env=environment, timeout=120, check=True)


def events(cli: Cli, kind: str) -> list[dict[str, Any]]:
    """Return the events of some kind that the trail holds."""
    done = cli("audit", "tail", "--json", "--last", "100000")
    assert done.status == 0, done.stderr
    return [event for line in done.stdout.splitlines() if (event := json.loads(line))["event"] == kind]


def answer(cli: Cli, *arguments: str) -> Any:
    done = cli("anomaly", *arguments, "--json")
    assert done.status == 0, done.stderr
    return json.loads(done.stdout)


def test_replaying_finds_what_the_running_program_found(watched: Path, home: Path, cli: Cli) -> None:
    run_program(watched, home, SEARCH)
    recorded = events(cli, "alert")
    assert {event["result"] for event in recorded} == {"alert", "blocked"}
    # What was done before had no detector to see it.
    start = next(event["timestamp"] for event in events(cli, "opened") if event["detail"] == "worker.py")
    replayed = answer(cli, "replay", "audit.jsonl", "--since", start)["alerts"]
    assert [(alert["detector"], alert["name"], alert["blocked"], alert["program"]) for alert in replayed] == [
        (event["rule"], event["key"], event["result"] == "blocked", "worker.py") for event in recorded
    ]
    for alert, event in zip(replayed, recorded, strict=True):
        assert "; ".join([alert["reason"], *alert["evidence"]]) == event["detail"]


def test_an_alert_and_the_read_that_it_blocked_are_explained(watched: Path, home: Path, cli: Cli) -> None:
    run_program(watched, home, SEARCH)
    alert = next(event for event in events(cli, "alert") if event["result"] == "blocked")
    found = answer(cli, "explain", alert["id"][:12])
    assert (found["event"], found["program"]) == (alert, "worker.py")
    assert (found["alert"]["detector"], found["alert"]["blocked"]) == ("enumeration", True)
    assert alert["detail"].startswith(found["alert"]["reason"])
    assert found["alert"]["evidence"]
    [table] = found["alert"]["configured"]
    assert table["settings"]["distinct"] == {"value": 5, "from": str(watched / "strongroom.toml")}
    assert table["settings"]["action"]["value"] == "block"
    assert found["hour_before"]["counts"]["get not_found"] >= 5
    blocked = next(event for event in events(cli, "get") if event["result"] == "suspicious")
    assert answer(cli, "explain", blocked["id"])["alert"]["blocked"] is True
    shown = cli("anomaly", "explain", blocked["id"])
    assert shown.status == 0
    assert "enumeration  blocked it" in shown.stdout


def test_settings_can_be_tried_on_what_was_recorded(watched: Path, home: Path, cli: Cli) -> None:
    run_program(watched, home, FORTNIGHT)
    low = ("--set", "at_least=50", "--set", "at_least_per_name=50", "--set", "learn_for=1d")
    found = answer(cli, "replay", "audit.jsonl", "--since", "2020-01-01", "--detector", "rate", *low)
    reads = [alert for alert in found["alerts"] if alert["action"] == "read"]
    assert reads
    assert {alert["name"] for alert in reads} == {"db/password"}
    assert min(alert["time"] for alert in reads) > events(cli, "get")[14 * 24]["timestamp"]
    high = ("--set", "at_least=5000", "--set", "at_least_per_name=5000")
    quiet = answer(cli, "replay", "audit.jsonl", "--detector", "rate", *high, "--summary")
    assert [detector["alerts"] for detector in quiet["detectors"]] == [0]
    assert quiet["accesses"] == found["accesses"] >= 14 * 24 + 400


def test_a_copy_of_the_trail_is_enough(
    watched: Path, home: Path, cli: Cli, cli_in: Callable[[Path], Cli], tmp_path: Path
) -> None:
    """Neither its key nor a configuration is needed, and nothing is left behind."""
    run_program(watched, home, SEARCH)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy = Path(shutil.copy(watched / "audit.jsonl", elsewhere))
    copy.chmod(0o400)
    before = copy.read_bytes()
    limits = ("--set", "distinct=5", "--set", "while_learning=1")
    found = answer(cli_in(elsewhere), "replay", "audit.jsonl", "--detector", "enumeration", *limits)
    assert found["detectors"][0]["alerts"] >= 1
    assert [path.name for path in elsewhere.iterdir()] == ["audit.jsonl"]
    assert copy.read_bytes() == before


def test_replaying_leaves_the_trail_whole(watched: Path, home: Path, cli: Cli) -> None:
    run_program(watched, home, SEARCH)
    before = (watched / "audit.jsonl").read_bytes()
    assert cli("anomaly", "replay", "audit.jsonl").status == 0
    assert (watched / "audit.jsonl").read_bytes() == before
    assert cli("audit", "verify").status == 0


def test_a_file_that_is_no_trail_is_refused(watched: Path, cli: Cli) -> None:
    done = cli("anomaly", "replay", "strongroom.toml")
    assert (done.status, done.stdout) == (2, "")
    assert "is no audit trail" in done.stderr
