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

from strongroom.audit import AuditStage
from strongroom.background import Background
from strongroom.cache import Cache, Entry
from strongroom.contracts.leasing import ReleaseLeaseRequest, RenewLeaseRequest, RevokeLeaseRequest
from strongroom.crew import run_all
from strongroom.errors import (
    AuditError,
    AuthenticationError,
    BackendUnavailableError,
    ClosedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.events import SecretUpdated
from strongroom.flights import Flight
from strongroom.held import RENEW_FROM, RENEW_TO, Held, LeaseStatus, Step, end_of
from strongroom.model import SecretName

CLOSE_SECONDS: Final = 10.0
"""How long closing takes at most to revoke what there is."""
REVOKING_THREADS: Final = 8
LONGEST_WAIT: Final = 3600.0


class Leases:
    """Every lease of one manager in this process.

    One daemon thread sees to what is due, while there is any. A forked child starts
    with none: those of its parent are the parent's.

    What has happened is recorded; if that fails it has happened all the same. A
    renewal gives nobody a value, and as long as nothing can be recorded reads are
    refused for the want of their own records. A credential whose making could not
    be recorded is given back instead, and never served.

    Args:
        cache: Where the credentials are kept.
        audit: Records renewals and revocations.
        tell: Told that a credential was replaced, or is gone; it must not wait.
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
        # Reentrant, since a signal's handler may read.
        self._changed = threading.Condition(threading.RLock())
        self._held: dict[Held, None] = {}
        self._thread: threading.Thread | None = None
        self._background = Background()
        self._running = 0
        self._pid = os.getpid()

    def status(self) -> list[LeaseStatus]:
        """Return what there is to tell of each lease that has not ended."""
        now = self._clock()
        with self._changed:
            return [held.status(now) for held in self._held if held.ends > now]

    def release(self, concerns: Callable[[SecretName], bool]) -> None:
        """Leave leases to whoever has got their credentials: neither renew nor revoke them any more.

        Args:
            concerns: Tells by its name whether one is meant.
        """
        with self._changed:
            released = [held for held in self._held if held.entry is not None and concerns(held.grant.name)]
            for held in released:
                held.succeeded = held.retired = True
                self._held.pop(held)
        for held in released:
            self._release(held)

    def _release(self, held: Held) -> None:
        if held.entry is not None:
            # The next read makes another one, which is looked after.
            self._cache.release(held.key, held.entry)
        started = self._clock()
        request = ReleaseLeaseRequest(name=held.grant.name, lease=held.lease)
        try:
            held.grant.backend.release_lease(request)
        except StrongroomError as error:
            self._record("release", held, started, result=error.code)
        else:
            self._record("release", held, started)

    # What follows is told by those who read.

    def take(self, held: Held) -> None:
        """Look after a lease from now on.

        Raises:
            ClosedError: The manager is closed; the lease has been revoked, if that was possible.
        """
        with self._changed:
            if not self._closed:
                self._held[held] = None
                return
        held.succeeded = True
        self._revoke(held)
        raise ClosedError("the manager is closed", hint="open a new one")

    def serve(self, held: Held, entry: Entry | None, *, wanted: bool) -> None:
        """Note that a lease's credential is what the cache serves now.

        Args:
            held: The lease.
            entry: Where it is cached; ``None`` if it was dropped before it came.
            wanted: Whether somebody has it even then.
        """
        if entry is None and not wanted:
            self.give_back(held)
            return
        with self._changed:
            held.entry = entry
            before = [one for one in self._held if one.key == held.key and one is not held and not one.succeeded]
            for one in before:
                one.succeeded = True
            if entry is None or held.retired:
                self._retire(held, held.overlap)
            elif held.lease.renewable and held.lease.id:
                self._plan(held, Step.RENEW, self._renewal(held, held.issued))
            else:
                self._plan(held, Step.REPLACE, held.replaced_at)
        if before:
            self._tell(SecretUpdated(name=held.grant.name, change="replace", version=held.version))

    def give_back(self, held: Held) -> None:
        """Have a lease revoked as soon as may be, since nobody has got its credential."""
        with self._changed:
            held.succeeded = True
            self._retire(held, 0.0)

    def left(self, held: Held) -> None:
        """Note that a lease's credential is no longer in the cache."""
        with self._changed:
            if not held.lost:
                self._retire(held, held.overlap)

    def _retire(self, held: Held, overlap: float) -> None:
        if not held.retired or overlap == 0.0:
            held.retired = True
            held.failures = 0
            self._plan(held, Step.REVOKE if held.lease.id else Step.END, self._clock() + overlap)

    def _renewal(self, held: Held, started: float) -> float:
        part = RENEW_FROM + (RENEW_TO - RENEW_FROM) * self._random()
        return started + part * held.lease.seconds

    def _plan(self, held: Held, step: Step, at: float) -> None:
        """Say what is to be done next, and when; at its end a lease is over in any case."""
        held.step = step
        held.due = held.ends if step is Step.END else min(at, held.ends)
        self._wake()

    def _put_off(self, held: Held, step: Step) -> None:
        """Have something tried again in a while, unless something else is to be done by now."""
        with self._changed:
            if held.step is step:
                delay = held.delay(self._random())
                held.failures += 1
                self._plan(held, step, self._clock() + delay)

    # What follows is done when it is due.

    def run_due(self) -> None:
        """Do what is due now, and return when it is done."""
        for held in self._take_due():
            self._attend(held)

    def _take_due(self) -> list[Held]:
        now = self._clock()
        with self._changed:
            due = [held for held in self._held if held.due <= now and not held.busy]
            for held in due:
                held.busy = True
        return due

    def _attend(self, held: Held) -> None:
        steps = {Step.RENEW: self._renew, Step.REPLACE: self._replace, Step.REVOKE: self._revoke, Step.END: self._end}
        with self._changed:
            if self._closed:
                return  # it is revoked by whoever closes
            self._running += 1
        try:
            step = self._end if self._clock() >= held.ends else steps[held.step]
            step(held)
        finally:
            with self._changed:
                self._running -= 1
                held.busy = False
                self._wake()

    def _end(self, held: Held) -> None:
        """Let go of a credential that is over; its backend ends it by itself."""
        if held.entry is not None:
            self._cache.release(held.key, held.entry)
        self._forget(held)
        self._tell_gone(held)

    def _forget(self, held: Held) -> None:
        with self._changed:
            self._held.pop(held, None)

    def _tell_gone(self, held: Held) -> None:
        with self._changed:
            tell = not held.succeeded and not held.told
            held.told = True
        if tell:
            self._tell(SecretUpdated(name=held.grant.name, change="expire", version=None))

    def _renew(self, held: Held) -> None:
        started = self._clock()
        request = RenewLeaseRequest(name=held.grant.name, lease=held.lease, seconds=held.granted)
        try:
            result = held.grant.backend.renew_lease(request)
        except StrongroomError as error:
            self._record("renew", held, started, result=error.code)
            self._not_renewed(held, error)
            return
        self._record("renew", held, started, request_id=result.request_id)
        with self._changed:
            held.failures = 0
            held.lease = result.lease.replace(id=held.lease.id)
            held.ends = end_of(result.lease, started)
            if not held.retired:
                self._plan_renewed(held, started)
            entry, at_once = held.entry, held.step is Step.REPLACE and held.due <= self._clock()
        if entry is not None:
            self._cache.prolong(held.key, entry, held.ends)
        if at_once:
            self._replace(held)

    def _plan_renewed(self, held: Held, started: float) -> None:
        # Less than was asked for is all that is left until its maximum.
        if held.lease.renewable and held.lease.seconds >= held.granted:
            self._plan(held, Step.RENEW, self._renewal(held, started))
        else:
            self._plan(held, Step.REPLACE, held.replaced_at)

    def _not_renewed(self, held: Held, error: StrongroomError) -> None:
        if isinstance(error, (BackendUnavailableError, AuthenticationError)):
            self._put_off(held, Step.RENEW)
            return
        with self._changed:
            if held.retired:
                return
            held.lost = isinstance(error, SecretNotFoundError)
            self._plan(held, Step.REPLACE, self._clock())
        if held.lost and held.entry is not None:
            # The credential works no more, so nobody is to get it.
            self._cache.release(held.key, held.entry)
        self._replace(held)

    def _replace(self, held: Held) -> None:
        """Have another credential made, which takes this one's place; until then this one serves, unless it is lost."""
        with self._changed:
            if held.lost and self._has_live(held.key):
                self._held.pop(held, None)
                return
        try:
            held.fetch()
        except StrongroomError:
            if held.lost:
                self._tell_gone(held)
        with self._changed:
            if held.lost and self._has_live(held.key):
                self._held.pop(held, None)
                return
        # If it is still there that has failed, or somebody else is at it.
        self._put_off(held, Step.REPLACE)

    def _has_live(self, key: object) -> bool:
        return any(one.key == key and one.entry is not None and not one.retired and not one.lost for one in self._held)

    def _revoke(self, held: Held) -> None:
        started = self._clock()
        request = RevokeLeaseRequest(name=held.grant.name, lease=held.lease)
        try:
            result = held.grant.backend.revoke_lease(request)
        except StrongroomError as error:
            self._record("revoke", held, started, result=error.code)
            self._put_off(held, Step.REVOKE)
            return
        self._forget(held)
        self._record("revoke", held, started, request_id=result.request_id)
        self._tell_gone(held)

    def _record(self, kind: str, held: Held, started: float, **fields: Any) -> None:
        grant = held.grant
        if not self._audit.enabled:
            return
        facts = {"version": held.version, "duration": self._clock() - started, "source": "backend", **fields}
        event = self._audit.event(
            kind, principal=grant.principal, base=grant.base, key=grant.name, backend=grant.origin, **facts
        )
        try:
            self._audit.record(event)
        except (AuditError, ClosedError):
            return  # as the class says

    # What follows is the thread.

    def _wake(self) -> None:
        """Have the thread look again; start it if there is none."""
        self._changed.notify_all()
        if self._thread is not None or self._closed or not self._start_thread:
            return
        thread = threading.Thread(target=self._work, args=(self._changed,), name="strongroom-leases", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # there are too many threads now: the next change tries again
        self._thread = thread

    def _work(self, changed: threading.Condition) -> None:
        while True:
            with changed:
                if self._closed or not self._held or self._changed is not changed:
                    self._thread = None
                    return
                next_due = min((held.due for held in self._held if not held.busy), default=None)
                left = LONGEST_WAIT if next_due is None else next_due - self._clock()
                if left > 0:
                    changed.wait(min(left, LONGEST_WAIT))
                    continue
                due = self._take_due()
            for held in due:
                # Each by itself: one backend that hangs is not to cost another one its leases.
                if not self._background.submit(held, partial(self._attend, held)):
                    self._attend(held)

    def close(self, under_way: Iterable[Flight[Any]] = (), *, seconds: float = CLOSE_SECONDS) -> None:
        """Revoke every lease that this process has made; twice is no error.

        Args:
            under_way: Loads that may still bring a lease; each revokes its own.
            seconds: How long that may take in all. What is not revoked by then ends by itself.
        """
        until = time.monotonic() + seconds
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._background.close()
        for flight in under_way:
            if flight.may_be_joined():
                flight.done.wait(max(0.0, until - time.monotonic()))
        with self._changed:
            self._changed.wait_for(lambda: not self._running, max(0.0, until - time.monotonic()))
            held, self._held = list(self._held), {}
        if os.getpid() == self._pid:
            self._revoke_all([one for one in held if one.lease.id and self._clock() < one.ends], until)

    def _revoke_all(self, held: list[Held], until: float) -> None:
        done: list[Held] = []

        def revoke(one: Held) -> None:
            if time.monotonic() < until:
                one.succeeded = True
                self._revoke(one)
                done.append(one)

        jobs = [partial(revoke, one) for one in held]
        crew = threading.Thread(target=partial(run_all, jobs, threads=REVOKING_THREADS), daemon=True)
        try:
            crew.start()
        except RuntimeError:
            # There is no thread to be had, as at the interpreter's end: one after the other.
            for job in jobs:
                job()
        else:
            crew.join(max(0.0, until - time.monotonic()))
        for one in held:
            if one not in done:
                self._record("revoke", one, self._clock(), result="timeout")
