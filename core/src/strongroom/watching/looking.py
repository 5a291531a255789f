"""Looks at which versions of the secrets that a process holds are current, and forgets what is cached of others."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterable
from typing import Final

from strongroom._warner import Warner
from strongroom.audit.stage import AuditStage
from strongroom.background import Background
from strongroom.cache.cache import Cache
from strongroom.cache.entries import Entry, PinnedEntry
from strongroom.contracts.names import is_reserved
from strongroom.contracts.patterns import matches
from strongroom.contracts.polling import CurrentVersionsRequest, CurrentVersionsResult
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    ClosedError,
    PluginError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.events.updates import SecretUpdated, Subscriptions
from strongroom.model import Principal, SecretName
from strongroom.outages.continuity import Continuity
from strongroom.resilience.guarded import GuardedBackend
from strongroom.watching.sightings import Held, Sightings

REFUSED_SECONDS: Final = 600.0
"""For how long nobody looks again where a look was refused: each one would be in somebody's log as a denial."""
LASTING: Final = (AccessDeniedError, AuthenticationError, PluginError, UnsupportedOperationError)
"""Errors that will be the same the next time, and a while after. A file that somebody is just writing gives none."""


class Looks:
    """Finds out which secrets somebody else has changed, of those that are cached or subscribed to by name.

    It never fails: what cannot be looked at now is looked at next time.

    Args:
        cache: What is held, and where that is forgotten.
        subscriptions: Who hears of changes.
        continuity: Knows for which secrets changes wait.
        audit: Records what was found.
        background: Where subscribers are told.
        open: Returns a backend by its configured name.
        route: Returns the configured name of a secret's backend.
        principal: For whom the manager was opened.
        clock: Monotonic seconds.
        names: Patterns of the names to look at; all unless given.

    Attributes:
        sightings: What is known of current versions.
        failures: How many looks at a backend have failed.
    """

    def __init__(
        self,
        cache: Cache,
        subscriptions: Subscriptions,
        continuity: Continuity,
        audit: AuditStage,
        background: Background,
        *,
        open: Callable[[str], GuardedBackend],
        route: Callable[[str], str],
        principal: Principal,
        clock: Callable[[], float],
        names: tuple[str, ...] = (),
    ) -> None:
        self._cache = cache
        self._subscriptions = subscriptions
        self._continuity = continuity
        self._audit = audit
        self._background = background
        self._open = open
        self._route = route
        self._principal = principal
        self._clock = clock
        self._patterns = names
        self._warner = Warner(clock)
        self.sightings = Sightings(clock)
        self.failures = 0
        self._refused: dict[str, float] = {}
        """Until when nobody looks: by name, or by the configured name of a backend with a colon before it."""
        self._forget_news()

    def _forget_news(self) -> None:
        self._lock = threading.Lock()
        self._news: dict[SecretName, SecretUpdated] = {}
        """What subscribers have not been told yet, the last change of each secret."""
        self._is_telling = False

    def after_fork(self) -> None:
        """Start afresh in a forked child."""
        self.sightings.after_fork()
        self._refused = {}
        self._forget_news()

    def at_all(self) -> None:
        """Look at all that is held."""
        now = self._clock()
        self._refused = {key: until for key, until in self._refused.items() if now < until}
        names = self._held() | self._subscribed()
        self._at(names)
        self.sightings.keep_only(names)
        self._have_told()

    def at_new(self) -> None:
        """Look at the names that somebody has subscribed to since the last look, so that changes are seen from now."""
        self._at(name for name in self._subscribed() if self.sightings.is_new(name))

    def _held(self) -> set[SecretName]:
        """Return the names of which the cache would answer a read now, by a value or by saying that there is none."""
        now, entries = self._clock(), self._cache.entries
        keys = [key for key in self._cache.kept() if isinstance(key, SecretName)]
        return {key for key in keys if self._serves(entries.get(key), now) and self._is_wanted(key)}

    def _serves(self, entry: Entry | None, now: float) -> bool:
        # A leased credential has no versions: whoever looks after it knows by when there is another one.
        return entry is not None and not isinstance(entry, PinnedEntry) and now < entry.revalidate_until

    def _subscribed(self) -> set[SecretName]:
        return {name for name in self._subscriptions.names() if self._is_wanted(name) and not is_reserved(name)}

    def _is_wanted(self, name: SecretName) -> bool:
        return not self._patterns or any(matches(pattern, name) for pattern in self._patterns)

    def _at(self, names: Iterable[SecretName]) -> None:
        by_backend: dict[str, list[SecretName]] = {}
        for name in sorted(names):
            by_backend.setdefault(self._route(name), []).append(name)
        for key, routed in by_backend.items():
            if f":{key}" in self._refused:
                continue
            try:
                self._in_backend(self._open(key), routed)
            except StrongroomError as error:
                self._failed(key, error)

    def _failed(self, backend: str, error: StrongroomError) -> None:
        if isinstance(error, ClosedError):
            return
        self.failures += 1
        if isinstance(error, LASTING):
            self._refused[f":{backend}"] = self._clock() + REFUSED_SECONDS
        self._warner.warn(f"{backend} could not be asked for changes made elsewhere: {error.what}")

    def _in_backend(self, backend: GuardedBackend, names: list[SecretName]) -> None:
        if backend.condition is not None and backend.condition.is_out:
            return  # whoever looks after it knows when it is back
        names = [name for name in names if name not in self._refused and self._is_clear(backend, name)]
        look = _Look(backend)
        size = backend.versions_at_once
        try:
            for start in range(0, len(names), size):
                self._some(look, names[start : start + size])
        finally:
            # What has been forgotten is told, whatever has come of the rest; and whether or not it can be recorded.
            try:
                self._record(look)
            finally:
                self._tell(look)

    def _is_clear(self, backend: GuardedBackend, name: SecretName) -> bool:
        """Tell whether a name has one current version that a look can find."""
        if backend.is_leased(name):
            return False
        store = self._continuity.store
        if store is None or not store.covers(backend, name):
            return True
        # A write that waits is newer than what the backend has, and subscribers hear of it when it is made.
        place = store.place(backend, name)
        return place is None or not store.may_wait(place)

    def _some(self, look: _Look, names: list[SecretName]) -> None:
        since, names = self.sightings.begin_look(names)
        if not names:
            return
        kept = {name: entry for name in names if (entry := self._cache.entries.get(name)) is not None}
        held = {name: one for name, entry in kept.items() if (one := _held(entry)) is not None}
        result = look.ask(names)
        for name in names:
            error = result.errors.get(name)
            if isinstance(error, AccessDeniedError):
                self._refused[name] = self._clock() + REFUSED_SECONDS
            if name in result.versions or isinstance(error, SecretNotFoundError):
                self._learn(look, name, result.versions.get(name), kept.get(name), held.get(name), since)

    def _learn(
        self,
        look: _Look,
        name: SecretName,
        said: str | None,
        entry: Entry | None,
        held: Held | None,
        since: int,
    ) -> None:
        finding = self.sightings.learn(name, said, held, since)
        if finding is None:
            return
        if held.version != finding.version if held is not None else finding.changed:
            self._cache.drop_older(name, entry, held.version if held is not None else None)
        if finding.changed:
            look.found.append(SecretUpdated(name=name, change="seen", version=finding.version))
            substitutes = self._continuity.substitutes
            if finding.version is None and substitutes is not None:
                substitutes.gone(look.backend, name)

    def _record(self, look: _Look) -> None:
        """Record that something was found, and that values were fetched to find out; an empty look is no access."""
        if not self._audit.enabled or not (look.found or look.fetched):
            return
        detail = f"the values of {look.fetched} secrets were fetched to compare versions, and thrown away"
        event = self._audit.event(
            "watch",
            principal=self._principal,
            backend=look.backend.name,
            count=len(look.found),
            request_id=",".join(look.request_ids) or None,
            detail=detail if look.fetched else None,
        )
        self._audit.record(event)

    def _tell(self, look: _Look) -> None:
        news = {event.name: event for event in look.found if self._subscriptions.has(event.name)}
        with self._lock:
            self._news |= news
        self._have_told()

    def _have_told(self) -> None:
        """Have subscribers told of what is new, one change after the other.

        Nothing here waits for them, and one that hangs takes one thread of the background only. If so much waits there
        that nothing more is taken, the next look tries again.
        """
        with self._lock:
            if self._news and not self._is_telling:
                self._is_telling = self._background.submit(object(), self._tell_next)

    def _tell_next(self) -> None:
        with self._lock:
            event = self._news.pop(next(iter(self._news)))
        try:
            self._subscriptions.later(event)()
        finally:
            with self._lock:
                self._is_telling = False
            self._have_told()


def _held(entry: Entry) -> Held | None:
    """Return what an entry says a backend has answered; one that was dropped just now says nothing."""
    # Taken once: it may be dropped between two looks at it.
    secret = entry.secret
    if secret is not None:
        return Held(version=secret.version)
    return Held(version=None) if entry.error is not None else None


class _Look:
    """One look at some secrets of one backend."""

    def __init__(self, backend: GuardedBackend) -> None:
        self.backend = backend
        self.found: list[SecretUpdated] = []
        self.fetched = 0
        self.request_ids: list[str] = []

    def ask(self, names: list[SecretName]) -> CurrentVersionsResult:
        result = self.backend.current_versions(CurrentVersionsRequest(names=tuple(names)))
        if result.values_fetched:
            self.fetched += len(names)
        if result.request_id:
            self.request_ids.append(result.request_id)
        return result
