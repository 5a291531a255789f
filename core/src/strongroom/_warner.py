"""Warnings that may come in great numbers, logged at a measured pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from strongroom._apart import apart

WARN_SECONDS: Final = 60.0


class Warner:
    """Logs a warning a minute at most, and never fails whoever warns. Threads at once may log one each.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._warned_at: float | None = None

    def warn(self, problem: str) -> None:
        """Log a warning, unless there was one less than a minute ago.

        Args:
            problem: What is wrong, without a final stop.
        """
        now = self._clock()
        if self._warned_at is not None and now < self._warned_at + WARN_SECONDS:
            return
        self._warned_at = now
        import logging  # a process in which all goes well has no need of it

        try:
            apart(logging.getLogger("strongroom").warning, problem)
        # Foreign code: a handler that fails is no reason to fail an access.
        except Exception:  # noqa: BLE001  # see above
            return
