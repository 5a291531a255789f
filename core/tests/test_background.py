"""What is done in the background: once a key, by few threads, and never at the expense of the process."""

from __future__ import annotations

import os
import threading
import time

from collections.abc import Callable, Iterator

import pytest

from strongroom import background
from strongroom.background import THREADS, WAITING, Background
from strongroom.testing import in_forked_child, in_threads


@pytest.fixture
def work() -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


class Held:
    """Tasks that wait until they are let go, and tell how many are at it."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.at_it = 0
        self.most = 0
        self.ended: list[int] = []
        self._lock = threading.Lock()

    def task(self, number: int) -> Callable[[], None]:
        def run() -> None:
            with self._lock:
                self.at_it += 1
                self.most = max(self.most, self.at_it)
            self.begun.release()
            assert self.let_go.wait(20), "nobody let it go"
            with self._lock:
                self.at_it -= 1
                self.ended.append(number)

        return run

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=10), "it has not begun"


@pytest.fixture
def held() -> Iterator[Held]:
    tasks = Held()
    yield tasks
    tasks.let_go.set()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.001)


def test_a_task_is_done_by_another_thread_that_keeps_no_process_alive(work: Background) -> None:
    done = threading.Event()
    seen: list[threading.Thread] = []
    assert work.submit("a", lambda: (seen.append(threading.current_thread()), done.set()))
    assert done.wait(10)
    assert seen[0] is not threading.current_thread()
    assert seen[0].daemon


def test_while_a_task_waits_or_runs_no_other_with_its_key_is_taken(work: Background, held: Held) -> None:
    for number in range(THREADS + 1):
        assert work.submit(number, held.task(number))
    held.wait_for(THREADS)
    assert not work.submit(0, held.task(-1))
    assert not work.submit(THREADS, held.task(-1))
    held.let_go.set()
    wait_until(lambda: len(held.ended) == THREADS + 1)
    wait_until(lambda: work.submit(0, held.task(100)))
    wait_until(lambda: 100 in held.ended)
    assert -1 not in held.ended


def test_one_key_is_never_at_work_twice(work: Background) -> None:
    inside = done = 0
    clashes: list[int] = []

    def task() -> None:
        nonlocal inside, done
        inside += 1
        if inside > 1:
            clashes.append(inside)
        time.sleep(0)
        inside -= 1
        done += 1

    taken = in_threads(8, lambda _: sum(work.submit("a", task) for _ in range(500)))
    wait_until(lambda: done == sum(taken))
    assert clashes == []


def test_there_are_never_more_than_a_few_threads(work: Background, held: Held) -> None:
    for number in range(10 * THREADS):
        assert work.submit(number, held.task(number))
    held.wait_for(THREADS)
    assert (held.at_it, work._threads) == (THREADS, THREADS)
    held.let_go.set()
    wait_until(lambda: len(held.ended) == 10 * THREADS)
    assert held.most == THREADS


def test_a_task_that_is_stuck_does_not_hold_up_the_next_one(work: Background, held: Held) -> None:
    """Also if both come before an idle thread has woken up for the first."""
    assert work.submit("warm-up", lambda: None)
    wait_until(lambda: work._idle == 1)
    done = threading.Event()
    with work._lock:
        work.submit("stuck", held.task(0))
        work.submit("next", done.set)
    held.wait_for(1)
    assert done.wait(5)


def test_no_more_than_so_many_tasks_wait(work: Background, held: Held) -> None:
    for number in range(THREADS):
        work.submit(number, held.task(number))
    held.wait_for(THREADS)
    taken = [work.submit(f"waiting {number}", held.task(number)) for number in range(WAITING + 5)]
    assert taken == [True] * WAITING + [False] * 5


@pytest.mark.parametrize("error", [ValueError("s3cret"), KeyboardInterrupt(), SystemExit()], ids=repr)
def test_what_a_task_raises_is_counted_and_stops_nothing(
    error: BaseException, work: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def fail() -> None:
        raise error

    for number in range(3 * THREADS):
        work.submit(number, fail)
    wait_until(lambda: work.failures == 3 * THREADS)
    done = threading.Event()
    wait_until(lambda: work.submit(0, done.set))
    assert done.wait(10)
    assert told == []


def test_a_thread_that_has_nothing_to_do_ends_and_another_one_begins(
    work: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "IDLE_SECONDS", 0.01)
    seen: list[threading.Thread] = []
    for number in (1, 2):
        assert work.submit("a", lambda: seen.append(threading.current_thread()))
        wait_until(lambda: len(seen) == number)  # noqa: B023  # it is waited for here
        seen[-1].join(10)
        assert not seen[-1].is_alive()
        assert (work._threads, work._idle) == (0, 0)


def test_if_no_thread_can_be_started_nothing_is_taken_and_the_next_attempt_may_succeed(
    work: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    done: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not work.submit("a", lambda: done.append("first"))
    assert work.submit("a", lambda: done.append("second"))
    wait_until(lambda: done == ["second"])


def test_if_no_further_thread_can_be_started_those_at_work_do_it(
    work: Background, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    work.submit("a", held.task(0))
    held.wait_for(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert work.submit("b", held.task(1))
    held.let_go.set()
    wait_until(lambda: held.ended == [0, 1])


def test_closing_takes_no_more_and_forgets_what_waits_without_waiting(work: Background, held: Held) -> None:
    for number in range(THREADS + 2):
        work.submit(number, held.task(number))
    held.wait_for(THREADS)
    work.close()
    work.close()
    assert not work.submit("new", held.task(-1))
    held.let_go.set()
    wait_until(lambda: work._threads == 0)
    assert sorted(held.ended) == list(range(THREADS))


def test_closing_ends_the_threads_that_have_nothing_to_do(work: Background) -> None:
    seen: list[threading.Thread] = []
    work.submit("a", lambda: seen.append(threading.current_thread()))
    wait_until(lambda: work._idle == 1)
    work.close()
    seen[0].join(10)
    assert not seen[0].is_alive()


def test_a_forked_child_begins_without_tasks_and_can_do_its_own(work: Background, held: Held) -> None:
    """Even if the lock was held while it was forked, and whatever ran has the same key."""
    for number in range(THREADS + 1):
        work.submit(number, held.task(number))
    held.wait_for(THREADS)

    def child() -> object:
        work.after_fork()
        done = threading.Event()
        pids: list[int] = []
        taken = work.submit(0, lambda: (pids.append(os.getpid()), done.set()))
        return taken, done.wait(5), pids == [os.getpid()], len(held.ended)

    with work._lock:
        assert in_forked_child(child) == "(True, True, True, 0)"
    held.let_go.set()
    wait_until(lambda: len(held.ended) == THREADS + 1)
