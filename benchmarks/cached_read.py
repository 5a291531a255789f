"""The cached read with everything on, beside what Python programs use instead; 1 and 8 threads, p50, p99, sustained.

Needs `cachetools`, `cachebox` and `aws-secretsmanager-caching` beside strongroom, its
audit sink and its detectors; a peer that is not installed is left out and named.

Times are of the processor, not of the clock on the wall, where one thread runs:
they hold the writing of the records too, whichever thread does it, and other
programs on the machine disturb them less; a mean is that of the least disturbed of
several rounds of 100,000 reads. Goals are multiples of a dictionary
look-up with a check of the expiry, taken in the same run: written out in the
timed statement, which is the floor, and as a function, as a program would have it.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import threading
import time
import timeit
import tracemalloc

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from _common import arguments, show

import strongroom

from strongroom.contracts import Backend, ReadRequest, ReadResult
from strongroom.model import SecretValue

NAME, VALUE = "db/password", "correct horse battery staple"
CALLS = 100_000
THREADS = 8
ENTRIES = 10_000
DETECTORS = [
    {"type": "rate", "at_least": 1_000_000_000},
    {"type": "enumeration"},
    {"type": "first-use"},
]


class _Client:
    """Answers as the service does, from memory; asked once, since the cache keeps the answer."""

    class meta:  # noqa: N801  # botocore's own name
        class config:  # noqa: N801  # botocore's own name
            user_agent_extra = ""

    def describe_secret(self, **_: Any) -> dict[str, Any]:
        return {"VersionIdsToStages": {"1": ["AWSCURRENT"]}}

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        return {"SecretString": VALUE, "VersionId": "1"}


class _Constant(Backend):
    """Holds one value under every name, and so takes no memory for them."""

    address = "constant:"

    def read(self, request: ReadRequest) -> ReadResult:  # noqa: ARG002  # the contract's
        return ReadResult(value=SecretValue(VALUE), version="1")


Read = Callable[[str], object]


@contextmanager
def _manager(folder: str, *, bare: bool) -> Iterator[strongroom.SecretManager]:
    settings: dict[str, Any] = {"backend": "memory", "backends": {"memory": {"type": "memory"}}}
    if bare:
        settings["audit"] = "none"
    else:
        settings["audit"] = [{"type": "jsonl", "path": str(Path(folder) / "audit.jsonl"), "max_bytes": "64GiB"}]
        settings["anomaly"] = DETECTORS
        settings["principal"] = "bench"
        settings["policies"] = [
            {"principal": "bench", "effect": "allow", "actions": ["*"], "names": ["**"]},
            {"principal": "*", "effect": "deny", "actions": ["delete"], "names": ["root/**"]},
        ]
    with strongroom.open(settings) as manager:
        manager.set(NAME, VALUE)
        for _ in range(3):
            manager.get(NAME)
        yield manager


def _look_up() -> Read:
    entries, clock = {NAME: (VALUE, time.monotonic() + 1e9)}, time.monotonic

    def read(name: str) -> str:
        value, until = entries[name]
        if clock() < until:
            return value
        raise KeyError(name)

    return read


def _inline(repeat: int) -> float:
    names = {"entries": {NAME: (VALUE, time.monotonic() + 1e9)}, "clock": time.monotonic, "NAME": NAME}
    statement = "entry = entries[NAME]\nif clock() < entry[1]: entry[0]"
    rounds = timeit.repeat(statement, globals=names, number=CALLS, repeat=2 * repeat, timer=time.process_time)
    return min(rounds) / CALLS * 1e6


def _ttl_cache() -> Read:
    cachetools = importlib.import_module("cachetools")
    cache = cachetools.TTLCache(maxsize=ENTRIES, ttl=300)
    cache[NAME] = VALUE
    lock = threading.Lock()

    def read(name: str) -> object:
        with lock:
            return cache[name]

    return read


def _cachebox() -> Read:
    cache = importlib.import_module("cachebox").TTLCache(ENTRIES, 300)
    cache[NAME] = VALUE
    get: Read = cache.get
    return get


def _aws() -> Read:
    cache = importlib.import_module("aws_secretsmanager_caching").SecretCache(client=_Client())
    cache.get_secret_string(NAME)
    read: Read = cache.get_secret_string
    return read


PEERS: dict[str, Callable[[], Read]] = {
    "dict look-up with expiry check, a function": _look_up,
    "cachebox.TTLCache": _cachebox,
    "cachetools.TTLCache under a lock": _ttl_cache,
    "aws-secretsmanager-caching": _aws,
}


def _mean(read: Read, repeat: int, *, end: Callable[[], None] | None = None) -> float:
    """Return the processor's time of one read in microseconds, with all that the read leaves to be done."""
    rounds = []
    for _ in range(2 * repeat):
        started = time.process_time()
        timeit.Timer("read(NAME)", globals={"read": read, "NAME": NAME}).timeit(CALLS)
        if end is not None:
            end()
        rounds.append((time.process_time() - started) / CALLS * 1e6)
    return min(rounds)


