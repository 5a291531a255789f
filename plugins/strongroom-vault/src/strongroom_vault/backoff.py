"""How long to wait: between attempts, as the server asks, and for our own rate limit."""

from __future__ import annotations

import os
import threading

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

SHORT: Final = 0.25
"""Seconds: where the server may be well again at once."""
ELECTION: Final = 1.0
"""Seconds: where a cluster has to find a new leader, which takes it one to some seconds."""
LONGEST: Final = 15.0


def delay(attempt: int, base: float = SHORT) -> float:
    """Return for how many seconds to wait after an attempt: about double each time, and never two clients the same.

    Args:
        attempt: From 1 on.
        base: How long it is at most after the first one.
    """
    longest = min(base * 2.0 ** (attempt - 1), LONGEST)
    return longest * (1.0 + int.from_bytes(os.urandom(4), "big") / 2**32) / 2.0


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
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


class Bucket:
    """Our own rate limit: a bucket of tokens that fills steadily. Threads may share it.

    Args:
        rate: Tokens a second.
        burst: How many it holds; it is full at first.
        clock: Monotonic seconds.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        # A signal's handler may ask while its own thread is in here.
        self._lock = threading.RLock()
        self._tokens = float(burst)
        self._at = clock()

    def take(self, end: float) -> float | None:
        """Take a token, maybe one that is still to come.

        Args:
            end: When it is too late, on the clock.

        Returns:
            For how many seconds to wait until it is there; ``None``, with nothing taken, if that is too late.
        """
        with self._lock:
            now = self._clock()
            self._tokens = min(float(self._burst), self._tokens + (now - self._at) * self._rate)
            self._at = now
            wait = max(0.0, (1.0 - self._tokens) / self._rate)
            if now + wait > end:
                return None
            self._tokens -= 1.0
            return wait
