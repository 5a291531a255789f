"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import threading

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeClock:
    """A monotonic clock and a wall clock for tests that would otherwise have to wait.

    It can be given wherever a callable that returns seconds is asked for:
    calling it is the same as calling ``monotonic``. Threads may share it.

    Args:
        wall: What the wall clock shows at first; it must have an offset.
        monotonic: What the monotonic clock shows at first, in seconds.
    """

    def __init__(self, wall: datetime = START, monotonic: float = 1000.0) -> None:
        if wall.tzinfo is None:
            raise ValueError("the wall clock's time needs an offset, such as tzinfo=UTC")
        self._lock = threading.Lock()
        self._wall = wall.astimezone(UTC)
        self._monotonic = monotonic

    def __call__(self) -> float:
        """Return the monotonic clock in seconds."""
        return self.monotonic()

    def monotonic(self) -> float:
        """Return the monotonic clock in seconds."""
        with self._lock:
            return self._monotonic

    def now(self) -> datetime:
        """Return the wall clock in UTC."""
        with self._lock:
            return self._wall

    def time(self) -> float:
        """Return the wall clock in seconds since 1970."""
        return self.now().timestamp()

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks.

        Args:
            seconds: How much; never below 0.
        """
        if seconds < 0:
            raise ValueError("time does not go backwards; set_wall() moves the wall clock alone")
        with self._lock:
            self._monotonic += seconds
            self._wall += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Do what ``time.sleep`` does, without waiting."""
        self.advance(max(0.0, seconds))

    def set_wall(self, wall: datetime) -> None:
        """Set the wall clock alone, as an administrator or a time server does."""
        if wall.tzinfo is None:
            raise ValueError("the wall clock's time needs an offset, such as tzinfo=UTC")
        with self._lock:
            self._wall = wall.astimezone(UTC)
