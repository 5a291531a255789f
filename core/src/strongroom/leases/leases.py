"""Looks after leased credentials: renews them, has them replaced before their end, and revokes them.

A lease is *live* while its credential is what the cache serves. It is *retired*
once that is another one or none: whoever still has it may use it for a while,
and then it is revoked. All times are taken from one monotonic clock, and from
before a request was sent, so nothing is served past its end.
"""

from __future__ import annotations

import os
import threading
import time

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from strongroom.audit.stage import AuditStage
from strongroom.background import Background
from strongroom.cache.cache import Cache
from strongroom.cache.entries import Entry
from strongroom.cache.flights import Flight
from strongroom.crew import run_all
from strongroom.errors import ClosedError
from strongroom.events.updates import SecretUpdated
from strongroom.leases.agenda import Agenda
from strongroom.leases.held import OVERLAP_SECONDS, Held, LeaseStatus, Step
from strongroom.leases.tending import Tender
from strongroom.model import SecretName

CLOSE_SECONDS: Final = 10.0
"""How long closing takes at most to revoke what there is."""
REVOKING_THREADS: Final = 8
"""How many leases of one backend are revoked at the same time when all are."""
LONGEST_WAIT: Final = 3600.0


class Leases:
    """Every lease of one manager in this process.

    One daemon thread sees to what is due, while there is any. A forked child starts
    with none: those of its parent are the parent's.

    A credential whose making could not be recorded is given back, and never served.

    Args:
        cache: Where the credentials are kept.
        audit: Records renewals and revocations.
        tell: Told that a credential is gone; it must not wait.
        clock: Monotonic seconds.
        random: Numbers in [0, 1), so that many processes do not renew at the same time.
        start_thread: Whether there is to be such a thread; else somebody calls :meth:`run_due`.
    """

    def __init__(
        self,
        cache: Cache,
        audit: AuditStage,
        tell: Callable[[SecretUpdated], object],
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        start_thread: bool = True,
    ) -> None:
        self._cache = cache
        self._audit = audit
        self._tell = tell
        self._clock = clock
        self._random = random
        self._start_thread = start_thread
        self._closed = False
        self.after_fork()

    def after_fork(self) -> None:
        """Forget everything in a forked child: nothing there is its own to renew or revoke."""
        self._agenda = Agenda(self._cache.lock, clock=self._clock, random=self._random, wake=self._wake)
        self._tender = Tender(self._agenda, self._cache, self._audit, self._tell, clock=self._clock)
        self._thread: threading.Thread | None = None
        # By backend: one that hangs is not to cost another one its leases.
        self._backgrounds: dict[str, Background] = {}
        self._at_work: dict[Held, None] = {}
        self._pid = os.getpid()

    def status(self) -> list[LeaseStatus]:
        """Return what there is to tell of each lease that has not ended."""
        now = self._clock()
        with self._agenda.changed:
            return [held.status(now) for held in self._agenda.all() if held.ends > now]

    def release(self, concerns: Callable[[SecretName], bool]) -> None:
        """Leave leases to whoever has got their credentials: neither renew nor revoke them any more.

        Args:
            concerns: Tells by its name whether one is meant.
        """
        with self._agenda.changed:
            released = [held for held in self._agenda.all() if held.handed_out and concerns(held.grant.name)]
            for held in released:
                held.succeeded = held.retired = True
                self._agenda.forget(held)
        for held in released:
            self._tender.release(held)

    # What follows is told by those who read.

    def take(self, held: Held) -> None:
        """Look after a lease from now on.

        Raises:
            ClosedError: The manager is closed; the lease has been revoked, if that was possible.
        """
        with self._agenda.changed:
            if not self._closed:
                self._agenda.add(held)
                return
        held.succeeded = True
        self._tender.attend(held, Step.REVOKE)
        raise ClosedError("the manager is closed", hint="open a new one")

    def serve(self, held: Held, entry: Entry | None, *, wanted: bool) -> SecretUpdated | None:
        """Note that a lease's credential is what the cache serves now.

        Args:
            held: The lease.
            entry: Where it is cached; ``None`` if it was dropped before it came.
            wanted: Whether somebody has it even then.

        Returns:
            What subscribers are to be told, if they are.
        """
        if entry is None:
            self._not_kept(held, wanted=wanted)
            return None
        with self._agenda.changed:
            held.entry = entry
            held.handed_out = True
            before = [one for one in self._agenda.same(held) if not one.succeeded]
            for one in before:
                one.succeeded = True
            if not held.retired:
                self._agenda.keep(held)
        return SecretUpdated(name=held.grant.name, change="replace", version=held.version) if before else None

    def _not_kept(self, held: Held, *, wanted: bool) -> None:
        """Note that the cache serves something else: a credential is its reader's alone, or nobody's."""
        if not wanted:
            self.give_back(held)
            return
        with self._agenda.changed:
            held.handed_out = True
            self._agenda.retire(held, held.overlap)

    def give_back(self, held: Held) -> None:
        """Have a lease revoked as soon as may be, since nobody has got its credential."""
        with self._agenda.changed:
            held.succeeded = True
            if not held.granted:
                # Its backend does not say when it ends, so it may live on.
                held.ends = self._clock() + OVERLAP_SECONDS
            self._agenda.retire(held, 0.0)

    def left(self, held: Held) -> None:
        """Note that a lease's credential is no longer in the cache."""
        with self._agenda.changed:
            if not held.lost:
                self._agenda.retire(held, held.overlap)

    # What follows is done when it is due.

    def run_due(self) -> None:
        """Do what is due now, and return when it is done."""
        for held in self._agenda.take_due():
            self._attend(held)

    def _attend(self, held: Held) -> None:
        agenda = self._agenda
        with agenda.changed:
            if self._closed:
                return  # it is revoked by whoever closes
            self._at_work[held] = None
        try:
            self._tender.attend(held)
        finally:
            with agenda.changed:
                self._at_work.pop(held, None)
                agenda.put_back(held)

    def _wake(self) -> None:
        """Have the thread look again; start it if there is none."""
        self._agenda.changed.notify_all()
        if self._thread is not None or self._closed or not self._start_thread:
            return
        thread = threading.Thread(target=self._work, args=(self._agenda,), name="strongroom-leases", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # there are too many threads now: the next change tries again
        self._thread = thread

    def _work(self, agenda: Agenda) -> None:
        while True:
            with agenda.changed:
                if self._closed or not agenda.all() or self._agenda is not agenda:
                    self._thread = None
                    return
                next_due = agenda.next_due()
                left = LONGEST_WAIT if next_due is None else next_due - self._clock()
                if left > 0:
                    agenda.changed.wait(min(left, LONGEST_WAIT))
                    continue
                due = agenda.take_due()
            for held in due:
                # Each by itself: one that hangs is not to cost another one its time.
                if not self._background(held.grant.origin).submit(held, partial(self._attend, held)):
                    self._attend(held)

    def _background(self, backend: str) -> Background:
        if backend not in self._backgrounds:
            self._backgrounds[backend] = Background()
        return self._backgrounds[backend]

    def refuse(self) -> None:
        """Take no more leases: what comes from now on is revoked at once."""
        with self._agenda.changed:
            self._closed = True
            self._agenda.changed.notify_all()

    def close(self, under_way: Iterable[Flight[Any]] = (), *, seconds: float = CLOSE_SECONDS) -> None:
        """Revoke every lease that this process has made; twice is no error.

        Args:
            under_way: Loads that may still bring a lease; each revokes its own.
            seconds: How long that may take in all. What is not revoked by then ends by itself.
        """
        until = time.monotonic() + seconds
        self.refuse()
        for background in list(self._backgrounds.values()):
            background.close()
        # First what nobody is at: whoever is may hang.
        self._revoke_all(self._taken_off(self._at_work), until)
        for flight in under_way:
            if flight.may_be_joined():
                flight.done.wait(max(0.0, until - time.monotonic()))
        with self._agenda.changed:
            self._agenda.changed.wait_for(lambda: not self._at_work, max(0.0, until - time.monotonic()))
        self._revoke_all(self._taken_off(()), until)

    def _taken_off(self, but: Iterable[Held]) -> list[Held]:
        """Return the leases that are looked after, except for some, and look after them no more."""
        with self._agenda.changed:
            kept = set(but)
            taken = [held for held in self._agenda.all() if held not in kept]
            for held in taken:
                self._agenda.forget(held)
        return taken

    def _revoke_all(self, held: list[Held], until: float) -> None:
        if os.getpid() != self._pid:
            return
        done: dict[Held, None] = {}

        def revoke(one: Held) -> None:
            if time.monotonic() < until:
                one.succeeded = True
                self._tender.attend(one, Step.REVOKE)
                done[one] = None

        open_ones = [one for one in held if one.lease.id and self._clock() < one.ends]
        jobs: dict[str, list[Callable[[], None]]] = {}
        for one in open_ones:
            jobs.setdefault(one.grant.origin, []).append(partial(revoke, one))
        for crew in list(map(_started, jobs.values())):
            if crew is not None:
                crew.join(max(0.0, until - time.monotonic()))
        for one in open_ones:
            if one not in done:
                self._tender.record("revoke", one, self._clock(), result="timeout")


def _started(jobs: list[Callable[[], None]]) -> threading.Thread | None:
    """Return a thread that does some jobs; ``None`` if they are done already."""
    crew = threading.Thread(target=partial(run_all, jobs, threads=REVOKING_THREADS), daemon=True)
    try:
        crew.start()
    except RuntimeError:
        # There is none to be had, as at the interpreter's end: one after the other.
        for job in jobs:
            job()
        return None
    return crew
