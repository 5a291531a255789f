"""What looks after backends in an outage, with real threads and real time."""

from __future__ import annotations

import gc
import threading
import time
import weakref

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import strongroom

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import DeleteRequest, Health, HealthState, ReadRequest, ReadResult, WriteRequest, WriteResult
from strongroom.contracts.backend import DeleteResult
from strongroom.contracts.journal import ClaimRequest, ClaimResult, JournalStatus, JournalStatusRequest
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, StoreDamagedError
from strongroom.pacing import time_left
from strongroom.resilience.conditions import ConditionState
from strongroom.testing import in_forked_child

EVERY = 0.1
"""Seconds between two probes."""


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


class Server(MemoryBackend):
    """A backend that can be out of reach, notes when it is probed, and can fail in odd ways."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.probed: list[float] = []
        self.on_probe: Callable[[], object] | None = None

    def _reached(self) -> None:
        if self.down:
            raise BackendUnavailableError("it refuses", code="connection_refused")

    def read(self, request: ReadRequest) -> ReadResult:
        self._reached()
        return super().read(request)

    def write(self, request: WriteRequest) -> WriteResult:
        self._reached()
        return super().write(request)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        self._reached()
        return super().delete(request)

    def health(self) -> Health:
        self.probed.append(time.monotonic())
        if self.on_probe is not None:
            self.on_probe()
        return Health(state=HealthState.DOWN, reason="it refuses") if self.down else Health(state=HealthState.UP)


class Store(MemoryBackend):
    """A fallback store whose journal can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None

    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        if self.error is not None:
            raise self.error
        return super().journal_status(request)

    def claim(self, request: ClaimRequest) -> ClaimResult:
        if self.error is not None:
            raise self.error
        return super().claim(request)


Open = Callable[..., SecretManager]


@pytest.fixture
def open_real() -> Iterator[Open]:
    """Open managers on the real clock."""
    opened: list[SecretManager] = []

    def opener(backends: dict[str, Any], **resilience: Any) -> SecretManager:
        config: dict[str, Any] = {"backend": "main", "audit": "none", "cache": {"ttl": "1h", "negative_ttl": 0}}
        config["resilience"] = {"probe_every": f"{EVERY}s"} | resilience
        config["routes"] = {"far": "other"} if "other" in backends else {}
        if "store" in backends:
            config["fallback"] = "store"
        opened.append(strongroom.open(config, backends=backends))
        return opened[-1]

    yield opener
    for manager in opened:
        manager.close()


def fail(manager: SecretManager, name: str = "absent", times: int = 3) -> None:
    for _ in range(times):
        with pytest.raises(BackendUnavailableError):
            manager.get(name)


def state_of(manager: SecretManager, backend: str = "main") -> ConditionState:
    return manager._parts.backend(backend).condition.state  # type: ignore[union-attr]  # it has got one


def attending() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "strongroom-outage"]


