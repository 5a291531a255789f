"""Runs the detectors and turns their verdicts into allow, alert or block."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

from strongroom._apart import apart
from strongroom._record import Record
from strongroom.audit.buffer import host_name, program_name
from strongroom.contracts.anomaly import Access, AnomalyDetector, Decision, Outcome, Verdict
from strongroom.errors import SuspiciousActivityError
from strongroom.model import Principal, SecretName
from strongroom.policy import Action

Request = TypeVar("Request")

ALLOWED: Final = Verdict(decision=Decision.ALLOW)
COOL_DOWN_SECONDS: Final = 600.0
LONGEST_WATCH_SECONDS: Final = 10.0
"""After which time repetitions are judged again, where a detector has said until when they need not be."""
COOLING: Final = 4096
"""How many subjects at most have an alert that is not repeated for now."""


class Alert(Record):
    """A detector found an access odd."""

    detector: str
    reason: str
    evidence: tuple[str, ...]
    access: Access
    blocked: bool
    suppressed: int = 0
    """How many alerts about the same were not sent since the last one."""
    id: str = ""
    """The id of the audit event that records it."""


class ConfiguredDetector(Record):
    """A detector as the configuration wants it used."""

    name: str
    detector: AnomalyDetector
    block: bool = False
    """Whether its ``BLOCK`` verdicts block; otherwise they only alert."""
    required: bool = False
    """Whether a failure of the detector itself blocks."""
    cool_down: float = COOL_DOWN_SECONDS
    """For how many seconds after an alert no other one about the same is sent; what is blocked stays blocked."""


class Memory(Protocol):
    """What keeps the states of detectors from one process to the next."""

    def restore(self) -> None:
        """Hand each detector its state; called before the first access is judged. It must not raise."""


class Watch:
    """What a repetition of an allowed access has to pass: the wishes of all detectors together.

    Args:
        until: On the monotonic clock; from here on all detectors are asked again.
        counters: See :class:`~strongroom.contracts.Repeats`.

    Attributes:
        exceeded: The counter that was beyond its limit, and that limit. From then on nothing passes.
    """

    __slots__ = ("counters", "exceeded", "until")

    def __init__(self, until: float, counters: tuple[tuple[Callable[[], int], int], ...]) -> None:
        self.until = until
        self.counters = counters
        self.exceeded: tuple[Callable[[], int], int] | None = None

    def lets_pass(self, now: float) -> bool:
        """Count a repetition, and tell whether it needs no judgement."""
        if now >= self.until:
            return False
        try:
            for count, limit in self.counters:
                if count() > limit:
                    self.exceeded, self.until = (count, limit), float("-inf")
                    return False
        # The plugin boundary: what cannot be counted is judged.
        except Exception:  # noqa: BLE001  # see above
            return False
        return True


class _Allowed(threading.local):
    """The access that a thread has had judged last, if every detector has allowed it."""

    access: Access | None = None


EACH_TIME: Final = Watch(float("-inf"), ())
"""Lets no repetition pass: each is to be judged."""


class AnomalyStage:
    """Asks every detector about every access.

    Args:
        detectors: In the order of the configuration; all are asked, so that each
            learns from each access, and the first that blocks decides.
        alert: Called with each alert; it must not raise.
        clock: Monotonic seconds.
        wall_clock: Nanoseconds since 1970, UTC.
    """

    def __init__(
        self,
        detectors: tuple[ConfiguredDetector, ...],
        alert: Callable[[Alert], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.detectors = detectors
        self.memory: Memory | None = None
        """Where the detectors' states come from, if they are kept."""
        self.failures = 0
        self.suppressed = 0
        self.verdicts = dict.fromkeys(Decision, 0)
        self._observers = tuple(
            entry for entry in detectors if type(entry.detector).observe is not AnomalyDetector.observe
        )
        self._alert = alert
        self._clock = clock
        self._wall_clock = wall_clock
        self._host = host_name()
        self._process = program_name()
        # By detector, subject and whether it blocks: until when no alert is sent, and how many have not been.
        self._cooling: dict[tuple[int, str, bool], tuple[float, int]] = {}
        self._is_restored = False
        self._allowed = _Allowed()

    def access(
        self,
        principal: Principal,
        action: Action,
        name: SecretName,
        *,
        base: Principal | None = None,
        allowed: bool = True,
    ) -> Access | None:
        """Describe an access for the detectors, unless there are none.

        Args:
            principal: Who asks.
            action: For what.
            name: Of which secret.
            base: Who took on the principal, if somebody did.
            allowed: Whether the policy allowed it; denied ones are shown too.
        """
        if not self.detectors:
            return None
        return Access(
            principal=principal,
            base=base,
            action=action.value,
            name=name,
            time=datetime.fromtimestamp(self._wall_clock() / 1e9, UTC),
            allowed=allowed,
            host=self._host,
            process=self._process,
        )

    def judge(self, access: Access) -> None:
        """Let every detector see an access.

        Raises:
            SuspiciousActivityError: A detector blocks it, or a required one failed.
        """
        if not self._is_restored:
            self.restore()
        self._allowed.access = access
        blocking = [found for entry in self.detectors if (found := self._ask(entry, access)) is not None]
        if blocking:
            detector, reason = blocking[0]
            error = SuspiciousActivityError(
                f"the detector {detector!r} blocked this access to {access.name}: {reason}",
                name=access.name,
                hint="if the access was meant, change or relax the detector under [[anomaly]]",
            )
            error.rule = detector
            raise error

    @property
    def judges_at_once(self) -> bool:
        """Whether judging an access needs nothing from a backend first."""
        return self._is_restored or self.memory is None

    def restore(self) -> None:
        """Hand each detector its state, if it is kept anywhere."""
        # First, so that what restoring reads is not judged by a detector that is still being restored.
        self._is_restored = True
        if self.memory is not None:
            self.memory.restore()

    def judge_denied(self, access: Access) -> None:
        """Let every detector see an access that the policy has denied; none can block it any more."""
        try:
            self.judge(access)
        except SuspiciousActivityError:
            pass  # it is refused already, and the alert has been recorded
        self.observe(access, "denied")

    def observe(self, access: Access | None, result: str) -> None:
        """Tell the detectors how an access ended.

        Args:
            access: What was judged; ``None`` if there are no detectors.
            result: ``ok``, or the code of the error.
        """
        if access is None or not self._observers:
            return
        outcome = Outcome(access=access, result=result)
        for entry in self._observers:
            verdict = self._verdict(entry.detector.observe, outcome)
            if isinstance(verdict, Verdict) and verdict.decision is not Decision.ALLOW:
                self._tell(entry, access, verdict, blocks=False)

    def watch(self, access: Access | None, now: float, last: Watch | None = None) -> Watch | None:
        """Return what repetitions of an allowed access have to pass; ``None`` if there are no detectors.

        Args:
            access: What was judged just now.
            now: Monotonic seconds.
            last: What they had to pass until now.
        """
        if access is None:
            return None
        if access is not self._allowed.access:
            return EACH_TIME  # somebody found it odd, or another thread had it judged: the next one is
        until = float("inf")
        counters: list[tuple[Callable[[], int], int]] = []
        for entry in self.detectors:
            try:
                wish = apart(entry.detector.repeats, access)
                if wish is None:
                    return EACH_TIME
                until = min(until, wish.until)
                counters += wish.counters
            # The plugin boundary: a detector that fails here is asked about each access.
            except Exception:  # noqa: BLE001  # see above
                self.failures += 1
                return EACH_TIME
        if last is not None and last.exceeded in counters:
            # Each would be counted only to be found beyond the limit again, and judging it counts it, too.
            return last
        if until < float("inf"):
            # A wish is a time on the wall clock, which may be set, and the monotonic one does not notice when
            # the machine sleeps. To look at both at each hit would cost as much as the detectors do.
            until = now + min(until - self._wall_clock() / 1e9, LONGEST_WATCH_SECONDS)
        return Watch(until, tuple(counters))

    def _ask(self, entry: ConfiguredDetector, access: Access) -> tuple[str, str] | None:
        """Return the detector's name and reason if it blocks."""
        verdict = self._verdict(entry.detector.judge, access)
        if isinstance(verdict, Exception) or verdict.decision is not Decision.ALLOW:
            self._allowed.access = None
        if isinstance(verdict, Exception):
            return (entry.name, f"it failed with {type(verdict).__name__}") if entry.required else None
        if verdict.decision is Decision.ALLOW:
            return None
        blocks = verdict.decision is Decision.BLOCK and entry.block
        self._tell(entry, access, verdict, blocks=blocks)
        return (entry.name, verdict.reason) if blocks else None

    def _verdict(self, judge: Callable[[Request], Verdict], request: Request) -> Verdict | Exception:
        """Return a detector's verdict, or what it failed with."""
        try:
            verdict = apart(judge, request)
            self.verdicts[verdict.decision] += 1
            return verdict
        # The plugin boundary: a detector that fails must not stop the others.
        except Exception as error:  # noqa: BLE001  # see above
            self.failures += 1
            return error

    def _tell(self, entry: ConfiguredDetector, access: Access, verdict: Verdict, *, blocks: bool) -> None:
        """Send an alert, unless there was one about the same a moment ago."""
        subject = verdict.subject or (access.base or access.principal).name
        # By itself for what is blocked: that must not go untold because something lesser was told before.
        key, now = (id(entry.detector), subject, blocks), self._clock()
        until, suppressed = self._cooling.get(key, (now, 0))
        if now < until:
            self._cooling[key] = (until, suppressed + 1)
            self.suppressed += 1
            return
        if entry.cool_down > 0:
            self._cooling.pop(key, None)
            self._cooling[key] = (now + entry.cool_down, 0)
            while len(self._cooling) > COOLING:
                self._forget_the_oldest()
        self._alert(
            Alert(
                detector=entry.name,
                reason=verdict.reason,
                evidence=verdict.evidence,
                access=access,
                blocked=blocks,
                suppressed=suppressed,
            )
        )

    def _forget_the_oldest(self) -> None:
        for key in list(self._cooling)[: COOLING // 4]:
            self._cooling.pop(key, None)

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
