"""How often a caller may ask."""

from __future__ import annotations

from collections.abc import Callable


class Bucket:
    """Holds so many permits at most, and gets so many anew each second.

    Args:
        rate: How many permits come in a second.
        size: How many it holds.
        clock: Monotonic seconds.
    """

    __slots__ = ("_clock", "_left", "_rate", "_seen", "_size")

    def __init__(self, rate: float, size: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._size = size
        self._clock = clock
        self._left = float(size)
        self._seen = clock()

    def take(self, number: int = 1) -> float:
        """Take permits, or none if there are too few.

        Args:
            number: How many; never more than fit into it are asked for.

        Returns:
            0.0 if they are taken, else in how many seconds to come back.
        """
        now = self._clock()
        self._left = min(self._size, self._left + (now - self._seen) * self._rate)
        self._seen = now
        wanted = min(number, self._size)
        if self._left >= wanted:
            self._left -= wanted
            return 0.0
        return (wanted - self._left) / self._rate
