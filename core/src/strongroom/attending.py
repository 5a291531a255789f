"""Looks after backends in an outage: probes them, and makes what waits for them when they are back."""

from __future__ import annotations

import threading
import weakref

from collections.abc import Callable, Iterable
from typing import Final

from strongroom.audit import AuditStage
from strongroom.conditions import Signal, State
from strongroom.config.resilience import Resilience
from strongroom.contracts.health import HealthState
from strongroom.contracts.journal import ClaimRequest
from strongroom.draining import CaughtUp, Drain
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.events import SecretUpdated
from strongroom.fallback import FallbackStore
from strongroom.pacing import spread
from strongroom.resilience import GuardedBackend

SHORTEST: Final = 0.01
LONGEST: Final = 5.0
"""Seconds: for how long the thread waits at least and at most."""


class Attendant:
    """Looks after the backends of one manager; one daemon thread does it, while there is a reason.

    Args:
        rules: What the configuration says.
        store: The fallback store, if there is one.
        audit: Records each write that is made.
        changed: Called with each secret that a write that has waited has changed; it must not wait.
        backends: Returns the backends that are open.
        clock: Monotonic seconds.
        start_thread: Whether there is to be such a thread; else somebody calls :meth:`run_due`.
    """

    def __init__(
        self,
        rules: Resilience,
        store: FallbackStore | None,
        audit: AuditStage,
        changed: Callable[[SecretUpdated], object],
        backends: Callable[[], Iterable[GuardedBackend]],
        *,
        clock: Callable[[], float],
        start_thread: bool,
    ) -> None:
        self._rules = rules
        self._store = store
        self._audit = audit
        self._changed = changed
        self._backends = backends
        self._clock = clock
        self._start_thread = start_thread
        self._closed = False
        self.after_fork()

    def after_fork(self) -> None:
        """Start without a thread in a forked child."""
        self._lock = threading.RLock()
        self._due: dict[str, float] = {}
        self._at_work: set[str] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def attend(self, backend: GuardedBackend) -> None:
        """Look after a backend from now on, until it is well and nothing waits for it."""
        with self._lock:
            if self._closed:
                return
            self._due.setdefault(backend.name, self._clock() + spread(self._rules.keys.probe_every))
            if self._start_thread and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(
                    target=_attend, args=(weakref.ref(self),), name="strongroom-outage", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:
                    self._thread = None  # there are too many threads now: the next failure tries again
        self._wake.set()

    def run_due(self) -> float | None:
        """Do what is due now; return for how many seconds nothing is, or ``None`` if there is nothing at all."""
        for backend in list(self._backends()):
            due = self._due.get(backend.name)
            if due is not None and self._clock() >= due:
                self._look_after(backend)
        with self._lock:
            return max(0.0, min(self._due.values()) - self._clock()) if self._due and not self._closed else None

    def _look_after(self, backend: GuardedBackend) -> None:
        if not self._begin(backend.name):
            return
        try:
            goes_on = self._step(backend)
        finally:
            self._end(backend.name)
        with self._lock:
            if goes_on:
                condition = backend.condition
                wait = spread(self._rules.keys.probe_every)
                soon = condition.probe_at if condition is not None and condition.is_out else self._clock() + wait
                self._due[backend.name] = soon
            else:
                self._due.pop(backend.name, None)

    def _begin(self, backend: str) -> bool:
        with self._lock:
            if backend in self._at_work or self._closed:
                return False
            self._at_work.add(backend)
            return True

    def _end(self, backend: str) -> None:
        with self._lock:
            self._at_work.discard(backend)

    def _step(self, backend: GuardedBackend) -> bool:
        """Probe a backend, or make what waits for it; tell whether there is still something to do."""
        condition = backend.condition
        if condition is None:
            return False
        if condition.state is State.DEGRADED:
            condition.probed(_probe(backend))
        if condition.state is State.DEGRADED:
            return True
        left = self.catch_up(backend).left
        if left:
            condition.waits_because(left)
            return True
        condition.signal(Signal.CAUGHT_UP, "all that waited has been made")
        return False

    def catch_up(self, backend: GuardedBackend) -> CaughtUp:
        """Make what waits for a backend, in order by name, as far as that goes."""
        target = backend.target()
        if self._store is None or self._store.name == backend.name:
            return CaughtUp()
        try:
            return self._drain(self._store, backend, target)
        except StrongroomError as error:
            return CaughtUp(left=f"the journal could not be used: {error.what}")

    def _drain(self, store: FallbackStore, backend: GuardedBackend, target: str | None) -> CaughtUp:
        if not store.status(backend.name, target).waiting:
            return CaughtUp()
        if target is None:
            return CaughtUp(left="nobody can say yet whose secrets its credentials lead to")
        claim = ClaimRequest(backend=backend.name, target=target)
        if not store.claim(claim):
            return CaughtUp(left="another process makes the writes that wait")
        try:
            return Drain(store, self._audit, self._changed, backend, target).run()
        finally:
            store.release(claim)

    def close(self) -> None:
        """Begin nothing any more; what is under way is not waited for."""
        with self._lock:
            self._closed = True
        self._wake.set()

    def rest(self) -> bool:
        """Do what is due, then wait until something is; tell whether there is a reason to go on."""
        seconds = self.run_due()
        if seconds is None:
            with self._lock:
                if not self._due or self._closed:
                    self._thread = None
                    return False
            return True
        # Not for longer: whoever holds the manager may let go of it.
        self._wake.wait(min(max(seconds, SHORTEST), LONGEST))
        self._wake.clear()
        return True


def _attend(attendant: weakref.ref[Attendant]) -> None:
    while (live := attendant()) is not None and live.rest():
        del live


def _probe(backend: GuardedBackend) -> StrongroomError | None:
    health = backend.health()
    if health.state is not HealthState.DOWN:
        return None
    return BackendUnavailableError(health.reason or f"{backend.name} is down", backend=backend.name)
