"""How a manager is: its backends and sinks, their outages, and what waits in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom._record import Record
from strongroom.contracts.health import Health, HealthState
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.resilience.conditions import ConditionReport, ConditionState
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import note_health, note_journal_length
from strongroom.telemetry.names import SINK_TYPE
from strongroom.wiring import Parts

if TYPE_CHECKING:
    from strongroom.outages.fallback import FallbackStore
    from strongroom.outages.known import KnownOutage

_ORDER: Final = [HealthState.UP, HealthState.DEGRADED, HealthState.DOWN]


class PartHealth(Record):
    """The state of one backend or sink."""

    kind: str
    """``backend`` or ``audit``."""
    name: str
    health: Health
    """What it says itself, just now."""
    condition: ConditionReport | None = None
    """What this process has seen of it; ``None`` for sinks, and for backends that cannot be opened."""
    outage: KnownOutage | None = None
    """Since when it has been out of reach, as some process has noted it in the fallback store."""


class JournalHealth(Record):
    """The state of the journal: the writes that have been accepted for later."""

    waiting: int
    """How many writes wait."""
    set_aside: int
    """How many are set aside, for a person to decide about."""
    size: int
    """How many bytes the values of all of them have."""
    oldest: float | None
    """How long the oldest one that waits has waited, in seconds; ``None`` if none does."""
    problem: str = ""
    """Why the journal cannot be used now; empty if it can."""


class ManagerHealth(Record):
    """The state of a manager: the worst of its parts, where a fallback store that is well stands in for backends."""

    state: HealthState
    parts: tuple[PartHealth, ...]
    journal: JournalHealth | None = None
    """``None`` without a fallback store."""


class Checkup:
    """Asks every part of a manager how it is.

    Args:
        parts: The manager's parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._continuity = parts.continuity

    def run(self) -> ManagerHealth:
        """Ask every configured backend and sink."""
        parts = [self._of_backend(name) for name in self._parts.configuration.backends]
        parts += [_of_sink(name, health) for name, health in self._parts.audit.health()]
        store = self._continuity.store
        journal = None if store is None else self._of_journal(store)
        stands_in = any(
            store is not None and part.name == store.name and part.health.state is not HealthState.DOWN
            for part in parts
            if part.kind == "backend"
        )
        states = [_judged(part, stands_in=stands_in) for part in parts]
        down = [part.name for part in parts if part.kind == "backend" and part.health.state is HealthState.DOWN]
        if down == [self._parts.configuration.spare]:
            # Nothing is missing yet: it is there for an outage, and there is none.
            states[[part.name for part in parts].index(down[0])] = HealthState.DEGRADED
        if journal is not None and journal.problem:
            states.append(HealthState.DEGRADED)
        return ManagerHealth(
            state=max(states, key=_ORDER.index, default=HealthState.UP), parts=tuple(parts), journal=journal
        )

    def _of_backend(self, name: str) -> PartHealth:
        try:
            backend = self._parts.backend(name)
        except StrongroomError as error:
            health = Health(state=HealthState.DOWN, reason=error.what, hint=error.hint)
            return PartHealth(kind="backend", name=name, health=health, outage=self._known(name))
        health = backend.health()
        report = self._noted(backend, health)
        store = self._continuity.store
        if store is not None and store.name != name:
            note_journal_length(name, lambda: store.status(name, backend.target()).waiting)
        outage = self._known(name) if health.state is HealthState.DOWN else None
        return PartHealth(kind="backend", name=name, health=health, condition=report, outage=outage)

    def _noted(self, backend: GuardedBackend, health: Health) -> ConditionReport | None:
        """Let the backend's condition know: it has been probed."""
        condition = backend.condition
        if condition is None:
            return None
        if health.state is HealthState.DOWN:
            if condition.is_out:
                condition.probed(BackendUnavailableError(health.reason or f"{backend.name} is down"))
        else:
            condition.probed(None)
            if condition.state is ConditionState.HEALTHY and self._continuity.outages is not None:
                self._continuity.outages.ended(backend.name)
        return condition.report()

    def _known(self, backend: str) -> KnownOutage | None:
        outages = self._continuity.outages
        return None if outages is None or backend == self._continuity.rules.fallback else outages.known(backend)

    def _of_journal(self, store: FallbackStore) -> JournalHealth:
        try:
            counted = store.status()
        except StrongroomError as error:
            return JournalHealth(waiting=0, set_aside=0, size=0, oldest=None, problem=error.what)
        oldest = None if counted.oldest is None else max(0.0, store.now() - counted.oldest)
        return JournalHealth(waiting=counted.waiting, set_aside=counted.set_aside, size=counted.size, oldest=oldest)


def _of_sink(name: str, health: Health) -> PartHealth:
    note_health(health.state.value, health.figures, {SINK_TYPE: name})
    return PartHealth(kind="audit", name=name, health=health)


def _judged(part: PartHealth, *, stands_in: bool) -> HealthState:
    """Return what a part's state means for the manager.

    Args:
        part: The part.
        stands_in: Whether the fallback store is there, which is then not the part that is down.
    """
    state = part.health.state
    if state is HealthState.DOWN and part.kind == "backend" and stands_in:
        return HealthState.DEGRADED
    if state is HealthState.UP and part.condition is not None and part.condition.state is not ConditionState.HEALTHY:
        return HealthState.DEGRADED
    return state
