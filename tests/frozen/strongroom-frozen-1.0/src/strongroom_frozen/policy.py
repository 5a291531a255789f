"""The cache policy."""

from __future__ import annotations

from strongroom.contracts import CachePolicy, Lifetime, Previous, StoreRequest
from strongroom_frozen.settings import PolicySettings


class FrozenPolicy(CachePolicy):
    """Fresh for a while, refreshed in its second half, stale for longer."""

    def __init__(self, settings: PolicySettings) -> None:
        self._settings = settings

    def lifetime(self, request: StoreRequest) -> Lifetime:
        """Return the times of one new entry."""
        ttl = self._settings.ttl if request.found else min(1.0, self._settings.ttl)
        ttl *= 1.0 - 0.1 * request.random
        if request.pinned:
            ttl *= 2.0
        previous = request.previous or Previous(version=None, stored=0.0, used=False)
        known = previous.used and previous.stored <= request.now
        same = previous.version == request.version
        fresh_until = request.now + ttl
        return Lifetime(
            fresh_until=fresh_until,
            refresh_at=request.now + ttl / 2 if known and request.found else None,
            revalidate_until=fresh_until + 1.0 if same and request.found else None,
            stale_until=fresh_until + self._settings.stale if request.found else None,
            spared=1 if str(request.name).startswith("db/") else 0,
        )
