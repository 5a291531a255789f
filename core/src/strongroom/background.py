"""A few threads that do what nobody waits for, such as fetching an answer anew before it expires."""

from __future__ import annotations

import threading

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final

THREADS: Final = 4
WAITING: Final = 1000
"""How many tasks may wait; one more is not taken."""
IDLE_SECONDS: Final = 10.0
"""How long a thread waits for another task before it ends."""


class Background:
    """Runs tasks in at most a few daemon threads, each key once at a time."""

    def __init__(self) -> None:
        self._closed = False
        self.failures = 0
        """How many tasks have raised."""
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.Condition()
        self._tasks: deque[tuple[Hashable, Callable[[], object]]] = deque()
        self._keys: set[Hashable] = set()
        self._threads = 0
        self._idle = 0

    def submit(self, key: Hashable, task: Callable[[], object]) -> bool:
        """Have something done soon.

        Args:
            key: What it is about; while a task with an equal key waits or runs, no other is taken.
            task: What to do; what it raises is counted.

        Returns:
            Whether it was taken.
        """
        with self._lock:
            if self._closed or key in self._keys or len(self._tasks) >= WAITING:
                return False
            self._keys.add(key)
            self._tasks.append((key, task))
            # Those that have been told and have not come yet count as idle, so they must do for all that waits.
            if self._idle >= len(self._tasks):
                self._lock.notify()
                return True
            return self._threads >= THREADS or self._started(key)

    def _started(self, key: Hashable) -> bool:
        try:
            threading.Thread(target=self._work, args=(self._lock,), name="strongroom-background", daemon=True).start()
        except RuntimeError:
            # There are too many threads now. If another one is at work it gets to this, too.
            if self._threads:
                return True
            self._tasks.clear()
            self._keys.discard(key)
            return False
        self._threads += 1
        return True

    def _work(self, lock: threading.Condition) -> None:
        while (job := self._next(lock)) is not None:
            key, task = job
            try:
                task()
            # Nobody waits for it: what it could not do is done when it is needed.
            except BaseException:  # noqa: BLE001  # see above
                self.failures += 1
            finally:
                with lock:
                    self._keys.discard(key)

    def _next(self, lock: threading.Condition) -> tuple[Hashable, Callable[[], object]] | None:
        with lock:
            self._idle += 1
            arrived = lock.wait_for(lambda: self._tasks or self._closed, IDLE_SECONDS)
            self._idle -= 1
            if arrived and self._tasks and not self._closed:
                return self._tasks.popleft()
            self._threads -= 1
            return None

    def after_fork(self) -> None:
        """Start without threads and tasks in a forked child: what was under way is the parent's."""
        self._start_afresh()

    def close(self) -> None:
        """Take no more tasks, and forget those that wait; what runs is not waited for."""
        with self._lock:
            self._closed = True
            self._tasks.clear()
            self._lock.notify_all()
