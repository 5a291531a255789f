"""A clock for code that waits."""

from __future__ import annotations

from strongroom.testing import FakeClock


class Waits:
    """A clock that stands still, and all that was waited for on it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waited: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let the time pass, and note it."""
        self.waited.append(seconds)
        self.clock.advance(seconds)
