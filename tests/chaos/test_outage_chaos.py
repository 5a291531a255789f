"""Processes read and write through outages of random length, are killed, and lose their disk and their time.

The servers are a real OpenBao cluster and an emulator of AWS, each behind proxies that do harm. What all processes
saw is compared with what the servers have in the end. ``STRONGROOM_CHAOS_SECONDS`` says for how long it goes on, and
``STRONGROOM_CHAOS_SEED`` makes it choose as it did another time; what the machine does in between is never the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import outageworker

from awsclient import ACCESS_KEY, SECRET_KEY
from baocluster import cluster, wait_until
from faultproxy import FaultProxy
from heldkey import HeldKey
from moto_server import emulator
from outagehistory import History, Operation, Place, Recovery, read_log
from outagesites import AwsSite, Site, VaultSite
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings

SECONDS = float(os.environ.get("STRONGROOM_CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("STRONGROOM_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
PROBE = 1.0
THREADS = 3
LONGEST_FAULT = 6.0
ROUND = 30.0
"""Every so many seconds there is an outage whose end is measured."""
PATIENCE = 60.0
"""Seconds after which it is an error if what waits has not been made."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a test limit another process's files")


class Process:
    """A process of ours, which is started again on the same store whenever it has been killed.

    Attributes:
        name: Who it is.
        site: What it works on.
        lines: All that it has told, over all its lives.
    """

    def __init__(self, name: str, site: Site, store: Path, common: Path, seed: int) -> None:
        self.name = name
        self.site = site
        self.lines: list[str] = []
        self._plan = {
            "process": name,
            "target": site.name,
            "folder": site.name,
            "deletes": site.deletes,
            "threads": THREADS,
            "seed": seed,
            "common": str(common),
            "manager": {
                "backend": "main",
                "fallback": "store",
                "audit": "none",
                "cache": {"ttl": "500ms", "max_stale": "10m"},
                "backends": {
                    "main": site.settings(name),
                    "store": {
                        "type": "local",
                        "path": str(store / "secrets.db"),
                        "master_key": {"env": "STORE_KEY"},
                    },
                },
                "resilience": {"keep_copy": True, "probe_every": f"{PROBE}s", "deadline": "5s"},
            },
        }
        self._lives = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STRONGROOM_"))},
            "STORE_KEY": (store / "key").read_text(),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        self._log = store / f"{name}.log"

    def start(self) -> None:
        """Start it."""
        self._lives += 1
        plan = json.dumps(self._plan | {"life": self._lives})
        with self._log.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, outageworker.__file__, plan], stdout=subprocess.PIPE, stderr=log, env=self._environment
            )
        self._reader = threading.Thread(target=self._read, args=(self._running.stdout,))
        self._reader.start()

    def _read(self, pipe: Any) -> None:
        for line in pipe:
            self.lines.append(line.decode())

    def kill(self) -> None:
        """Let it die at once."""
        self._running.kill()
        self._ended()

    def end(self) -> int:
        """Wait until it ends by itself; return its status."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(PATIENCE)
        if self._running.poll() is None:
            self._running.kill()
        return self._ended()

    def _ended(self) -> int:
        status = self._running.wait()
        self._reader.join()
        self._running.stdout.close()  # type: ignore[union-attr]  # it is a pipe
        return status

    def show_threads(self) -> None:
        """Let it write into its log what each of its threads is doing."""
        self._running.send_signal(signal.SIGUSR1)
        time.sleep(1.0)

    def fill_disk(self) -> None:
        """Let none of its files grow or change; its pipe is none."""
        resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def empty_disk(self) -> None:
        """Let it write files again."""
        with contextlib.suppress(ProcessLookupError):
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(self._running.pid, resource.RLIMIT_FSIZE, unlimited)

    def told(self, phase: str, since: float) -> list[dict[str, Any]]:
        """Return what it has told of one kind since a moment."""
        found = []
        for text in reversed(list(self.lines)):
            if f'"phase": "{phase}"' in text:
                line = json.loads(text)
                if line["at"] < since:
                    break
                found.append(line)
        return found[::-1]


class Run:
    """The sites, the processes, and what is done to them."""

    def __init__(self, sites: list[Site], processes: list[Process], common: Path) -> None:
        self.chance = random.Random(SEED)
        self.sites = sites
        self.processes = processes
        self.common = common
        self.counts: Counter[str] = Counter()
        self.recoveries: list[Recovery] = []

    def go_on(self) -> None:
        """Let it all happen."""
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0:
            until = time.monotonic() + min(ROUND, max(left, 1.0))
            harm = [threading.Thread(target=self._harm, args=(site, until, self._chance())) for site in self.sites]
            harm.append(threading.Thread(target=self._harm_processes, args=(until, self._chance())))
            for thread in harm:
                thread.start()
            for thread in harm:
                thread.join()
            for site in self.sites:
                self._measure(site)

    def _chance(self) -> random.Random:
        return random.Random(self.chance.random())

    def _harm(self, site: Site, until: float, chance: random.Random) -> None:
        while True:
            time.sleep(chance.uniform(0.2, 3.0))
            if time.monotonic() >= until:
                return
            fault = chance.choice(sorted(site.faults()))
            self.counts[f"{site.name} {fault}"] += 1
            site.faults()[fault]()
            time.sleep(min(chance.uniform(0.1, LONGEST_FAULT), max(0.0, until - time.monotonic())))
            site.heal()

    def _harm_processes(self, until: float, chance: random.Random) -> None:
        harms: list[str] = []
        while True:
            time.sleep(chance.uniform(0.5, 4.0))
            if time.monotonic() >= until:
                (self.common / outageworker.CLOCK).write_text("0")
                return
            process = chance.choice(self.processes)
            # In rounds: in a minute of mere chance one of them may not come at all.
            harms = harms or chance.sample(["kill", "kill", "disk", "clock"], 4)
            harm = harms.pop()
            self.counts[harm] += 1
            if harm == "kill":
                process.kill()
                time.sleep(chance.uniform(0.0, 1.0))
                process.start()
            elif harm == "disk":
                process.fill_disk()
                time.sleep(chance.uniform(0.2, 2.0))
                process.empty_disk()
            else:
                (self.common / outageworker.CLOCK).write_text(str(chance.uniform(-7200, 7200)))

    def _measure(self, site: Site) -> None:
        """Let writes pile up in an outage, stop all work, end the outage, and see when all is well."""
        site.faults()[self.chance.choice(["refuses", "black-hole", "says-503"])]()
        time.sleep(self.chance.uniform(2.0, 4.0))
        (self.common / outageworker.QUIET).touch()
        time.sleep(5.5)  # what is under way has ended: that is the deadline of an operation
        site.heal()
        wait_until(site.answers, f"{site.name} to answer")
        answers = time.monotonic()
        mine = [process for process in self.processes if process.site is site]
        try:
            wait_until(lambda: all(_is_well(process, answers) for process in mine), "all to be well", PATIENCE)
        except AssertionError:
            for process in mine:
                process.show_threads()
            raise
        self.recoveries.append(_recovery(mine, answers))
        (self.common / outageworker.QUIET).unlink()

    def end(self) -> list[int]:
        """Let the processes end; return their statuses."""
        (self.common / outageworker.END).touch()
        return [process.end() for process in self.processes]

    def history(self) -> History:
        """Return all that happened."""
        operations: list[Operation] = []
        left: dict[str, str] = {}
        for process in self.processes:
            done, others = read_log(process.lines)
            operations += done
            for line in others:
                left |= line.get("entries", {})
        refused = {one.value for one in operations if one.result == "conflict" and one.value is not None}
        made: dict[Place, list[str]] = {}
        deleted: set[str] = set()
        for site in self.sites:
            values, gone = site.content(refused)
            made |= values
            deleted |= gone
        self.counts |= Counter(f"{one.kind} {one.result} {one.freshness}".strip() for one in operations)
        self.counts["operations"] = len(operations)
        self.counts |= Counter(f"left {_without_versions(text)}" for text in left.values())
        return History(operations, made, left, deleted=deleted)


def _without_versions(text: str) -> str:
    """Return why an entry is left, the same for all that are left for the same reason."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d+\b", "...", text)


