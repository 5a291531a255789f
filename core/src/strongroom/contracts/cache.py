"""The contract of a cache policy: how long an answer may be used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.model import SecretName


class Previous(Record):
    """The entry that a new answer replaces."""

    version: str | None
    """``None`` for the answer that there is no such secret."""
    stored: float
    used: bool
    """Whether anybody read it from the cache."""


class StoreRequest(Record):
    """An answer is about to be cached. Times are seconds on one monotonic clock."""

    name: SecretName
    now: float
    found: bool = True
    """False for the answer that there is no such secret."""
    random: float = 0.5
    """A number in [0, 1) drawn for this entry, so that a policy needs no randomness of its own."""
    version: str | None = None
    """The answer's version."""
    previous: Previous | None = None
    """What was cached under the name before, if it still was."""
    pinned: bool = False
    """Whether it is an older version that was asked for by its version, and so never changes."""


class Lifetime(Record):
    """Until when an answer serves, on the clock of the request; a hit only compares these."""

    fresh_until: float
    """Up to here it is served as it is; if no time is after ``now``, the answer is not cached."""
    refresh_at: float | None = None
    """From here on the first reader has it fetched anew, beside the answer: not after ``fresh_until``; ``None`` for
    never."""
    revalidate_until: float | None = None
    """From ``fresh_until`` up to here the first reader has it fetched anew, and everybody gets the old answer
    until the new one has come; ``None`` for not at all. Such a read counts as a stale one."""
    stale_until: float | None = None
    """Up to here, and not before ``fresh_until``, it may stand in during an outage; ``None`` for not at all."""
    spared: int = 0
    """How often eviction passes the entry over although nobody has read it, from 0 to 3."""


class CachePolicy(ABC):
    """Decides, when an entry is stored, how long it lives. Called from several threads."""

    @abstractmethod
    def lifetime(self, request: StoreRequest) -> Lifetime:
        """Return the times of one new entry. It must be quick and must not block.

        They depend on the request alone, which brings a number drawn at random and the time; where there was an entry
        before, also on what the policy has learned of it.
        """


class CachePolicySpec(Record):
    """Describes a cache policy; what the hook ``strongroom_cache_policies`` yields."""

    name: str
    """What ``policy = "..."`` in ``[cache]`` says; the entry point's name."""
    summary: str
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], CachePolicy]

    kind: ClassVar[str] = "cache_policy"
