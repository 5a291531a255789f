"""Threads, signals and time limits that meet at a bad moment."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fakes import FakeVault
from logins import APPROLE, Tokens, granted, keeper_of, read
from strongroom.contracts import KeySource
from strongroom.errors import BackendUnavailableError
from strongroom.model import SecretValue
from strongroom.pacing import within
from strongroom.testing import FakeClock, in_threads
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.lookups import MOST_LEFT_BEHIND, looked_up
from strongroom_vault.target import Target
from strongroom_vault.tokens import TokenKeeper
from strongroom_vault.transport import Transport

SOON = 10.0


def in_time(action: Any) -> Any:
    """Return what a thread does, which must not hang."""
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(action()), daemon=True)
    thread.start()
    thread.join(SOON)
    assert outcome, "it hangs"
    return outcome[0]


@pytest.mark.parametrize("uses", [1, 2])
def test_threads_that_share_tokens_of_few_uses_are_never_denied(vault: FakeVault, uses: int) -> None:
    tokens = Tokens(vault, num_uses=uses)
    keeper = keeper_of(vault)
    statuses = in_threads(16, lambda _: [read(keeper).status for _ in range(10)])
    assert {status for some in statuses for status in some} == {200}
    refused = len(vault.sent("GET")) - 160
    assert (tokens.logins, refused) == (160 // uses, 0)


def test_one_time_limit_holds_for_a_login_and_what_it_was_for(vault: FakeVault) -> None:
    vault.answer("POST", "/v1/auth/approle/login", 200, granted("t"), delay=0.7)
    vault.answer("GET", "/", 200, {}, delay=0.7)
    keeper = keeper_of(vault, timeout=1.0)
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError):
        read(keeper)
    assert time.monotonic() < start + 1.2


def test_one_time_limit_holds_for_a_request_and_its_repetition_with_a_new_token(vault: FakeVault) -> None:
    Tokens(vault)
    vault.answer("GET", "/", 200, {}, delay=0.7)
    vault.answer("GET", "/", 403, {"errors": ["permission denied"]}, delay=0.7, times=1)
    keeper = keeper_of(vault, timeout=1.0)
    keeper.current()
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError):
        read(keeper)
    assert time.monotonic() < start + 1.2


def test_who_waits_for_anothers_login_waits_no_longer_than_its_own_limit(vault: FakeVault) -> None:
    vault.answer("POST", "/v1/auth/approle/login", 200, granted("t"), delay=2.0)
    keeper = keeper_of(vault)
    first = threading.Thread(target=keeper.current)
    first.start()
    time.sleep(0.1)
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError) as caught:
        VaultAdapter(keeper._transport, keeper).send("GET", "/v1/secret/data/x", timeout=0.3)
    assert time.monotonic() < start + 1.0
    assert caught.value.code == "timeout"
    first.join()
    assert keeper.logins == 1


class Failing(KeySource):
    """A source whose author did not expect what happens."""

    def __init__(self) -> None:
        self.fails = False

    def read(self) -> SecretValue:
        if self.fails:
            raise RuntimeError("not foreseen")
        return SecretValue("x")

    def describe(self) -> str:
        return "the test"


def test_the_owner_outlives_an_error_that_nobody_foresaw(vault: FakeVault) -> None:
    source = Failing()
    tokens = Tokens(vault, ttl=2, renewable=False)
    keeper = keeper_of(vault, APPROLE.replace(secret_id=source))
    read(keeper)
    source.fails = True
    end = time.monotonic() + SOON
    while not keeper.last_error and time.monotonic() < end:  # a login is due after 1.6 to 1.8 s
        time.sleep(0.02)
    assert keeper.last_error == "backend_error"
    source.fails = False
    while tokens.logins < 2 and time.monotonic() < end:
        time.sleep(0.05)
        read(keeper)
    assert tokens.logins == 2
    assert keeper._thread is not None
    assert keeper._thread.is_alive()
    keeper.close()


def test_a_renewal_that_is_answered_in_another_way_does_not_end_the_owner(vault: FakeVault) -> None:
    tokens = Tokens(vault, ttl=2)
    vault.answer("POST", "/v1/auth/token/renew-self", 200, {"auth": {"lease_duration": "long", "renewable": True}})
    keeper = keeper_of(vault)
    read(keeper)
    time.sleep(2.2)
    assert read(keeper).status == 200
    assert tokens.logins == 2
    assert keeper._thread is not None
    assert keeper._thread.is_alive()
    keeper.close()


def test_a_signals_handler_may_ask_while_its_thread_waits_for_our_own_rate_limit(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {})
    statuses: list[int] = []
    senders: list[Transport] = []

    def clock() -> float:
        """Stand for a signal that comes at this moment: its handler runs in this thread."""
        if sys._getframe(1).f_code.co_name == "take" and not statuses:
            statuses.append(0)
            statuses.append(senders[0].send("GET", "/", headers={}, repeatable=True).status)
        return time.monotonic()

    def ask() -> int:
        sender = Transport(Target(addresses=(vault.address,), rate_limit=1000.0, burst=100), clock=clock)
        senders.append(sender)
        return sender.send("GET", "/", headers={}, repeatable=True).status

    assert in_time(ask) == 200
    assert statuses == [0, 200]


def test_asking_for_the_active_node_takes_no_more_time_than_there_is(vault: FakeVault) -> None:
    vault.answer("GET", "/v1/sys/", 200, {}, delay=4.0)
    sender = Transport(Target(addresses=(vault.address,), reads="active", timeout=1.0, attempts=1))
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError):
        sender.send("GET", "/v1/secret/data/x", headers={}, repeatable=True)
    assert time.monotonic() < start + 2.0


def test_many_attempts_leave_each_of_them_the_time_that_it_needs(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {}, delay=0.5)
    sender = Transport(Target(addresses=(vault.address,), attempts=100, timeout=5.0))
    assert sender.send("GET", "/", headers={}, repeatable=True).status == 200
    assert len(vault.requests) == 1


class Meddling:
    """A keeper's lock, which lets something happen at the moment when it is free again."""

    def __init__(self, keeper: TokenKeeper, happen: Callable[[], object]) -> None:
        self._keeper = keeper
        self._lock, keeper._lock = keeper._lock, self  # type: ignore[assignment]
        self._happen = happen

    def end(self) -> None:
        self._keeper._lock = self._lock

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        self._happen()


