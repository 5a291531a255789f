"""The fallback store as ``health`` and ``doctor`` look at it: without a manager, so that nothing is recorded."""

from __future__ import annotations

import time

from collections.abc import Callable
from typing import Final

from strongroom._record import Record
from strongroom._spoken import spoken
from strongroom.background import Background
from strongroom.cli.parts import Part
from strongroom.config.load import Configuration
from strongroom.config.resilience import Resilience
from strongroom.contracts import HealthState
from strongroom.contracts.journal import Journal, JournalStatus
from strongroom.discovery import Kind
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.outages.fallback import FallbackStore
from strongroom.outages.known import KnownOutage, Outages
from strongroom.resilience.conditions import ConditionState
from strongroom.resilience.guarded import GuardedBackend

NO_JOURNAL: Final = "it keeps no copies and no journal"


class Standby(Record):
    """The backend that keeps copies and the journal, and what waits in it."""

    backend: str
    """Its configured name."""
    stands_in: bool = False
    """Whether, as it is configured, anything is copied or accepted at all, and it works."""
    waiting: int = 0
    set_aside: int = 0
    size: int = 0
    """Bytes of all their values together."""
    oldest: float | None = None
    """For how long the oldest one that waits has waited, in seconds; ``None`` if none waits."""
    problem: str = ""
    """Why the journal could not be looked at; empty if it could."""
    by_backend: dict[str, int]
    """How many wait for each backend, by its configured name."""
    outages: dict[str, KnownOutage]
    """What processes have noted about backends that do not answer, by name."""

    def covers(self, part: Part) -> bool:
        """Tell whether it stands in for a part that is down; not for one that cannot even be opened."""
        return self.stands_in and isinstance(part.opened, GuardedBackend) and part.name != self.backend

    def condition(self, part: Part) -> ConditionState:
        """Return how a backend is, as far as one look can tell.

        Args:
            part: The backend.
        """
        if part.health.state is HealthState.DOWN:
            return ConditionState.DEGRADED
        return ConditionState.RECOVERING if self.by_backend.get(part.name) else ConditionState.HEALTHY

    def told(self) -> str:
        """Return what waits, in one line."""
        label = f"journal of {self.backend}"
        if self.problem:
            return f"{label}: {self.problem}"
        told = []
        if self.waiting:
            since = f", the oldest for {spoken(self.oldest)}" if self.oldest is not None else ""
            told.append(f"{self.waiting} waiting{since}")
        if self.set_aside:
            told.append(f"{self.set_aside} set aside: see `strongroom journal list`")
        return f"{label}: {'; '.join(told) or 'empty'}"


def look(configuration: Configuration, parts: list[Part], now: float) -> Standby | None:
    """Return how the fallback store is; ``None`` if none is configured.

    Args:
        configuration: Names it.
        parts: All backends, as they were opened.
        now: Seconds since 1970 UTC.
    """
    name = configuration.resilience.fallback
    if name is None:
        return None
    found = {part.name: part for part in parts if part.kind is Kind.BACKEND}
    store = found[name]
    if not isinstance(store.opened, GuardedBackend):
        return _useless(name, store.health.reason)
    if not store.opened.offers(Journal):
        return _useless(name, NO_JOURNAL)
    try:
        return _looked(configuration.resilience, found, opened_store(configuration, parts), now)
    except StrongroomError as error:
        return _useless(name, error.what)


def _useless(name: str, problem: str) -> Standby:
    return Standby(backend=name, problem=problem, by_backend={}, outages={})


def opened_store(configuration: Configuration, parts: list[Part]) -> FallbackStore:
    """Return the fallback store, where it has been opened as one of the parts.

    Args:
        configuration: Names it.
        parts: All backends, as they were opened.
    """
    opened = {part.name: part.opened for part in parts if isinstance(part.opened, GuardedBackend)}

    def find(name: str) -> GuardedBackend:
        if name not in opened:
            raise ConfigurationError(f"{name} could not be opened", hint="`strongroom health` tells why")
        return opened[name]

    # Nothing is submitted to it, so it has no threads.
    return FallbackStore(configuration.resilience, find, Background(), clock=time.monotonic, wall_clock=time.time_ns)


def _looked(rules: Resilience, parts: dict[str, Part], store: FallbackStore, now: float) -> Standby:
    others = [name for name in parts if name != rules.fallback]
    found: JournalStatus = store.status()
    noted = Outages(store, Background())
    down = [name for name in others if parts[name].health.state is HealthState.DOWN]
    for name in others:
        if name not in down:
            noted.ended(name)
    return Standby(
        backend=store.name or "",
        stands_in=parts[store.name or ""].health.state is not HealthState.DOWN and is_used(rules),
        waiting=found.waiting,
        set_aside=found.set_aside,
        size=found.size,
        oldest=None if found.oldest is None else max(0.0, now - found.oldest),
        by_backend={name: store.status(name).waiting for name in others} if found.waiting else {},
        outages=_present(down, noted.known),
    )


def _present(names: list[str], known: Callable[[str], KnownOutage | None]) -> dict[str, KnownOutage]:
    return {name: outage for name in names if (outage := known(name)) is not None}


def is_used(rules: Resilience) -> bool:
    """Tell whether, for any name at all, copies are kept or writes accepted.

    Args:
        rules: What the configuration says.
    """
    own = (rules.keys.names or {}).values()
    return rules.common.keep_copy or rules.common.queue_writes or any(one.keep_copy or one.queue_writes for one in own)
