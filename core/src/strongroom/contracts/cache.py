"""The contract of a cache policy: how long an answer may be used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.model import SecretName


class StoreRequest(Record):
    """An answer is about to be cached. Times are seconds on one monotonic clock."""

    name: SecretName
    now: float
    found: bool = True
    """False for the answer that there is no such secret."""
    random: float = 0.5
    """A number in [0, 1) drawn for this entry, so that a policy needs no randomness of its own."""


class Lifetime(Record):
    """Until when an answer serves, on the clock of the request; a hit only compares these."""

    fresh_until: float
    """Up to here it is served as it is; a time not after ``now`` means: do not cache."""
    refresh_at: float | None = None
    """From here on the first reader has it fetched anew, beside the answer; ``None`` for never."""
    stale_until: float | None = None
    """Up to here it may stand in during an outage; ``None`` for not at all."""


class CachePolicy(ABC):
    """Decides, when an entry is stored, how long it lives. Called from several threads."""

    @abstractmethod
    def lifetime(self, request: StoreRequest) -> Lifetime:
        """Return the times of one new entry. It must be quick and must not block."""


class CachePolicySpec(Record):
    """Describes a cache policy; what the hook ``strongroom_cache_policies`` yields."""

    name: str
    """What ``policy = "..."`` in ``[cache]`` says; the entry point's name."""
    summary: str
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], CachePolicy]

    kind: ClassVar[str] = "cache_policy"
