"""What sees a manager through outages: the backends' conditions, the fallback store, and what looks after both."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from strongroom.audit.stage import AuditStage
from strongroom.background import Background
from strongroom.cache.cache import Cache
from strongroom.config.resilience import Resilience
from strongroom.errors import StrongroomError
from strongroom.events.updates import SecretUpdated
from strongroom.resilience.conditions import Condition, ConditionChanged, ConditionState, Signal
from strongroom.resilience.guarded import GuardedBackend

if TYPE_CHECKING:
    from strongroom.outages.attending import Attendant
    from strongroom.outages.fallback import FallbackStore
    from strongroom.outages.known import Outages
    from strongroom.outages.queueing import Queue
    from strongroom.outages.substitutes import Substitutes
    from strongroom.outages.transitions import Transitions


class Continuity:
    """The parts of one manager that have to do with outages. Most are made when they are first needed.

    Args:
        rules: What the configuration says.
        open: Returns a backend by its configured name.
        opened: Returns the backends that are open.
        cache: Forgets what a write that has waited changes.
        audit: Records what happens.
        background: Where copies are written behind.
        tell: Lets subscribers hear of a change, and does not wait for them.
        clock: Monotonic seconds.
        wall_clock: Nanoseconds since 1970 UTC.

    Attributes:
        substitutes: What stands in for backends; ``None`` without a fallback store.
        queue: What accepts writes for later; ``None`` without a fallback store.
    """

    def __init__(
        self,
        rules: Resilience,
        open: Callable[[str], GuardedBackend],
        opened: Callable[[], Iterable[GuardedBackend]],
        *,
        cache: Cache,
        audit: AuditStage,
        background: Background,
        tell: Callable[[SecretUpdated], object],
        clock: Callable[[], float],
        wall_clock: Callable[[], int],
    ) -> None:
        self.rules = rules
        self._open = open
        self._opened = opened
        self._cache = cache
        self._audit = audit
        self._background = background
        self._tell = tell
        self._clock = clock
        self._wall_clock = wall_clock
        # Reentrant: a signal's handler may meet an outage while its own thread is in here.
        self._lock = threading.RLock()
        self._closed = False
        self._attendant: Attendant | None = None
        self._transitions: Transitions | None = None
        self._outages: Outages | None = None
        self.store: FallbackStore | None = None
        self.substitutes: Substitutes | None = None
        self.queue: Queue | None = None
        if rules.fallback is not None:
            self._open_store()

    def _open_store(self) -> None:
        # Imported here, and below: a program without a fallback store has no need of them.
        from strongroom.outages.fallback import FallbackStore
        from strongroom.outages.queueing import Queue
        from strongroom.outages.substitutes import Substitutes

        self.store = FallbackStore(
            self.rules, self._open, self._background, clock=self._clock, wall_clock=self._wall_clock
        )
        self.store.found_waiting = self._found_waiting
        self.substitutes = Substitutes(self.store)
        self.queue = Queue(self.store)

    def condition(self, backend: str) -> Condition:
        """Return the state of a backend that is being opened."""
        return Condition(
            backend,
            failures=self.rules.keys.failures,
            probe_every=self.rules.keys.probe_every,
            clock=self._clock,
            wall_clock=self._wall_clock,
            on_change=self._condition_changed,
            on_first_answer=partial(self._answered, backend),
            is_probed=self._clock is time.monotonic,
        )

    def _answered(self, backend: str) -> None:
        """Have an earlier process's note forgotten that a backend is out, now that it answers."""
        if self.store is not None and backend != self.store.name and self.outages is not None:
            self.outages.answered(backend, soon=self._is_store_open())

    def _is_store_open(self) -> bool:
        # A program that has had no need of it need not open it for a note.
        return any(one.name == self.rules.fallback for one in self._opened())

    def _condition_changed(self, change: ConditionChanged) -> None:
        self.transitions.tell(change)
        backend = next((one for one in self._opened() if one.name == change.backend), None)
        if backend is None or backend.condition is None or change.state is ConditionState.HEALTHY:
            return
        if self.store is None and change.state is ConditionState.RECOVERING:
            # Nothing can wait for it.
            backend.condition.signal(Signal.CAUGHT_UP, "it answers again")
        else:
            self.attendant.attend(backend, at_once=change.state is ConditionState.RECOVERING)

    def _found_waiting(self) -> None:
        """Have the writes made that wait for backends that are open, an earlier process's, too."""
        try:
            self.attendant.look_around()
        except StrongroomError:
            return  # the journal does not answer any more, of which whoever has asked it hears next time

    @property
    def transitions(self) -> Transitions:
        """What tells of changes of the backends' states."""
        if self._transitions is None:
            from strongroom.outages.transitions import Transitions

            with self._lock:
                self._transitions = self._transitions or Transitions(self._audit, self._clock, self.outages)
        return self._transitions

    @property
    def outages(self) -> Outages | None:
        """What keeps for other processes since when backends have been out; ``None`` without a fallback store."""
        if self._outages is None and self.store is not None:
            from strongroom.outages.known import Outages

            with self._lock:
                self._outages = self._outages or Outages(self.store, self._background)
        return self._outages

    @property
    def attendant(self) -> Attendant:
        """What looks after backends that are out of reach, or for which writes wait."""
        if self._attendant is None:
            from strongroom.outages.attending import Attendant

            made = Attendant(
                self.rules,
                self.store,
                self._audit,
                self._changed_late,
                self._opened,
                clock=self._clock,
                # As for leases: a clock that a test moves on moves no thread.
                start_thread=self._clock is time.monotonic,
            )
            with self._lock:
                self._attendant = self._attendant or made
                if self._closed:
                    self._attendant.close()
        return self._attendant

    def _changed_late(self, event: SecretUpdated) -> None:
        """Forget what is cached of a secret that a write has changed late, and let subscribers hear of it."""
        self._cache.drop(event.name)
        self._tell(event)

    def after_fork(self) -> None:
        """Start afresh in a forked child: what was under way is the parent's."""
        self._lock = threading.RLock()
        self._attendant = None
        if self._transitions is not None:
            self._transitions.after_fork()
        if self._outages is not None:
            self._outages.after_fork()
        if self.store is not None:
            self.store.after_fork()
        if self.queue is not None:
            self.queue.after_fork()

    def finish(self) -> None:
        """Write what waits to be written behind; the backends are still open."""
        if self._outages is not None and self._is_store_open():
            self._outages.flush()
        if self.store is not None:
            self.store.close()

    def close(self) -> None:
        """Begin nothing any more."""
        with self._lock:
            self._closed = True
            if self._attendant is not None:
                self._attendant.close()