class TestProbes:
    def test_recovery_is_noticed_within_one_interval_and_the_time_of_a_probe(self, open_real: Open) -> None:
        server = Server()
        manager = open_real({"main": server})
        server.down = True
        fail(manager)
        assert state_of(manager) is ConditionState.DEGRADED
        eventually(lambda: len(server.probed) >= 6)
        server.down = False
        since = time.monotonic()
        eventually(lambda: state_of(manager) is ConditionState.HEALTHY)
        # Generous towards a machine that is busy, and still far from two.
        assert time.monotonic() - since < EVERY + 1.0
        assert server.probed[-1] - since < EVERY + 0.5
        gaps = [after - before for before, after in zip(server.probed, server.probed[1:], strict=False)]
        assert min(gaps) >= EVERY / 2 * 0.9
        assert len({round(gap, 4) for gap in gaps}) > 1

    def test_the_thread_ends_with_its_reason_and_comes_again_with_the_next(self, open_real: Open) -> None:
        server = Server()
        manager = open_real({"main": server})
        for _ in range(2):
            server.down = True
            fail(manager, times=1)
            while state_of(manager) is ConditionState.HEALTHY:
                fail(manager, times=1)
            server.down = False
            eventually(lambda: state_of(manager) is ConditionState.HEALTHY)
            eventually(lambda: not attending())

    def test_no_thread_is_there_before_an_outage(self, open_real: Open) -> None:
        server = Server()
        manager = open_real({"main": server, "store": Store()})
        manager.set("a", "1")
        manager.get("a")
        assert attending() == []

    @pytest.mark.parametrize("error", [RuntimeError("foreign"), SystemExit(1), StoreDamagedError("odd")])
    def test_a_probe_may_raise_whatever_it_likes(self, open_real: Open, error: BaseException) -> None:
        server = Server()
        manager = open_real({"main": server})

        def raise_it() -> None:
            if server.down:
                raise error

        server.on_probe = raise_it
        server.down = True
        fail(manager)
        eventually(lambda: len(server.probed) >= 3)
        server.down = False
        eventually(lambda: state_of(manager) is ConditionState.HEALTHY)

    def test_a_probe_that_hangs_holds_up_no_other_backend(self, open_real: Open) -> None:
        hanging, other, release = Server(), Server(), threading.Event()
        manager = open_real({"main": hanging, "other": other})
        hanging.on_probe = lambda: release.wait(20)
        hanging.down = other.down = True
        fail(manager)
        fail(manager, "far/a")
        eventually(lambda: hanging.probed)
        other.down = False
        eventually(lambda: state_of(manager, "other") is ConditionState.HEALTHY, 5.0)
        assert state_of(manager) is ConditionState.DEGRADED
        hanging.down = False
        release.set()
        eventually(lambda: state_of(manager) is ConditionState.HEALTHY)

    @pytest.mark.parametrize("keeps_deadlines", [False, True])
    def test_a_probe_that_hangs_for_ever_is_followed_by_one_that_is_answered(
        self, open_real: Open, keeps_deadlines: bool
    ) -> None:
        """As of a connection that was cut without a word: no answer comes on it although the server is back."""
        every = 1.0
        hanging, other, release = Server(), Server(), threading.Event()
        hanging.keeps_deadlines = keeps_deadlines
        manager = open_real({"main": hanging, "other": other}, probe_every=f"{every}s")

        def hang() -> None:
            if hanging.down:
                release.wait(time_left() if keeps_deadlines else 30.0)
                raise BackendUnavailableError("it hangs", code="timeout")

        hanging.on_probe = hang
        hanging.down = other.down = True
        fail(manager)
        fail(manager, "far/a")
        eventually(lambda: len(hanging.probed) == 2)
        hanging.down = other.down = False
        since = time.monotonic()
        eventually(
            lambda: state_of(manager) is ConditionState.HEALTHY and state_of(manager, "other") is ConditionState.HEALTHY
        )
        assert time.monotonic() - since < 2 * every + 0.5
        release.set()

    def test_without_a_thread_to_be_had_calls_serve_as_probes(
        self, open_real: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = Server()
        manager = open_real({"main": server})
        server.down = True
        real = threading.Thread.start

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "strongroom-outage":
                raise RuntimeError("can't start new thread")
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        fail(manager)
        server.down = False
        manager._parts.cache.clear()

        def answered() -> bool:
            try:
                manager.set("a", "1")
            except BackendUnavailableError:
                return False
            return True

        eventually(answered)
        assert server.probed == []
        eventually(lambda: state_of(manager) is ConditionState.HEALTHY)

    def test_the_manager_is_not_kept_alive(self) -> None:
        server = Server()
        manager = strongroom.open(
            {"backend": "main", "audit": "none", "resilience": {"probe_every": "50ms"}}, backends={"main": server}
        )
        server.down = True
        fail(manager)
        eventually(lambda: server.probed)
        gone = weakref.ref(manager._parts)
        del manager

        def collected() -> bool:
            gc.collect()
            return gone() is None

        eventually(collected)
        eventually(lambda: not attending())

    def test_closing_ends_the_thread(self, open_real: Open) -> None:
        server = Server()
        manager = open_real({"main": server}, probe_every="1h")
        server.down = True
        fail(manager)
        assert attending()
        manager.close()
        eventually(lambda: not attending())

    def test_a_forked_child_has_a_thread_only_if_it_meets_the_outage_itself(self, open_real: Open) -> None:
        server = Server()
        manager = open_real({"main": server})
        server.down = True
        fail(manager)

        def child() -> str:
            before = len(attending())
            fail(manager)
            during = len(attending())
            server.down = False
            eventually(lambda: state_of(manager) is ConditionState.HEALTHY)
            return f"{before} {during}"

        assert in_forked_child(child) == "0 1"


class TestWaitingWrites:
    def test_they_are_made_when_the_backend_is_back(self, open_real: Open) -> None:
        server, store = Server(), Store()
        manager = open_real({"main": server, "store": store})
        manager.set("a", "1")
        server.down = True
        assert manager.set("a", "2").queued
        fail(manager, times=2)
        server.down = False
        eventually(lambda: server.read(ReadRequest(name="a")).value.reveal() == b"2")  # type: ignore[arg-type]  # a text
        eventually(lambda: state_of(manager) is ConditionState.HEALTHY)
        assert store.journal_status(JournalStatusRequest()).waiting == 0

    def test_a_single_one_is_made_although_the_backend_never_counted_as_out(self, open_real: Open) -> None:
        server, store = Server(), Store()
        manager = open_real({"main": server, "store": store})
        server.down = True
        assert manager.set("a", "1").queued
        server.down = False
        assert state_of(manager) is ConditionState.HEALTHY
        eventually(lambda: store.journal_status(JournalStatusRequest()).waiting == 0)
        assert server.read(ReadRequest(name="a")).value.reveal() == b"1"  # type: ignore[arg-type]  # a text
        assert server.probed == []
        eventually(lambda: not attending())

    @pytest.mark.parametrize("use", ["read", "write"])
    def test_those_that_an_earlier_process_has_left_are_made_by_whoever_uses_the_backend_next(
        self, open_real: Open, use: str
    ) -> None:
        server, store = Server(), Store()
        first = open_real({"main": server, "store": store}, probe_every="1h")
        server.down = True
        assert first.set("a", "left over").queued
        # As if the process had died: the manager that is to make it never does.
        first._parts.continuity.close()
        server.down = False
        second = open_real({"main": server, "store": store})
        if use == "read":
            with pytest.raises(SecretNotFoundError):
                second.get("b")
        else:
            second.set("b", "1")
        eventually(lambda: store.journal_status(JournalStatusRequest()).waiting == 0)
        assert server.read(ReadRequest(name="a")).value.reveal() == b"left over"  # type: ignore[arg-type]  # a text

    @pytest.mark.parametrize("error", [BackendUnavailableError("no disk"), RuntimeError("foreign")])
    def test_a_journal_that_fails_for_a_while_ends_nothing(self, open_real: Open, error: Exception) -> None:
        server, store = Server(), Store()
        manager = open_real({"main": server, "store": store})
        server.down = True
        assert manager.set("a", "1").queued
        fail(manager, times=2)
        store.error = error
        server.down = False
        eventually(lambda: state_of(manager) is ConditionState.RECOVERING)
        report = manager._parts.backend("main").condition.report()  # type: ignore[union-attr]  # it has got one
        eventually(lambda: attending())
        assert report.reason
        store.error = None
        eventually(lambda: state_of(manager) is ConditionState.HEALTHY)
        assert server.read(ReadRequest(name="a")).value.reveal() == b"1"  # type: ignore[arg-type]  # a text
