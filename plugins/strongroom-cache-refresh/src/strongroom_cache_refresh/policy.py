"""The cache policy ``refresh``."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import CachePolicy, Lifetime, StoreRequest, first_match, most_specific_first
from strongroom_cache_refresh.learning import Learner
from strongroom_cache_refresh.settings import RefreshSettings

MOST_SPARED: Final = 3
"""How often eviction passes over an entry to keep: the most that the core takes."""


class RefreshPolicy(CachePolicy):
    """Has what is in use fetched anew before it expires, with times by name or learned.

    Args:
        settings: The times, in seconds, and the patterns.
    """

    def __init__(self, settings: RefreshSettings) -> None:
        self._settings = settings
        self._times = settings.ttls or {}
        self._patterns = most_specific_first(self._times)
        self._learner: Learner | None = None
        if settings.adaptive:
            self._learner = Learner(start=settings.ttl, least=settings.min_ttl, most=settings.max_ttl)

    def lifetime(self, request: StoreRequest) -> Lifetime:
        """Return the times of one new entry.

        That there is no such secret serves for ``negative_ttl``, without a refresh,
        and never stands in once expired: it may just have been created.
        """
        settings, now = self._settings, request.now
        if first_match(settings.no_cache, request.name) is not None:
            return Lifetime(fresh_until=now)
        life = (self._ttl(request) if request.found else settings.negative_ttl) * (1 - settings.jitter * request.random)
        spared = MOST_SPARED if first_match(settings.keep, request.name) is not None else 0
        if life <= 0 or not request.found:
            return Lifetime(fresh_until=now + life, spared=spared)
        fresh_until = now + life
        return Lifetime(
            fresh_until=fresh_until,
            refresh_at=fresh_until - settings.refresh_ahead * life if self._is_in_use(request) else None,
            revalidate_until=_beyond(fresh_until, settings.stale_while_revalidate),
            stale_until=_beyond(fresh_until, settings.max_stale),
            spared=spared,
        )

    def _is_in_use(self, request: StoreRequest) -> bool:
        """Tell whether a refresh ahead is worth a call: not if nobody used the answer before this one."""
        if request.pinned or not self._settings.refresh_ahead:
            return False
        return request.previous is None or request.previous.used

    def _ttl(self, request: StoreRequest) -> float:
        pattern = first_match(self._patterns, request.name)
        if pattern is not None:
            return self._times[pattern]
        if self._learner is None:
            return self._settings.ttl
        if request.version is None or request.pinned:
            return self._learner.ttl(request.name)
        return self._learner.observe(request.name, request.version, request.now)


def _beyond(fresh_until: float, seconds: float) -> float | None:
    return fresh_until + seconds if seconds else None
