"""The way of a read that the cache does not answer: single flight → backend → record → cache → return."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from strongroom.cache.entries import Entry
from strongroom.cache.flights import Flight
from strongroom.cache.pauses import credentials_of, refresh_of
from strongroom.contracts.backend import ReadRequest, ReadResult
from strongroom.contracts.leasing import Lease, Leasing
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.grants import Grant
from strongroom.model import Freshness, Secret
from strongroom.outcomes import Outcome, Substitute
from strongroom.policy import Action, denied
from strongroom.stages.gate import Gate
from strongroom.stages.loads import Load
from strongroom.telemetry import count_substitute
from strongroom.wiring import Parts


class Loader:
    """Fetches secrets from their backends, once for all who want one at the same time.

    Args:
        parts: The stages of the manager.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._cache = parts.cache
        self._entries = parts.cache.entries
        self._pauses = parts.cache.pauses
        self._clock = parts.clock
        self._substitutes = parts.continuity.substitutes
        self._rules = parts.configuration.resilience

    def load(self, load: Load) -> Secret:
        """Get a secret from its backend, once for all who want it at the same time."""
        started = self._clock()
        while True:
            own: Flight[Secret] = Flight()
            try:
                flight, leading = self.join(load, own)
                load.flight = flight
                if leading:
                    return self.lead(load, flight)
            except BaseException as error:
                self.give_up(load, own, error)
                raise
            while not flight.done.wait(1.0) and flight.leader.is_alive():
                pass
            # Who wants the backend's answer is not content with what was good enough for others.
            if flight.has_answer() and not (load.refresh and flight.is_substitute):
                # Who refreshes has the backend's answer; for anybody else a write that waits comes before it.
                if load.refresh or not flight.is_strict or self.accepted(load) is None:
                    return self.follow(load, flight, started)
                continue
            # The leader's thread ended without an answer, by a KeyboardInterrupt say: somebody else leads.

    def join(self, load: Load, own: Flight[Secret]) -> tuple[Flight[Secret], bool]:
        """Return the load under way for a read, and whether the caller must do it; then it is the caller's own one."""
        flight, leading = self._cache.join(load.key, own)
        entry = self._entries.get(load.key) if leading and not load.refresh else None
        if entry is None or self._clock() >= entry.fresh_until:
            return flight, leading
        # It has come between the caller's look at the cache and now: another reader's load, which this one just missed.
        secret = entry.secret.with_changes(freshness=Freshness.FRESH) if entry.secret is not None else None
        self._cache.land(load.key, flight, secret=secret, error=entry.error)
        return flight, False

    def give_up(self, load: Load, flight: Flight[Secret], error: BaseException) -> None:
        """Land a flight that was interrupted before it landed by itself: nobody is to wait for it for ever."""
        if not flight.done.is_set():
            self._cache.land(load.key, flight, secret=None, error=error)

    def lead(self, load: Load, flight: Flight[Secret]) -> Secret:
        """Ask the backend, as the one who does so for all that wait for the flight."""
        flight.is_strict = load.refresh
        refusal = self.denial(load) or self.refused_credentials(load)
        if refusal is not None:
            return self.hold_back(load, flight, refusal)
        started = self._clock()
        accepted = self.accepted(load)
        if accepted is not None:
            return self.settle(load, flight, accepted, started)
        self.count_call(load)
        request = ReadRequest(name=load.grant.name, version=load.version)
        try:
            outcome: Outcome = load.grant.backend.read(request)
        except StrongroomError as error:
            outcome = error
        except BaseException as error:
            self._cache.land(load.key, flight, secret=None, error=error)
            self.count(load, None, error)
            raise
        return self.settle(load, flight, outcome, started)

    def accepted(self, load: Load) -> Substitute | None:
        """Return the newest accepted write of what is read, if one waits; who refreshes wants the backend's answer."""
        if self._substitutes is None:
            return None
        load.begun = self._substitutes.begin()
        return None if load.refresh and load.is_read else self._substitutes.accepted(load.grant, load.version)

    def count_call(self, load: Load) -> None:
        """Count a call to a backend."""
        cell = self._cache.counters.cell
        if load.is_read:
            cell.loads += 1
        else:
            cell.refreshes += 1

    def denial(self, load: Load) -> StrongroomError | None:
        """Return why the backend need not be asked for this secret: it has denied it a moment ago."""
        if (load.refresh and load.is_read) or self._pauses.holding(credentials_of(load.grant.origin)):
            return None  # nor is the turn to try it taken where it will not be asked anyway
        denied = self._pauses.enter(load.key)
        return denied.again() if denied is not None else None

    def refused_credentials(self, load: Load) -> StrongroomError | None:
        """Return why a secret's backend need not be asked at all: it has refused our credentials a moment ago."""
        origin = load.grant.origin
        if (load.refresh and load.is_read) or self._pauses.enter(credentials_of(origin)) is None:
            return None
        # Not the old error itself: it may speak of another name.
        return AuthenticationError(
            f"{origin} has refused our credentials a moment ago, and is not asked again yet",
            name=load.grant.name,
            backend=origin,
            hint="mend the backend's credentials; refresh() asks at once",
        )

    def hold_back(self, load: Load, flight: Flight[Secret], error: StrongroomError) -> Secret:
        """Answer a read with a refusal that is still too new to ask again.

        Raises:
            StrongroomError: Always, the refusal.
        """
        failure: BaseException = error
        try:
            if load.is_read:
                self.record_read(load.grant, result=error.code, source="cache", cache_hit=True)
            raise error
        except BaseException as raised:
            failure = raised
            raise
        finally:
            self._cache.land(load.key, flight, secret=None, error=failure)
            self.count(load, None, failure)

    def fetch_anew(self, load: Load) -> None:
        """Fetch an answer in the background; if that fails, what is cached stays, and a pause follows.

        Raises:
            StrongroomError: It failed.
        """
        entry = self._entries.get(load.key)
        held = self._pauses.holding(load.key) or self._pauses.holding(credentials_of(load.grant.origin))
        if held is not None:
            if entry is not None:
                entry.in_refresh(held.until)
            return
        flight, leading = self._cache.join(load.key)
        if not leading:
            return
        try:
            self._lead_refresh(load, flight)
        except SecretNotFoundError:
            return
        except StrongroomError as error:
            pause = self._pauses.failed(refresh_of(load.key), error)
            if entry is not None:
                entry.in_refresh(pause.until)
            raise

    def _lead_refresh(self, load: Load, flight: Flight[Secret]) -> None:
        """Lead a refresh, and count how the call to the backend ended, if there was one."""
        cell = self._cache.counters.cell
        # Nobody but this thread adds to it.
        before = cell.refreshes
        try:
            self.lead(load, flight)
        except SecretNotFoundError:
            cell.answered_refreshes += cell.refreshes - before
            raise
        except StrongroomError:
            cell.failed_refreshes += cell.refreshes - before
            raise
        cell.answered_refreshes += cell.refreshes - before

    def settle(self, load: Load, flight: Flight[Secret], outcome: Outcome, started: float) -> Secret:
        """Record a backend's answer, then cache and return it, and let everybody who waits have it."""
        secret: Secret | None = None
        failure: BaseException | None = None
        try:
            if isinstance(outcome, ReadResult) and outcome.lease is not None:
                secret = self._keep_leased(load, flight, outcome, outcome.lease, started)
                return secret
            # Closed meanwhile: the answer may come from a backend that has already let go of everything.
            self._parts.ensure_open()
            if isinstance(outcome, Substitute):
                flight.is_substitute = True
                secret = self._waiting(load, outcome)
            elif isinstance(outcome, ReadResult):
                secret = self._keep(load, flight, outcome, started)
            else:
                secret = self._without_answer(load, flight, outcome, started)
            return secret
        except BaseException as error:
            failure = error
            raise
        finally:
            self._cache.land(load.key, flight, secret=secret, error=failure)
            self.count(load, secret, failure, stood_in=flight.is_substitute)

    def count(
        self, load: Load, secret: Secret | None, failure: BaseException | None, *, stood_in: bool = False
    ) -> None:
        """Count a read that the cache could not answer, and tell the detectors how it ended."""
        if not load.is_read:
            return
        cell = self._cache.counters.cell
        if secret is not None and secret.freshness is Freshness.STALE:
            cell.stale += 1
            count_substitute(load.grant.backend.name, "stale")
        elif stood_in and (secret is not None or isinstance(failure, SecretNotFoundError)):
            cell.fallback += 1
            count_substitute(load.grant.backend.name, "fallback")
        elif secret is not None or isinstance(failure, SecretNotFoundError):
            cell.misses += 1
        else:
            cell.errors += 1
        if secret is not None or isinstance(failure, StrongroomError):
            self._parts.anomaly.observe(load.access, getattr(failure, "code", "ok"))

    def _keep(self, load: Load, flight: Flight[Secret], result: ReadResult, started: float) -> Secret:
        secret = self._recorded(load, result, started)
        if not self._is_behind(load):
            kept = secret.with_changes(freshness=Freshness.CACHED)
            longest = self._rules.rules(load.grant.name).max_stale
            self._cache.store(load.key, load.grant.name, flight, secret=kept, error=None, max_stale=longest)
        self._answered(load)
        if self._substitutes is not None:
            self._substitutes.answered(load.grant, result, load.version, load.begun)
        return secret

    def _is_behind(self, load: Load) -> bool:
        """Tell whether the backend's answer is older than a write that waits: the next read is to get that."""
        if self._substitutes is None:
            return False
        if load.refresh and self._substitutes.accepted(load.grant, None) is not None:
            return True
        # Else the journal has just been asked; if it could not be read, nobody knows.
        return load.version is None and self._substitutes.may_wait(load.grant)

    def _waiting(self, load: Load, accepted: Substitute) -> Secret:
        """Answer with a write that waits; that is not kept, since it will be another version."""
        secret, error = accepted.secret, accepted.error
        if (older := self._entries.get(load.key)) is not None:
            self._cache.release(load.key, older)
        if load.is_read:
            version, result = (secret.version, "ok") if secret is not None else (None, error.code if error else "")
            self.record_read(load.grant, version=version, source="fallback", cache_hit=True, result=result)
        if secret is None:
            assert error is not None, "a substitute is a secret, or says why there is none"
            raise error
        return secret

    def _keep_leased(
        self, load: Load, flight: Flight[Secret], result: ReadResult, lease: Lease, started: float
    ) -> Secret:
        """Keep a credential that was made for this process, for as long as it lives."""
        # Imported here: most programs have none.
        from strongroom.leases.held import Held

        if not load.grant.backend.offers(Leasing):
            # It says how long its answer lives, and there is nobody to ask for more, or to give it back to.
            lease = Lease(id="", seconds=lease.seconds)
        leases = self._parts.leases
        fetch = partial(self.replace_leased, load.gate, load.grant, load.version)
        held = Held(load.grant, load.key, lease, result.version, started=started, fetch=fetch)
        # First: from now on it is not lost track of, whatever fails.
        leases.take(held)
        try:
            held.ensure_alive(self._clock())
            secret = self._recorded(load, result, started)
        except BaseException:
            leases.give_back(held)
            raise
        kept = secret.with_changes(freshness=Freshness.CACHED)
        entry = self._cache.pin(load.key, flight, kept, until=held.ends, on_leaving=partial(leases.left, held))
        news = leases.serve(held, entry, wanted=load.is_read)
        self._answered(load)
        if news is not None:
            # Whoever waits for the load does not wait for this: a signal's handler may, whose own thread is in there.
            self._cache.land(load.key, flight, secret=secret, error=None)
            self._parts.tell(news)
        return secret

    def replace_leased(self, gate: Gate, grant: Grant, version: str | None) -> None:
        """Have a backend make another credential, unless it is making one already; till then the old one serves.

        None is made in the name of somebody who may no longer read it.

        Args:
            gate: Decides what whoever has read the old one first may do now.
            grant: The right by which that was.
            version: As in the read that brought it.

        Raises:
            StrongroomError: It has made none.
        """
        ruling = gate.ruling(Action.READ, grant.name)
        if not ruling.allowed:
            raise denied(grant.principal.name, Action.READ, grant.name, ruling.rule)
        load = Load(gate, grant, version, None, refresh=True, is_read=False)
        flight, leading = self._cache.join(load.key)
        if not leading:
            return
        self._lead_refresh(load, flight)

    def _recorded(self, load: Load, result: ReadResult, started: float) -> Secret:
        """Return the secret that a backend has answered with, once that is recorded."""
        grant = load.grant
        secret = Secret(
            grant.name,
            result.value,
            result.version,
            grant.origin,
            created=result.created,
            retrieved=self._now(),
            place=result.place,
        )
        answered = f"answered by {result.place}" if result.place is not None else None
        self._record_call(load, started, version=result.version, request_id=result.request_id, detail=answered)
        return secret

    def _answered(self, load: Load) -> None:
        self._pauses.end(load.key, refresh_of(load.key), credentials_of(load.grant.origin))
        self._parts.start_sweeper()

    def _without_answer(self, load: Load, flight: Flight[Secret], error: StrongroomError, started: float) -> Secret:
        """Remember that there is no such secret, or serve a substitute in an outage, or raise."""
        grant, entry = load.grant, self._entries.get(load.key)
        if isinstance(error, BackendUnavailableError) and not load.refresh:
            stand_in = self._stand_in(load, flight)
            if stand_in is not None:
                return stand_in
        error.name = error.name or grant.name
        self._record_call(load, started, result=error.code)
        gone = load.version is None and isinstance(error, SecretNotFoundError | AccessDeniedError)
        if self._substitutes is not None and gone:
            self._substitutes.gone(grant.backend, grant.name)
        if isinstance(error, SecretNotFoundError):
            # A credential that lives goes on serving: there will only be no other.
            if not self._cache.keeps_beside(load.key) and not self._is_behind(load):
                self._cache.store(load.key, grant.name, flight, secret=None, error=error)
            self._pauses.end(load.key, refresh_of(load.key), credentials_of(grant.origin))
        elif isinstance(error, AccessDeniedError):
            self._note_denial(load, entry, error)
        elif isinstance(error, AuthenticationError):
            self._pauses.failed(credentials_of(grant.origin), error)
        raise error

    def note_gone(self, grant: Grant) -> None:
        """Note that a backend has said by the way that there is no such secret: nothing of it may stand in any more.

        Args:
            grant: The right to it.
        """
        self._cache.drop(grant.name)
        if self._substitutes is not None:
            self._substitutes.gone(grant.backend, grant.name)

    def _stand_in(self, load: Load, flight: Flight[Secret]) -> Secret | None:
        """Return, and record, what may stand in for a backend that does not answer."""
        found = self._found_instead(load, flight)
        if found is None:
            return None
        self.record_read(load.grant, version=found.version, source=found.freshness.value, cache_hit=True)
        if load.grant.backend.condition is not None:
            load.grant.backend.condition.note_substitute(found.age)
        # Else nobody would remove it from memory when its time is over.
        self._parts.start_sweeper()
        flight.is_substitute = True
        return found

    def _found_instead(self, load: Load, flight: Flight[Secret]) -> Secret | None:
        """Return what is cached, while that may be, or else a copy."""
        entry = self._entries.get(load.key)
        # First the secret: if it is gone by the time of the next look, so is its time.
        stale = entry.secret if entry is not None else None
        now = self._clock()
        if entry is not None and stale is not None and now < entry.stale_until:
            return entry.substitute(stale, now)
        copy = self._substitutes.copy(load.grant, load.version) if self._substitutes is not None else None
        if copy is None or copy.secret is None:
            return None
        self._cache.store_substitute(load.key, flight, copy.secret, seconds=copy.keep)
        return copy.secret

    def _note_denial(self, load: Load, entry: Entry | None, error: AccessDeniedError) -> None:
        # What the backend has denied must not come back as a stale answer in a later outage.
        if load.is_read:
            self._cache.drop(load.grant.name, denied=True)
        elif entry is not None:
            entry.not_beyond_its_life()
        self._pauses.failed(load.key, error)

    def _record_call(self, load: Load, started: float, **fields: Any) -> None:
        """Record what a backend has answered; a refresh that nobody waits for is an event of another kind."""
        event = "get" if load.is_read else "refresh"
        self._record(event, load.grant, source="backend", duration=self._clock() - started, **fields)

    def follow(self, load: Load, flight: Flight[Secret], started: float) -> Secret:
        """Take over what another reader's load brought, and record that we did."""
        secret: Secret | None = None
        error = flight.error
        try:
            if flight.is_strict and not load.refresh and isinstance(error, BackendUnavailableError):
                # Whoever led wanted the backend's answer; this reader takes what there is.
                secret = self._stand_in(load, flight)
            if secret is None:
                self._record_followed(load.grant, flight, started)
                secret = flight.result
        except StrongroomError as failure:
            error = failure
            raise
        finally:
            self.count(load, secret, None if secret is not None else error, stood_in=flight.is_substitute)
        if secret is not None:
            return secret
        assert isinstance(error, StrongroomError), "a flight that has landed holds an answer"
        raise error.again()

    def _record_followed(self, grant: Grant, flight: Flight[Secret], started: float) -> None:
        secret = flight.result
        stood_in = secret.freshness.value if secret is not None else Freshness.FALLBACK.value
        self.record_read(
            grant,
            version=secret.version if secret is not None else None,
            result=getattr(flight.error, "code", "ok"),
            source=stood_in if flight.is_substitute else "backend",
            cache_hit=flight.is_substitute,
            duration=self._clock() - started,
        )

    def record_read(self, grant: Grant, **fields: Any) -> None:
        """Record that somebody read a secret, or could not."""
        self._record("get", grant, **fields)

    def _record(self, event: str, grant: Grant, **fields: Any) -> None:
        audit = self._parts.audit
        if audit.enabled:
            who = {"principal": grant.principal, "base": grant.base}
            audit.record(audit.event(event, **who, key=grant.name, backend=grant.origin, **fields))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._parts.wall_clock() / 1e9, UTC)
