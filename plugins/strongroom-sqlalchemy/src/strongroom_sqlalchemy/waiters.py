"""Waiting for another thread or task, in a thread or on an event loop."""

from __future__ import annotations

import asyncio
import threading

from collections.abc import Callable


class Waiter:
    """Something that happens once, for threads and for tasks of any loop. Guarded by whoever makes it."""

    __slots__ = ("_callbacks", "_done", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._done = False

    def wake(self) -> None:
        """Let everybody go on who waits; calling it twice is no error."""
        with self._lock:
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def wait(self, seconds: float) -> bool:
        """Wait in a thread, for so many seconds at most; tell whether it has happened."""
        event = threading.Event()
        self._when_done(event.set)
        return event.wait(seconds)

    async def wait_on_loop(self, seconds: float) -> bool:
        """Wait in a task, for so many seconds at most; tell whether it has happened."""
        event = asyncio.Event()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                pass  # the loop is closed, and nobody waits any more

        self._when_done(tell)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _when_done(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback()
