"""Whether a backend is within reach: a circuit breaker and its states, one of each backend.

Every call to a backend is let through by this and tells it how it ended. After some failures in a row
the backend counts as *degraded*: nothing is sent to it but a probe now and then. When a probe is
answered it is *recovering*, until what waits for it has been made, and then *healthy* again.
"""

from __future__ import annotations

import enum
import threading

from collections.abc import Callable
from typing import Final

from strongroom._record import Record
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.pacing import spread

SLOWEST: Final = 8.0
"""How many times as long as usual the time between probes is at most, for a backend that answers probes only."""


class State(enum.Enum):
    """How a backend is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    RECOVERING = "recovering"


class Signal(enum.Enum):
    """What a state changes with."""

    FAILED = "failed"
    """As many calls as are allowed to have failed in a row, or one that was on trial."""
    ANSWERED = "answered"
    """A probe, or a call that was still under way, has been answered."""
    CAUGHT_UP = "caught up"
    """What waited for the backend, and could be made, has been made."""


TRANSITIONS: Final[dict[tuple[State, Signal], State]] = {
    (State.HEALTHY, Signal.FAILED): State.DEGRADED,
    (State.DEGRADED, Signal.ANSWERED): State.RECOVERING,
    (State.RECOVERING, Signal.FAILED): State.DEGRADED,
    (State.RECOVERING, Signal.CAUGHT_UP): State.HEALTHY,
}
"""Every change there is; any other signal leaves a state as it is."""

_ANSWERS: Final = (SecretNotFoundError, AccessDeniedError, VersionConflictError)
"""Errors that show that the backend is there."""


class ConditionChanged(Record):
    """The state of a backend has changed."""

    backend: str
    """Its configured name."""
    before: State
    state: State
    since: float
    """When, in seconds since 1970 UTC."""
    reason: str
    """Why; one sentence without a final stop, and never a value."""
    lasted: float
    """How long the state before has lasted, in seconds."""


class ConditionReport(Record):
    """How a backend is."""

    backend: str
    state: State
    since: float
    """Since when, in seconds since 1970 UTC; since the manager was opened, if it has always been healthy."""
    reason: str
    """Why it is not healthy; empty if it is."""
    oldest_stale: float | None
    """How old the oldest substitute was that has been returned since it is not healthy, in seconds."""


class Condition:
    """The state of one backend in this process. Threads share it.

    A call that goes well while the backend is healthy takes no lock.

    Args:
        backend: The backend's configured name.
        failures: How many calls have to fail in a row.
        probe_every: Seconds between two probes, at most.
        clock: Monotonic seconds.
        wall_clock: Nanoseconds since 1970 UTC.
        on_change: Told of each change, outside the lock, by the thread that caused it.
        is_probed: Whether somebody makes the probes that are due. If not, or if they do not come, a call
            that somebody makes serves as the probe.
    """

    def __init__(
        self,
        backend: str,
        *,
        failures: int,
        probe_every: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], int],
        on_change: Callable[[ConditionChanged], object],
        is_probed: bool = True,
    ) -> None:
        self.backend = backend
        self._failures_allowed = failures
        self._probe_every = probe_every
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_change = on_change
        self._patience = probe_every if is_probed else 0.0
        self.after_fork()

    def after_fork(self) -> None:
        """Start healthy in a forked child, with a new lock."""
        # Reentrant: a signal's handler may read while its own thread is in here.
        self._lock = threading.RLock()
        self.state = State.HEALTHY
        self._since = self._clock()
        self._since_wall = self._wall_clock() / 1e9
        self._reason = ""
        self._code = BackendUnavailableError.codes[0]
        self._oldest_stale: float | None = None
        self._failures = 0
        self._failing_since: float | None = None
        self._on_trial = False
        self._slower = 1.0
        self.probe_at = 0.0

    @property
    def is_out(self) -> bool:
        """Whether nothing is sent to the backend now."""
        return self.state is State.DEGRADED

    def admit(self) -> None:
        """Let a call pass.

        Raises:
            BackendUnavailableError: The backend is degraded; nothing is sent.
        """
        if self.state is not State.DEGRADED:
            return
        with self._lock:
            if self._clock() >= self.probe_at + self._patience:
                self._probe_later()
                return
            lasted = self.lasted() or 0.0
            error = BackendUnavailableError(
                f"{self.backend} has been out of reach for {spoken(lasted)}: {self._reason}",
                code=self._code,
                backend=self.backend,
                hint="it is tried again every few seconds; `strongroom health` shows the state",
            )
        error.unsent = True
        error.lasted = lasted
        raise error

    def lasted(self) -> float | None:
        """Return for how many seconds the backend has been failing; ``None`` if it has not."""
        since = self._failing_since
        return None if since is None else max(0.0, self._clock() - since)

    def note(self, error: BaseException | None) -> None:
        """Take into account how a call ended.

        Args:
            error: What it raised; ``None`` if it was answered.
        """
        if error is None or isinstance(error, _ANSWERS):
            if self._failures or self.state is not State.HEALTHY or self._on_trial:
                self._answered()
        elif isinstance(error, BackendUnavailableError) and not error.own_limit and not error.unsent:
            self._failed(error)

    def _answered(self) -> None:
        with self._lock:
            if self.state is State.HEALTHY:
                self._failures = 0
                self._failing_since = None
                self._on_trial = False
                self._slower = 1.0
                return
        self.signal(Signal.ANSWERED, "it answers again")

    def _failed(self, error: BackendUnavailableError) -> None:
        with self._lock:
            now = self._clock()
            self._failures += 1
            if self._failing_since is None:
                self._failing_since = now
            error.lasted = now - self._failing_since
            self._code = error.code
            if self.state is State.DEGRADED:
                return
            if self.state is State.HEALTHY and self._failures < self._failures_allowed and not self._on_trial:
                return
            if self._on_trial:
                # It answers probes and nothing else: it is left alone for longer each time.
                self._slower = min(SLOWEST, 2.0 * self._slower)
        self.signal(Signal.FAILED, error.what)

    def signal(self, signal: Signal, reason: str) -> bool:
        """Change the state as the table says; tell whether it has changed."""
        with self._lock:
            before = self.state
            after = TRANSITIONS.get((before, signal))
            if after is None:
                return False
            now, wall = self._clock(), self._wall_clock() / 1e9
            change = ConditionChanged(
                backend=self.backend, before=before, state=after, since=wall, reason=reason, lasted=now - self._since
            )
            self._since, self._since_wall = now, wall
            self._reason = "" if after is State.HEALTHY else reason
            self._enter(after, now)
            self.state = after
        self._on_change(change)
        return True

    def _enter(self, state: State, now: float) -> None:
        if state is State.DEGRADED:
            self._probe_later()
            if self._failing_since is None:
                self._failing_since = now
        elif state is State.HEALTHY:
            self._failures = 0
            self._failing_since = None
            self._oldest_stale = None
            # A probe is not what programs ask for: the next such call decides.
            self._on_trial = True

    def probed(self, error: BaseException | None) -> None:
        """Take into account how a probe ended.

        Args:
            error: Why it failed; ``None`` if the backend answered.
        """
        if error is None:
            self.signal(Signal.ANSWERED, "it answers again")
            return
        with self._lock:
            self._probe_later()
            if self.state is State.DEGRADED and isinstance(error, StrongroomError):
                self._reason = error.what

    def _probe_later(self) -> None:
        self.probe_at = self._clock() + spread(self._probe_every * self._slower)

    def waits_because(self, reason: str) -> None:
        """Note why the backend is still recovering, and when to go on."""
        with self._lock:
            if self.state is not State.HEALTHY:
                self._reason = reason
            self.probe_at = self._clock() + spread(self._probe_every)

    def note_substitute(self, age: float) -> None:
        """Note how old an answer was that stood in for one of the backend's, in seconds."""
        if self._oldest_stale is None or age > self._oldest_stale:
            self._oldest_stale = age

    def report(self) -> ConditionReport:
        """Return how the backend is."""
        with self._lock:
            return ConditionReport(
                backend=self.backend,
                state=self.state,
                since=self._since_wall,
                reason=self._reason,
                oldest_stale=self._oldest_stale,
            )


def spoken(seconds: float) -> str:
    """Return a time in words, such as ``42 s`` or ``3 h 5 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
