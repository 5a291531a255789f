"""One client a region for all threads, clients of its own in a forked child, and no growth."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from botocore.session import Session

from awsbackends import opened, read
from awsclient import REGION
from awstls import SecureAws
from certificates import Authority
from fakeaws import FakeSecretsManager
from strongroom.errors import AuthenticationError, BackendUnavailableError, ClosedError
from strongroom.testing import in_forked_child
from strongroom_aws import clients as clients_module
from strongroom_aws.asking import Asker
from strongroom_aws.backend import AwsBackend
from strongroom_aws.clients import Clients
from strongroom_aws.place import resolve
from strongroom_aws.settings import AwsSettings

ACCOUNT = "123456789012"
NAMES = [f"app/{number}" for number in range(50)]


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """All sessions of botocore that are made."""
    made: list[Session] = []
    real: Callable[..., Session] = clients_module.new_session

    def counted(*given: Any) -> Session:
        made.append(real(*given))
        return made[-1]

    monkeypatch.setattr(clients_module, "new_session", counted)
    return made


@pytest.fixture
def stored(aws: FakeSecretsManager) -> FakeSecretsManager:
    client = aws.client()
    for name in NAMES:
        client.create_secret(Name=name, SecretString=f"value of {name}")
    client.close()
    aws.requests.clear()
    return aws


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureAws]:
    authority = Authority(tmp_path)
    with SecureAws(authority) as started:
        for name in NAMES:
            started.put(name, f"value of {name}")
        yield started


@contextmanager
def watched(server: FakeSecretsManager, **settings: Any) -> Iterator[tuple[AwsBackend, Clients]]:
    """Return a backend and its clients."""
    configured = AwsSettings(region=REGION, endpoint=server.url, **settings)
    asker = Asker(configured, resolve(configured))
    backend = AwsBackend(configured, asker)
    try:
        yield backend, asker.clients
    finally:
        backend.close()


def wrong(backend: AwsBackend, names: list[str]) -> list[str]:
    """Read names, and return those whose value is another one's."""
    return [name for name in names if read(backend, name) != f"value of {name}"]


class TestThreads:
    def test_fifty_that_begin_at_once_make_one_client_and_no_error(
        self, stored: FakeSecretsManager, sessions: list[Session]
    ) -> None:
        barrier = threading.Barrier(50)

        def work(number: int) -> list[str]:
            barrier.wait()
            return wrong(backend, [NAMES[(number + step) % 50] for step in range(20)])

        with watched(stored) as (backend, clients), ThreadPoolExecutor(50) as pool:
            assert list(pool.map(work, range(50))) == [[]] * 50
            assert clients.made == 1
        assert len(sessions) == 1
        assert stored.counts["GetSecretValue"] == 1000

    def test_each_region_has_one(self, sessions: list[Session]) -> None:
        settings = AwsSettings(region=REGION, replicas=("us-east-1",))
        clients = Clients(settings, resolve(settings))
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda number: clients.get(REGION if number % 2 else "us-east-1"), range(40)))
        assert len(found) == clients.made == 2
        assert len(sessions) == 1

    def test_a_handler_of_a_signal_may_read_while_the_first_client_is_made(self, stored: FakeSecretsManager) -> None:
        seen: list[str] = []
        with opened(stored.url, account=ACCOUNT) as backend:
            # The question whose credentials they are is the longest part of it.
            stored.delay("GetCallerIdentity", 0.3, times=1)
            before = signal.signal(signal.SIGALRM, lambda *_: seen.append(read(backend, "app/1")))
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.15)
                assert read(backend, "app/2") == "value of app/2"
            finally:
                signal.signal(signal.SIGALRM, before)
        assert seen == ["value of app/1"]

    def test_closing_while_others_read_ends_in_answers_or_in_closed(self, stored: FakeSecretsManager) -> None:
        stored.delay("GetSecretValue", 0.01)

        def work() -> str:
            try:
                while True:
                    assert read(backend, "app/1") == "value of app/1"
            except ClosedError:
                return "closed"

        with opened(stored.url) as backend, ThreadPoolExecutor(10) as pool:
            readers = [pool.submit(work) for _ in range(10)]
            time.sleep(0.1)
            backend.close()
            backend.close()
            assert {reader.result(10) for reader in readers} == {"closed"}