def _state(process: Process) -> dict[str, Any]:
    """Return the newest change of state in the process's present life; healthy if there was none."""
    for text in reversed(list(process.lines)):
        if '"phase": "condition"' in text:
            line: dict[str, Any] = json.loads(text)
            return line
        if '"phase": "opened"' in text:
            break
    return {"state": "healthy", "at": 0.0}


def _is_well(process: Process, since: float) -> bool:
    looks = process.told("journal", since)
    return bool(looks) and looks[-1]["waiting"] == 0 and _state(process)["state"] == "healthy"


def _recovery(processes: list[Process], answers: float) -> Recovery:
    emptied = max(_emptied(process, answers) for process in processes)
    states = [_state(process) for process in processes]
    # A process may have seen that the server answers again before the test has.
    begun = [max(answers, line["at"]) for one in processes for line in _turns(one) if line["state"] == "recovering"]
    return Recovery(answers, min([*begun, emptied]), emptied, max(emptied, *(one["at"] for one in states)), PROBE)


def _turns(process: Process) -> list[dict[str, Any]]:
    """Return the changes of state since the backend was degraded last."""
    turns = process.told("condition", 0.0)
    degraded = [at for at, line in enumerate(turns) if line["state"] == "degraded"]
    return turns[degraded[-1] :] if degraded else []


