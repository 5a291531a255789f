"""How often an action may be called, and how often it may run at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from strongroom_mcp.errors import RefusedError

_MINUTE: Final = 60.0


class Limits:
    """The limits of one action.

    Args:
        per_minute: How many calls there may be within any minute.
        at_a_time: How many of them may run at a time.
        clock: Monotonic seconds.
    """

    def __init__(self, per_minute: int, at_a_time: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._free = at_a_time
        self._clock = clock
        self._calls: deque[float] = deque()
        self._is_over = False

    def count(self) -> None:
        """Count a call.

        Raises:
            RefusedError: There have been too many within the last minute; this one does not count. Only the first
                after one that counted is for the trail, which calls without end would fill otherwise.
        """
        now = self._clock()
        while self._calls and now - self._calls[0] >= _MINUTE:
            self._calls.popleft()
        if len(self._calls) >= self._per_minute:
            was_over, self._is_over = self._is_over, True
            text = f"the action may be called {self._per_minute} times in a minute: try again later"
            raise RefusedError(text, result="too_many_calls", recorded=not was_over)
        self._is_over = False
        self._calls.append(now)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run within the block.

        Raises:
            RefusedError: Too many run already.
        """
        if not self._free:
            raise RefusedError(
                "the action runs as often as it may at a time: try again when it has ended", result="too_many_running"
            )
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
