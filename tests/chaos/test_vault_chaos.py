"""Eight threads read and write through two managers while the cluster under them breaks in each way it can.

The faults come one after the other. Safety is asserted over all that happened,
progress only after each fault has ended.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import strongroom

from baocluster import Cluster, cluster, full_disk, wait_until
from histories import Operation, is_linearizable
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, StrongroomError, VersionConflictError
from vaults import ALWAYS_ASKED, approle, open_manager

READS = ("any", "active")
"""There is a manager for each: which nodes it asks."""
THREADS = 8
SECRETS = 4
HOLD = 1.5
"""How many seconds a fault lasts."""
RECOVERY = 60.0
"""Within how many seconds after a fault each thread must have got on; a busy machine elects slowly."""
PAUSE = 0.01
"""Between two operations of a thread, so that the servers get their share of the machine."""


class Record:
    """What happened to each secret, as the threads saw it.

    Attributes:
        seen: By which nodes a manager asks, and by name, what it did.
        outages: How often there was no answer, by the fault that was there.
        surprises: Errors that no fault explains.
    """

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, list[Operation]]] = {reads: defaultdict(list) for reads in READS}
        self.outages: Counter[str] = Counter()
        self.surprises: list[str] = []

    def names(self) -> list[str]:
        return sorted(set().union(*self.seen.values()))

    def writes(self, reads: str, name: str) -> list[Operation]:
        """Return the acknowledged writes."""
        return [one for one in self.seen[reads][name] if one.kind == "write" and one.version is not None]


class Worker(threading.Thread):
    """Reads and writes the secrets of whichever fault it is, until it is told to stop.

    Attributes:
        done: How many operations of each kind have succeeded.
    """

    def __init__(
        self, number: int, manager: strongroom.SecretManager, seen: dict[str, list[Operation]], run: Run
    ) -> None:
        super().__init__(name=f"worker-{number}")
        self.done: Counter[str] = Counter()
        self._chance = random.Random(number)
        self._manager = manager
        self._seen = seen
        self._run = run
        self._values = (f"{number}-{count}" for count in range(10**9))

    def run(self) -> None:
        while not self._run.stopped.is_set():
            fault = self._run.fault
            name = f"chaos/{fault}/{self._chance.randrange(SECRETS)}"
            kind = self._chance.choice(["read", "read", "write", "conditional"])
            try:
                self._act(kind, name)
                self.done[kind] += 1
            except BackendUnavailableError:
                self._run.record.outages[fault] += 1
            except StrongroomError as error:
                self._run.record.surprises.append(f"{fault}: {kind}: {type(error).__name__}: {error}")
            time.sleep(PAUSE)

    def _act(self, kind: str, name: str) -> None:
        if kind == "write":
            self._write(name)
            return
        found = self._read(name)
        if kind == "conditional" and found is not None:
            self._write(name, expected=found)

    def _read(self, name: str) -> int | None:
        start = time.monotonic()
        try:
            secret = self._manager.refresh(name)  # else it might share the answer to a read that began earlier
            version, value = int(secret.version), secret.reveal_text()
        except SecretNotFoundError:
            version, value = 0, None
        self._seen[name].append(Operation("read", start, time.monotonic(), version, value))
        return version or None

    def _write(self, name: str, expected: int | None = None) -> None:
        value = next(self._values)
        unknown = Operation("write", time.monotonic(), value=value, expected=expected)
        condition = {} if expected is None else {"expect_version": str(expected)}
        try:
            version = int(self._manager.set(name, value, **condition).version)
        except VersionConflictError:
            self._seen[name].append(unknown._replace(kind="conflict", end=time.monotonic()))
        except StrongroomError:
            self._seen[name].append(unknown)
            raise
        else:
            self._seen[name].append(unknown._replace(end=time.monotonic(), version=version))


class Run:
    """The threads, their managers and the faults.

    Attributes:
        fault: Which fault it is now; each has secrets of its own, so that histories stay short.
    """

    def __init__(self, bao: Cluster, managers: dict[str, strongroom.SecretManager]) -> None:
        self.bao = bao
        self.managers = managers
        self.record = Record()
        self.fault = "nothing"
        self.stopped = threading.Event()
        self.workers = []
        for number in range(THREADS):
            reads = READS[number % 2]
            self.workers.append(Worker(number, managers[reads], self.record.seen[reads], self))

    def __enter__(self) -> Run:
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        for worker in self.workers:
            worker.join()

    def suffer(self, name: str, fault: AbstractContextManager[None]) -> None:
        """Let a fault be there for a while, end it, and wait until each thread has read and written again."""
        self.fault = name
        with fault:
            time.sleep(HOLD)
        self.bao.heal()
        before = [worker.done.copy() for worker in self.workers]

        def each_got_on() -> bool:
            return all(
                worker.done[kind] > count[kind]
                for worker, count in zip(self.workers, before, strict=True)
                for kind in ("read", "write", "conditional")
            )

        wait_until(each_got_on, f"each thread to get on after {name}", RECOVERY)


@contextlib.contextmanager
def nothing(bao: Cluster) -> Iterator[None]:
    yield


@contextlib.contextmanager
def dead_leader(bao: Cluster) -> Iterator[None]:
    bao.kill_leader()
    bao.leader()
    yield


@contextlib.contextmanager
def dead_standby(bao: Cluster) -> Iterator[None]:
    bao.standbys()[0].kill()
    yield


@contextlib.contextmanager
def sealed_leader(bao: Cluster) -> Iterator[None]:
    sealed = bao.seal_leader()
    bao.leader(other_than=sealed)
    yield


@contextlib.contextmanager
def handed_over(bao: Cluster) -> Iterator[None]:
    bao.step_down()
    bao.leader()
    yield


@contextlib.contextmanager
def no_majority(bao: Cluster) -> Iterator[None]:
    for node in bao.nodes[:2]:
        node.kill()
    yield


@contextlib.contextmanager
def proxies(bao: Cluster, **fault: object) -> Iterator[None]:
    """Set a fault of all proxies."""
    for node in bao.nodes:
        for what, value in fault.items():
            setattr(node.proxy, what, value)
    yield


@contextlib.contextmanager
def one_black_hole(bao: Cluster) -> Iterator[None]:
    bao.leader().proxy.blackhole = True
    yield


@contextlib.contextmanager
def repeated(action: Callable[[], object], every: float) -> Iterator[None]:
    """Do something again and again, with so many seconds in between, while the fault lasts."""
    ended = threading.Event()

    def run() -> None:
        action()
        while not ended.wait(every):
            action()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def drop_connections(bao: Cluster) -> None:
    for node in bao.nodes:
        node.proxy.drop_live()


def revoke_tokens(bao: Cluster) -> None:
    """Revoke each token that was got by logging in, by its accessor."""
    for accessor in bao.api.ok("LIST", "auth/token/accessors")["data"]["keys"]:
        status, found = bao.api.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if status == 200 and found["data"]["path"] == "auth/approle/login":
            bao.api.call("POST", "auth/token/revoke-accessor", {"accessor": accessor})


def revoke_leases(bao: Cluster) -> None:
    """Revoke each lease that hangs on a login, and with it the token."""
    bao.api.call("POST", "sys/leases/revoke-prefix/auth/approle/login")


FAULTS: dict[str, Callable[[Cluster], AbstractContextManager[None]]] = {
    "nothing": nothing,
    "dead-leader": dead_leader,
    "expired-tokens": nothing,  # they live for two seconds, and nothing else is wrong here
    "revoked-tokens": lambda bao: repeated(lambda: revoke_tokens(bao), every=0.5),
    "revoked-leases": lambda bao: repeated(lambda: revoke_leases(bao), every=0.5),
    "dropped-connections": lambda bao: repeated(lambda: drop_connections(bao), every=0.1),
    "cut-answers": lambda bao: proxies(bao, cut_after=300),
    "slow-network": lambda bao: proxies(bao, latency=0.2),
    "trickle": lambda bao: proxies(bao, bandwidth=1000),
    "resets": lambda bao: proxies(bao, reset=True),
    "black-hole": one_black_hole,
    "full-disk-of-leader": lambda bao: full_disk(bao.leader()),
    "full-disk-of-standby": lambda bao: full_disk(bao.standbys()[0]),
    "dead-standby": dead_standby,
    "sealed-leader": sealed_leader,
    "handed-over": handed_over,
    "no-majority": no_majority,
}


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, small_audit_disk=True) as made:
        made.api.mount("secret", "kv", options={"version": "2"})
        wait_until(lambda: made.api.call("POST", "secret/config", {"max_versions": 10_000})[0] == 204, "the engine")
        yield made


@pytest.fixture
def run(bao: Cluster) -> Iterator[Run]:
    """All that happened. The managers are still open, and the cluster is well."""
    login = approle(bao.api, "worker", token_ttl="2s", token_max_ttl="6s")
    with contextlib.ExitStack() as stack:
        managers = {
            reads: stack.enter_context(
                open_manager(bao.addresses, login, reads=reads, timeout="3s", resilience=ALWAYS_ASKED)
            )
            for reads in READS
        }
        with Run(bao, managers) as run:
            for name, fault in FAULTS.items():
                run.suffer(name, fault(bao))
        yield run


def lost_writes(run: Run) -> list[tuple[str, Operation]]:
    """Return the acknowledged writes that the leader does not have."""
    lost = []
    for name in run.record.names():
        for write in [*run.record.writes("any", name), *run.record.writes("active", name)]:
            status, found = run.bao.api.call("GET", f"secret/data/{name}?version={write.version}")
            if status != 200 or found["data"]["data"]["value"] != write.value:
                lost.append((name, write))
    return lost


def reads_without_own_writes(run: Run, reads: str) -> list[tuple[str, Operation]]:
    """Return the reads of a manager that did not show what it had written before they began."""
    missed = []
    for name, operations in run.record.seen[reads].items():
        writes = run.record.writes(reads, name)
        for read in (one for one in operations if one.kind == "read"):
            newest = max((one.version for one in writes if one.end < read.start), default=0)
            if read.version < newest:
                missed.append((name, read))
    return missed


def histories_without_order(run: Run) -> list[str]:
    """Return the names whose writes, and reads from the active node, cannot have happened one after another."""
    wrong = []
    for name in run.record.names():
        writes = [one for one in run.record.seen["any"][name] if one.kind != "read"]
        if not is_linearizable([*writes, *run.record.seen["active"][name]]):
            wrong.append(name)
    return wrong


def test_nothing_acknowledged_is_lost_and_no_read_goes_back_whatever_fails(run: Run) -> None:
    """One test, so that all this happens once."""
    assert {"cut-answers", "resets", "full-disk-of-leader", "no-majority"} <= set(run.record.outages), (
        "these faults cannot be cured, so they must have been felt"
    )
    assert run.record.surprises == []
    assert lost_writes(run) == []
    assert {reads: reads_without_own_writes(run, reads) for reads in READS} == {reads: [] for reads in READS}
    assert histories_without_order(run) == []
    for reads, manager in run.managers.items():
        for number in range(50):
            version = manager.set(f"chaos/after/{reads}", str(number)).version
            assert manager.refresh(f"chaos/after/{reads}").version == version
