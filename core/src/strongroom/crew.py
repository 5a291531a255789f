"""A few threads for one piece of work, which end with it."""

from __future__ import annotations

import threading

from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context

from strongroom.joining import join


def run_all(jobs: Iterable[Callable[[], object]], *, threads: int) -> None:
    """Do every job, several at a time, each once; the calling thread works, too.

    Args:
        jobs: What to do, in the order in which they are begun. They see the caller's context variables.
        threads: How many work at the same time at most, the caller among them; below 1 is 1.

    Raises:
        BaseException: What the first job that failed raised. The others that are under
            way end by themselves, and no further one is begun.
    """
    waiting = deque(jobs)
    failures: list[BaseException] = []

    def work() -> None:
        while True:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            job()

    def help_out() -> None:
        try:
            work()
        # Kept and raised below, in the thread that waits for the result.
        except BaseException as error:  # noqa: BLE001  # see above
            failures.append(error)
            waiting.clear()

    try:
        helpers = _started(help_out, min(threads, len(waiting)) - 1)
        work()
    except BaseException:
        # Whoever is interrupted does not wait for a backend that may be stuck.
        waiting.clear()
        raise
    for helper in helpers:
        join(helper)
    if failures:
        raise failures[0]


def _started(work: Callable[[], None], count: int) -> list[threading.Thread]:
    helpers = []
    for _ in range(count):
        helper = threading.Thread(target=copy_context().run, args=(work,), name="strongroom-crew", daemon=True)
        try:
            helper.start()
        except RuntimeError:
            break  # there are too many threads now: those that there are do it
        helpers.append(helper)
    return helpers
