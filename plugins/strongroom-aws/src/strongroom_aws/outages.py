"""How long the usual region is left alone after an outage, while replicas answer instead."""

from __future__ import annotations

import threading

from collections.abc import Callable
from typing import Final

from strongroom.pacing import spread

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0


class Outage:
    """Whether the usual region has an outage, and who may try it again. Threads may share it.

    The pauses double with each failure and end with a success. When one is over, one caller is let through; until
    that has ended, everybody else goes on with the replicas.

    Args:
        clock: Monotonic seconds.
        turn: For how many seconds whoever is let through may take, before the next one is.
    """

    def __init__(self, clock: Callable[[], float], turn: float) -> None:
        self._clock = clock
        self._turn = turn
        self._delay = 0.0
        self._until = 0.0
        self._trying = False
        self.after_fork()

    def after_fork(self) -> None:
        """Use a lock of its own in a forked child; what is known of the outage stays."""
        # A signal's handler may read while its own thread is in here.
        self._lock = threading.RLock()

    @property
    def is_on(self) -> bool:
        """Whether there was an outage, and no success since."""
        return self._delay > 0.0

    @property
    def seconds_left(self) -> float:
        """How long the region is still left alone."""
        return max(0.0, self._until - self._clock()) if self.is_on else 0.0

    def enter(self) -> bool:
        """Tell whether the usual region is to be asked first; whoever is told so then says how it ended."""
        if not self.is_on:
            return True
        with self._lock:
            now = self._clock()
            if self.is_on and now < self._until:
                return False
            self._until = now + self._turn
            self._trying = True
            return True

    def failed(self) -> bool:
        """Note an outage; return whether it is the first sign of it."""
        with self._lock:
            now = self._clock()
            if self.is_on and now < self._until and not self._trying:
                # It began before the pause did, and is one failure with those that are known.
                return False
            first = not self.is_on
            self._delay = min(LONGEST_SECONDS, 2.0 * self._delay) or FIRST_SECONDS
            self._until = now + spread(self._delay)
            self._trying = False
            return first

    def ended(self) -> None:
        """Note that the region answers."""
        if self.is_on:
            with self._lock:
                self._delay, self._until, self._trying = 0.0, 0.0, False

    def unknown(self) -> None:
        """Note that whoever was let through has not come to know: the next one may try."""
        with self._lock:
            if self._trying:
                self._until, self._trying = self._clock(), False
