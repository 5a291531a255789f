"""Runs the detectors and turns their verdicts into allow, alert or block."""

from __future__ import annotations

import time

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from strongroom._record import Record
from strongroom.contracts.anomaly import Access, AnomalyDetector, Decision, Verdict
from strongroom.errors import SuspiciousActivityError
from strongroom.model import Principal, SecretName
from strongroom.policy import Action

ALLOWED: Final = Verdict(decision=Decision.ALLOW)


class Alert(Record):
    """A detector found an access odd."""

    detector: str
    reason: str
    access: Access
    blocked: bool


class ConfiguredDetector(Record):
    """A detector as the configuration wants it used."""

    name: str
    detector: AnomalyDetector
    block: bool = False
    """Whether its ``BLOCK`` verdicts block; otherwise they only alert."""
    required: bool = False
    """Whether a failure of the detector itself blocks."""


class AnomalyStage:
    """Asks every detector about every access.

    Args:
        detectors: In the order of the configuration; all are asked, so that each
            learns from each access, and the first that blocks decides.
        alert: Called with each alert; it must not raise.
        wall_clock: Nanoseconds since 1970, UTC.
    """

    def __init__(
        self,
        detectors: tuple[ConfiguredDetector, ...],
        alert: Callable[[Alert], None],
        *,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.detectors = detectors
        self.failures = 0
        self.verdicts = dict.fromkeys(Decision, 0)
        self._alert = alert
        self._wall_clock = wall_clock

    def judge(
        self,
        principal: Principal,
        action: Action,
        name: SecretName,
        *,
        base: Principal | None = None,
        allowed: bool = True,
    ) -> None:
        """Let every detector see an access.

        Args:
            principal: Who asks.
            action: For what.
            name: Of which secret.
            base: Who took on the principal, if somebody did.
            allowed: Whether the policy allowed it; denied ones are shown too.

        Raises:
            SuspiciousActivityError: A detector blocks it, or a required one failed.
        """
        if not self.detectors:
            return
        now = datetime.fromtimestamp(self._wall_clock() / 1e9, UTC)
        access = Access(principal=principal, base=base, action=action.value, name=name, time=now, allowed=allowed)
        blocking = [found for entry in self.detectors if (found := self._ask(entry, access)) is not None]
        if blocking:
            detector, reason = blocking[0]
            error = SuspiciousActivityError(
                f"the detector {detector!r} blocked this access to {name}: {reason}",
                name=name,
                hint="if the access was meant, change or relax the detector under [[anomaly]]",
            )
            error.rule = detector
            raise error

    def observe(self, principal: Principal, action: Action, name: SecretName, *, base: Principal | None = None) -> None:
        """Let every detector see an access that the policy has denied; none can block it any more."""
        try:
            self.judge(principal, action, name, base=base, allowed=False)
        except SuspiciousActivityError:
            return  # it is refused already, and the alert has been recorded

    def _ask(self, entry: ConfiguredDetector, access: Access) -> tuple[str, str] | None:
        """Return the detector's name and reason if it blocks."""
        try:
            verdict = entry.detector.judge(access)
            self.verdicts[verdict.decision] += 1
        # The plugin boundary: a detector that fails must not stop the others.
        except Exception as error:  # noqa: BLE001  # see above
            self.failures += 1
            return (entry.name, f"it failed with {type(error).__name__}") if entry.required else None
        if verdict.decision is Decision.ALLOW:
            return None
        blocks = verdict.decision is Decision.BLOCK and entry.block
        self._alert(Alert(detector=entry.name, reason=verdict.reason, access=access, blocked=blocks))
        return (entry.name, verdict.reason) if blocks else None

    def after_fork(self) -> None:
        """Tell each detector that it is in a forked child."""
        for entry in self.detectors:
            entry.detector.after_fork()

    def close(self) -> None:
        """Close each detector."""
        for entry in self.detectors:
            try:
                entry.detector.close()
            # The plugin boundary, as above; what a detector knows is advice, and none is asked for any more.
            except Exception:  # noqa: BLE001  # see above
                self.failures += 1