def test_whoever_logs_in_has_a_use_of_the_token(vault: FakeVault) -> None:
    """Even if another thread takes all that it can get at the first moment."""
    tokens = Tokens(vault, num_uses=1)
    keeper = keeper_of(vault)
    taken: list[str | None] = []

    def take() -> None:
        if keeper._life is not None and not taken:
            taken.append(None)
            taken.append(keeper._taken(keeper._life))

    meddling = Meddling(keeper, take)
    assert keeper.current() == "token-1"
    meddling.end()
    assert taken == [None, None]
    assert keeper.current() == "token-2"
    assert tokens.logins == 2


def test_an_interrupt_at_the_beginning_of_a_login_lets_others_log_in(vault: FakeVault) -> None:
    tokens = Tokens(vault)
    keeper = keeper_of(vault)

    def interrupt() -> None:
        if keeper._flight is not None:
            meddling.end()
            raise KeyboardInterrupt

    meddling = Meddling(keeper, interrupt)
    with pytest.raises(KeyboardInterrupt):
        keeper.current()
    assert in_time(keeper.current) == "token-1"
    assert tokens.logins == 1


def test_all_addresses_of_a_name_share_the_time_to_connect(monkeypatch: pytest.MonkeyPatch, vault: FakeVault) -> None:
    with deaf() as port:
        silent = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: silent)
        sender = Transport(Target(addresses=("http://vault.example:1",), attempts=1, connect_timeout=0.8, proxy=""))
        start = time.monotonic()
        with pytest.raises(BackendUnavailableError) as caught:
            sender.send("GET", "/", headers={}, repeatable=True)
        assert 0.7 < time.monotonic() - start < 1.2
        assert caught.value.code == "timeout"
        # One that answers is reached behind those that do not.
        found = [*silent[:2], (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", vault.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert sender.send("GET", "/", headers={}, repeatable=True).status == 404


class Resolver:
    """In the place of the system's: it hangs until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
        self.release = threading.Event()
        self.asked = 0
        self._port = port
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host: str, port: int, *, type: int, flags: int = 0) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "that is a name")
        self.asked += 1
        self.release.wait(20)
        if host == "nowhere.example":
            raise socket.gaierror(socket.EAI_NONAME, "there is no such host")
        return [(socket.AF_INET, type, 6, "", ("127.0.0.1", self._port))]


def lookups() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "strongroom-lookup"]


def test_a_look_up_of_the_name_that_hangs_ends_with_the_time_to_connect(
    monkeypatch: pytest.MonkeyPatch, vault: FakeVault
) -> None:
    resolver = Resolver(monkeypatch, vault.port)
    sender = Transport(Target(addresses=("http://vault.example:1",), attempts=1, connect_timeout=0.3, proxy=""))
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError) as caught:
        sender.send("GET", "/", headers={}, repeatable=True)
    assert 0.2 < time.monotonic() - start < 1.2
    assert caught.value.code == "timeout"
    # As little is left of the operation's own time as that.
    with within(0.1), pytest.raises(BackendUnavailableError):
        sender.send("GET", "/", headers={}, repeatable=True)
    assert time.monotonic() - start < 2.0
    resolver.release.set()
    assert sender.send("GET", "/", headers={}, repeatable=True).status == 404
    until = time.monotonic() + 10.0
    while lookups():
        assert time.monotonic() < until, "a look-up has not ended with its answer"
        time.sleep(0.002)


def test_look_ups_that_hang_do_not_become_ever_more(monkeypatch: pytest.MonkeyPatch, vault: FakeVault) -> None:
    resolver = Resolver(monkeypatch, vault.port)
    for _ in range(MOST_LEFT_BEHIND + 5):
        with pytest.raises(TimeoutError):
            looked_up("vault.example", 1, 0.0)
    assert resolver.asked == MOST_LEFT_BEHIND
    resolver.release.set()
    until = time.monotonic() + 10.0
    while lookups():
        assert time.monotonic() < until
        time.sleep(0.002)
    assert looked_up("vault.example", 1, 10.0)[0][4] == ("127.0.0.1", vault.port)
    with pytest.raises(socket.gaierror, match="no such host"):
        looked_up("nowhere.example", 1, 10.0)


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """Return a port at which connecting neither succeeds nor fails."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_who_reads_from_the_active_node_has_as_much_patience_as_others(vault: FakeVault) -> None:
    clock = FakeClock()
    vault.answer("GET", "/", 200, {"data": {}})
    vault.answer("GET", "/v1/sys/health", 200, {"cluster_id": "one"})
    vault.down()

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        if clock.monotonic() > start + 20:
            vault.up()

    target = Target(addresses=(vault.address,), reads="active", attempts=50, timeout=60.0)
    sender, start = Transport(target, clock=clock.monotonic, sleep=sleep), clock.monotonic()
    assert sender.send("GET", "/v1/secret/data/x", headers={}, repeatable=True).status == 200


def test_a_node_that_hangs_is_not_asked_for_long_which_one_is_active(vault: FakeVault) -> None:
    vault.answer("GET", "/", 200, {"data": {}})
    vault.answer("GET", "/v1/sys/health", 200, {"cluster_id": "one"})
    with FakeVault() as hung:
        hung.answer("GET", "/", 200, {}, delay=8.0)
        sender = Transport(Target(addresses=(hung.address, vault.address), reads="active"))
        start = time.monotonic()
        assert sender.send("GET", "/v1/secret/data/x", headers={}, repeatable=True).status == 200
        assert time.monotonic() < start + 5
