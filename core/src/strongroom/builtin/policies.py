"""The cache policies ``ttl`` and ``none``."""

from __future__ import annotations

from strongroom.builtin.settings import NoneSettings, TtlSettings
from strongroom.contracts.cache import CachePolicy, Lifetime, StoreRequest
from strongroom.contracts.patterns import first_match, most_specific_first
from strongroom.model import SecretName


class TtlPolicy(CachePolicy):
    """Lets every answer serve for the same time, less a random part of it.

    Args:
        settings: The times, in seconds, and the random part.
    """

    def __init__(self, settings: TtlSettings) -> None:
        self._settings = settings
        self._times = settings.ttls or {}
        self._patterns = most_specific_first(self._times)

    def lifetime(self, request: StoreRequest) -> Lifetime:
        """Return the times of one new entry.

        The lifetime is at most the name's ``ttl`` (``negative_ttl`` where nothing was found)
        and at least that less the jitter. That there is no such secret never
        stands in during an outage: it may just have been created.
        """
        settings = self._settings
        longest = self._ttl(request.name) if request.found else settings.negative_ttl
        fresh_until = request.now + longest * (1.0 - settings.jitter * request.random)
        if not request.found or not settings.max_stale:
            return Lifetime(fresh_until=fresh_until)
        return Lifetime(fresh_until=fresh_until, stale_until=fresh_until + settings.max_stale)

    def _ttl(self, name: SecretName) -> float:
        pattern = first_match(self._patterns, name)
        return self._settings.ttl if pattern is None else self._times[pattern]


class NonePolicy(CachePolicy):
    """Caches nothing: every read asks the backend.

    Args:
        settings: Without content; there is nothing to set.
    """

    def __init__(self, settings: NoneSettings) -> None:
        self._settings = settings

    def lifetime(self, request: StoreRequest) -> Lifetime:
        """Return a lifetime that is over before it begins."""
        return Lifetime(fresh_until=request.now)
