"""What goes on inside a running agent by itself, over a real store: watching, rotating, recording and measuring."""

from __future__ import annotations

import json
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from agentprocess import AgentProcess
from agents import TOKEN
from commandline import Cli
from dashboards import wait_until

EVERY: Final = 1.0
BUSY: Final = 15.0
"""Seconds that a busy machine may take beyond the interval."""

CONFIG: Final = """
backend = "local"
principal = "agent"
rotate_every = "1s"
fallback = "copies"

[watch]
every = "{every}s"

[cache]
ttl = "1h"

[rotation."due/*"]
every = "2s"

[rotation."late/*"]
every = "30d"
window = "{closed} 00:00-24:00"

[backends.local]
type = "local"
path = "secrets.db"
master_key = {{ file = "master.key" }}

[backends.copies]
type = "local"
path = "copies/secrets.db"
master_key = {{ file = "copies/master.key" }}

[[audit]]
type = "jsonl"
path = "audit.jsonl"

[[anomaly]]
type = "rate"

[[policies]]
principal = "web"
effect = "allow"
actions = ["read", "list"]
names = ["**"]

[[policies]]
principal = "web"
effect = "deny"
actions = ["read"]
names = ["denied/**"]

[[policies]]
principal = "agent"
effect = "allow"
actions = ["read", "list", "rotate", "impersonate"]
names = ["**"]

[[policies]]
principal = "owner"
effect = "allow"
actions = ["read", "list", "create", "update", "rotate"]
names = ["**"]

[agent]
listen = ["127.0.0.1:0", "unix:{folder}/agent.sock"]
callers.web = {{ principal = "web", token = {{ file = "web.token" }} }}
"""


class Store:
    """A store of the test's own, and the command of another process that works on it.

    Attributes:
        folder: Where it is.
        owner: Runs a command as somebody who may do everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cli = Cli(folder, folder)
        (folder / "copies").mkdir()
        for place in (folder, folder / "copies"):
            assert Cli(place, folder)("init").status == 0
        token = folder / "web.token"
        token.touch(mode=0o600)
        token.write_text(TOKEN)
        # A day that is neither today nor tomorrow, whenever this runs.
        closed = time.strftime("%a", time.gmtime(time.time() + 3 * 86400))
        (folder / "strongroom.toml").write_text(CONFIG.format(every=EVERY, folder=folder, closed=closed))

    def owner(self, *arguments: str, stdin: str = "") -> str:
        done = self._cli("--as", "owner", *arguments, stdin=stdin)
        assert done.status == 0, done.stderr
        return done.stdout

    def events(self) -> list[dict[str, Any]]:
        """Return what has been recorded."""
        lines = (self.folder / "audit.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if "event" in event]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    for name in ("db/password", "due/key", "denied/key"):
        made.owner("set", name, stdin="first")
    return made


@pytest.fixture
def agent(store: Store) -> Iterator[AgentProcess]:
    with AgentProcess(store.folder) as started:
        yield started


def within_an_interval(holds: Callable[[], bool]) -> None:
    wait_until(holds, EVERY + BUSY)


def test_what_another_process_changes_is_what_callers_get_next(agent: AgentProcess, store: Store) -> None:
    # For an hour it would be answered from the cache.
    assert agent.get("db/password").json()["value"] == "first"
    store.owner("rotate", "db/password", "--encoding", "hex")
    within_an_interval(lambda: agent.get("db/password").json()["value"] != "first")
    assert agent.get("db/password").json()["version"] == "2"


def test_a_secret_that_is_due_is_rotated_and_callers_get_the_new_value(agent: AgentProcess, store: Store) -> None:
    first = agent.get("due/key").json()
    within_an_interval(lambda: agent.get("due/key").json()["version"] != first["version"])
    assert agent.get("db/password").json()["version"] == "1"
    rotations = [event for event in store.events() if event["event"].startswith("rotat") and event["key"] == "due/key"]
    assert {event["principal"] for event in rotations} == {"agent"}


def test_the_trail_says_for_whom_the_agent_has_read(agent: AgentProcess, store: Store) -> None:
    for name in ("db/password", "db/password", "denied/key"):
        agent.get(name)
    reads = [event for event in store.events() if event["event"] == "get" and event["principal"] != "owner"]
    assert reads
    assert {(event["principal"], event["on_behalf_of"]) for event in reads} == {("web", "agent")}


MEASURED: Final = (
    "strongroom_client_operation_duration_seconds_bucket",
    "strongroom_accesses_total",
    "strongroom_cache_reads_total",
    "strongroom_cache_entries",
    "strongroom_cache_limit",
    "strongroom_cache_lives",
    "strongroom_cache_removed_total",
    "strongroom_breaker_state",
    "strongroom_journal_length",
    "strongroom_rotations_total",
    "strongroom_rotations_due",
    "strongroom_audit_events_total",
    "strongroom_audit_waiting",
    "strongroom_audit_lag_seconds",
    "strongroom_anomaly_verdicts_total",
    "strongroom_part_up",
    "strongroom_store_size_bytes",
    "strongroom_store_key_uses",
)


def test_all_that_happens_is_measured(agent: AgentProcess, store: Store) -> None:
    """What takes a failing backend, a lease or a token has no figure here."""
    for name in ("db/password", "db/password", "denied/key", "gone"):
        agent.get(name)
    store.owner("set", "db/password", stdin="second")
    missing: list[str] = []

    def all_there() -> bool:
        text = agent.ask("/metrics").body.decode()
        missing[:] = [name for name in MEASURED if f"\n{name}{{" not in text and f"\n{name} " not in text]
        return not missing

    try:
        within_an_interval(all_there)
    except AssertionError:
        raise AssertionError(f"not measured: {missing}") from None
