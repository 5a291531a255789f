"""What an operator runs: audit, health, stats, config and doctor, on the local store and the trail in a file."""

import base64
import json
import queue
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commandline import Cli, Finished, clean_environment

MARKER = "zq7-marker-3f9d41c2b8e6-aB9xK2mQ7wL4"

KILLED = """
    import os
    import signal

    import strongroom

    from strongroom.builtin.memory import MemoryBackend


    class Deadly(MemoryBackend):
        def write(self, request):
            os.kill(os.getpid(), signal.SIGKILL)


    manager = strongroom.open(backends={"local": Deadly()})
    manager.set("api/key", "new")
"""

READS = """
    import strongroom

    with strongroom.open() as manager:
        for _ in range(5):
            manager.get("db/password")
"""


def program(store: Path, home: Path, source: str) -> int:
    """Run a program in the folder of the store; return its status."""
    command = [sys.executable, "-c", textwrap.dedent(source)]
    return subprocess.run(command, cwd=store, env=clean_environment(home), timeout=60, check=False).returncode


def configure(store: Path, old: str, new: str) -> None:
    file = store / "strongroom.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def found(done: Finished, state: str) -> dict[str, dict[str, Any]]:
    """Return what the doctor found in some state, by check."""
    return {entry["check"]: entry for entry in json.loads(done.stdout)["checks"] if entry["state"] == state}


def test_following_shows_what_other_processes_do(cli: Cli, store: Path, home: Path) -> None:
    assert cli("set", "db/password", stdin="one").status == 0
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("strongroom")), "audit", "tail", "--follow", "--name", "db/**"],
        cwd=store,
        env=clean_environment(home),
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    try:
        past = [lines.get(timeout=30).split("  ")[2:5] for _ in range(2)]
        assert past == [["set", "db/password", "attempt"], ["set", "db/password", "ok"]]
        for name in ("db/password", "api/other", "db/gone"):
            cli("get", name)
        assert [lines.get(timeout=30).split("  ")[3:5] for _ in range(2)] == [
            ["db/password", "ok"],
            ["db/gone", "not_found"],
        ]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()


def test_a_change_whose_process_was_killed_is_an_open_attempt(cli: Cli, store: Path, home: Path) -> None:
    assert program(store, home, KILLED) == -signal.SIGKILL
    report = json.loads(cli("audit", "report", "--json").stdout)
    assert [(attempt["event"], attempt["key"]) for attempt in report["open_attempts"]] == [("set", "api/key")]
    verified = cli("audit", "verify")
    assert (verified.status, verified.stdout.split(":")[0]) == (10, "gap")


def test_stats_add_up_over_all_processes(cli: Cli, store: Path, home: Path) -> None:
    cli("set", "db/password", stdin="one")
    cli("get", "db/password")
    cli("get", "nope")
    assert program(store, home, READS) == 0
    total = json.loads(cli("stats", "--json").stdout)["total"]
    figures = {key: total[key] for key in ("reads", "hits", "misses", "errors")}
    assert figures == {"reads": 7, "hits": 4, "misses": 3, "errors": 0}
    assert 0 < total["median_seconds"] <= total["slowest_seconds"]


def test_a_trail_that_was_changed_is_broken_for_all_who_ask(cli: Cli, store: Path) -> None:
    cli("set", "db/password", stdin="one")
    head = cli("audit", "head").stdout.strip()
    assert cli("audit", "verify", "--head", head).status == 0
    trail = store / "audit.jsonl"
    trail.write_text(trail.read_text().replace("db/password", "db/passw0rd"))
    assert cli("audit", "verify").status == 10
    done = cli("doctor", "--json")
    assert done.status == 10
    assert "broken" in found(done, "problem")["audit trail"]["what"]


def test_a_fresh_store_is_healthy_and_has_no_problem(cli: Cli) -> None:
    assert cli("health").status == 0
    done = cli("doctor", "--json")
    assert (done.status, found(done, "problem"), found(done, "warning")) == (0, {}, {})


