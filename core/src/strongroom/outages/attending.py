"""Looks after backends in an outage: probes them, and makes what waits for them when they are back."""

from __future__ import annotations

import threading
import weakref

from collections.abc import Callable, Iterable
from typing import Final

from strongroom.audit.stage import AuditStage
from strongroom.config.resilience import Resilience
from strongroom.contracts.health import HealthState
from strongroom.contracts.journal import ClaimRequest
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.events.updates import SecretUpdated
from strongroom.outages.draining import CaughtUp, Drain
from strongroom.outages.fallback import FallbackStore
from strongroom.pacing import spread, within
from strongroom.resilience.conditions import ConditionState, Signal
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import note_journal_length

SHORTEST_PROBE: Final = 1.0
"""Seconds: how long a probe may take at least, however often probes are made."""
LONGEST: Final = 5.0
"""Seconds: for how long a thread waits at most until it looks whether the manager is still there."""


class Attendant:
    """Looks after the backends of one manager; for each that needs it one daemon thread does so, while it does.

    A backend that hangs while it is probed, or a journal that takes its time, holds up no other backend. The threads
    do not keep the manager alive.

    Args:
        rules: What the configuration says.
        store: The fallback store, if there is one.
        audit: Records each write that is made.
        changed: Called with each secret that a write that has waited has changed; it must not wait.
        backends: Returns the backends that are open.
        clock: Monotonic seconds.
        start_thread: Whether there are to be such threads; else somebody calls :meth:`run_due`.

    Attributes:
        failures: How often looking after a backend ended in an error that should not have come that far.
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
        self.failures = 0
        self.after_fork()

    def after_fork(self) -> None:
        """Start without a thread in a forked child."""
        # Reentrant: a signal's handler may meet an outage while its own thread is in here.
        self._lock = threading.RLock()
        self._due: dict[str, float] = {}
        self._at_work: set[str] = set()
        self._asked: set[str] = set()
        """Those for which :meth:`attend` was called since they were looked after last."""
        self._wakers: dict[str, threading.Event] = {}
        """What each thread waits for, by its backend; there is one as long as there is the thread."""

    def attend(self, backend: GuardedBackend, *, at_once: bool = False) -> None:
        """Look after a backend from now on, until it is well and nothing waits for it.

        Args:
            backend: The backend.
            at_once: Whether there is something to do already; else that begins when its next probe is due.
        """
        with self._lock:
            if self._closed:
                return
            self._asked.add(backend.name)
            if at_once:
                self._due[backend.name] = self._clock()
            else:
                self._due.setdefault(backend.name, self._next(backend))
            waker = self._wakers.get(backend.name)
            if waker is not None:
                waker.set()
            elif self._start_thread:
                self._start(backend.name)
        self.note_length(backend)

    def _start(self, backend: str) -> None:
        waker = threading.Event()
        thread = threading.Thread(
            target=_attend, args=(weakref.ref(self), backend, waker), name="strongroom-outage", daemon=True
        )
        self._wakers[backend] = waker
        try:
            thread.start()
        except RuntimeError:
            # There are too many threads now: calls serve as probes, and the next failure or write tries again.
            del self._wakers[backend]

    def _next(self, backend: GuardedBackend) -> float:
        condition = backend.condition
        if condition is not None and condition.is_out:
            return condition.probe_at
        return self._clock() + spread(self._rules.keys.probe_every)

    def is_attended(self, backend: str) -> bool:
        """Tell whether a backend is looked after now."""
        return backend in self._due

    def look_around(self) -> None:
        """Look after every open backend for which writes wait, such as those that an earlier process has left.

        Raises:
            StrongroomError: The journal cannot be used.
        """
        store = self._store
        for backend in list(self._backends()):
            if store is None or backend.name == store.name or self.is_attended(backend.name):
                continue
            target = backend.target()
            if target is not None and store.status(backend.name, target).waiting:
                self.attend(backend)

    def run_due(self) -> float | None:
        """Do what is due now; return for how many seconds nothing is, or ``None`` if there is nothing at all."""
        for backend in list(self._backends()):
            self._run_due(backend)
        with self._lock:
            return max(0.0, min(self._due.values()) - self._clock()) if self._due and not self._closed else None

    def _run_due(self, backend: GuardedBackend) -> None:
        due = self._due.get(backend.name)
        if due is None or self._clock() < due or not self._begin(backend.name):
            return
        goes_on = True
        try:
            goes_on = self._step(backend)
        finally:
            with self._lock:
                self._at_work.discard(backend.name)
                is_out = backend.condition is not None and backend.condition.is_out
                if goes_on or is_out:
                    self._due[backend.name] = self._next(backend)
                elif backend.name not in self._asked:
                    # Else something may have come after the last look: it is looked at once more.
                    self._due.pop(backend.name, None)

    def _begin(self, backend: str) -> bool:
        with self._lock:
            if backend in self._at_work or self._closed:
                return False
            self._at_work.add(backend)
            self._asked.discard(backend)
            return True

    def _step(self, backend: GuardedBackend) -> bool:
        """Probe a backend, or make what waits for it; tell whether there is still something to do."""
        return bool(self.replay(backend).left)

    def replay(self, backend: GuardedBackend) -> CaughtUp:
        """Make what waits for a backend, whoever asks; one that is known to be out of reach is probed first.

        Args:
            backend: The backend.
        """
        condition = backend.condition
        if condition is None:
            return self.catch_up(backend)
        if condition.state is ConditionState.DEGRADED:
            condition.probed(self._probe(backend))
        if condition.state is ConditionState.DEGRADED:
            return CaughtUp(left=condition.report().reason or f"{backend.name} is out of reach")
        caught = self.catch_up(backend)
        if caught.left:
            condition.waits_because(caught.left)
        else:
            condition.signal(Signal.CAUGHT_UP, "all that waited has been made")
        return caught

    def _probe(self, backend: GuardedBackend) -> StrongroomError | None:
        # One that hangs must not be waited for longer than until the next one is due: that one may be answered.
        with within(max(self._rules.keys.probe_every, SHORTEST_PROBE)):
            health = backend.health()
        if health.state is not HealthState.DOWN:
            return None
        return BackendUnavailableError(health.reason or f"{backend.name} is down", backend=backend.name)

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
            return CaughtUp(left="another thread or process is just making the writes that wait")
        try:
            return Drain(store, self._audit, self._changed, backend, target, is_over=lambda: self._closed).run()
        finally:
            store.release(claim)
            self.note_length(backend)

    def note_length(self, backend: GuardedBackend) -> None:
        """Have the metric say how many writes wait for a backend."""
        store = self._store
        if store is not None:
            note_journal_length(backend.name, lambda: store.status(backend.name, backend.target()).waiting)

    def close(self) -> None:
        """Begin nothing any more; what is under way is not waited for."""
        with self._lock:
            self._closed = True
            for waker in self._wakers.values():
                waker.set()

    def rest(self, name: str, waker: threading.Event) -> float | None:
        """Do what is due for a backend, in its thread.

        Args:
            name: The backend's configured name.
            waker: What the thread waits for afterwards.

        Returns:
            For how many seconds the thread may wait; ``None`` if it is to end.
        """
        waker.clear()
        try:
            for backend in list(self._backends()):
                if backend.name == name:
                    self._run_due(backend)
        # What came this far is a fault of a plugin, or of ours: it must not cost the backend its care.
        except BaseException:  # noqa: BLE001  # see above
            self.failures += 1
        with self._lock:
            due = self._due.get(name)
            if due is not None and not self._closed:
                return max(0.0, due - self._clock())
            if self._wakers.get(name) is waker:
                del self._wakers[name]
            return None


def _attend(attendant: weakref.ref[Attendant], backend: str, waker: threading.Event) -> None:
    while (live := attendant()) is not None:
        seconds = live.rest(backend, waker)
        # Not held while waiting: whoever has got the manager may let go of it.
        del live
        if seconds is None:
            return
        waker.wait(min(seconds, LONGEST))
