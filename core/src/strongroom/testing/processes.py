"""Running a check in a forked child or in several threads, with a time limit instead of a hang."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import warnings

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Result = TypeVar("Result")

TIME_LIMIT: Final = 10.0
"""How long a forked child may take, in seconds."""


def in_forked_child(action: Callable[[], object], *, time_limit: float = TIME_LIMIT) -> str:
    """Run something in a forked child and return how it ended.

    Args:
        action: What the child does; what it returns is passed on as text.
        time_limit: After how many seconds the child counts as stuck and is killed.

    Returns:
        The text of what ``action`` returned, or ``<Type>: <text>`` of what it
        raised, ``stuck`` if the child did not end in time, or
        ``died`` if it ended without an answer.
    """
    reader, writer = os.pipe()
    child = _fork()
    if child == 0:
        _answer_and_exit(action, writer)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], time_limit)
        answer = (os.read(reader, 65536).decode() or "died") if ready else "stuck"
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return answer


def _fork() -> int:
    with warnings.catch_warnings():
        # Python warns of forking beside threads; that the backend copes with it is what is checked.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _answer_and_exit(action: Callable[[], object], writer: int) -> None:
    try:
        answer = str(action())
    # Whatever went wrong in the child is the answer to the parent.
    except BaseException as error:  # noqa: BLE001  # it is reported, not swallowed
        answer = f"{type(error).__name__}: {error}"
    # Neither pytest's nor anybody's exit handlers may run a second time in the child.
    try:
        os.write(writer, answer.encode()[:65536] or b" ")
    finally:
        os._exit(0)


def in_threads(count: int, action: Callable[[int], Result]) -> list[Result]:
    """Run something in several threads that start at the same moment.

    Args:
        count: How many threads.
        action: Called with the thread's number, from 0.

    Returns:
        What each returned, by number. If one raised, its error is raised here.
    """
    start = threading.Barrier(count)

    def run(number: int) -> Result:
        start.wait(TIME_LIMIT)
        return action(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@contextlib.contextmanager
def busy_threads(count: int, action: Callable[[], object]) -> Iterator[None]:
    """Repeat something in several threads for as long as the ``with`` block runs."""
    stop, started = threading.Event(), threading.Semaphore(0)

    def run() -> None:
        while not stop.is_set():
            action()
            started.release()

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run) for _ in range(count)]
        started.acquire(timeout=TIME_LIMIT)
        try:
            yield
        finally:
            stop.set()
    for future in futures:
        future.result()
