"""Shows detectors what a trail has recorded, and tells what they would have said.

Each detector gets a stage of its own, the very one that a manager has, whose
clocks stand where the trail is. So verdicts and cool-downs are those of a running
program, and nothing of one is touched: no state is read, and none is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from strongroom._record import Record
from strongroom.anomaly.stage import Alert, AnomalyStage, ConfiguredDetector
from strongroom.contracts.anomaly import Access
from strongroom.errors import AccessDeniedError, InvalidNameError, SuspiciousActivityError
from strongroom.model import AuditEvent, Principal, PrincipalSource, SecretName
from strongroom.policy import Action

# Who writes without a condition asks for an update, whether or not there is something to update.
ACTIONS: Final = {
    "get": Action.READ,
    "versions": Action.READ,
    "describe": Action.READ,
    "set": Action.UPDATE,
    "annotate": Action.UPDATE,
    "undelete": Action.UPDATE,
    "delete": Action.DELETE,
    "destroy": Action.DELETE,
    "rotate": Action.ROTATE,
    "list": Action.LIST,
    "encrypt": Action.ENCRYPT,
    "rewrap": Action.ENCRYPT,
    "data_key": Action.ENCRYPT,
    "decrypt": Action.DECRYPT,
    "sign": Action.SIGN,
    "verify_signature": Action.VERIFY,
    "rotate_key": Action.ROTATE,
}
"""The events that are accesses, and what each is an access for."""

RECENT: Final = 16_384
"""How many ids are remembered: an event that is recorded twice comes a second time soon."""

DAY_SECONDS: Final = 86_400.0


class DetectorSummary(Record):
    """What one detector would have done."""

    detector: str
    alerts: int
    """How many alerts would have been sent."""
    blocks: int
    """How many accesses would have been refused, with and without an alert."""
    suppressed: int
    """How many alerts the cool-down would have kept back."""
    failures: int
    """How often the detector itself failed."""
    alerts_per_day: float
    """A trail that is shorter than a day counts as one."""


class Replay:
    """Runs detectors over recorded events.

    Args:
        detectors: The detectors as the configuration wants them used, each as new.
        learn_until: What they say about earlier accesses is not counted; ``None`` to count everything.

    Attributes:
        events: How many events there were, of any kind.
        accesses: How many accesses the detectors were shown.
        first: The time of the first access; ``None`` if there was none.
        last: The time of the last access.
    """

    def __init__(self, detectors: tuple[ConfiguredDetector, ...], *, learn_until: datetime | None = None) -> None:
        self.events = 0
        self.accesses = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._learn_until = learn_until
        self._now = 0.0
        self._listeners = [_Listener(entry, lambda: self._now) for entry in detectors]
        self._programs: dict[tuple[str | None, int | None], str] = {}
        # By id: of the operations that have been shown, so that each is shown once.
        self._seen: dict[str, None] = {}
        self._attempts: set[str] = set()

    def feed(self, event: AuditEvent) -> list[Alert]:
        """Take up the next event, in the order of the trail.

        Args:
            event: Any event of the trail; what is no access is passed over.

        Returns:
            The alerts that it would have led to, unless it is from the time of learning.
        """
        self.events += 1
        if event.event == "opened":
            self._programs[event.host, event.pid] = event.detail or ""
        if event.event not in ACTIONS or self._is_known(event):
            return []
        access = self._access(event)
        if access is None:
            return []
        self.accesses += 1
        self._now = max(self._now, access.time.timestamp())
        self.first = min(self.first or access.time, access.time)
        self.last = max(self.last or access.time, access.time)
        return self._show(access, event)

    def _is_known(self, event: AuditEvent) -> bool:
        """Tell whether this operation was shown before: by its attempt, or by the same event."""
        if event.phase == "attempt":
            self._attempts.add(event.id)
        elif event.id in self._attempts:
            self._attempts.remove(event.id)
            return True
        if event.id in self._seen:
            return True
        self._seen[event.id] = None
        if len(self._seen) > RECENT:
            del self._seen[next(iter(self._seen))]
        return False

    def _access(self, event: AuditEvent) -> Access | None:
        """Describe the access that an event records; ``None`` if it came to none."""
        time = moment_of(event)
        # What is no name is refused before anybody looks at it.
        if event.principal is None or time is None or event.result in InvalidNameError.codes:
            return None
        try:
            name = SecretName((event.key or "").removesuffix("/") or "**" if event.event == "list" else event.key or "")
        except InvalidNameError:
            return None
        return Access(
            principal=Principal(name=event.principal, source=_source(event.principal_source)),
            base=Principal(name=event.on_behalf_of, source=_source(None)) if event.on_behalf_of else None,
            action=ACTIONS[event.event].value,
            name=name,
            time=time,
            allowed=not is_denied_by_policy(event),
            host=event.host or "",
            process=self._programs.get((event.host, event.pid), ""),
        )

    def _show(self, access: Access, event: AuditEvent) -> list[Alert]:
        counts = self._learn_until is None or access.time >= self._learn_until
        # All are asked first, as in a running program: what is blocked has no outcome.
        blocked = [listener.judge(access, counts=counts) for listener in self._listeners]
        if access.allowed and not any(blocked) and _is_observed(event):
            for listener in self._listeners:
                listener.observe(access, event.result, counts=counts)
        return [alert for listener in self._listeners for alert in listener.take()]

    @property
    def days(self) -> float:
        """How many days lie between the first and the last access that count."""
        if self.first is None or self.last is None:
            return 0.0
        first = max(self.first, self._learn_until) if self._learn_until is not None else self.first
        return max(0.0, (self.last - first).total_seconds() / DAY_SECONDS)

    def summaries(self) -> list[DetectorSummary]:
        """Return what each detector would have done, in their order."""
        return [listener.summary(max(self.days, 1.0)) for listener in self._listeners]

    def close(self) -> None:
        """Close the detectors."""
        for listener in self._listeners:
            listener.stage.close()


class _Listener:
    """One detector in a stage of its own, and what it has said."""

    def __init__(self, entry: ConfiguredDetector, clock: Callable[[], float]) -> None:
        self._entry = entry
        self._alerts: list[Alert] = []
        self._sent = self._blocks = self._suppressed = 0
        self.stage = AnomalyStage((entry,), self._alerts.append, clock=clock, wall_clock=lambda: round(clock() * 1e9))

    def judge(self, access: Access, *, counts: bool) -> bool:
        """Tell whether the detector blocks an access that the policy allows."""
        before = self.stage.suppressed
        blocked = False
        try:
            (self.stage.judge if access.allowed else self.stage.judge_denied)(access)
        except SuspiciousActivityError:
            blocked = True
        self._note(before, blocked=blocked, counts=counts)
        return blocked

    def observe(self, access: Access, result: str, *, counts: bool) -> None:
        """Tell the detector how an access ended."""
        before = self.stage.suppressed
        self.stage.observe(access, result)
        self._note(before, blocked=False, counts=counts)

    def _note(self, before: int, *, blocked: bool, counts: bool) -> None:
        if counts:
            self._suppressed += self.stage.suppressed - before
            self._blocks += blocked
        else:
            self._alerts.clear()

    def take(self) -> list[Alert]:
        """Return the alerts since the last call."""
        taken = self._alerts.copy()
        self._alerts.clear()
        self._sent += len(taken)
        return taken

    def summary(self, days: float) -> DetectorSummary:
        return DetectorSummary(
            detector=self._entry.name,
            alerts=self._sent,
            blocks=self._blocks,
            suppressed=self._suppressed,
            failures=self.stage.failures,
            alerts_per_day=self._sent / days,
        )


def moment_of(event: AuditEvent) -> datetime | None:
    """Return when an event was, in UTC; ``None`` if it does not say so in a way that can be read.

    Args:
        event: Any event of a trail.
    """
    try:
        found = datetime.fromisoformat(event.timestamp)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def is_denied_by_policy(event: AuditEvent) -> bool:
    """Tell whether our policy refused an access; a denial by the backend names no rule.

    Args:
        event: Any event of a trail.
    """
    return event.result in AccessDeniedError.codes and event.rule is not None


def _is_observed(event: AuditEvent) -> bool:
    """Tell whether detectors are told how it ended: what the cache has answered with a value they are not."""
    if event.event != "get" or event.result in SuspiciousActivityError.codes:
        return False
    return event.result != "ok" or not event.cache_hit


def _source(text: str | None) -> PrincipalSource:
    try:
        return PrincipalSource(text)
    except ValueError:
        return PrincipalSource.CONFIGURATION
