"""Cached answers, and up to when each of them serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from strongroom.cache.eviction import Candidate
from strongroom.contracts.cache import Lifetime
from strongroom.errors import SecretNotFoundError
from strongroom.model import Freshness, Secret

NEVER: Final = float("-inf")


class Entry(Candidate):
    """A cached answer: a secret, or that there is none.

    Whoever holds an entry that has been dropped finds no value in it any more, and
    that it is not to be served.

    Attributes:
        quiet_until: Up to here a hit needs nothing but the secret; beyond it, look at the other times.
    """

    __slots__ = (
        "error",
        "fresh_until",
        "quiet_until",
        "revalidate_until",
        "secret",
        "stale_until",
        "stored",
    )

    def __init__(
        self, stored: float, lifetime: Lifetime, *, secret: Secret | None, error: SecretNotFoundError | None
    ) -> None:
        super().__init__(lifetime.spared)
        self.secret = secret
        self.error = error
        self.stored = stored
        self.fresh_until = lifetime.fresh_until
        self.revalidate_until = _latest(self.fresh_until, lifetime.revalidate_until)
        self.stale_until = _latest(self.revalidate_until, lifetime.stale_until)
        self.quiet_until = (
            self.fresh_until if lifetime.refresh_at is None else min(self.fresh_until, lifetime.refresh_at)
        )

    def end(self) -> None:
        """Serve no more, and let go of the value."""
        # In this order: a reader takes the secret first and looks at the time then.
        self.quiet_until = NEVER
        self.fresh_until = self.revalidate_until = self.stale_until = NEVER
        self.secret = None

    def in_refresh(self, until: float | None = None) -> None:
        """Let the next hits pass while the answer is being fetched anew.

        Args:
            until: When a hit is to have it fetched again, after a failure; not before it is stale unless given.
        """
        self.quiet_until = self.fresh_until if until is None else min(self.fresh_until, until)

    def substitute(self, secret: Secret, now: float) -> Secret:
        """Return the secret that was kept here as one that stands in for the backend's answer, with its age."""
        age = now - self.stored
        if secret.freshness is Freshness.FALLBACK:
            return secret.with_changes(age=secret.age + age)
        return secret.with_changes(freshness=Freshness.STALE, age=age)

    def not_beyond(self, time: float) -> None:
        """Neither serve while it is fetched anew nor stand in during an outage after a certain time."""
        self.stale_until = min(self.stale_until, _latest(self.fresh_until, time))
        self.revalidate_until = min(self.revalidate_until, self.stale_until)

    def not_beyond_its_life(self) -> None:
        """Neither serve while it is fetched anew nor stand in during an outage."""
        self.not_beyond(self.fresh_until)


class PinnedEntry(Entry):
    """A cached answer that is kept beside the others.

    Args:
        stored: When it was stored.
        until: Up to when it serves.
        secret: The answer.
        on_leaving: Called once, when it is dropped or replaced.
    """

    __slots__ = ("on_leaving",)

    def __init__(self, stored: float, until: float, *, secret: Secret, on_leaving: Callable[[], object]) -> None:
        super().__init__(stored, Lifetime(fresh_until=until), secret=secret, error=None)
        self.on_leaving: Callable[[], object] | None = on_leaving


def _latest(time: float, other: float | None) -> float:
    return time if other is None or other < time else other
