"""The thread that rotates what is due: when there is one, what it warns of, and how it ends."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref

from collections.abc import Iterator
from typing import Any

import pytest

import strongroom

from dues import DatedBackend, opened
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.config.load import load
from strongroom.contracts.backend import Capability
from strongroom.errors import BackendUnavailableError, ClosedError, ConfigurationError
from strongroom.model import SecretName, SecretValue
from strongroom.rotation.reports import DueFailure, DueRun
from strongroom.rotation.runner import RotationRunner, runner_of
from strongroom.testing import FakeClock
from strongroom.testing.processes import in_forked_child

LIMIT = 10.0


class Undated(MemoryBackend):
    """Does not say when versions were made, so that all is due at first; tells of each write."""

    def __init__(self) -> None:
        self.written = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        super().__init__(MemorySettings(seed={"db/a": SecretValue("old")}))
        self.written.clear()
        self.capabilities = frozenset(Capability) - {Capability.VERSIONS}

    def close(self) -> None:
        return

    def write(self, request: Any) -> Any:
        result = super().write(request)
        self.written.set()
        assert self.hold.wait(LIMIT)
        return result


@pytest.fixture
def backend() -> Undated:
    return Undated()


def real(backend: Undated, **config: Any) -> strongroom.SecretManager:
    """Open a manager by the real clock, whose one secret is due."""
    tables = {"audit": "none", "rotation": {"db/a": {"every": "90d"}}} | config
    return strongroom.open(tables, backends={"main": backend})


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "strongroom-rotation"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threads())
    yield
    for thread in set(threads()) - before:
        thread.join(LIMIT)
    assert set(threads()) <= before


def until_rotated(manager: strongroom.SecretManager) -> None:
    end = time.monotonic() + LIMIT
    while manager.rotation.status()[0].rotated is None or manager.rotation.status()[0].state != "idle":
        assert time.monotonic() < end, "nothing was rotated"
        time.sleep(0.005)


def test_what_is_due_is_rotated_in_the_background_until_it_is_stopped(backend: Undated) -> None:
    with real(backend) as manager:
        manager.rotation.start(every=0.02)
        assert len(threads()) == 1
        until_rotated(manager)
        manager.rotation.stop()
        threads_end()
        assert manager.get("db/a").value != SecretValue("old")


def threads_end() -> None:
    for thread in threads():
        thread.join(LIMIT)
    assert threads() == []


def test_started_again_there_is_one_with_the_new_time(backend: Undated) -> None:
    with real(backend) as manager:
        manager.rotation.start(every=1000.0)
        first = threads()
        manager.rotation.start(every=0.02)
        until_rotated(manager)
        first[0].join(LIMIT)
        assert len(threads()) == 1
        assert threads() != first


def test_closing_the_manager_waits_for_the_rotation_that_is_under_way_and_ends_it(backend: Undated) -> None:
    manager = real(backend)
    backend.hold.clear()
    manager.rotation.start(every=0.02)
    assert backend.written.wait(LIMIT)
    closing = threading.Thread(target=manager.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    backend.hold.set()
    closing.join(LIMIT)
    assert threads() == []
    with real(backend) as other:
        (status,) = other.rotation.status()
    assert (status.state, status.rotated is not None) == ("idle", True)


def test_a_manager_that_nobody_holds_is_let_go(backend: Undated) -> None:
    manager = real(backend)
    manager.rotation.start(every=0.05)
    gone = weakref.ref(manager._parts)
    del manager
    end = time.monotonic() + LIMIT
    while gone() is not None:
        gc.collect()
        assert time.monotonic() < end, "the thread keeps its manager"
        time.sleep(0.01)


def test_a_closed_manager_starts_none(backend: Undated) -> None:
    manager = real(backend)
    manager.close()
    with pytest.raises(ClosedError):
        manager.rotation.start()


@pytest.mark.parametrize("every", [0, -1, True, float("nan"), float("inf"), "5m"])
def test_a_time_that_is_none_is_refused(every: Any, backend: Undated) -> None:
    with real(backend) as manager, pytest.raises(ConfigurationError, match="every is a number of seconds above 0"):
        manager.rotation.start(every=every)


def test_a_forked_child_starts_none_by_itself_and_may_start_its_own(backend: Undated) -> None:
    with real(backend) as manager:
        manager.rotation.start(every=1000.0)

        def child() -> bool:
            none = threads() == []
            manager.rotation.start(every=0.02)
            until_rotated(manager)
            return none

        in_forked_child(child)
        assert len(threads()) == 1


def test_a_clock_that_a_test_moves_on_moves_no_thread(clock: FakeClock) -> None:
    with opened(clock, DatedBackend(clock, "db/a"), {"db/a": {"every": "1d"}}, rotate_every="1s") as manager:
        manager.rotation.start(every=0.01)
        assert not runner_of(manager._parts).is_running
        assert threads() == []


class TestSettings:
    """``rotate_every`` at the top of the configuration."""

    def test_unless_it_is_given_nothing_is_rotated_by_itself(self, backend: Undated) -> None:
        with real(backend) as manager:
            assert (manager._parts.configuration.rotate_every, manager._parts.runner, threads()) == (None, None, [])

    def test_with_it_a_program_rotates_from_the_start(self, backend: Undated) -> None:
        with real(backend, rotate_every="20ms") as manager:
            until_rotated(manager)

    def test_it_is_above_0(self) -> None:
        base: dict[str, Any] = {"audit": "none", "backends": {"m": {"type": "memory"}}}
        assert load(base | {"rotate_every": "5m"}).rotate_every == 300.0
        with pytest.raises(ConfigurationError, match=r"rotate_every in .* is not usable: expected more than 0s"):
            load(base | {"rotate_every": "0s"})


class TestWarnings:
    """What the log says of runs that fail, which nobody waits for."""

    @pytest.fixture
    def runner(self, backend: Undated) -> Iterator[RotationRunner]:
        with real(backend) as manager:
            yield RotationRunner(manager._parts)

    def warned(self, runner: RotationRunner, caplog: pytest.LogCaptureFixture, *runs: Any) -> list[str]:
        caplog.set_level(logging.WARNING, "strongroom")
        results = iter(runs)

        def run(_: Any) -> DueRun:
            result = next(results)
            if isinstance(result, Exception):
                raise result
            return DueRun(failed=tuple(result))

        runner._run = run
        for _ in runs:
            runner.run_once(threading.Event())
        return [record.getMessage().rpartition(": ")[2] for record in caplog.records]

    def failure(self, name: str, code: str = "timeout") -> DueFailure:
        return DueFailure(name=SecretName(name), error=BackendUnavailableError(f"{name} is {code}", code=code))

    def test_each_failure_is_told_once_until_it_is_over(
        self, runner: RotationRunner, caplog: pytest.LogCaptureFixture
    ) -> None:
        a, b, other = self.failure("a"), self.failure("b"), self.failure("a", "sealed")
        told = self.warned(runner, caplog, [a], [a], [a, b], [other], [], [other])
        assert told == ["a is timeout", "b is timeout", "a is sealed", "a is sealed"]

    def test_a_run_that_fails_as_a_whole_is_told_and_not_the_last(
        self, runner: RotationRunner, caplog: pytest.LogCaptureFixture
    ) -> None:
        down = BackendUnavailableError("no sink answers")
        told = self.warned(runner, caplog, down, down, ValueError("s3cret"), [self.failure("a")])
        assert told == ["no sink answers", "a run has failed with ValueError", "a is timeout"]
        assert runner.failures == 1

    def test_a_manager_that_is_closed_meanwhile_is_the_end(
        self, runner: RotationRunner, caplog: pytest.LogCaptureFixture
    ) -> None:
        end = threading.Event()
        runner._run = lambda _: (_ for _ in ()).throw(ClosedError("the manager is closed"))
        runner.run_once(end)
        assert end.is_set()
        assert caplog.records == []
