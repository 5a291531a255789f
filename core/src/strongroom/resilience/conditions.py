"""Whether a backend is within reach: a circuit breaker and its states, one of each backend.

Every call to a backend is let through by this and tells it how it ended. After some failures in a row
the backend counts as *degraded*: nothing is sent to it but a probe now and then. When a probe is
answered it is *recovering*, until what waits for it has been made, and then *healthy* again.

Only an outage is a failure, and only an answer about the secret shows that the backend is well. What lies between, such
as credentials that are refused, a value that is too large or a certificate that is not trusted, says neither.
"""

from __future__ import annotations

import enum
import threading

from collections import deque
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
TRIAL: Final = 8.0
"""For how many times as long as between two probes a backend is on trial after it has come back, unless it answers."""


class ConditionState(enum.Enum):
    """How a backend is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    RECOVERING = "recovering"


class Signal(enum.Enum):
    """What a state changes with."""

    FAILED = "failed"
    """As many calls as are allowed to have failed in a row, or one of a backend that has only just come back."""
    ANSWERED = "answered"
    """A probe, or a call that was still under way, has been answered."""
    CAUGHT_UP = "caught up"
    """What waited for the backend, and could be made, has been made."""


TRANSITIONS: Final[dict[tuple[ConditionState, Signal], ConditionState]] = {
    (ConditionState.HEALTHY, Signal.FAILED): ConditionState.DEGRADED,
    (ConditionState.DEGRADED, Signal.ANSWERED): ConditionState.RECOVERING,
    (ConditionState.RECOVERING, Signal.FAILED): ConditionState.DEGRADED,
    (ConditionState.RECOVERING, Signal.CAUGHT_UP): ConditionState.HEALTHY,
}
"""Every change there is; any other signal leaves a state as it is."""

_ANSWERS: Final = (SecretNotFoundError, AccessDeniedError, VersionConflictError)
"""Errors that show that the backend is there. Any other one but an outage may have come up on the way there."""


class ConditionChanged(Record):
    """The state of a backend has changed."""

    backend: str
    """Its configured name."""
    before: ConditionState
    state: ConditionState
    since: float
    """When, in seconds since 1970 UTC."""
    reason: str
    """Why; one sentence without a final stop, and never a value."""
    lasted: float
    """How long the state before has lasted, in seconds."""
    code: str = ""
    """The code of the outage that was the reason, such as ``timeout``; empty if it was none."""
    answered: float | None = None
    """When it has answered last, in seconds since 1970 UTC; ``None`` if it has not answered this process yet."""


class ConditionReport(Record):
    """How a backend is."""

    backend: str
    state: ConditionState
    since: float
    """Since when, in seconds since 1970 UTC; since the manager was opened, if it has always been healthy."""
    reason: str
    """Why it is not healthy; empty if it is."""
    oldest_stale: float | None
    """How old the oldest substitute was that has been returned since it is not healthy, in seconds."""


class Condition:
    """The state of one backend in this process. Threads share it, and a signal's handler may use it at any time.

    A call that goes well while the backend is healthy takes no lock.

    Args:
        backend: The backend's configured name.
        failures: How many calls have to fail in a row.
        probe_every: Seconds between two probes, at most.
        clock: Monotonic seconds.
        wall_clock: Nanoseconds since 1970 UTC.
        on_change: Told of each change in their order, outside the lock, by the thread that caused it or by one that
            is telling of another change just then.
        on_first_answer: Called when the backend has answered this process for the first time.
        is_probed: Whether somebody makes the probes that are due. If not, or if they do not come, a call
            that somebody makes serves as the probe.

    Attributes:
        backend: The same.
        state: How it is.
        epoch: How often it has come back. A call that was begun before that says nothing about it when it fails.
        probe_at: When the next probe is due, on the clock.
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
        on_first_answer: Callable[[], object] = lambda: None,
        is_probed: bool = True,
    ) -> None:
        self.backend = backend
        self._failures_allowed = failures
        self._probe_every = probe_every
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_change = on_change
        self._on_first_answer = on_first_answer
        self._patience = probe_every if is_probed else 0.0
        self.after_fork()

    def after_fork(self) -> None:
        """Start healthy in a forked child, with a new lock."""
        # Reentrant: a signal's handler may read while its own thread is in here.
        self._lock = threading.RLock()
        self._news: deque[ConditionChanged] = deque()
        self._telling = False
        self.state = ConditionState.HEALTHY
        self.epoch = 0
        self._since = self._clock()
        self._since_wall = self._wall_clock() / 1e9
        self._answered_at: float | None = None
        self._reason = ""
        self._code = BackendUnavailableError.codes[0]
        self._oldest_stale: float | None = None
        self._failures = 0
        self._failing_since: float | None = None
        self._trial_until = 0.0
        self._relapses = 0
        self.probe_at = 0.0

    @property
    def is_out(self) -> bool:
        """Whether nothing is sent to the backend now."""
        return self.state is ConditionState.DEGRADED

    @property
    def is_overdue(self) -> bool:
        """Whether no probe has been made for so long that a call which somebody makes is to serve as one."""
        return self._clock() >= self.probe_at + self._patience

    def admit(self) -> int:
        """Let a call pass; return the ``epoch`` in which it begins.

        Raises:
            BackendUnavailableError: The backend is degraded; nothing is sent.
        """
        if self.state is not ConditionState.DEGRADED:
            return self.epoch
        with self._lock:
            if self._clock() >= self.probe_at + self._patience:
                # Only this one: whoever comes next finds that a probe has just been made.
                self._probe_later()
                return self.epoch
            error = BackendUnavailableError(
                self._reason,
                code=self._code,
                backend=self.backend,
                hint="it is tried again every few seconds; `strongroom health` shows the state",
            )
            error.lasted = self.lasted()
        error.unsent = True
        raise error

    def lasted(self) -> float | None:
        """Return for how many seconds the backend has been failing; ``None`` if it has not."""
        since = self._failing_since
        return None if since is None else max(0.0, self._clock() - since)

    def note(self, error: BaseException | None, begun: int | None = None) -> None:
        """Take into account how a call ended.

        Args:
            error: What it raised; ``None`` if it was answered. An outage is told how long it has lasted.
            begun: What :meth:`admit` has returned for it; the present epoch unless given.
        """
        if error is None or isinstance(error, _ANSWERS):
            first = self._answered_at is None
            self._answered_at = self._clock()
            if self._failures or self.state is not ConditionState.HEALTHY or self._trial_until:
                self._answered()
            if first:
                self._on_first_answer()
        elif isinstance(error, BackendUnavailableError) and not error.own_limit:
            self._failed(error, begun)

    def _answered(self) -> None:
        with self._lock:
            if self.state is ConditionState.DEGRADED:
                self._change(Signal.ANSWERED, "it answers again")
            else:
                # It answers what programs ask for, and not only probes.
                self._failures = self._relapses = 0
                self._failing_since = None
                self._trial_until = 0.0
        self._tell()

    def _failed(self, error: BackendUnavailableError, begun: int | None) -> None:
        with self._lock:
            if begun is None or begun == self.epoch:
                self._count(error)
            error.lasted = self.lasted()
        self._tell()

    def _count(self, error: BackendUnavailableError) -> None:
        now = self._clock()
        self._failures += 1
        self._code = error.code
        if self._failing_since is None:
            self._failing_since = now
        if self.state is ConditionState.DEGRADED:
            self._reason = error.what
            return
        on_trial = self.state is ConditionState.RECOVERING or now < self._trial_until
        if on_trial:
            self._relapses += 1
        if on_trial or self._failures >= self._failures_allowed:
            self._change(Signal.FAILED, error.what, error.code)

    def signal(self, signal: Signal, reason: str) -> bool:
        """Change the state as the table says; tell whether it has changed.

        Args:
            signal: What has happened.
            reason: Why, in one sentence without a final stop.
        """
        with self._lock:
            changed = self._change(signal, reason)
        self._tell()
        return changed

    def _change(self, signal: Signal, reason: str, code: str = "") -> bool:
        before = self.state
        after = TRANSITIONS.get((before, signal))
        if after is None:
            return False
        now, wall = self._clock(), self._wall_clock() / 1e9
        change = ConditionChanged(
            backend=self.backend,
            before=before,
            state=after,
            since=wall,
            reason=reason,
            lasted=max(0.0, now - self._since),
            code=code,
            answered=None if self._answered_at is None else wall - max(0.0, now - self._answered_at),
        )
        told = "" if after is ConditionState.HEALTHY else reason
        # No call from here on but the last one: a signal's handler that changes the state runs before this or after it.
        if self.state is not before:
            return False
        self.state, self._since, self._since_wall, self._reason = after, now, wall, told
        self._news.append(change)
        self._enter(after, now)
        return True

    def _enter(self, state: ConditionState, now: float) -> None:
        self._failures = 0
        if state is ConditionState.DEGRADED:
            self._probe_later()
            if self._failing_since is None:
                self._failing_since = now
        elif state is ConditionState.RECOVERING:
            self.epoch += 1
            self._answered_at = now
        else:
            self._failing_since = None
            self._oldest_stale = None
            # A probe is not what programs ask for: the next such call decides.
            self._trial_until = now + TRIAL * self._probe_every

    def _tell(self) -> None:
        while self._news:
            with self._lock:
                if self._telling:
                    return  # whoever is at it goes on with what there is now
                self._telling = True
            try:
                while self._news:
                    self._on_change(self._news.popleft())
            finally:
                self._telling = False

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
            if self.state is ConditionState.DEGRADED and isinstance(error, StrongroomError):
                self._reason = error.what

    def _probe_later(self) -> None:
        # One that answers probes and fails all else is left alone for longer each time, after the first.
        slower = min(SLOWEST, 2.0 ** max(0, min(self._relapses, 8) - 1))
        self.probe_at = self._clock() + spread(self._probe_every * slower)

    def waits_because(self, reason: str) -> None:
        """Note why the backend is still recovering.

        Args:
            reason: One sentence without a final stop.
        """
        with self._lock:
            if self.state is ConditionState.RECOVERING:
                self._reason = reason

    def note_substitute(self, age: float) -> None:
        """Note that an answer stood in for one of the backend's, which does not answer.

        Args:
            age: How old it was, in seconds.
        """
        if self._failing_since is not None and (self._oldest_stale is None or age > self._oldest_stale):
            self._oldest_stale = age

    def report(self) -> ConditionReport:
        """Return how the backend is."""
        with self._lock:
            return ConditionReport(
                backend=self.backend,
                state=self.state,
                since=self._since_wall,
                reason=self._reason,
                oldest_stale=None if self.state is ConditionState.HEALTHY else self._oldest_stale,
            )
