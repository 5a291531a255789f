"""What is to be done with each leased credential of this process, and when."""

from __future__ import annotations

import threading

from collections.abc import Callable

from strongroom.cache.cache import Key
from strongroom.leases.held import RENEW_FROM, RENEW_TO, Held, Step


class Agenda:
    """The leases that this process looks after, each with its next step.

    Args:
        lock: The cache's.
        clock: Monotonic seconds.
        random: Numbers in [0, 1), so that many processes do not renew at the same time.
        wake: Called with the lock held when something may be due earlier than before.

    Attributes:
        changed: The same lock, and what tells of changes.
    """

    def __init__(
        self,
        lock: threading.RLock,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        wake: Callable[[], object],
    ) -> None:
        # The cache tells with its lock held that a credential has left. With a lock of our own a signal's handler
        # that reads while its own thread is in here would take the two the other way round.
        # It is reentrant, so whatever looks at the leases looks at a list of its own.
        self.changed = threading.Condition(lock)
        self._held: dict[Held, None] = {}
        self._clock = clock
        self._random = random
        self._wake = wake

    def all(self) -> list[Held]:
        """Return the leases that are looked after."""
        return list(self._held)

    def add(self, held: Held) -> None:
        """Look after a lease from now on."""
        with self.changed:
            self._held[held] = None

    def forget(self, held: Held) -> None:
        """Look after a lease no more; twice is no error."""
        with self.changed:
            self._held.pop(held, None)

    def same(self, held: Held) -> list[Held]:
        """Return the other leases of the same name."""
        return [one for one in self.all() if one.key == held.key and one is not held]

    def has_live(self, key: Key) -> bool:
        """Tell whether the cache serves a credential that its backend has not given up."""
        return any(one.key == key and one.entry is not None and not one.retired and not one.lost for one in self.all())

    def keep(self, held: Held) -> None:
        """Plan for a new credential that is to live as long as it can."""
        if held.lease.renewable and held.lease.id:
            self.plan(held, Step.RENEW, self._renewal(held, held.issued))
        else:
            self.plan(held, Step.REPLACE, held.replaced_at)

    def go_on(self, held: Held, started: float, *, extensible: bool) -> None:
        """Plan for a credential that was renewed.

        Args:
            held: Its lease.
            started: When the renewal was asked for.
            extensible: Whether one that got less than was asked for may get more the next time.
        """
        # Otherwise that is all that is left until its maximum; and what gets ever less comes to an end, too.
        enough = held.granted / 2 if extensible else held.granted
        if held.lease.renewable and held.lease.seconds >= enough:
            self.plan(held, Step.RENEW, self._renewal(held, started))
        else:
            self.plan(held, Step.REPLACE, held.replaced_at)

    def _renewal(self, held: Held, started: float) -> float:
        part = RENEW_FROM + (RENEW_TO - RENEW_FROM) * self._random()
        return started + part * held.lease.seconds

    def retire(self, held: Held, overlap: float) -> None:
        """Have a credential revoked after a while.

        Args:
            held: The lease.
            overlap: After how many seconds; 0.0 even if it was to be later.
        """
        with self.changed:
            if not held.retired or overlap == 0.0:
                held.retired = True
                held.failures = 0
                self.plan(held, Step.REVOKE if held.lease.id else Step.END, self._clock() + overlap)

    def plan(self, held: Held, step: Step, at: float) -> None:
        """Say what is to be done next, and when; at its end a lease is over in any case."""
        with self.changed:
            held.step = step
            held.due = held.ends if step is Step.END else min(at, held.ends)
            self._wake()

    def put_off(self, held: Held, step: Step) -> None:
        """Have something tried again in a while, unless something else is to be done by now."""
        with self.changed:
            if held.step is step:
                delay = held.delay(self._random())
                held.failures += 1
                self.plan(held, step, self._clock() + delay)

    def take_due(self) -> list[Held]:
        """Return what is due and in nobody's hands, and note that it is in somebody's."""
        now = self._clock()
        with self.changed:
            due = [held for held in self.all() if held.due <= now and not held.busy]
            for held in due:
                held.busy = True
        return due

    def put_back(self, held: Held) -> None:
        """Note that a lease is in nobody's hands any more."""
        with self.changed:
            held.busy = False
            self._wake()

    def next_due(self) -> float | None:
        """Return when something is due that is in nobody's hands; ``None`` if there is nothing."""
        return min((held.due for held in self.all() if not held.busy), default=None)
