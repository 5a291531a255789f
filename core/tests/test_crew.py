"""Several threads for one piece of work."""

from __future__ import annotations

import contextvars
import threading

from collections.abc import Callable
from functools import partial

import pytest

from strongroom.crew import run_all


def test_each_job_is_done_once() -> None:
    done: list[int] = []
    run_all([partial(done.append, number) for number in range(100)], threads=8)
    assert sorted(done) == list(range(100))


def test_so_many_work_at_the_same_time_and_no_more() -> None:
    together = threading.Barrier(4)
    seen: set[int] = set()

    def meet() -> None:
        seen.add(threading.get_ident())
        together.wait(10)

    run_all([meet] * 12, threads=4)
    assert len(seen) == 4


@pytest.mark.parametrize("threads", [1, 0, -1])
def test_with_one_thread_the_caller_does_it_all_in_order(threads: int) -> None:
    done: list[tuple[int, int]] = []
    run_all(
        [lambda number=number: done.append((number, threading.get_ident())) for number in range(5)], threads=threads
    )
    assert done == [(number, threading.get_ident()) for number in range(5)]


def test_no_jobs_are_no_work() -> None:
    run_all([], threads=8)


def test_a_failure_is_raised_and_no_further_job_begins() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_all([fail, *(partial(done.append, number) for number in range(5))], threads=1)
    assert done == []


def test_a_failure_in_another_thread_is_raised_here() -> None:
    both, caller = threading.Barrier(2), threading.get_ident()

    def work() -> None:
        both.wait(10)
        if threading.get_ident() != caller:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_all([work, work], threads=2)


def test_jobs_see_the_caller_s_context() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    both = threading.Barrier(2)
    seen: list[str] = []

    def look() -> None:
        both.wait(10)
        seen.append(variable.get())

    run_all([look, look], threads=2)
    assert seen == ["set", "set"]


def test_where_no_thread_can_be_started_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    jobs: list[Callable[[], object]] = [partial(done.append, number) for number in range(5)]
    run_all(jobs, threads=8)
    assert done == list(range(5))


def test_an_interrupt_while_threads_are_started_begins_no_further_job(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on, done = threading.Event(), threading.Event(), list[int]()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if started.is_set():
            raise KeyboardInterrupt
        start(thread)
        assert started.wait(10)

    def job(number: int) -> None:
        done.append(number)
        started.set()
        assert go_on.wait(10)

    before = set(threading.enumerate())
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_all((partial(job, number) for number in range(10)), threads=3)
    helpers = set(threading.enumerate()) - before
    go_on.set()
    for helper in helpers:
        helper.join(10)
    assert done == [0]
