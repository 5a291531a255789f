"""The way of a read: name → policy → detectors → cache → single flight → backend → record → cache → return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from strongroom._record import Record
from strongroom.access import Gate
from strongroom.cache import Entry, Flight
from strongroom.contracts.backend import ListRequest, ReadManyRequest, ReadRequest, ReadResult, VersionsRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    BatchError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import Freshness, Principal, Secret, SecretName, SecretVersion
from strongroom.policy import Action, matches
from strongroom.wiring import Grant, Parts


class Batch(Record):
    """What reading several names gave: an answer for each of them."""

    found: dict[str, Secret]
    errors: dict[str, StrongroomError]


class Reader:
    """Reads secrets as one principal; what a :class:`~strongroom.SecretManager` is besides a writer."""

    def __init__(self, parts: Parts, principal: Principal, *, base: Gate | None = None) -> None:
        self.principal = principal
        self._parts = parts
        self._gate = Gate(parts, principal, base)
        self._cache = parts.cache
        self._entries = parts.cache.entries
        self._clock = parts.clock
        self._grants = parts.grants(self._gate.chain)
        self._judged = self._gate.judges

    def get(self, name: str, *, version: str | None = None, field: str | None = None) -> Secret:
        """Return a secret: from the cache while it is fresh there, else from its backend.

        Args:
            name: The secret's name.
            version: An older version; the current one unless given.
            field: One member of a value that is a JSON object.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            AccessDeniedError: The policy, or the backend, does not allow it.
            SuspiciousActivityError: A detector blocked it.
            SecretNotFoundError: There is no such secret, version or field.
            BackendUnavailableError: No answer, and nothing usable is cached.
            AuditError: The access could not be recorded, so no value is returned.
        """
        grant = self._grants.get(name) or self._admit(name)
        if self._judged:
            self._gate.judge(Action.READ, grant.name)
        key = grant.name if version is None else (grant.name, version)
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry.fresh_until:
            secret = self._hit(grant, entry)
        else:
            secret = self._load(grant, version)
        return secret if field is None else secret.field(field)

    def _hit(self, grant: Grant, entry: Entry) -> Secret:
        entry.visited = True
        secret = entry.secret
        if secret is None:
            raise self._negative_hit(grant, entry)
        self._record_hit(grant, secret.version, "ok")
        self._cache.counters.cell.hits += 1
        return secret

    def _negative_hit(self, grant: Grant, entry: Entry) -> SecretNotFoundError:
        assert entry.error is not None, "an entry without a secret holds the error that stands for it"
        self._record_hit(grant, None, entry.error.code)
        self._cache.counters.cell.negative += 1
        return entry.error.again()

    def _record_hit(self, grant: Grant, version: str | None, result: str) -> None:
        try:
            if grant.immediate:
                self._record_read(grant, version=version, source="cache", cache_hit=True, result=result)
            else:
                self._parts.audit.hit(grant.hit, version, "cache", result)
        except StrongroomError:
            self._cache.counters.cell.errors += 1
            raise

    def _admit(self, spelling: str) -> Grant:
        """Lead a name that is new to this principal through name check and policy."""
        name = self._gate.check(Action.READ, spelling)
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
            audit.record(
                audit.event("get", principal=self.principal, key=grant.name, backend=grant.backend.name, **fields)
            )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._parts.wall_clock() / 1e9, UTC)

    def get_many(self, names: Iterable[str], *, strict: bool = False) -> Batch:
        """Return several secrets, with an error for each name that has none.

        Names that are not cached are fetched from each backend together.

        Args:
            names: The secrets' names.
            strict: Raise instead of returning errors.

        Raises:
            BatchError: ``strict`` is set and at least one name failed; the message
                names those, ``errors`` holds the reason of each.
        """
        self._gate.ensure_open()
        found: dict[str, Secret] = {}
        errors: dict[str, StrongroomError] = {}
        missing: list[tuple[str, Grant]] = []
        for name in dict.fromkeys(names):
            try:
                grant = self._grants.get(name) or self._admit(name)
                self._gate.judge(Action.READ, grant.name)
                entry = self._entries.get(grant.name)
                if entry is not None and self._clock() < entry.fresh_until:
                    found[name] = self._hit(grant, entry)
                else:
                    missing.append((name, grant))
            except StrongroomError as error:
                errors[name] = error
        self._load_many(missing, found, errors)
        if strict and errors:
            raise BatchError(
                f"{len(errors)} of {len(found) + len(errors)} names failed: {', '.join(sorted(errors))}",
                errors=errors,
                hint="see the error's `errors` for each reason",
            )
        return Batch(found=found, errors=errors)

    def _load_many(
        self, missing: list[tuple[str, Grant]], found: dict[str, Secret], errors: dict[str, StrongroomError]
    ) -> None:
        """Fetch what is not cached, one call a backend; what somebody else is fetching is waited for."""
        leading: dict[str, list[tuple[str, Grant, Flight[Secret]]]] = {}
        following: list[tuple[str, Grant]] = []
        led: set[SecretName] = set()
        for spelling, grant in missing:
            # Two spellings of one name are one secret, to be asked for once.
            if grant.name not in led:
                flight, leads = self._cache.join(grant.name)
                if leads:
                    led.add(grant.name)
                    leading.setdefault(grant.backend.name, []).append((spelling, grant, flight))
                    continue
            following.append((spelling, grant))
        try:
            for group in leading.values():
                self._load_group(group, found, errors)
        except BaseException as error:
            # Whoever waits for one of the others must not wait for ever.
            self._give_up([flight for group in leading.values() for flight in group], error)
            raise
        for spelling, grant in following:
            with _collecting(spelling, errors):
                entry = self._entries.get(grant.name)
                fresh = entry is not None and self._clock() < entry.fresh_until
                found[spelling] = self._hit(grant, entry) if entry and fresh else self._load(grant, None)

    def _load_group(
        self,
        group: list[tuple[str, Grant, Flight[Secret]]],
        found: dict[str, Secret],
        errors: dict[str, StrongroomError],
    ) -> None:
        started = self._clock()
        self._cache.counters.cell.loads += 1
        backend = group[0][1].backend
        try:
            answer = backend.read_many(ReadManyRequest(names=tuple(grant.name for _, grant, _ in group)))
            outcomes: dict[SecretName, ReadResult | StrongroomError] = {**answer.found, **answer.errors}
        except StrongroomError as error:
            outcomes = {grant.name: error.again() for _, grant, _ in group}
        for spelling, grant, flight in group:
            with _collecting(spelling, errors):
                outcome = outcomes.get(grant.name) or _unanswered(backend.name, grant.name)
                found[spelling] = self._settle(grant, None, flight, outcome, started)

    def _give_up(self, group: list[tuple[str, Grant, Flight[Secret]]], error: BaseException) -> None:
        for _, grant, flight in group:
            if not flight.done.is_set():
                self._cache.land(grant.name, flight, secret=None, error=error)
                self._count(None, error)

    def prefetch(self, *patterns: str) -> Batch:
        """Read into the cache every secret whose name matches, where this principal may.

        Args:
            patterns: Names, or patterns such as ``db/*`` and ``db/**``.

        Raises:
            InvalidNameError: A pattern is malformed.
            UnsupportedOperationError: A backend that it concerns cannot list.
        """
        names: list[str] = []
        for pattern in patterns:
            self._gate.check_pattern(Action.READ, pattern)
            folder = "/".join(pattern.split("*", 1)[0].split("/")[:-1])
            names += [name for name in self.list(folder) if matches(pattern, name)] if "*" in pattern else [pattern]
        return self.get_many(names)

    def refresh(self, name: str) -> Secret:
        """Fetch a secret from its backend at once, whatever the cache holds.

        What is cached stays usable if the backend does not answer.

        Args:
            name: The secret's name.

        Raises:
            StrongroomError: As :meth:`get`; a stale value is never returned.
        """
        grant = self._grants.get(name) or self._admit(name)
        self._gate.judge(Action.READ, grant.name)
        self._cache.abandon(grant.name)
        return self._load(grant, None, refresh=True)

    def refresh_all(self) -> Batch:
        """Fetch every cached secret anew, with an error for each one that could not be fetched."""
        found: dict[str, Secret] = {}
        errors: dict[str, StrongroomError] = {}
        self._gate.ensure_open()
        for name in [key for key in self._cache.kept() if isinstance(key, str)]:
            with _collecting(name, errors):
                found[name] = self.refresh(name)
        return Batch(found=found, errors=errors)

    def invalidate(self, name: str | None = None) -> None:
        """Forget what is cached, 'not found' included, so that the next read asks the backend.

        Args:
            name: One secret; everything unless given.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
        """
        if name is None:
            self._cache.clear()
        else:
            self._cache.drop(SecretName(name))

    def list(self, prefix: str = "") -> list[SecretName]:
        """Return the names below a prefix that this principal may list, sorted.

        Args:
            prefix: A folder with or without its final slash; empty for all.

        Raises:
            InvalidNameError: The prefix is not a folder of names.
            UnsupportedOperationError: A backend that may hold such names cannot list.
        """
        self._gate.ensure_open()
        folder = self._gate.canonical(Action.LIST, prefix.removesuffix("/")) if prefix else ""
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
            audit.record(audit.event(event, principal=self.principal, result=error.code, **facts))
            raise
        audit.record(audit.event(event, principal=self.principal, duration=self._clock() - started, **facts))


def _key(grant: Grant, version: str | None) -> SecretName | tuple[SecretName, str]:
    return grant.name if version is None else (grant.name, version)


def _unanswered(backend: str, name: SecretName) -> StrongroomError:
    return BackendError(f"{backend} gave no answer for {name} in a batch", name=name, backend=backend)


@contextmanager
def _collecting(spelling: str, errors: dict[str, StrongroomError]) -> Iterator[None]:
    """Keep an error as one name's answer."""
    try:
        yield
    except StrongroomError as error:
        errors[spelling] = error
