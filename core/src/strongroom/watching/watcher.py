"""Looks every now and then at what others have changed, in a thread of its own."""

from __future__ import annotations

import threading
import weakref

from collections.abc import Callable
from typing import Final

from strongroom.events.updates import SecretUpdated, Watch
from strongroom.model import SecretName
from strongroom.pacing import spread
from strongroom.watching.looking import Looks

LONGEST: Final = 5.0
"""Seconds: for how long the thread waits at most until it looks whether the manager is still there."""


class Watcher(Watch):
    """Has the secrets looked at that a manager holds, again and again; one daemon thread does so.

    The thread begins when the manager is first used, and does not keep it alive. A forked child starts its own when
    it reads something from a backend, or subscribes.

    Args:
        looks: What looks.
        every: Seconds between two looks, at most; it is a random part of it, down to half.
        clock: Monotonic seconds.
        start_thread: Whether there is to be such a thread; else somebody calls :meth:`run_due`.

    Attributes:
        looks: The same.
        failures: How often a look ended in an error that should not have come that far.
    """

    def __init__(self, looks: Looks, every: float, *, clock: Callable[[], float], start_thread: bool) -> None:
        self.looks = looks
        self._every = every
        self._clock = clock
        self._start_thread = start_thread
        self._closed = False
        self.failures = 0
        self._start_afresh()

    def _start_afresh(self) -> None:
        # Reentrant: a signal's handler may subscribe while its own thread is in here.
        self._lock = threading.RLock()
        self._due: float | None = None
        self._has_new = True
        """Whether somebody may have subscribed to a name since the last look."""
        self._at_work = False
        self._waker: threading.Event | None = None
        """What the thread waits for; there is one as long as there is the thread."""

    def after_fork(self) -> None:
        """Start without a thread in a forked child."""
        self.looks.after_fork()
        self._start_afresh()

    def start(self) -> None:
        """Begin, if it has not begun in this process yet."""
        if self._waker is not None or self._closed:
            return
        with self._lock:
            if self._due is None:
                self._due = self._clock() + spread(self._every)
            if self._waker is not None or self._closed or not self._start_thread:
                return
            waker = self._waker = threading.Event()
            thread = threading.Thread(
                target=_watch, args=(weakref.ref(self), waker), name="strongroom-watch", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                self._waker = None  # there are too many threads now: the next read of a backend tries again

    def subscribed(self) -> None:
        """Look at a further name soon, so that a change from now on is seen as one."""
        self._has_new = True
        self.start()
        waker = self._waker
        if waker is not None:
            waker.set()

    def begin_change(self, name: SecretName) -> None:
        """Note that this process begins to change a secret: of that its subscribers hear by themselves."""
        self.looks.sightings.begin(name)

    def end_change(self, name: SecretName) -> None:
        """Note that such a change has ended, however it did."""
        self.looks.sightings.end(name)

    def heard(self, event: SecretUpdated) -> None:
        """Note what this process has changed itself."""
        if event.change != "seen":
            self.looks.sightings.heard(event)

    def run_due(self) -> float | None:
        """Do what is due now; return for how many seconds nothing is, or ``None`` if it has not begun, or is closed."""
        with self._lock:
            if self._closed or self._due is None:
                return None
            if self._at_work:
                return self._every
            self._at_work = True
            is_due = self._clock() >= self._due
            if is_due:
                self._due = self._clock() + spread(self._every)
            has_new, self._has_new = self._has_new, False
        try:
            if is_due:
                self.looks.at_all()
            elif has_new:
                self.looks.at_new()
        finally:
            with self._lock:
                self._at_work = False
        return max(0.0, self._due - self._clock())

    def close(self) -> None:
        """Look no more; a look under way is not waited for."""
        with self._lock:
            self._closed = True
            if self._waker is not None:
                self._waker.set()

    def rest(self, waker: threading.Event) -> float | None:
        """Do what is due, in the thread.

        Args:
            waker: What the thread waits for afterwards.

        Returns:
            For how many seconds the thread may wait; ``None`` if it is to end.
        """
        waker.clear()
        seconds: float | None = self._every
        try:
            seconds = self.run_due()
        # What came this far is a fault of a plugin, or of ours: it must not end the watch.
        except BaseException:  # noqa: BLE001  # see above
            self.failures += 1
        with self._lock:
            if self._closed or self._waker is not waker:
                return None
            # A round that takes longer than the interval is not followed by the next one at once.
            return None if seconds is None else max(seconds, self._every / 10.0)


def _watch(watcher: weakref.ref[Watcher], waker: threading.Event) -> None:
    while (live := watcher()) is not None:
        seconds = live.rest(waker)
        # Not held while waiting: whoever has got the manager may let go of it.
        del live
        if seconds is None:
            return
        waker.wait(min(seconds, LONGEST))
