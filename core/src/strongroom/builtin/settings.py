"""The settings of what the core itself offers."""

from __future__ import annotations

from strongroom._record import Record
from strongroom.contracts.patterns import malformed
from strongroom.contracts.settings import Seconds, Size
from strongroom.model import SecretValue


class MemorySettings(Record):
    """Settings of the backend ``memory``."""

    seed: dict[str, SecretValue] | None = None
    """Secrets that are there from the start, by name; for tests and examples only."""
    max_value_bytes: Size | None = None
    """The most bytes a value may have; no limit unless set."""
    keep_versions: int = 20
    """How many versions of each secret are kept, the current one among them."""

    def __repr__(self) -> str:
        # The seed's values are secrets, if only for a test.
        return f"MemorySettings(max_value_bytes={self.max_value_bytes}, keep_versions={self.keep_versions})"

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = []
        if self.max_value_bytes is not None and self.max_value_bytes < 0:
            found.append("max_value_bytes is below 0")
        if self.keep_versions < 1:
            found.append("keep_versions is below 1, but the current version is always kept")
        return found


class TtlSettings(Record):
    """Settings of the cache policy ``ttl``."""

    ttl: Seconds = 300.0
    """How long an answer serves; 0 switches the cache off."""
    ttls: dict[str, Seconds] | None = None
    """Other times for some names, by pattern; of several that match, the most specific counts."""
    jitter: float = 0.1
    """By which part of its time an entry may live shorter, so that entries do not all expire at once."""
    negative_ttl: Seconds = 5.0
    """How long the answer serves that there is no such secret; 0 switches that off."""
    max_stale: Seconds = 0.0
    """How long beyond ``ttl`` an answer may stand in while the backend is out of reach."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        times = {"ttl": self.ttl, "negative_ttl": self.negative_ttl, "max_stale": self.max_stale}
        times |= {f"ttls.{pattern}": seconds for pattern, seconds in (self.ttls or {}).items()}
        found = [f"{name} is below 0" for name, seconds in times.items() if not seconds >= 0]
        found += malformed(self.ttls or ())
        if not 0 <= self.jitter <= 1:
            found.append("jitter is not between 0 and 1")
        return found


class NoneSettings(Record):
    """Settings of the cache policy ``none``: there are none."""