class TestCredentialsThatComeLater:
    def test_a_read_without_any_does_not_spoil_those_that_follow(
        self, stored: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with opened(stored.url) as backend:
            with pytest.raises(AuthenticationError, match="no AWS credentials"):
                read(backend, "app/1")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIALATE")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
            assert read(backend, "app/1") == "value of app/1"

    def test_threads_that_wait_for_sts_in_vain_wait_once_and_not_one_after_the_other(
        self, stored: FakeSecretsManager
    ) -> None:
        stored.delay("GetCallerIdentity", 1.0)
        began = time.monotonic()

        def work(_: int) -> str:
            with pytest.raises(BackendUnavailableError) as caught:
                read(backend, "app/1")
            return caught.value.code

        limits = {"connect_timeout": 0.3, "read_timeout": 0.3, "timeout": 5.0, "attempts": 1}
        with opened(stored.url, account=ACCOUNT, **limits) as backend, ThreadPoolExecutor(20) as pool:
            assert set(pool.map(work, range(20))) == {"timeout"}
        assert time.monotonic() - began < 3
        assert stored.counts["GetCallerIdentity"] <= 3


class TestFork:
    def test_what_was_closed_stays_closed_in_a_child(self, stored: FakeSecretsManager) -> None:
        def child() -> str:
            with pytest.raises(ClosedError):
                read(backend, "app/1")
            return "closed"

        with opened(stored.url) as backend:
            read(backend, "app/1")
            backend.close()
            assert in_forked_child(child) == "closed"

    def test_four_children_and_their_parent_read_at_once_over_tls(self, secure: SecureAws, tmp_path: Path) -> None:
        with watched(secure, ca_file=str(tmp_path / "authority.pem")) as (backend, clients):
            assert wrong(backend, NAMES[:5]) == []
            peers = {request.peer for request in secure.requests}
            stop = threading.Event()
            found: list[list[str]] = []

            def go_on() -> None:
                while not stop.is_set():
                    found.append(wrong(backend, NAMES[:5]))

            parent = threading.Thread(target=go_on)
            parent.start()
            with ThreadPoolExecutor(4) as pool:
                answers = list(
                    pool.map(
                        lambda _: in_forked_child(lambda: f"{wrong(backend, NAMES)} {clients.made}", time_limit=30),
                        range(4),
                    )
                )
            stop.set()
            parent.join()
            # The parent's own client, and one more that the child made for itself.
            assert answers == ["[] 2"] * 4
            assert found
            assert not any(found)
            assert clients.made == 1
            assert wrong(backend, NAMES) == []
        # The parent went on with the connection that it had; four others had theirs.
        assert {request.peer for request in secure.requests} > peers
        assert secure.handshakes >= 5

    def test_a_child_gets_on_while_a_thread_of_the_parent_was_making_a_client(self, stored: FakeSecretsManager) -> None:
        stored.delay("GetCallerIdentity", 4, times=1)
        with opened(stored.url, account=ACCOUNT) as backend, ThreadPoolExecutor(1) as pool:
            parent = pool.submit(read, backend, "app/1")
            while not stored.requests:
                time.sleep(0.01)
            began = time.monotonic()
            assert in_forked_child(lambda: read(backend, "app/2")) == "value of app/2"
            assert time.monotonic() - began < 3
            assert parent.result(10) == "value of app/1"

    def test_a_childs_end_leaves_the_parents_connection_open(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url) as backend:
            read(backend, "app/1")

            def child() -> str:
                value = read(backend, "app/2")
                backend.close()
                gc.collect()
                return value

            assert in_forked_child(child) == "value of app/2"
            read(backend, "app/3")
        first, in_child, last = stored.sent("GetSecretValue")
        assert first.peer == last.peer != in_child.peer

    def test_a_role_is_taken_on_once_more_in_a_child(self, stored: FakeSecretsManager) -> None:
        role = f"arn:aws:iam::{ACCOUNT}:role/reader"
        with opened(stored.url, role_arn=role) as backend:
            read(backend, "app/1")
            assert in_forked_child(lambda: wrong(backend, NAMES)) == "[]"
        assert stored.counts["AssumeRole"] == 2


def resident() -> float:
    """Return the megabytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
class TestMemory:
    def test_ten_thousand_reads_take_no_more_than_a_few(self, stored: FakeSecretsManager) -> None:
        client = stored.client()
        for number in range(50, 200):
            client.create_secret(Name=f"app/{number}", SecretString=f"value of app/{number}")
        names = [f"app/{number}" for number in range(200)]

        def rounds(many: int) -> None:
            for _ in range(many):
                assert not any(pool.map(lambda name: wrong(backend, [name]), names))
                stored.requests.clear()

        with opened(stored.url) as backend, ThreadPoolExecutor(4) as pool:
            rounds(10)
            before = resident()
            rounds(50)
            assert resident() - before < 10

    def test_renewals_leave_nothing_behind(self) -> None:
        settings = AwsSettings(region=REGION)
        clients = Clients(settings, resolve(settings))

        def renewals(many: int) -> None:
            for _ in range(many):
                clients.renew(clients.get(REGION))
            gc.collect()

        renewals(20)
        before = resident()
        renewals(100)
        assert resident() - before < 10
