"""How fast a client may ask: waiting between attempts, as a server asks, and its own rate limit.

For plugins, so that each paces its requests in the same way.
"""

from __future__ import annotations

import os
import threading
import time

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

__all__ = ["Bucket", "delay", "retry_after", "spread", "time_left", "within", "without_end"]

# Not a thread's own: an operation may have several threads work for it, which get a copy of its context.
_end: Final[ContextVar[float | None]] = ContextVar("strongroom_end", default=None)

SHORT: Final = 0.25
"""Seconds: how long to wait at most after a first attempt, where the server may be well again at once."""
LONGEST: Final = 15.0
"""Seconds: how long to wait at most, however many attempts there have been."""
RECOVERY_SECONDS: Final = 30.0
"""How long a bucket that was told to slow down takes until it is at its full rate again, at most."""


def delay(attempt: int, base: float = SHORT) -> float:
    """Return for how many seconds to wait after an attempt: about double each time, and never two clients the same.

    Args:
        attempt: From 1 on.
        base: How long it is at most after the first one.
    """
    return spread(min(base * 2.0 ** (attempt - 1), LONGEST))


def spread(seconds: float) -> float:
    """Return a time from half of one to the whole: clients that have seen the same outage do not come back together.

    Args:
        seconds: The time at most.
    """
    return seconds * (1.0 + int.from_bytes(os.urandom(4), "big") / 2**32) / 2.0


def retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Return for how many seconds a server asks to wait; ``None`` if it does not, or not understandably.

    Args:
        text: The header ``Retry-After``: seconds, or a date.
        now: The wall clock; the real one unless given.
    """
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    # Imported here: it would cost each command more than its own work.
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


class Bucket:
    """A client's own rate limit: a bucket of tokens that fills steadily. Threads may share it.

    Args:
        rate: Tokens a second.
        burst: How many it holds; it is full at first.
        clock: Monotonic seconds.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._full_rate = self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        # A signal's handler may ask while its own thread is in here.
        self._lock = threading.RLock()
        self._tokens = self._burst
        self._at = clock()

    @property
    def rate(self) -> float:
        """How many tokens a second there are now."""
        with self._lock:
            self._fill(self._clock())
            return self._rate

    def take(self, end: float) -> float | None:
        """Take a token, maybe one that is still to come.

        Args:
            end: When it is too late, on the clock.

        Returns:
            For how many seconds to wait until it is there; ``None``, with nothing taken, if that is too late.
        """
        with self._lock:
            now = self._clock()
            self._fill(now)
            wait = max(0.0, (1.0 - self._tokens) / self._rate)
            if now + wait > end:
                return None
            self._tokens -= 1.0
            return wait

    def slow_down(self) -> None:
        """Halve the rate, since the server has had enough; within half a minute it is what it was.

        However often that is said, a sixteenth of the rate is left.
        """
        with self._lock:
            self._fill(self._clock())
            self._rate = max(self._rate / 2.0, self._full_rate / 16.0)
            self._tokens = min(self._tokens, 0.0)

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._rate = min(self._full_rate, self._rate + passed * self._full_rate / RECOVERY_SECONDS)


class _Ends:
    """Sets when the operation that is under way has to end, for as long as the ``with`` block lasts."""

    # Not a generator, which would cost each call to a backend twice as much.
    __slots__ = ("_end", "_token")

    def __init__(self, end: float | None) -> None:
        self._end = end

    def __enter__(self) -> None:
        self._token = _end.set(self._end)

    def __exit__(self, *_: object) -> None:
        _end.reset(self._token)


def within(seconds: float) -> AbstractContextManager[None]:
    """Let what is called inside the ``with`` block know how much time it has; less, if it had less before.

    Args:
        seconds: From now on.
    """
    before = _end.get()
    end = time.monotonic() + seconds
    return _Ends(end if before is None or end < before else before)


def without_end() -> AbstractContextManager[None]:
    """Let what is called inside the ``with`` block take what time it likes: somebody else sees to it."""
    return _Ends(None)


def time_left() -> float | None:
    """Return how many seconds the operation that is under way may still take; ``None`` if nobody has said so.

    It is 0.0 when the time is over. A backend that ends its calls by itself within it says so with ``keeps_deadlines``.
    """
    end = _end.get()
    return None if end is None else max(0.0, end - time.monotonic())