def _emptied(process: Process, since: float) -> float:
    """Return when the journal was first seen empty after it had not been."""
    looks = process.told("journal", since)
    full = [at for at, line in enumerate(looks) if line["waiting"]]
    return float(looks[full[-1] + 1 if full else 0]["at"])


def new_store(folder: Path) -> Path:
    """Make an encrypted store and its key."""
    folder.mkdir(mode=0o700)
    key = HeldKey()
    (folder / "key").write_text(key.text)
    create_store(LocalSettings(path=str(folder / "secrets.db"), master_key=key))
    return folder


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[VaultSite]:
    folder = tmp_path / "vault"
    folder.mkdir()
    with cluster(folder) as bao:
        bao.api.mount("secret", "kv", options={"version": "2"})
        wait_until(lambda: bao.api.call("POST", "secret/config", {"max_versions": 100_000})[0] == 204, "the engine")
        yield VaultSite(bao)


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[AwsSite]:
    folder = tmp_path / "aws"
    folder.mkdir()
    with emulator(folder) as service, FaultProxy(urlsplit(service.url).port or 0) as proxy:
        yield AwsSite(service, proxy)


@pytest.fixture
def run(vault: VaultSite, aws: AwsSite, tmp_path: Path) -> Iterator[Run]:
    """All that happened; the processes have ended, and the servers are well."""
    common = tmp_path / "common"
    common.mkdir()
    print(f"STRONGROOM_CHAOS_SEED={SEED} STRONGROOM_CHAOS_SECONDS={SECONDS:g}")
    shared, own = new_store(tmp_path / "shared"), new_store(tmp_path / "own")
    processes = [
        Process("one", vault, shared, common, SEED),
        Process("two", vault, shared, common, SEED),
        Process("three", aws, own, common, SEED),
    ]
    made = Run([vault, aws], processes, common)
    for process in processes:
        process.start()
    try:
        made.go_on()
        yield made
    finally:
        for process in processes:
            process.kill()
            (tmp_path / f"{process.name}.lines").write_text("".join(process.lines))


@pytest.mark.timeout(SECONDS * 3 + 300)
def test_no_accepted_write_is_lost_doubled_misled_or_overtaken_whatever_fails(run: Run) -> None:
    """One test, so that all this happens once."""
    assert run.end() == [0, 0, 0]
    history = run.history()
    slowest = max(run.recoveries, key=lambda one: one.well - one.answers)
    print(f"{dict(sorted(run.counts.items()))}\nslowest recovery: {slowest.well - slowest.answers:.2f} s, {slowest}")
    problems = history.problems(run.recoveries)
    assert not problems, "\n".join(f"{one.kind}: {one.text}" for one in problems[:20])
    for kind in ("set stored", "set queued", "get read fresh", "get read fallback", "kill", "disk"):
        assert run.counts[kind], f"this was to happen, too: {kind}"
