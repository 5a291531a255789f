"""The way of a read: name → policy → detectors → cache → single flight → backend → record → cache → return."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from strongroom.access import Gate
from strongroom.cache import Entry, Flight
from strongroom.contracts.backend import ListRequest, ReadRequest, ReadResult, VersionsRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    InvalidNameError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import Freshness, Principal, Secret, SecretName, SecretVersion
from strongroom.policy import Action
from strongroom.wiring import Grant, Parts


class Reader:
    """Reads secrets as one principal; what a :class:`~strongroom.SecretManager` is besides a writer."""

    def __init__(self, parts: Parts, principal: Principal, *, base: Gate | None = None) -> None:
        self.principal = principal
        self._parts = parts
        self._gate = Gate(parts, principal, base)
        self._cache = parts.cache
        self._entries = parts.cache.entries
        self._clock = parts.clock
        self._record_hit = parts.audit.hit
        self._grants = parts.grants(self._gate.chain)
        self._judged = self._gate.judges

    def get(self, name: str, *, version: str | None = None, field: str | None = None) -> Secret:
        """Return a secret: from the cache while it is fresh there, else from its backend.

        Args:
            name: The secret's name.
            version: An older version; the current one unless given.
            field: One member of a value that is a JSON object.

        Raises:
            InvalidNameError: The name is not one that a secret can have, or the version is no text.
            AccessDeniedError: The policy, or the backend, does not allow it.
            SuspiciousActivityError: A detector blocked it.
            SecretNotFoundError: There is no such secret, version or field.
            BackendUnavailableError: No answer, and nothing usable is cached.
            AuditError: The access could not be recorded, so no value is returned.
        """
        try:
            grant = self._grants.get(name)
        except TypeError:
            grant = None  # it cannot be hashed, so it is no name
        if grant is None:
            grant = self._admit(name)
        if self._judged:
            self._gate.judge(Action.READ, grant.name)
        key = grant.name if version is None else self._version_key(grant, version)
        entry = self._entries.get(key)
        if entry is not None and (now := self._clock()) < entry.fresh_until:
            secret = self._hit(grant, entry, now)
        else:
            secret = self._load(grant, version)
        return secret if field is None else secret.field(field)

    def _version_key(self, grant: Grant, version: object) -> tuple[SecretName, str]:
        if isinstance(version, str):
            return grant.name, version
        error = InvalidNameError(
            f"a version is text, not {type(version).__name__}", name=grant.name, hint="versions() lists them"
        )
        self._gate.refused(Action.READ, grant.name, error)
        raise error

    def _hit(self, grant: Grant, entry: Entry, now: float) -> Secret:
        entry.visited = True
        secret = entry.secret
        if secret is None:
            raise self._negative_hit(grant, entry, now)
        try:
            if grant.immediate:
                self._record_immediately(grant, secret.version, "ok")
            else:
                self._record_hit(grant.hit, secret.version, "cache", "ok", now)
        except StrongroomError:
            self._cache.counters.cell.errors += 1
            raise
        self._cache.counters.cell.hits += 1
        return secret

    def _negative_hit(self, grant: Grant, entry: Entry, now: float) -> SecretNotFoundError:
        assert entry.error is not None, "an entry without a secret holds the error that stands for it"
        try:
            if grant.immediate:
                self._record_immediately(grant, None, entry.error.code)
            else:
                self._record_hit(grant.hit, None, "cache", entry.error.code, now)
        except StrongroomError:
            self._cache.counters.cell.errors += 1
            raise
        self._cache.counters.cell.negative += 1
        return entry.error.again()

    def _record_immediately(self, grant: Grant, version: str | None, result: str) -> None:
        self._record_read(grant, version=version, source="cache", cache_hit=True, result=result)

    def _grant(self, name: str) -> Grant:
        """Return what is known of a name, or admit it."""
        known = self._grants.get(name) if isinstance(name, str) else None
        return known or self._admit(name)

    def _admit(self, spelling: str) -> Grant:
        """Lead a name that is new to this principal through name check and policy, and open its backend."""
        name = self._gate.check(Action.READ, spelling)
        with self._gate.recording_refusal(Action.READ, name):
            return self._parts.remember(self._gate.chain, spelling, name)

    def _load(self, grant: Grant, version: str | None, *, refresh: bool = False) -> Secret:
        """Get a secret from its backend, once for all who want it at the same time."""
        key = grant.name if version is None else (grant.name, version)
        started = self._clock()
        while True:
            flight, leading = self._cache.join(key)
            if leading:
                return self._lead(grant, version, flight, refresh=refresh)
            while not flight.done.wait(1.0) and flight.leader.is_alive():
                pass
            if flight.result is not None or isinstance(flight.error, StrongroomError):
                return self._follow(grant, flight, started)
            # The leader's thread ended without an answer, by a KeyboardInterrupt say: somebody else leads.

    def _lead(self, grant: Grant, version: str | None, flight: Flight[Secret], *, refresh: bool) -> Secret:
        self._cache.counters.cell.loads += 1
        started = self._clock()
        try:
            outcome: ReadResult | StrongroomError = grant.backend.read(ReadRequest(name=grant.name, version=version))
        except StrongroomError as error:
            outcome = error
        except BaseException as error:
            self._cache.land(_key(grant, version), flight, secret=None, error=error)
            self._count(None, error)
            raise
        return self._settle(grant, version, flight, outcome, started, refresh=refresh)

    def _settle(
        self,
        grant: Grant,
        version: str | None,
        flight: Flight[Secret],
        outcome: ReadResult | StrongroomError,
        started: float,
        *,
        refresh: bool = False,
    ) -> Secret:
        """Record a backend's answer, then cache and return it, and let everybody who waits have it."""
        key = _key(grant, version)
        secret: Secret | None = None
        failure: BaseException | None = None
        try:
            # Closed meanwhile: the answer may come from a backend that has already let go of everything.
            self._gate.ensure_open()
            if isinstance(outcome, ReadResult):
                secret = self._keep(grant, key, flight, outcome, started)
            else:
                secret = self._without_answer(grant, key, flight, outcome, started, refresh=refresh)
            return secret
        except BaseException as error:
            failure = error
            raise
        finally:
            self._cache.land(key, flight, secret=secret, error=failure)
            self._count(secret, failure)

    def _count(self, secret: Secret | None, failure: BaseException | None) -> None:
        """Count a read that the cache could not answer."""
        cell = self._cache.counters.cell
        if secret is not None and secret.freshness is Freshness.STALE:
            cell.stale += 1
        elif secret is not None or isinstance(failure, SecretNotFoundError):
            cell.misses += 1
        else:
            cell.errors += 1

    def _keep(self, grant: Grant, key: object, flight: Flight[Secret], result: ReadResult, started: float) -> Secret:
        secret = Secret(
            grant.name,
            result.value,
            result.version,
            grant.backend.name,
            created=result.created,
            retrieved=self._now(),
        )
        self._record_read(
            grant,
            version=result.version,
            source="backend",
            duration=self._clock() - started,
            request_id=result.request_id,
        )
        self._cache.store(key, grant.name, flight, secret=secret.with_changes(freshness=Freshness.CACHED), error=None)
        self._parts.start_sweeper()
        return secret

    def _without_answer(
        self,
        grant: Grant,
        key: object,
        flight: Flight[Secret],
        error: StrongroomError,
        started: float,
        *,
        refresh: bool,
    ) -> Secret:
        """Remember that there is no such secret, or serve a stale one in an outage, or raise."""
        entry = self._entries.get(key)
        if isinstance(error, BackendUnavailableError) and entry is not None and entry.secret and not refresh:
            age = self._clock() - entry.stored
            if self._clock() < entry.stale_until:
                self._record_read(grant, version=entry.secret.version, source="stale", cache_hit=True)
                return entry.secret.with_changes(freshness=Freshness.STALE, age=age)
        error.name = error.name or grant.name
        self._record_read(grant, result=error.code, source="backend", duration=self._clock() - started)
        if isinstance(error, SecretNotFoundError):
            self._cache.store(key, grant.name, flight, secret=None, error=error)
        elif isinstance(error, AccessDeniedError):
            # What the backend has denied must not come back as a stale answer in a later outage.
            self._cache.drop(grant.name)
        raise error

    def _follow(self, grant: Grant, flight: Flight[Secret], started: float) -> Secret:
        """Take over what another reader's load brought, and record that we did."""
        secret: Secret | None = None
        error = flight.error
        try:
            self._record_followed(grant, flight, started)
            secret = flight.result
        except StrongroomError as failure:
            error = failure
            raise
        finally:
            self._count(secret, error)
        if secret is not None:
            return secret
        assert isinstance(error, StrongroomError), "a flight that has landed holds an answer"
        raise error.again()

    def _record_followed(self, grant: Grant, flight: Flight[Secret], started: float) -> None:
        secret = flight.result
        stale = secret is not None and secret.freshness is Freshness.STALE
        self._record_read(
            grant,
            version=secret.version if secret is not None else None,
            result=getattr(flight.error, "code", "ok"),
            source="stale" if stale else "backend",
            cache_hit=stale,
            duration=self._clock() - started,
        )

    def _record_read(self, grant: Grant, **fields: Any) -> None:
        audit = self._parts.audit
        if audit.enabled:
            audit.record(self._gate.event("get", key=grant.name, backend=grant.backend.name, **fields))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._parts.wall_clock() / 1e9, UTC)

    def refresh(self, name: str) -> Secret:
        """Fetch a secret from its backend at once, whatever the cache holds.

        What is cached stays usable if the backend does not answer.

        Args:
            name: The secret's name.

        Raises:
            StrongroomError: As :meth:`get`; a stale value is never returned.
        """
        grant = self._grant(name)
        self._gate.judge(Action.READ, grant.name)
        self._cache.abandon(grant.name)
        return self._load(grant, None, refresh=True)

    def invalidate(self, name: str | None = None) -> None:
        """Forget what is cached, 'not found' included, so that the next read asks the backend.

        Args:
            name: One secret; everything that this principal may read unless given.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            AccessDeniedError: This principal may not read the secret.
        """
        if name is not None:
            self._cache.drop(self._gate.check(Action.READ, name))
            return
        self._gate.ensure_open()
        for known in self._cache.names():
            if self._gate.permits(Action.READ, known):
                self._cache.drop(known)

    def list(self, prefix: str = "") -> list[SecretName]:
        """Return the names below a prefix that this principal may list, sorted.

        Args:
            prefix: A folder with or without its final slash; empty for all.

        Raises:
            InvalidNameError: The prefix is not a folder of names.
            UnsupportedOperationError: A backend that may hold such names cannot list.
        """
        self._gate.ensure_open()
        folder = self._folder(prefix)
        # The root has no name; the pattern of everything stands for it.
        self._gate.judge(Action.LIST, SecretName(folder or "**"))
        names: set[SecretName] = set()
        with self._recorded("list", f"{folder}/" if folder else "") as facts:
            for backend in self._parts.routed_below(folder):
                listed = self._parts.backend(backend).list(ListRequest(prefix=folder)).names
                names.update(name for name in listed if self._parts.route(name) == backend)
            names = {name for name in names if self._gate.permits(Action.LIST, name)}
            facts["count"] = len(names)
        return sorted(names)

    def _folder(self, prefix: str) -> str:
        """Return a folder's canonical name; the root's is empty, but nothing else that is empty is the root."""
        if not isinstance(prefix, str):
            return self._gate.canonical(Action.LIST, prefix)
        return self._gate.canonical(Action.LIST, prefix.removesuffix("/")) if prefix else ""

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """Return the versions of a secret that its backend keeps, oldest first.

        Raises:
            AccessDeniedError: This principal may not read the secret.
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend keeps no versions.
        """
        grant = self._admit(name)
        self._gate.judge(Action.READ, grant.name)
        with self._recorded("versions", grant.name, backend=grant.backend.name) as facts:
            found = grant.backend.versions(VersionsRequest(name=grant.name)).versions
            facts["count"] = len(found)
        return found

    @contextmanager
    def _recorded(self, event: str, key: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Record a look at metadata, whether it succeeds or fails."""
        audit = self._parts.audit
        started = self._clock()
        facts: dict[str, Any] = {"key": key, **fields}
        try:
            yield facts
        except StrongroomError as error:
            audit.record(self._gate.event(event, result=error.code, **facts))
            raise
        audit.record(self._gate.event(event, duration=self._clock() - started, **facts))


def _key(grant: Grant, version: str | None) -> SecretName | tuple[SecretName, str]:
    return grant.name if version is None else (grant.name, version)
