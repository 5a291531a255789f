"""The way of a read: name → policy → detectors → cache → single flight → backend → record → cache → return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from strongroom import acting
from strongroom.audit.stage import recorded_at_once
from strongroom.cache.cache import Key
from strongroom.cache.entries import Entry
from strongroom.cache.pauses import refresh_of
from strongroom.contracts.anomaly import Access
from strongroom.contracts.backend import ListRequest, VersionsRequest
from strongroom.errors import (
    InvalidNameError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.grants import Grant
from strongroom.model import Freshness, Principal, PrincipalSource, Secret, SecretName, SecretVersion
from strongroom.policy import Action
from strongroom.stages.gate import Gate
from strongroom.stages.loading import Loader
from strongroom.stages.loads import Load
from strongroom.telemetry import count_substitute
from strongroom.wiring import Parts

if TYPE_CHECKING:
    from strongroom.contracts.service_rotation import Schedule
    from strongroom.stages.browsing import Folder

IDENTITIES: Final = 1024
"""How many principals that parts of the program act as one reader remembers."""


class Identity:
    """One principal as a reader knows it: its gate, and what it has been found allowed to read.

    Args:
        parts: The stages of the manager.
        principal: Who asks.
        base: The gate of whoever took on that principal, if somebody did.
    """

    __slots__ = ("gate", "grants")

    def __init__(self, parts: Parts, principal: Principal, base: Gate | None = None) -> None:
        self.gate = Gate(parts, principal, base)
        self.grants = parts.decisions.memo(self.gate.chain)


class Reader:
    """Reads secrets as one principal; what a :class:`~strongroom.SecretManager` is besides a writer."""

    def __init__(self, parts: Parts, principal: Principal, *, base: Gate | None = None) -> None:
        self.principal = principal
        self._parts = parts
        self._own = Identity(parts, principal, base)
        self._own_grants = self._own.grants
        # By name: the principals that parts of the program act as now and then.
        self._others: dict[str, Identity] = {}
        self._loader = Loader(parts)
        self._cache = parts.cache
        self._entries = parts.cache.entries
        self._clock = parts.clock
        self._record_hit = parts.audit.hit
        self._record_other_hit = parts.audit.other_hit
        self._count_hit = parts.cache.hits.step

    @property
    def _identity(self) -> Identity:
        """Who asks now: the manager's principal, or the one that this thread or task acts as."""
        name = acting.current() if acting.in_use else None
        return self._own if name is None else self._others.get(name) or self._taken_on(name)

    @property
    def _gate(self) -> Gate:
        return self._identity.gate

    def _taken_on(self, name: str) -> Identity:
        principal = Principal(name=name, source=PrincipalSource.CONTEXT)
        if len(self._others) >= IDENTITIES:
            self._others.clear()
        identity = self._others[name] = Identity(self._parts, principal, self._own.gate)
        return identity

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
        if version is None:
            # This is most of what a program ever does here: policy and name have been decided, and a hit
            # that needs nothing unusual takes no further call than those that count and record it.
            try:
                grant = (self._identity.grants if acting.in_use else self._own_grants)[name]
            except (KeyError, TypeError):
                pass  # the name is new to this principal, or is none and cannot be hashed
            else:
                entry = grant.entry
                # First the secret: if it is gone by the time of the next look, so is its time.
                secret = entry.secret
                now = self._clock()
                if (
                    now < entry.quiet_until
                    and secret is not None
                    and ((watch := grant.watch) is None or watch.lets_pass(now))
                ):
                    if (record := self._record_hit) is None:
                        self._count_hit()
                    else:
                        try:
                            record(grant.reading, secret.version, now)
                        except StrongroomError:
                            self._cache.counters.cell.errors += 1
                            raise
                    entry.visited = True
                    return secret if field is None else secret.field(field)
        secret = self._read_slowly(name, version)
        return secret if field is None else secret.field(field)

    @recorded_at_once
    def _read_slowly(self, name: str, version: str | None) -> Secret:
        return self._read(self._grant(name), version)

    def _read(self, grant: Grant, version: str | None) -> Secret:
        """Lead a read through all stages: detectors, cache, backend."""
        access = self._gate.judge(Action.READ, grant.name)
        if version is not None:
            version = self._version(grant, version)
            with self._gate.recording_refusal(Action.READ, grant.name):
                grant.backend.refuse_leased(grant.name, "reading an older version of")
        key = grant.name if version is None else (grant.name, version)
        secret = self._from_cache(grant, key, access, version)
        return secret if secret is not None else self._loader.load(Load(self._gate, grant, version, access))

    def _from_cache(self, grant: Grant, key: Key, access: Access | None, version: str | None) -> Secret | None:
        """Return what the cache may answer, or raise that there is no such secret; ``None`` if it has no answer."""
        entry = self._entries.get(key)
        now = self._clock()
        if entry is None:
            return None
        if now >= entry.revalidate_until:
            return self._substitute_hit(grant, entry, now)
        secret = entry.secret
        if secret is None:
            if entry.error is None or now >= entry.fresh_until:
                return None  # dropped meanwhile, or over
            raise self._negative_hit(grant, entry.error, entry, access, now)
        if now >= entry.quiet_until:
            self._revalidate(grant, version, entry)
        if now >= entry.fresh_until:
            return self._stale_hit(grant, entry, secret, now)
        entry.visited = True
        self._hit(grant, secret, now)
        if version is None:
            grant.serve(entry, self._parts.anomaly.watch(access, now, grant.watch))
        return secret

    def _revalidate(self, grant: Grant, version: str | None, entry: Entry) -> None:
        """Have an answer fetched anew in the background; until then it goes on serving."""
        load = Load(self._gate, grant, version, None, refresh=True, is_read=False)
        pause = self._cache.pauses.holding(refresh_of(load.key))
        entry.in_refresh(pause.until if pause is not None else None)
        if pause is None:
            self._parts.background.submit(load.key, lambda: self._loader.fetch_anew(load))

    def _version(self, grant: Grant, version: object) -> str:
        if isinstance(version, str):
            return str.__str__(version)  # the text itself: it may be of a class that compares as it likes
        error = InvalidNameError(
            f"a version is text, not {type(version).__name__}", name=grant.name, hint="versions() lists them"
        )
        self._gate.refused(Action.READ, grant.name, error)
        raise error

    def _hit(self, grant: Grant, secret: Secret, now: float) -> None:
        """Record and count a plain hit."""
        cell = self._cache.counters.cell
        try:
            if grant.immediate:
                self._record_immediately(grant, secret.version, "ok")
            elif self._record_hit is not None:
                self._record_hit(grant.reading, secret.version, now)
                return
        except StrongroomError:
            cell.errors += 1
            raise
        self._count_hit()

    def _substitute_hit(self, grant: Grant, entry: Entry, now: float) -> Secret | None:
        """Return what is kept, although it is over, if the backend is known to be out of reach and it may stand in."""
        condition = grant.backend.condition
        secret = entry.secret
        if secret is None or now >= entry.stale_until:
            return None
        if condition is None or not condition.is_out or condition.is_overdue:
            return None
        substitutes = self._parts.continuity.substitutes
        if substitutes is not None and not substitutes.none_waits(grant.name):
            # A write of it may have been accepted, which is newer: whoever looks has to ask the journal.
            return None
        found = self._stale_hit(grant, entry, secret, now)
        condition.note_substitute(found.age)
        count_substitute(condition.backend, found.freshness.value)
        return found

    def _stale_hit(self, grant: Grant, entry: Entry, secret: Secret, now: float) -> Secret:
        """Record and count an answer that stands in for the backend's."""
        entry.visited = True
        found = entry.substitute(secret, now)
        self._record_other(grant, secret.version, found.freshness.value, "ok", now)
        cell = self._cache.counters.cell
        if found.freshness is Freshness.FALLBACK:
            cell.fallback += 1
        else:
            cell.stale += 1
        return found

    def _negative_hit(
        self, grant: Grant, error: SecretNotFoundError, entry: Entry, access: Access | None, now: float
    ) -> SecretNotFoundError:
        entry.visited = True
        self._record_other(grant, None, "cache", error.code, now)
        self._cache.counters.cell.negative += 1
        self._parts.anomaly.observe(access, error.code)
        return error.again()

    def _record_other(self, grant: Grant, version: str | None, source: str, result: str, now: float) -> None:
        try:
            if grant.immediate:
                self._loader.record_read(grant, version=version, source=source, cache_hit=True, result=result)
            else:
                self._record_other_hit(grant.reading, version, now, source, result)
        except StrongroomError:
            self._cache.counters.cell.errors += 1
            raise

    def _record_immediately(self, grant: Grant, version: str | None, result: str) -> None:
        self._loader.record_read(grant, version=version, source="cache", cache_hit=True, result=result)

    def _grant(self, name: str) -> Grant:
        """Return what is known of a name, or admit it."""
        known = self._identity.grants.get(name) if isinstance(name, str) else None
        if known is None or (known.expires is not None and self._parts.wall_clock() >= known.expires * 1e9):
            return self._admit(name)
        return known

    def _admit(self, spelling: str) -> Grant:
        """Lead a name that is new to this principal through name check and policy, and open its backend."""
        identity = self._identity
        # Before the decision: if the policies are read anew meanwhile, it is not remembered.
        policy = self._parts.decisions.policy
        name, ruling = identity.gate.admit(Action.READ, spelling)
        with identity.gate.recording_refusal(Action.READ, name):
            return self._parts.remember(identity.grants, identity.gate.chain, spelling, name, ruling, policy=policy)

    @recorded_at_once
    def refresh(self, name: str) -> Secret:
        """Fetch a secret from its backend at once, whatever the cache holds.

        What is cached stays usable if the backend does not answer. For a leased name
        the backend makes another credential; the old one lives on for a while.

        Args:
            name: The secret's name.

        Raises:
            StrongroomError: As :meth:`get`; a stale value is never returned.
        """
        grant = self._grant(name)
        access = self._gate.judge(Action.READ, grant.name)
        self._cache.abandon(grant.name)
        return self._loader.load(Load(self._gate, grant, None, access, refresh=True))

    @recorded_at_once
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

    def watch(
        self, every: float = 30.0, *, names: Iterable[str] = (), known: Mapping[str, str | None] | None = None
    ) -> Callable[[], None]:
        """Look again and again whether others have changed what this process holds, so that it gets the new values.

        Looked at are the secrets that are cached, without the older versions and the leased credentials among them,
        and those to which somebody has subscribed by their whole names. Only their versions are asked for, where the
        backend can say them without the values. What has another version now, or is gone, leaves the cache, so the
        next read goes to the backend, and then subscribers hear of it: ``change`` is ``seen``. A backend that is known
        to be out of reach is left alone. A daemon thread does all that, one for the manager and all its views.

        That a version is current again which was so just before the present one is believed 15 seconds after the
        change: till then a node that lags behind may say so.

        Args:
            every: Seconds between two looks, at most, and at least 1; it is a random part of it, down to half.
            names: Patterns of the names to look at; all unless given.
            known: The version of each name that is in use elsewhere, such as in another process; ``None`` where
                there was none. The first look tells subscribers of whatever has changed since. Leave out those of a
                backend whose versions are each process's own, see ``VersionPolling.versions_are_shared``.

        Returns:
            A function that ends it; calling it twice is no error. Calling this method again replaces what was before.

        Raises:
            ConfigurationError: ``every`` is not such a number.
            InvalidNameError: A pattern or a name is malformed.
            ClosedError: The manager is closed.
        """
        # Imported here: most programs rely on how long answers are cached.
        from strongroom.stages.standing import watch

        return watch(self._parts, every, tuple(names), known)

    @recorded_at_once
    def list(self, prefix: str = "") -> list[SecretName]:
        """Return the names below a prefix that this principal may list, sorted.

        Args:
            prefix: A folder with or without its final slash; empty for all.

        Raises:
            InvalidNameError: The prefix is not a folder of names.
            UnsupportedOperationError: A backend that may hold such names cannot list.
        """
        folder = self._gate.folder(prefix, event="list")
        names: set[SecretName] = set()
        with self._gate.recording_look("list", f"{folder}/" if folder else "") as facts:
            request_ids = []
            for backend in self._parts.routing.below(folder):
                found = self._parts.backend(backend).list(ListRequest(prefix=folder))
                names.update(name for name in found.names if self._parts.routing.of(name) == backend)
                request_ids.append(found.request_id)
            names = {name for name in names if self._gate.permits(Action.LIST, name)}
            facts.update(count=len(names), request_id=_joined(request_ids))
        return sorted(names)

    @recorded_at_once
    def browse(self, prefix: str = "") -> Folder:
        """Return what is directly below a prefix: names, and folders to look into in turn.

        It costs less than a full list where a backend would have to walk through all folders
        for that. A folder is shown if this principal may list anything in it, were it there; so is one
        in which a route begins.

        Args:
            prefix: A folder with or without its final slash; empty for the root.

        Raises:
            InvalidNameError: The prefix is not a folder of names.
            UnsupportedOperationError: A backend that may hold such names cannot list.
        """
        # Imported here: most programs know the names that they read.
        from strongroom.stages.browsing import look_into

        folder = self._gate.folder(prefix, event="list")
        with self._gate.recording_look("list", f"{folder}/" if folder else "", detail="one level") as facts:
            look = look_into(self._parts, self._gate, folder)
            facts.update(count=len(look.folder.names), request_id=_joined(look.request_ids))
        return look.folder

    @recorded_at_once
    def schedules(self, prefix: str = "") -> tuple[Schedule, ...]:
        """Return when the secrets below a prefix are rotated, by services of backends and by our rules, sorted by name.

        Only what this principal may list is shown. It is the same as :meth:`RotationDesk.schedule`.

        Args:
            prefix: A folder with or without its final slash; empty for all. For what rules rotate it may be one
                secret's name, too.

        Raises:
            InvalidNameError: The prefix is not a folder of names.
            BackendUnavailableError: A service does not say when it rotates.
        """
        # Imported here: hardly a program wants to know.
        from strongroom.rotation.overview import Overview

        return Overview(self._parts, self._gate).schedule(prefix)

    @recorded_at_once
    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """Return the versions of a secret that its backend keeps, oldest first.

        Raises:
            AccessDeniedError: This principal may not read the secret.
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend keeps no versions.
        """
        grant = self._admit(name)
        self._gate.judge(Action.READ, grant.name)
        with self._gate.recording_look("versions", grant.name, backend=grant.backend.name) as facts:
            grant.backend.refuse_leased(grant.name, "listing the versions of")
            try:
                found = grant.backend.versions(VersionsRequest(name=grant.name))
            except SecretNotFoundError:
                self._loader.note_gone(grant)
                raise
            facts.update(count=len(found.versions), request_id=found.request_id)
        return found.versions


def _joined(request_ids: Iterable[str | None]) -> str | None:
    """Return the ids of several requests as one text; ``None`` if no backend has told any."""
    return ",".join(filter(None, request_ids)) or None
