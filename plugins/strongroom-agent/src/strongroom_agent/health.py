"""How the backends and audit sinks are, asked from time to time by a thread."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from strongroom.contracts import HealthState, Record
from strongroom.errors import StrongroomError
from strongroom_agent.log import LOG

if TYPE_CHECKING:
    from strongroom import SecretManager

LATE: Final = 4
"""After so many intervals without an answer, nothing is known any more."""
_ALLOWANCE: Final = 30.0


class PartState(Record):
    """The state of a backend or audit sink."""

    kind: str
    """``backend`` or ``audit``."""
    name: str
    """A backend's configured name, or a sink's type."""
    state: HealthState
    reason: str = ""
    hint: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    breaker: str | None = None
    """``healthy``, ``degraded`` or ``recovering``; ``None`` for sinks, and for backends that cannot be opened."""


class HealthReport(Record):
    """The state of the agent's manager, as it was found when last asked."""

    state: HealthState
    parts: tuple[PartState, ...] = ()
    waiting: int | None = None
    """How many writes wait in the journal; ``None`` without one."""
    set_aside: int | None = None
    """How many writes a person has to decide about."""
    oldest: float | None = None
    """How long the oldest write that waits has waited, in seconds."""
    problem: str = ""
    """Why the journal, or the manager, could not be asked."""
    at: float
    """When it was asked, in seconds since 1970 UTC."""
    began: float
    """The same on the monotonic clock."""

    @property
    def word(self) -> str:
        """Return ``ready``, ``degraded`` or ``unhealthy``."""
        words = {HealthState.UP: "ready", HealthState.DEGRADED: "degraded", HealthState.DOWN: "unhealthy"}
        return words[self.state]


class HealthWatch:
    """Asks a manager how it is, again and again, in a thread of its own.

    Args:
        manager: Returns the manager to ask.
        every: Returns after how many seconds to ask again.
        clock: Monotonic seconds.
        wall_clock: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        manager: Callable[[], SecretManager],
        every: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._manager = manager
        self._every = every
        self._clock = clock
        self._wall_clock = wall_clock
        self._wake = threading.Event()
        self._known = threading.Event()
        self._ended = False
        self._latest: HealthReport | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask; once is enough."""
        if self._thread is None:
            # A daemon: a backend that hangs must not keep the process from ending.
            self._thread = threading.Thread(target=self._run, name="strongroom-agent-health", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until something is known, and tell whether it is.

        Args:
            seconds: How long, at most.
        """
        return self._known.wait(seconds)

    def ask_now(self) -> None:
        """Ask again at once."""
        self._wake.set()

    def stop(self) -> None:
        """Ask no longer; what is being asked just now goes on."""
        self._ended = True
        self._wake.set()

    def latest(self) -> HealthReport | None:
        """Return what is known: ``None`` if nothing is yet, or nothing any more since no answer has come for long."""
        report = self._latest
        if report is None or self._clock() - report.began > LATE * self._every() + _ALLOWANCE:
            return None
        return report

    def look(self) -> HealthReport:
        """Ask once, in this thread, and keep the answer."""
        began, at = self._clock(), self._wall_clock()
        try:
            report = _report(self._manager().health(), began=began, at=at)
        except StrongroomError as error:
            # A manager that is just being replaced, say.
            report = HealthReport(state=HealthState.DOWN, problem=error.what, began=began, at=at)
        # The plugin boundary: a backend that fails here must not end the thread that asks it.
        except Exception as error:  # noqa: BLE001  # see above
            LOG.warning("health could not be asked for: %s", type(error).__name__)
            report = HealthReport(state=HealthState.DOWN, problem=type(error).__name__, began=began, at=at)
        if self._latest is not None and self._latest.state is not report.state:
            LOG.warning("the agent is %s", report.word)
        self._latest = report
        self._known.set()
        return report

    def _run(self) -> None:
        while not self._ended:
            self.look()
            self._wake.wait(self._every())
            self._wake.clear()


def _report(health: Any, *, began: float, at: float) -> HealthReport:
    parts = tuple(
        PartState(
            kind=part.kind,
            name=part.name,
            state=part.health.state,
            reason=part.health.reason,
            hint=part.health.hint,
            facts=part.health.facts,
            breaker=part.condition.state.value if part.condition is not None else None,
        )
        for part in health.parts
    )
    journal = health.journal
    return HealthReport(
        state=health.state,
        parts=parts,
        waiting=journal.waiting if journal is not None else None,
        set_aside=journal.set_aside if journal is not None else None,
        oldest=journal.oldest if journal is not None else None,
        problem=journal.problem if journal is not None else "",
        began=began,
        at=at,
    )
