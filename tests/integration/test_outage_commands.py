"""Commands while a server of OpenBao is out of reach: each a process of its own, with the local store in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from commandline import Cli, Finished, clean_environment
from openbao import Server, development_server

MARKER = "zq7-marker-3f9d41c2b8e6-aB9xK2mQ7wL4"
AWAY = {"BAO_PROXY_ADDR": "http://127.0.0.1:9"}
"""Nothing listens there, so whatever goes through it meets an outage."""

CONFIGURATION = """
backend = "vault"
fallback = "local"

[backends.vault]
type = "vault"
attempts = 1
prefix = "{prefix}"

[backends.local]
type = "local"
path = "secrets.db"
master_key = {{ file = "master.key" }}

[resilience]
keep_copy = true

[[audit]]
type = "jsonl"
path = "audit.jsonl"
"""

FAILING = """
    import contextlib

    import strongroom

    from strongroom.errors import BackendUnavailableError

    with strongroom.open() as manager:
        for _ in range(3):
            with contextlib.suppress(BackendUnavailableError):
                manager.get("never/read")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("server")) as started:
        yield started


class Station:
    """The command in a folder whose secrets are in a server, and a store for outages beside it."""

    def __init__(self, cli: Cli, server: Server) -> None:
        self._cli = cli
        self.folder = cli.folder
        self.variables = {"BAO_ADDR": server.address, "BAO_TOKEN": server.token}

    def __call__(self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Finished:
        return self._cli(*arguments, stdin=stdin, env=self.variables | dict(env or {}))

    def away(self, *arguments: str, stdin: str = "") -> Finished:
        """Run a command to which the server is out of reach."""
        return self(*arguments, stdin=stdin, env=AWAY)

    def python_away(self, source: str) -> int:
        """Run a program to which the server is out of reach."""
        environment = clean_environment(self._cli.home, **self.variables, **AWAY)
        command = [sys.executable, "-c", textwrap.dedent(source)]
        return subprocess.run(command, cwd=self.folder, env=environment, timeout=60, check=False).returncode

    def trail(self, event: str) -> list[dict[str, Any]]:
        """Return the outcomes of one kind in the trail."""
        lines = (self.folder / "audit.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [each for each in found if each["event"] == event and each.get("phase", "outcome") == "outcome"]


@pytest.fixture
def station(store: Path, cli: Cli, server: Server, request: pytest.FixtureRequest) -> Station:
    """A station with one secret, `db/password`, of which there is a copy."""
    prefix = f"test-{abs(hash(request.node.name))}-{os.getpid()}"
    (store / "strongroom.toml").write_text(CONFIGURATION.format(prefix=prefix))
    made = Station(cli, server)
    assert made("set", "db/password", stdin="s3cret").status == 0
    return made


def test_a_program_is_run_with_copies_and_that_is_said(station: Station) -> None:
    done = station.away("run", "--secret", "db/password", "--", "sh", "-c", 'printf %s "$DB_PASSWORD"')
    assert (done.status, done.stdout) == (0, "s3cret")
    assert "strongroom: db/password is a copy from " in done.stderr
    (read,) = station.trail("get")
    assert (read["source"], read["result"]) == ("fallback", "ok")


def test_what_one_command_queues_another_one_makes_and_none_a_second_time(station: Station) -> None:
    done = station.away("set", "db/password", "--json", stdin=MARKER)
    assert (done.status, json.loads(done.stdout)["status"]) == (11, "queued")
    assert station.away("get", "db/password").stdout == MARKER
    replayed = [station("journal", "replay") for _ in range(2)]
    assert [(each.status, each.stderr) for each in replayed] == [(0, "made 1\n"), (0, "made 0\n")]
    assert station("get", "db/password").stdout == MARKER
    assert len(json.loads(station("versions", "db/password", "--json").stdout)) == 2


def test_the_trail_tells_of_accepting_and_making_without_a_value(station: Station) -> None:
    entry = json.loads(station.away("set", "db/password", "--json", stdin=MARKER).stdout)["queued"]
    station("journal", "replay")
    accepted = station.trail("set")[-1]
    assert (accepted["result"], accepted["version"]) == ("queued", f"queued:{entry}")
    (made,) = station.trail("replay")
    assert (made["result"], made["key"], made["version"]) == ("ok", "db/password", "2")
    assert entry in made["detail"]
    assert made["principal"] == accepted["principal"]
    assert station("audit", "verify").status == 0
    assert MARKER not in (station.folder / "audit.jsonl").read_text()


def test_a_file_with_accepted_writes_shows_neither_names_nor_values(station: Station) -> None:
    assert station.away("set", "very/special/name", stdin=MARKER).status == 11
    content = b"".join(path.read_bytes() for path in station.folder.glob("secrets.db*"))
    assert content
    assert MARKER.encode() not in content
    assert b"very/special" not in content


def test_a_conflict_waits_for_a_person_across_commands(station: Station) -> None:
    entry = json.loads(station.away("set", "db/password", "--json", stdin="ours").stdout)["queued"]
    elsewhere = (station.folder / "strongroom.toml").read_text().replace('fallback = "local"\n', "")
    (station.folder / "elsewhere.toml").write_text(elsewhere.replace("keep_copy = true", ""))
    assert station("--config", "elsewhere.toml", "set", "db/password", stdin="theirs").status == 0
    assert station("journal", "replay").status == 7
    assert station("get", "db/password").stdout == "theirs"
    told = json.loads(station("journal", "show", entry, "--json").stdout)
    assert (told["state"], told["expected"], told["found"]) == ("conflict", "1", "2")
    assert station("journal", "resolve", entry[:8], "--theirs").status == 0
    assert station("journal", "list", "--json").stdout.strip() == "[]"
    assert station("get", "db/password").stdout == "theirs"


def test_health_says_since_when_another_process_has_met_the_outage(station: Station) -> None:
    assert station.python_away(FAILING) == 0
    done = station.away("health", "--json")
    part = next(each for each in json.loads(done.stdout)["parts"] if each["name"] == "vault")
    assert (done.status, part["condition"]) == (0, "degraded")
    assert 0 <= part["lasted"] < 120
    assert part["since"].startswith("20")
    assert "out of reach for " in station.away("health").stdout
    well = json.loads(station("health", "--json").stdout)
    assert [each["condition"] for each in well["parts"] if each["name"] == "vault"] == ["healthy"]


def test_the_doctor_knows_what_is_set_aside(station: Station) -> None:
    station.away("set", "db/password", stdin="ours")
    (station.folder / "direct.toml").write_text(
        (station.folder / "strongroom.toml").read_text().replace('fallback = "local"\n', "")
    )
    station("--config", "direct.toml", "set", "db/password", stdin="theirs")
    station("journal", "replay")
    checks = json.loads(station("doctor", "--json").stdout)["checks"]
    (found,) = [each for each in checks if each["check"] == "fallback"]
    assert (found["state"], "1 entries that are set aside" in found["what"]) == ("warning", True)
