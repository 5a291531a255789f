"""One read that the cache does not answer."""

from __future__ import annotations

from strongroom.cache.cache import Key
from strongroom.cache.flights import Flight
from strongroom.contracts.anomaly import Access
from strongroom.grants import Grant
from strongroom.model import Secret
from strongroom.outcomes import Begun
from strongroom.stages.gate import Gate


class Load:
    """One read that the cache does not answer.

    Args:
        gate: Decides what the reader may do.
        grant: The right to it.
        version: An older version, or ``None``.
        access: What the detectors have judged, if there are any.
        refresh: Whether it must come from the backend, whatever is cached.
        is_read: Whether somebody reads; else an answer is fetched anew in the background.

    Attributes:
        flight: What brings the answer, once that is known.
        begun: When it was begun, as :meth:`Substitutes.begin` says it.
    """

    __slots__ = ("access", "begun", "flight", "gate", "grant", "is_read", "key", "refresh", "version")

    key: Key

    def __init__(
        self,
        gate: Gate,
        grant: Grant,
        version: str | None,
        access: Access | None,
        *,
        refresh: bool = False,
        is_read: bool = True,
    ) -> None:
        self.gate = gate
        self.grant = grant
        self.version = version
        self.access = access
        self.refresh = refresh
        self.is_read = is_read
        self.flight: Flight[Secret] | None = None
        self.begun: Begun = (0, 0.0)
        self.key = grant.name if version is None else (grant.name, version)
