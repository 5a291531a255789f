"""Forked children and threads with a time limit."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from strongroom.testing import in_forked_child, in_threads
from strongroom.testing.processes import busy_threads


def test_a_child_is_another_process_and_answers() -> None:
    assert in_forked_child(os.getpid) not in {str(os.getpid()), "died"}


def test_a_child_that_raises_tells_what() -> None:
    def action() -> None:
        raise LookupError("nothing there")

    assert in_forked_child(action) == "LookupError: nothing there"


def test_a_child_that_hangs_is_ended() -> None:
    """As with a lock that a thread of the parent held at the moment of the fork."""
    lock = threading.Lock()
    with lock:
        assert in_forked_child(lock.acquire, time_limit=0.2) == "stuck"


def test_a_child_that_is_killed_is_told_apart() -> None:
    assert in_forked_child(lambda: os.kill(os.getpid(), signal.SIGKILL)) == "died"


def test_a_child_that_exits_does_not_run_the_rest() -> None:
    def action() -> None:
        raise SystemExit(3)

    assert in_forked_child(action) == "SystemExit: 3"


def test_threads_answer_by_number() -> None:
    assert in_threads(4, lambda number: number * 10) == [0, 10, 20, 30]


def test_threads_run_at_the_same_time() -> None:
    together = threading.Barrier(4)
    assert sorted(in_threads(4, lambda _: together.wait(10.0))) == [0, 1, 2, 3]


def test_an_error_in_a_thread_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(3, lambda number: 1 // number)


def test_busy_threads_work_until_the_block_ends() -> None:
    before = set(threading.enumerate())
    turns: list[int] = []
    with busy_threads(2, lambda: turns.append(1)):
        assert turns
    # Threads of other tests may end meanwhile.
    assert set(threading.enumerate()) <= before


def test_an_error_in_a_busy_thread_comes_out() -> None:
    reached, turns = threading.Event(), iter((1, 0))

    def action() -> float:
        divisor = next(turns)
        if not divisor:
            reached.set()
        return 1 / divisor

    with pytest.raises(ZeroDivisionError), busy_threads(1, action):
        assert reached.wait(10.0)