def _without_writing(manager: strongroom.SecretManager, repeat: int) -> float:
    """Return the time of a read and of noting that it happened; the records are written between the rounds."""
    rounds = []
    for _ in range(20 * repeat):
        timer = timeit.Timer("read(NAME)", globals={"read": manager.get, "NAME": NAME}, timer=time.thread_time)
        rounds.append(timer.timeit(1_000) / 1_000 * 1e6)
        manager.flush()
    return min(rounds)


def _percentiles(read: Read) -> tuple[float, float]:
    """Return the 50th and the 99th percentile of single reads in microseconds, less what taking the time takes."""
    clock = time.perf_counter_ns
    spans, idle = [], []
    for _ in range(CALLS):
        started = clock()
        read(NAME)
        spans.append(clock() - started)
    for _ in range(CALLS):
        started = clock()
        idle.append(clock() - started)
    spans.sort()
    own = statistics.median(idle)
    return (spans[CALLS // 2] - own) / 1e3, (spans[CALLS * 99 // 100] - own) / 1e3


def _throughput(read: Read, threads: int, end: Callable[[], None] | None) -> float:
    """Return reads a second of several threads together, until the last record is written."""
    share = CALLS * 2 // threads
    gate = threading.Barrier(threads + 1)

    def work() -> None:
        gate.wait()
        for _ in range(share):
            read(NAME)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    if end is not None:
        end()
    return share * threads / (time.perf_counter() - started)


def _best_throughput(read: Read, threads: int, end: Callable[[], None] | None, repeat: int) -> float:
    return statistics.median(_throughput(read, threads, end) for _ in range(repeat))


def _memory() -> float:
    """Return the bytes that an entry costs beyond its value, and beyond the store that it was read from."""
    names = [f"folder-{number % 100}/name-{number}" for number in range(ENTRIES)]
    settings = {
        "backends": {"m": {"type": "memory"}},
        "backend": "m",
        "audit": "none",
        "cache": {"max_entries": ENTRIES},
    }
    with strongroom.open(settings, backends={"m": _Constant()}) as manager:
        manager.get(names[0])
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            for name in names:
                manager.get(name)
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert manager.stats().size == ENTRIES
    return (after - before) / ENTRIES - len(VALUE)


def _rows(stack: ExitStack) -> tuple[list[tuple[str, Read, Callable[[], None] | None]], list[str]]:
    """Return what is measured, each with what ends its work, and the names of what is not installed."""
    readers: list[tuple[str, Read, Callable[[], None] | None]] = []
    absent = []
    for what, make in PEERS.items():
        try:
            readers.append((what, make(), None))
        except ImportError as error:
            absent.append(f"{what} ({error.name})")
    bare = stack.enter_context(_manager(stack.enter_context(tempfile.TemporaryDirectory()), bare=True))
    full = stack.enter_context(_manager(stack.enter_context(tempfile.TemporaryDirectory()), bare=False))
    readers.append(("strongroom, bare", bare.get, None))
    readers.append(("strongroom, policy, three detectors, recorded", full.get, full.flush))
    return readers, absent


def _means(readers: list[tuple[str, Read, Callable[[], None] | None]], repeat: int) -> list[tuple[str, float, float]]:
    floor = _inline(repeat)
    rows = [("dict look-up with expiry check, in the statement", floor, 1.0)]
    for what, read, end in readers:
        mean = _mean(read, repeat, end=end)
        rows.append((what, mean, mean / floor))
    with tempfile.TemporaryDirectory() as folder, _manager(folder, bare=False) as manager:
        itself = _without_writing(manager, repeat)
    rows.append(("the same without the writing", itself, itself / floor))
    return rows


def main() -> None:
    """Take and print the figures."""
    options = arguments(__doc__)
    with ExitStack() as stack:
        readers, absent = _rows(stack)
        show("A cached read: mean", _means(readers, options.repeat), "us", as_json=options.json)
        medians, tails, single, several = [], [], [], []
        for what, read, end in readers:
            median, tail = _percentiles(read)
            one = _best_throughput(read, 1, end, options.repeat)
            many = _best_throughput(read, THREADS, end, options.repeat)
            medians.append((what, median, 1.0))
            tails.append((what, tail, tail / median if median else 1.0))
            single.append((what, one / 1e3, 1.0))
            several.append((what, many / 1e3, many / one))
    show("A cached read: 50th percentile", medians, "us", as_json=options.json)
    show("A cached read: 99th percentile, and its multiple of the 50th", tails, "us", as_json=options.json)
    show("Reads a second by one thread", single, "k/s", as_json=options.json)
    show(f"Reads a second by {THREADS} threads, and of one", several, "k/s", as_json=options.json)
    entry = [("strongroom", _memory(), 1.0)]
    show(f"Memory of an entry beyond its value, {ENTRIES} entries", entry, "B", as_json=options.json)
    if absent:
        print(f"not installed, so left out: {', '.join(absent)}", file=sys.stderr)


if __name__ == "__main__":
    main()
