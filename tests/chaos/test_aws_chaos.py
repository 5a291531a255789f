"""Six threads read and write through two managers while the service under them fails in each way it can.

The faults come one after the other. Safety is asserted over all that happened,
progress only after each fault has ended. The service is a fake one, which does as
AWS documents: the emulator knows neither faults nor lost answers.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import pytest

import strongroom

from awsclient import ACCESS_KEY, REGION, SECRET_KEY
from baocluster import wait_until
from fakeaws import FakeSecretsManager
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.model import Absent

THREADS = 6
SECRETS = 3
HOLD = 1.2
"""How many seconds a fault lasts at least."""
INCURABLE = frozenset({"throttled", "resets", "cut-answers", "silence", "gone"})
"""Faults that no repetition gets round: they last until somebody has felt them, which takes a slow machine longer."""
RECOVERY = 60.0
"""Within how many seconds after a fault each thread must have got on."""
ROLE = "arn:aws:iam::123456789012:role/chaos"


class Write(NamedTuple):
    """What a thread wrote, and what came of it."""

    value: str
    expected: str | None
    """The version it was to write over; ``None`` for any."""
    version: str | None
    """What it made; ``None`` if nobody knows whether it did."""


class Record:
    """What happened, as the threads saw it."""

    def __init__(self) -> None:
        self.writes: dict[str, list[Write]] = defaultdict(list)
        self.reads: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.outages: Counter[str] = Counter()
        self.surprises: list[str] = []


class Worker(threading.Thread):
    """Reads and writes the secrets of whichever fault it is, until it is told to stop."""

    def __init__(self, number: int, manager: strongroom.SecretManager, run: Run) -> None:
        super().__init__(name=f"worker-{number}")
        self.done: Counter[str] = Counter()
        self._number = number
        self._chance = random.Random(number)
        self._manager = manager
        self._run = run

    def run(self) -> None:
        while not self._run.stopped.is_set():
            fault = self._run.fault
            # Some secrets are written by anybody, the others only over what was seen.
            kind = self._chance.choice(["read", "write", "increment", "increment"])
            place = "counter" if kind == "increment" else "text"
            name = f"chaos/{fault}/{place}-{self._chance.randrange(SECRETS)}"
            expired = len(self._run.aws.expired)
            try:
                self._act(kind, name)
                self.done[kind] += 1
            except BackendUnavailableError:
                self._run.record.outages[fault] += 1
            except StrongroomError as error:
                if isinstance(error, AuthenticationError) and len(self._run.aws.expired) > expired:
                    continue  # the new keys ran out meanwhile, too, and a request is repeated only once
                self._run.record.surprises.append(f"{fault}: {kind}: {type(error).__name__}: {error}")
            time.sleep(0.005)

    def _act(self, kind: str, name: str) -> None:
        if kind == "write":
            self._write(name, f"{self._number}-{self._chance.getrandbits(60)}", None)
            return
        try:
            seen = self._manager.refresh(name)
        except SecretNotFoundError:
            if kind == "increment":
                self._write(name, "1", strongroom.ABSENT)
            return
        self._run.record.reads[name].add((seen.version, seen.reveal_text()))
        if kind == "increment":
            self._write(name, str(int(seen.reveal_text()) + 1), seen.version)

    def _write(self, name: str, value: str, expected: str | Absent | None) -> None:
        over = expected.value if isinstance(expected, Absent) else expected
        condition = {} if expected is None else {"expect_version": expected}
        try:
            version = self._manager.set(name, value, **condition).version
        except VersionConflictError:
            return
        except StrongroomError:
            self._run.record.writes[name].append(Write(value, over, None))
            raise
        self._run.record.writes[name].append(Write(value, over, version))


class Run:
    """The threads, their managers and the faults."""

    def __init__(self, aws: FakeSecretsManager, managers: list[strongroom.SecretManager]) -> None:
        self.aws = aws
        self.record = Record()
        self.fault = "nothing"
        self.stopped = threading.Event()
        self.workers = [Worker(number, managers[number % 2], self) for number in range(THREADS)]

    def __enter__(self) -> Run:
        for worker in self.workers:
            worker.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        for worker in self.workers:
            worker.join()

    def suffer(self, name: str, fault: Callable[[FakeSecretsManager], AbstractContextManager[None]]) -> None:
        """Let a fault be there for a while, end it, and wait until each thread has read and written again."""
        self.fault = name
        with fault(self.aws):
            time.sleep(HOLD)
            if name in INCURABLE:
                wait_until(lambda: self.record.outages[name] > 0, f"somebody to feel {name}", RECOVERY)
        self.aws.heal()
        before = [worker.done.copy() for worker in self.workers]

        def each_got_on() -> bool:
            return all(
                worker.done[kind] > count[kind]
                for worker, count in zip(self.workers, before, strict=True)
                for kind in ("read", "write", "increment")
            )

        wait_until(each_got_on, f"each thread to get on after {name}", RECOVERY)


@contextlib.contextmanager
def nothing(aws: FakeSecretsManager) -> Iterator[None]:
    yield


def failing(code: str) -> Callable[[FakeSecretsManager], AbstractContextManager[None]]:
    """Every request is answered with an error code."""

    @contextlib.contextmanager
    def fault(aws: FakeSecretsManager) -> Iterator[None]:
        aws.fail("*", code, times=None)
        yield

    return fault


def broken(how: str) -> Callable[[FakeSecretsManager], AbstractContextManager[None]]:
    """Every request is answered with something that is no answer."""

    @contextlib.contextmanager
    def fault(aws: FakeSecretsManager) -> Iterator[None]:
        aws.fail_transport("*", how, times=None)
        yield

    return fault


def repeated(
    action: Callable[[FakeSecretsManager], object], every: float
) -> Callable[..., AbstractContextManager[None]]:
    """Do something again and again while the fault lasts."""

    @contextlib.contextmanager
    def fault(aws: FakeSecretsManager) -> Iterator[None]:
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(every):
                action(aws)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    return fault


@contextlib.contextmanager
def gone(aws: FakeSecretsManager) -> Iterator[None]:
    aws.down()
    try:
        yield
    finally:
        aws.up()


def lose_some_answers(aws: FakeSecretsManager) -> None:
    """What is asked next is done, and nobody is told."""
    for operation in ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"):
        aws.after(operation, how="reset")


def expire_keys(aws: FakeSecretsManager) -> None:
    aws.expired.update(aws.sts.issued)


FAULTS: dict[str, Callable[[FakeSecretsManager], AbstractContextManager[None]]] = {
    "nothing": nothing,
    "throttled": failing("ThrottlingException"),
    "internal-errors": failing("InternalServiceError"),
    "resets": broken("reset"),
    "cut-answers": broken("cut"),
    "empty-answers": broken("empty"),
    "pages-of-a-proxy": broken("html"),
    "silence": broken("hang"),
    "lost-answers": repeated(lose_some_answers, every=0.02),
    "dropped-connections": repeated(lambda aws: aws.cut(), every=0.05),
    "expired-keys": repeated(expire_keys, every=0.2),
    "gone": gone,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """All that happened. The service is well again."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    with FakeSecretsManager() as aws, contextlib.ExitStack() as stack:
        settings = {
            "type": "aws",
            "region": REGION,
            "endpoint": aws.url,
            "sts_endpoint": aws.url,
            "role_arn": ROLE,
            "timeout": "3s",
            "connect_timeout": "500ms",
            "read_timeout": "500ms",
        }
        # Each call is to reach the plugin, however many have failed before.
        tables = {"audit": "none", "cache": {"policy": "none"}, "resilience": {"failures": 1_000_000}}
        managers = [stack.enter_context(strongroom.open({"backends": {"aws": settings}, **tables})) for _ in range(2)]
        with Run(aws, managers) as run:
            for name, fault in FAULTS.items():
                run.suffer(name, fault)
        yield run


