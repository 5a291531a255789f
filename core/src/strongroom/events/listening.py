"""Callbacks that hear of something, each in a thread of its own, so that nobody ever waits for one of them."""

from __future__ import annotations

import threading

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

News = TypeVar("News")

MOST: Final = 1000
"""How much waits for one callback at most; further news are lost to it."""


class Listeners(Generic[News]):
    """Lets callbacks hear of news, in their order. It never waits and never fails.

    Attributes:
        failures: How often a callback has raised.
        lost: How many news were lost to a callback that is too slow.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.lost = 0
        self._lines: dict[object, _Line[News]] = {}

    def add(self, callback: Callable[[News], object]) -> Callable[[], None]:
        """Have a function called with all news from now on.

        Args:
            callback: The function. What it raises is counted.

        Returns:
            A function that ends that; calling it twice is no error.
        """
        ticket = object()
        self._lines[ticket] = _Line(self, callback)

        def end() -> None:
            line = self._lines.pop(ticket, None)
            if line is not None:
                line.waiting.clear()

        return end

    def tell(self, news: News) -> None:
        """Let every callback hear of something, soon."""
        for line in list(self._lines.values()):
            line.put(news)

    def after_fork(self) -> None:
        """Start without threads in a forked child; what waits is the parent's."""
        for line in self._lines.values():
            line.begin()


class _Line(Generic[News]):
    """What waits for one callback, and the thread that brings it while there is something."""

    def __init__(self, listeners: Listeners[News], callback: Callable[[News], object]) -> None:
        self._listeners = listeners
        self._callback = callback
        self.begin()

    def begin(self) -> None:
        # Reentrant: a signal's handler may have news while its own thread is in here.
        self._lock = threading.RLock()
        self.waiting: deque[News] = deque()
        self._at_work = False

    def put(self, news: News) -> None:
        with self._lock:
            if len(self.waiting) >= MOST:
                self._listeners.lost += 1
                return
            self.waiting.append(news)
            if self._at_work:
                return
            self._at_work = True
            try:
                threading.Thread(target=self._bring, name="strongroom-condition", daemon=True).start()
            except RuntimeError:
                self._at_work = False  # there are too many threads now: the next news try again

    def _bring(self) -> None:
        while True:
            with self._lock:
                if not self.waiting:
                    self._at_work = False
                    return
                news = self.waiting.popleft()
            try:
                self._callback(news)
            # Foreign code, to which nobody listens.
            except BaseException:  # noqa: BLE001  # see above
                self._listeners.failures += 1
