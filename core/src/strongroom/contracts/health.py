"""How a backend or sink says that it is well."""

from __future__ import annotations

import enum

from strongroom._record import Record


class HealthState(enum.Enum):
    """Whether a part can do its work now."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class Health(Record):
    """A part's state with the reason, for people and for monitoring."""

    state: HealthState
    reason: str = ""
    """Why it is not up; one sentence without a final stop."""
    hint: str = ""
    """What to do about it."""
    facts: tuple[tuple[str, str], ...] = ()
    """Further facts by name, such as the store's size; never a value."""
    figures: tuple[tuple[str, float], ...] = ()
    """What can be measured, for metrics: ``token_seconds`` (how long the client's token has to live), ``store_bytes``
    (how much of the disk its store takes) and ``key_uses`` (how often its data key has encrypted). Others are ignored.
    """
