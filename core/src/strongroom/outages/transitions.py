"""What follows a change of a backend's state: an audit event, a warning, a count, a note for the next process, news."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from strongroom._spoken import spoken
from strongroom._warner import Warner
from strongroom.audit.stage import AuditStage
from strongroom.errors import StrongroomError
from strongroom.events.listening import Listeners
from strongroom.resilience.conditions import ConditionChanged, ConditionState
from strongroom.telemetry import count_transition

if TYPE_CHECKING:
    from strongroom.outages.known import Outages

_WORDS: Final = {
    ConditionState.DEGRADED: "is out of reach",
    ConditionState.RECOVERING: "answers again, and what has waited is made",
    ConditionState.HEALTHY: "is well again",
}


class Transitions:
    """Tells whoever is to hear of changes. Nothing of it is a reason to fail the call that has noticed one.

    Args:
        audit: Records each change.
        clock: Monotonic seconds, for the pace of warnings.
        outages: Notes outages for the next process, if there is a place for that.
    """

    def __init__(self, audit: AuditStage, clock: Callable[[], float], outages: Outages | None) -> None:
        self.listeners: Listeners[ConditionChanged] = Listeners()
        """The callbacks of programs."""
        self._audit = audit
        self._clock = clock
        self._outages = outages
        self._warners: dict[tuple[str, ConditionState], Warner] = {}

    def after_fork(self) -> None:
        """Forget in a forked child what was under way."""
        self.listeners.after_fork()

    def tell(self, change: ConditionChanged) -> None:
        """Let everybody hear of a change; only the audit trail is waited for."""
        count_transition(change.backend, change.state.value)
        self.listeners.tell(change)
        if self._outages is not None:
            self._outages.note(change)
        self._warn(change)
        self._record(change)

    def _warn(self, change: ConditionChanged) -> None:
        warner = self._warners.setdefault((change.backend, change.state), Warner(self._clock))
        before = f"it was {change.before.value} for {spoken(change.lasted)}"
        reason = change.reason if change.state is ConditionState.DEGRADED else before
        warner.warn(f"strongroom: {change.backend} {_WORDS[change.state]}: {reason}")

    def _record(self, change: ConditionChanged) -> None:
        if not self._audit.enabled:
            return
        event = self._audit.event(
            change.state.value,
            backend=change.backend,
            result=change.code or "ok",
            detail=f"{change.reason}; it was {change.before.value} for {spoken(change.lasted)}",
        )
        try:
            self._audit.record(event)
        except StrongroomError:
            return  # as the class says; accesses are refused for the want of their own records
