"""Calls to backends that do not end in time by themselves."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from strongroom.contracts import Backend, Lease, Leasing, ReadRequest, ReadResult
from strongroom.contracts.leasing import (
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
)
from strongroom.errors import BackendUnavailableError
from strongroom.model import SecretName, SecretValue
from strongroom.pacing import time_left, within
from strongroom.resilience.deadlines import MOST_LEFT_BEHIND, TimedCalls
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing import in_forked_child

SOON = 0.05


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging calls wait for; they end with the test at latest."""
    event = threading.Event()
    yield event
    event.set()


def test_an_answer_in_time_is_returned() -> None:
    with within(10.0):
        assert TimedCalls("main").call(lambda number: number + 1, 41) == 42


def test_an_error_in_time_is_raised_as_it_is() -> None:
    error = ValueError("its own")

    def fail(_: None) -> None:
        raise error

    with within(10.0), pytest.raises(ValueError, match="its own") as caught:
        TimedCalls("main").call(fail, None)
    assert caught.value is error


def test_a_call_that_hangs_is_left_behind_when_the_time_is_over(release: threading.Event) -> None:
    calls = TimedCalls("main")
    with within(SOON), pytest.raises(BackendUnavailableError, match=r"main has not answered within 0\.05 s") as caught:
        calls.call(lambda _: release.wait(10), None)
    assert (caught.value.code, caught.value.unsent) == ("timeout", False)
    assert calls.left_behind == 1
    release.set()
    eventually(lambda: calls.left_behind == 0)


def test_an_answer_that_comes_late_goes_to_nobody_but_who_cares_for_such(release: threading.Event) -> None:
    late: list[tuple[Any, Any]] = []
    calls = TimedCalls("main", lambda request, result: late.append((request, result)))
    with within(SOON), pytest.raises(BackendUnavailableError):
        calls.call(lambda request: release.wait(10) and request.upper(), "request")
    with within(10.0):
        assert calls.call(str.upper, "in time") == "IN TIME"
    release.set()
    eventually(lambda: late)
    assert late == [("request", "REQUEST")]


def test_beyond_so_many_that_hang_no_more_are_begun(release: threading.Event) -> None:
    calls = TimedCalls("main")
    for _ in range(MOST_LEFT_BEHIND):
        with within(0.001), pytest.raises(BackendUnavailableError):
            calls.call(lambda _: release.wait(10), None)
    begun: list[None] = []
    with within(SOON), pytest.raises(BackendUnavailableError, match="no more are made") as caught:
        calls.call(begun.append, None)
    assert (caught.value.code, caught.value.unsent, begun) == ("busy", True, [])
    with within(10.0):
        assert TimedCalls("other").call(str, 1) == "1"
    release.set()
    eventually(lambda: calls.left_behind == 0)
    with within(10.0):
        assert calls.call(str, 1) == "1"


def test_a_forked_child_has_left_none_behind(release: threading.Event) -> None:
    calls = TimedCalls("main")
    with within(SOON), pytest.raises(BackendUnavailableError):
        calls.call(lambda _: release.wait(10), None)

    def child() -> str:
        calls.after_fork()
        with within(10.0):
            return f"{calls.left_behind} {calls.call(str, 7)}"

    assert in_forked_child(child) == "0 7"


def test_the_call_sees_the_caller_s_context() -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    token = who.set("the caller")
    try:
        with within(10.0):
            assert TimedCalls("main").call(lambda _: who.get(), None) == "the caller"
    finally:
        who.reset(token)


def test_a_call_within_a_call_ends_with_the_shorter_time(release: threading.Event) -> None:
    outer = TimedCalls("outer")
    started = time.monotonic()
    with within(60.0), within(SOON), within(30.0), pytest.raises(BackendUnavailableError):
        outer.call(lambda _: release.wait(20), None)
    assert time.monotonic() - started < 10.0


def test_what_does_not_keep_deadlines_is_not_told_of_one() -> None:
    with within(10.0):
        assert TimedCalls("main").call(lambda _: time_left(), None) is None
        assert time_left() is not None


def test_without_a_thread_to_be_had_it_is_called_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the interpreter's end, from which on none can be started."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with within(10.0):
        assert TimedCalls("main").call(lambda _: threading.current_thread(), None) is threading.current_thread()


def test_whoever_is_interrupted_goes_and_the_call_is_left_behind(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = TimedCalls("main"), threading.Event.wait

    def interrupted(event: threading.Event, timeout: float | None = None) -> bool:
        if event is release or timeout is None or timeout < 20:
            return real(event, timeout)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Event, "wait", interrupted)
        with within(30.0), pytest.raises(KeyboardInterrupt):
            calls.call(lambda _: release.wait(10), None)
    assert calls.left_behind == 1
    release.set()
    eventually(lambda: calls.left_behind == 0)


class Hanging(Backend, Leasing):
    """Makes a credential, and takes its time over it."""

    address = "hanging"

    def __init__(self, release: threading.Event) -> None:
        self.release = release
        self.left: list[float | None] = []
        self.revoked: list[RevokeLeaseRequest] = []

    def read(self, request: ReadRequest) -> ReadResult:
        self.left.append(time_left())
        self.release.wait(10)
        return ReadResult(value=SecretValue("v"), version="1", lease=Lease(id="lease/1", seconds=60.0))

    def is_leased(self, name: SecretName) -> bool:
        return name.startswith("creds/")

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        return RenewLeaseResult(lease=request.lease)

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        self.revoked.append(request)
        return RevokeLeaseResult()


class Punctual(Hanging):
    keeps_deadlines = True


def guarded(backend: Backend, seconds: float) -> GuardedBackend:
    return GuardedBackend(backend, name="main", type="test", capabilities=frozenset(), deadline=lambda _: seconds)


def test_a_backend_that_hangs_is_an_outage_after_the_configured_time(
    open_manager: Any, release: threading.Event
) -> None:
    manager = open_manager(
        backends={"main": Hanging(release)}, backend="main", resilience={"deadlines": {"read": "50ms"}}
    )
    with pytest.raises(BackendUnavailableError, match=r"within 0\.05 s") as caught:
        manager.get("a")
    assert (caught.value.code, caught.value.backend) == ("timeout", "main")
    release.set()


def test_a_credential_that_comes_too_late_is_given_back(release: threading.Event) -> None:
    backend = Hanging(release)
    with pytest.raises(BackendUnavailableError):
        guarded(backend, SOON).read(ReadRequest(name=SecretName("creds/a")))
    assert backend.revoked == []
    release.set()
    eventually(lambda: backend.revoked)
    assert [(one.name, one.lease.id) for one in backend.revoked] == [("creds/a", "lease/1")]


def test_a_backend_that_keeps_deadlines_is_told_of_them_and_called_directly(release: threading.Event) -> None:
    release.set()
    backend = Punctual(release)
    assert guarded(backend, 30.0).read(ReadRequest(name=SecretName("a"))).version == "1"
    (left,) = backend.left
    assert left is not None
    assert 0.0 < left <= 30.0


@pytest.mark.parametrize(("operation", "seconds"), [("read", 5.0), ("write", 60.0), ("health", 7.0), ("encrypt", 7.0)])
def test_each_operation_may_have_a_time_of_its_own(operation: str, seconds: float) -> None:
    from strongroom.config.resilience import Resilience, ResilienceKeys

    keys = ResilienceKeys(deadline=60.0, deadlines={"read": 5.0, "other": 7.0})
    assert Resilience(keys).deadline(operation) == seconds