def lost_writes(run: Run) -> list[tuple[str, Write]]:
    """Return the acknowledged writes whose version the service does not have, or has with another value."""
    client = run.aws.client()
    lost = []
    for name, writes in run.record.writes.items():
        for write in (one for one in writes if one.version is not None):
            found = client.get_secret_value(SecretId=name, VersionId=write.version)
            if found["SecretString"] != write.value:
                lost.append((name, write))
    return lost


def overwritten_unseen(run: Run) -> list[tuple[str, str]]:
    """Return the versions over which more than one conditional write was acknowledged."""
    wrong = []
    for name, writes in run.record.writes.items():
        over = Counter(one.expected for one in writes if one.expected is not None and one.version is not None)
        wrong += [(name, version) for version, times in over.items() if times > 1]
    return wrong


def foreign_reads(run: Run) -> list[tuple[str, str]]:
    """Return what was read and never written under that name, or not with that version."""
    wrong = []
    for name, reads in run.record.reads.items():
        known = {write.version: write.value for write in run.record.writes[name] if write.version is not None}
        unknown = {write.value for write in run.record.writes[name] if write.version is None}
        for version, value in reads:
            if known.get(version, value) != value or (version not in known and value not in unknown):
                wrong.append((name, value))
    return wrong


def wrong_counters(run: Run) -> list[tuple[str, int, int, int]]:
    """Return the counters that are not what the increments come to, those of which nobody knows left open."""
    client = run.aws.client()
    wrong = []
    for name, writes in run.record.writes.items():
        if "/counter-" not in name:
            continue
        made = sum(1 for one in writes if one.version is not None)
        unknown = len(writes) - made
        if not made + unknown:
            continue
        try:
            found = int(client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])
        except client.exceptions.ResourceNotFoundException:
            found = 0
        if not made <= found <= made + unknown:
            wrong.append((name, made, found, unknown))
    return wrong


def test_no_write_is_lost_doubled_or_made_over_what_nobody_saw_whatever_fails(run: Run) -> None:
    """One test, so that all this happens once."""
    assert run.record.surprises == []
    assert lost_writes(run) == []
    assert overwritten_unseen(run) == []
    assert foreign_reads(run) == []
    assert wrong_counters(run) == []
