"""Does what is due with leased credentials: renews them, has them replaced, revokes them, lets go of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from strongroom.audit.stage import AuditStage
from strongroom.cache.cache import Cache
from strongroom.contracts.leasing import ReleaseLeaseRequest, RenewLeaseRequest, RevokeLeaseRequest
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.events.updates import SecretUpdated
from strongroom.leases.agenda import Agenda
from strongroom.leases.held import Held, Step

_EVENTS: Final = {Step.RENEW: "renew", Step.REPLACE: "refresh", Step.REVOKE: "revoke"}


class Tender:
    """Takes the steps that an agenda says.

    What has happened is recorded; if that fails it has happened all the same. A
    renewal gives nobody a value, and as long as nothing can be recorded reads are
    refused for the want of their own records.

    Args:
        agenda: What is to be done.
        cache: Where the credentials are kept.
        audit: Records what is done.
        tell: Told that a credential is gone; it must not wait.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        agenda: Agenda,
        cache: Cache,
        audit: AuditStage,
        tell: Callable[[SecretUpdated], object],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._agenda = agenda
        self._cache = cache
        self._audit = audit
        self._tell = tell
        self._clock = clock
        self._steps = {Step.RENEW: self._renew, Step.REPLACE: self._replace, Step.REVOKE: self._revoke}

    def attend(self, held: Held, step: Step | None = None) -> None:
        """Take a step; what goes wrong with it in whatever way is recorded and tried again.

        Args:
            held: The lease.
            step: Which one; what the agenda says unless given, and none if the lease has ended.
        """
        started = self._clock()
        step = step or (held.step if started < held.ends else Step.END)
        try:
            self._steps.get(step, self._end)(held)
        except KeyboardInterrupt:
            raise  # by whoever reads after the end, or ends the program: it is theirs
        # A fault of a plugin, or of ours, must cost neither this lease its care nor the others theirs.
        except BaseException as error:  # noqa: BLE001  # see above
            if step is Step.END:
                self._agenda.forget(held)
                return
            self._agenda.put_off(held, step)
            facts = {"result": BackendError.codes[0], "detail": type(error).__name__}
            self.record(_EVENTS[step], held, started, **facts)

    def _end(self, held: Held) -> None:
        """Let go of a credential that is over; its backend ends it by itself."""
        if held.entry is not None:
            self._cache.release(held.key, held.entry)
        self._agenda.forget(held)
        self._tell_gone(held)

    def _tell_gone(self, held: Held) -> None:
        with self._agenda.changed:
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
            self.record("renew", held, started, result=error.code)
            self._not_renewed(held, error)
            return
        with self._agenda.changed:
            held.renew(result.lease, started)
            if not held.retired:
                self._agenda.go_on(held, started, extensible=result.extensible is True)
            entry, at_once = held.entry, held.step is Step.REPLACE and held.due <= self._clock()
        self.record("renew", held, started, request_id=result.request_id)
        if entry is not None:
            self._cache.prolong(held.key, entry, held.ends)
        if at_once:
            self._replace(held)

    def _not_renewed(self, held: Held, error: StrongroomError) -> None:
        if isinstance(error, (BackendUnavailableError, AuthenticationError)):
            self._agenda.put_off(held, Step.RENEW)
            return
        with self._agenda.changed:
            if held.retired:
                return
            held.lost = isinstance(error, SecretNotFoundError)
            self._agenda.plan(held, Step.REPLACE, self._clock())
        if held.lost and held.entry is not None:
            # The credential works no more, so nobody is to get it.
            self._cache.release(held.key, held.entry)
        self._replace(held)

    def _replace(self, held: Held) -> None:
        """Have another credential made, which takes this one's place; until then this one serves, unless it is lost."""
        if self._needs_none(held):
            return
        try:
            held.fetch()
        except StrongroomError:
            if held.lost:
                self._tell_gone(held)
        if not self._needs_none(held):
            # If it is still there that has failed, or somebody else is at it.
            self._agenda.put_off(held, Step.REPLACE)

    def _needs_none(self, held: Held) -> bool:
        """Tell whether a credential that is lost has a successor, and forget it then."""
        with self._agenda.changed:
            if not held.lost or not self._agenda.has_live(held.key):
                return False
            self._agenda.forget(held)
            return True

    def _revoke(self, held: Held) -> None:
        started = self._clock()
        request = RevokeLeaseRequest(name=held.grant.name, lease=held.lease)
        try:
            result = held.grant.backend.revoke_lease(request)
        except StrongroomError as error:
            self.record("revoke", held, started, result=error.code)
            if isinstance(error, (AccessDeniedError, UnsupportedOperationError)):
                # Asking again changes nothing: it ends by itself.
                self._agenda.plan(held, Step.END, held.ends)
            else:
                self._agenda.put_off(held, Step.REVOKE)
            return
        self._agenda.forget(held)
        self.record("revoke", held, started, request_id=result.request_id)
        self._tell_gone(held)

    def release(self, held: Held) -> None:
        """Leave a credential to whoever has got it."""
        if held.entry is not None:
            # The next read makes another one, which is looked after.
            self._cache.release(held.key, held.entry)
        started = self._clock()
        request = ReleaseLeaseRequest(name=held.grant.name, lease=held.lease)
        try:
            held.grant.backend.release_lease(request)
        except StrongroomError as error:
            self.record("release", held, started, result=error.code)
        else:
            self.record("release", held, started)

    def record(self, event: str, held: Held, started: float, **fields: Any) -> None:
        """Record what was done with a lease; that it cannot be is no error here."""
        grant = held.grant
        if not self._audit.enabled:
            return
        facts = {"version": held.version, "duration": self._clock() - started, "source": "backend", **fields}
        made = self._audit.event(
            event, principal=grant.principal, base=grant.base, key=grant.name, backend=grant.origin, **facts
        )
        try:
            self._audit.record(made)
        except StrongroomError:
            return  # as the class says
