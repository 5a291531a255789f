"""What sees a manager through outages: the backends' conditions, the fallback store, and what looks after both."""

from __future__ import annotations

import time

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from strongroom.audit import AuditStage
from strongroom.background import Background
from strongroom.cache import Cache
from strongroom.conditions import Condition, ConditionChanged, State
from strongroom.config.resilience import Resilience
from strongroom.events import SecretUpdated
from strongroom.resilience import GuardedBackend

if TYPE_CHECKING:
    from strongroom.attending import Attendant
    from strongroom.fallback import FallbackStore
    from strongroom.queueing import Queue
    from strongroom.substitutes import Substitutes


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
        self._attendant: Attendant | None = None
        self.store: FallbackStore | None = None
        self.substitutes: Substitutes | None = None
        self.queue: Queue | None = None
        if rules.fallback is not None:
            self._open_store()

    def _open_store(self) -> None:
        # Imported here, and below: a program without a fallback store has no need of them.
        from strongroom.fallback import FallbackStore
        from strongroom.queueing import Queue
        from strongroom.substitutes import Substitutes

        self.store = FallbackStore(
            self.rules, self._open, self._background, clock=self._clock, wall_clock=self._wall_clock
        )
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
            is_probed=self._clock is time.monotonic,
        )

    def _condition_changed(self, change: ConditionChanged) -> None:
        if change.state is State.DEGRADED:
            self.attendant.attend(self._open(change.backend))

    @property
    def attendant(self) -> Attendant:
        """What looks after backends that are out of reach, or for which writes wait."""
        if self._attendant is None:
            from strongroom.attending import Attendant

            self._attendant = Attendant(
                self.rules,
                self.store,
                self._audit,
                self._changed_late,
                self._opened,
                clock=self._clock,
                # As for leases: a clock that a test moves on moves no thread.
                start_thread=self._clock is time.monotonic,
            )
        return self._attendant

    def _changed_late(self, event: SecretUpdated) -> None:
        """Forget what is cached of a secret that a write has changed late, and let subscribers hear of it."""
        self._cache.drop(event.name)
        self._tell(event)

    def after_fork(self) -> None:
        """Start afresh in a forked child: what was under way is the parent's."""
        self._attendant = None
        if self.store is not None:
            self.store.after_fork()

    def finish(self) -> None:
        """Write what waits to be written behind; the backends are still open."""
        if self.store is not None:
            self.store.close()

    def close(self) -> None:
        """Begin nothing any more."""
        if self._attendant is not None:
            self._attendant.close()