def test_health_and_doctor_leave_no_trace_in_the_trail(cli: Cli, store: Path) -> None:
    cli("set", "db/password", stdin="one")
    before = (store / "audit.jsonl").read_bytes()
    for command in (["health"], ["stats"], ["config"], ["doctor"], ["plugins"], ["audit", "report"]):
        assert cli(*command).status == 0
    assert (store / "audit.jsonl").read_bytes() == before


def another_key(store: Path) -> None:
    (store / "master.key").write_bytes(base64.b64encode(bytes(range(32))) + b"\n")


def a_short_key(store: Path) -> None:
    (store / "master.key").write_text("short\n")


def no_key(store: Path) -> None:
    (store / "master.key").unlink()


def a_torn_store(store: Path) -> None:
    (store / "secrets.db").write_bytes((store / "secrets.db").read_bytes()[:5000])


def no_store(store: Path) -> None:
    (store / "secrets.db").unlink()


def an_open_store(store: Path) -> None:
    (store / "secrets.db").chmod(0o644)


@pytest.mark.parametrize(
    ("harm", "status"),
    [(another_key, 8), (a_short_key, 8), (no_key, 8), (a_torn_store, 8), (no_store, 2), (an_open_store, 1)],
)
def test_what_is_wrong_with_key_or_store_is_found(
    cli: Cli, store: Path, harm: Callable[[Path], None], status: int
) -> None:
    cli("set", "db/password", stdin=MARKER)
    harm(store)
    done = cli("doctor", "--json")
    problem = found(done, "problem")["backends"]
    assert problem["mend"]
    assert done.status == status, done.stdout
    health = cli("health")
    assert (health.status, health.stdout.splitlines()[-1]) == (6, "unhealthy: local")
    assert MARKER not in done.stdout + health.stdout


def test_audit_that_cannot_be_written_is_down(cli: Cli, store: Path) -> None:
    configure(store, 'path = "audit.jsonl"', 'path = "strongroom.toml/audit.jsonl"')
    done = cli("health")
    assert (done.status, done.stdout.splitlines()[-1]) == (10, "unhealthy: audit")
    assert cli("doctor").status == 10


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_files_that_git_would_take_up_are_found(cli: Cli, store: Path) -> None:
    subprocess.run(["git", "init", "-q", str(store)], check=True)
    assert "git" not in found(cli("doctor", "--json"), "problem")
    (store / ".gitignore").write_text("*.db\naudit.*\n")
    overlay = store / "strongroom.local.toml"
    overlay.write_text('[cache]\nttl = "5s"\n')
    overlay.chmod(0o600)
    done = cli("doctor", "--json")
    assert done.status == 1
    ignored = [entry["what"] for entry in json.loads(done.stdout)["checks"] if entry["check"] == "git"]
    assert ignored == [f"git does not ignore {overlay}", f"git does not ignore {store / 'master.key'}"]


@pytest.mark.parametrize("harm", [lambda store: None, another_key, a_torn_store], ids=["well", "key", "store"])
def test_no_command_of_an_operator_shows_a_value(cli: Cli, store: Path, harm: Callable[[Path], None]) -> None:
    assert cli("set", "db/password", stdin=MARKER).status == 0
    key = (store / "master.key").read_text().strip()
    harm(store)
    cli("get", "db/password", "--field", "x")
    raw = MARKER.encode()
    secrets = [MARKER, raw.hex(), base64.b64encode(raw).decode(), key]
    commands = [
        ["audit", "tail"],
        ["audit", "report"],
        ["audit", "verify"],
        ["health"],
        ["stats"],
        ["config"],
        ["doctor"],
    ]
    for command in [*commands, *([*command, "--json"] for command in commands)]:
        done = cli(*command)
        assert not [secret for secret in secrets if secret in done.stdout + done.stderr], command
        assert "Traceback" not in done.stderr
