"""What the dashboard finds out from time to time, each in a thread of its own: whether trails verify, what is due."""

from __future__ import annotations

import threading
import time

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Protocol

from strongroom.contracts import Record, TrailFinding
from strongroom.contracts.service_rotation import Schedule
from strongroom.errors import StrongroomError
from strongroom_agent.window import HasTrails, OpenTrail, opened

VERIFY_EVERY: Final = 300.0
"""Seconds from one verification of the trails to the next one, at least."""
SHARE: Final = 20.0
"""How many times as long as a verification has taken passes until the next one, at least."""
ROTATIONS_EVERY: Final = 60.0
"""Seconds from one look at the rotations to the next one, at least: each is an event in the audit trail."""
MOST_FINDINGS: Final = 20
"""How many findings of a verification are kept."""


class Verification(Record):
    """The outcome of verifying one trail."""

    sink: str
    """The type of the sink."""
    at: float
    """When it ended, in seconds since 1970 UTC."""
    seconds: float
    """How long it took."""
    state: str
    """``sealed``, ``unsealed``, ``gap`` or ``broken``; ``unknown`` if it could not be verified."""
    events: int = 0
    findings: tuple[TrailFinding, ...] = ()
    found: int = 0
    """How many findings there are in all."""
    problem: str = ""
    """Why it could not be verified; a sentence, or empty."""


class RotationLook(Record):
    """When secrets are rotated, as it was found out."""

    at: float
    """When, in seconds since 1970 UTC."""
    schedules: tuple[Schedule, ...] = ()
    problem: str = ""
    """Why nothing could be found out; a sentence, or empty."""


class _Looker(ABC):
    """A daemon thread that does something when it is asked to, or again and again."""

    def __init__(self, name: str, wall_clock: Callable[[], float]) -> None:
        self._name = name
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless that has been done."""
        with self._lock:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Look no more; what is under way goes on to its end, and nobody waits for it."""
        self._ended.set()

    @abstractmethod
    def _run(self) -> None:
        """Look until the end."""


class Verifier(_Looker):
    """Verifies the audit trails again and again.

    Args:
        manager: Returns the manager that is open now.
        every: Seconds from one verification to the next one; more where they take long.
        wall_clock: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        manager: Callable[[], HasTrails],
        *,
        every: float = VERIFY_EVERY,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("strongroom-verifier", wall_clock)
        self._manager = manager
        self._every = every
        self._latest: tuple[Verification, ...] = ()

    def latest(self) -> tuple[Verification, ...]:
        """Return the outcomes of the last round; empty before it."""
        return self._latest

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                with opened(self._manager()) as trails:
                    self._latest = tuple(map(self._verified, trails))
            except StrongroomError as error:
                self._latest = (_unverified("audit", self._wall_clock(), error.what),)
            self._ended.wait(max(self._every, SHARE * (time.monotonic() - began)))

    def _verified(self, trail: OpenTrail) -> Verification:
        sink, began = trail.type, time.monotonic()
        try:
            report = trail.verify()
        except StrongroomError as error:
            return _unverified(sink, self._wall_clock(), error.what)
        # The plugin boundary: whatever a sink raises means that its trail cannot be verified.
        except Exception as error:  # noqa: BLE001  # see above
            return _unverified(sink, self._wall_clock(), f"it cannot be verified: {type(error).__name__}")
        return Verification(
            sink=sink,
            at=self._wall_clock(),
            seconds=time.monotonic() - began,
            state=report.state,
            events=report.events,
            findings=report.findings[:MOST_FINDINGS],
            found=len(report.findings),
        )


def _unverified(sink: str, now: float, problem: str) -> Verification:
    return Verification(sink=sink, at=now, seconds=0.0, state="unknown", problem=problem)


class HasRotation(Protocol):
    """What is needed of a manager."""

    @property
    def rotation(self) -> Any:
        """What is rotated when."""


class RotationLooker(_Looker):
    """Looks at when secrets are rotated, while somebody wants to know.

    Args:
        manager: Returns the manager that is open now.
        every: Seconds from one look to the next one, at least.
        wall_clock: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        manager: Callable[[], HasRotation],
        *,
        every: float = ROTATIONS_EVERY,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("strongroom-schedules", wall_clock)
        self._manager = manager
        self._every = every
        self._asked = threading.Event()
        self._latest: RotationLook | None = None

    def latest(self) -> RotationLook | None:
        """Return what was found out last, and have it found out anew if that was a while ago."""
        self._asked.set()
        return self._latest

    def close(self) -> None:
        """Look no more."""
        super().close()
        self._asked.set()

    def _run(self) -> None:
        while self._asked.wait() and not self._ended.is_set():
            self._latest = self._look()
            self._ended.wait(self._every)
            # Who asked meanwhile was told of the last look; who still wants to know asks again.
            self._asked.clear()

    def _look(self) -> RotationLook:
        try:
            found = tuple(self._manager().rotation.schedule())
        except StrongroomError as error:
            return RotationLook(at=self._wall_clock(), problem=error.what)
        # The boundary to whatever a backend's service has said: the dashboard goes on without it.
        except Exception as error:  # noqa: BLE001  # see above
            return RotationLook(at=self._wall_clock(), problem=f"it cannot be found out: {type(error).__name__}")
        return RotationLook(at=self._wall_clock(), schedules=found)
