"""What the cache tells about itself."""

from __future__ import annotations

from typing import Final

from strongroom._record import Record

BUCKETS: Final = (1.0, 10.0, 60.0, 300.0, 3600.0, float("inf"))
"""Upper bounds in seconds of the age and life distributions."""


class CacheStats(Record):
    """How reads have been served. The six kinds of reads add up to ``reads``."""

    reads: int
    hits: int
    misses: int
    """Answered by the backend, whether by an own call or by one that another reader had under way."""
    negative_hits: int
    """'There is no such secret', answered from the cache."""
    stale_hits: int
    """Answered with an expired entry, during an outage or while a new answer was being fetched."""
    fallback_hits: int
    """Answered from the fallback store: with the copy of a secret, or with a write that waits for its backend."""
    errors: int
    """Ended in an error other than 'not found'."""
    loads: int
    """Calls to a backend that the reads caused, also in vain; not above misses, stale and fallback hits, and errors."""
    refreshes: int
    """Calls to a backend that nobody waited for, to have an answer anew before or after it expired."""
    failed_refreshes: int
    """Those of them that brought no answer; what was cached stays, and a pause follows."""
    evictions: int
    expirations: int
    size: int
    max_entries: int
    ages: dict[str, int]
    """How many entries were stored at most so many seconds ago; the upper bounds are the keys."""
    lives: dict[str, int]
    """How many entries have at most so many seconds to live; expired ones are left out."""

    @property
    def hit_rate(self) -> float:
        """The part of the reads that the cache answered, from 0.0 to 1.0; 0.0 before the first read.

        Fallback hits are left out, even where the copy was in memory already.
        """
        served = self.hits + self.negative_hits + self.stale_hits
        return served / self.reads if self.reads else 0.0


def distribution(seconds: list[float]) -> dict[str, int]:
    """Count times by the upper bounds that they are within, each of which counts those below it, too."""
    return {
        "inf" if bound == float("inf") else f"{bound:g}": sum(value <= bound for value in seconds) for bound in BUCKETS
    }
