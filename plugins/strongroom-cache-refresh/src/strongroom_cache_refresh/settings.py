"""What a configuration may say under ``[cache]`` with ``policy = "refresh"``."""

from __future__ import annotations

from strongroom.contracts import Record, Seconds, malformed


class RefreshSettings(Record):
    """Settings of the cache policy ``refresh``."""

    ttl: Seconds = 300.0
    """How long an answer serves; 0 switches the cache off."""
    ttls: dict[str, Seconds] | None = None
    """Other times for some names, by pattern; of several that match, the most specific counts."""
    negative_ttl: Seconds = 5.0
    """How long the answer serves that there is no such secret; 0 switches that off."""
    jitter: float = 0.1
    """By which part of its time an entry may live shorter, so that entries do not all expire at once."""
    refresh_ahead: float = 0.2
    """In which last part of its life an entry is fetched anew by its first reader; 0 switches that off."""
    stale_while_revalidate: Seconds = 0.0
    """How long an expired answer still serves while its first reader has it fetched anew."""
    max_stale: Seconds = 0.0
    """How long beyond its life an answer may stand in while the backend is out of reach."""
    adaptive: bool = False
    """Whether to learn each name's time from how often its version changes; names in ``ttls`` keep theirs."""
    min_ttl: Seconds = 30.0
    """The shortest time that is learned."""
    max_ttl: Seconds = 3600.0
    """The longest time that is learned."""
    no_cache: tuple[str, ...] = ()
    """Patterns of names that are never cached."""
    keep: tuple[str, ...] = ()
    """Patterns of names whose entries are evicted last when the cache is full."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        times = {name: getattr(self, name) for name in ("ttl", "negative_ttl", "stale_while_revalidate", "max_stale")}
        times |= {f"ttls.{pattern}": seconds for pattern, seconds in (self.ttls or {}).items()}
        found = [f"{name} is below 0" for name, seconds in times.items() if not seconds >= 0]
        parts = {"jitter": self.jitter, "refresh_ahead": self.refresh_ahead}
        found += [f"{name} is not between 0 and 1" for name, part in parts.items() if not 0 <= part <= 1]
        found += self._problems_of_learning()
        return found + malformed((*(self.ttls or ()), *self.no_cache, *self.keep))

    def _problems_of_learning(self) -> list[str]:
        if not self.adaptive:
            return []
        if not self.min_ttl > 0:
            return ["min_ttl is not above 0"]
        if not self.min_ttl <= self.ttl <= self.max_ttl:
            return ["ttl, where learning starts, is not between min_ttl and max_ttl"]
        return []
