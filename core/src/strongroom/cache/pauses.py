"""How long to leave a backend alone after it has refused, so that what fails does not use up a quota."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from strongroom.errors import StrongroomError

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60.0
MOST: Final = 10_000
"""Of how many things a failure is remembered; the oldest is forgotten first."""


class Pause:
    """What is not to be tried again before a certain time.

    Attributes:
        error: Why not.
        until: Up to when, on the clock of :class:`Pauses`.
    """

    __slots__ = ("delay", "error", "probing", "until")

    def __init__(self, error: StrongroomError, delay: float, until: float) -> None:
        self.error = error
        self.delay = delay
        self.until = until
        self.probing = False


class Pauses:
    """Pauses that double with each failure, from one second to a minute, and end with a success.

    When a pause is over, one try is let through; until it has ended, or has taken
    as long as the pause did, everybody else is told the old reason.

    There is no lock, since a signal's handler may read: each step is atomic, and
    two threads that race let one try more through, at worst.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pauses: dict[Hashable, Pause] = {}

    def __len__(self) -> int:
        return len(self._pauses)

    def holding(self, key: Hashable) -> Pause | None:
        """Return the pause that something is in now, without taking the turn to try."""
        pause = self._pauses.get(key)
        return pause if pause is not None and self._clock() < pause.until else None

    def enter(self, key: Hashable) -> StrongroomError | None:
        """Return why something is not to be tried now; ``None`` to whoever may try, and then says how it ended."""
        pause = self._pauses.get(key)
        if pause is None:
            return None
        now = self._clock()
        if now < pause.until:
            return pause.error
        pause.until = now + pause.delay
        pause.probing = True
        return None

    def failed(self, key: Hashable, error: StrongroomError) -> Pause:
        """Note that something has failed; return its pause."""
        old, now = self._pauses.get(key), self._clock()
        if old is not None and now < old.until and not old.probing:
            # It began before the pause did, and is one failure with those that are known.
            return old
        delay = FIRST_SECONDS if old is None else min(LONGEST_SECONDS, 2 * old.delay)
        new = self._pauses[key] = Pause(error.again(), delay, now + delay)
        while len(self._pauses) > MOST:
            self._pauses.pop(next(iter(self._pauses.copy())), None)
        return new

    def end(self, *keys: Hashable) -> None:
        """Note that something has succeeded, or may be different now."""
        if self._pauses:
            for key in keys:
                self._pauses.pop(key, None)

    def clear(self) -> None:
        """Forget every failure."""
        self._pauses.clear()


# Reads are remembered by a name, or by a name and a version. What follows must be neither.


def refresh_of(key: Hashable) -> Hashable:
    """Return what a failed refresh in the background is remembered by: it holds up no reader."""
    return ("refresh", key, None)


def credentials_of(backend: str) -> Hashable:
    """Return what credentials that a backend has refused are remembered by: a secret may be called as it is."""
    return ("credentials", backend, None)
