"""The detector."""

from __future__ import annotations

import collections
import itertools
import json
import threading

from strongroom.contracts import Access, AnomalyDetector, Decision, Outcome, Repeats, Verdict
from strongroom_frozen.settings import DetectorSettings


class FrozenDetector(AnomalyDetector):
    """Counts the accesses of each principal."""

    def __init__(self, settings: DetectorSettings) -> None:
        self._limit = settings.limit
        self._counts: collections.Counter[str] = collections.Counter()
        self._refused: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def judge(self, access: Access) -> Verdict:
        """Return what to do about an access."""
        who = (access.base or access.principal).name
        with self._lock:
            self._counts[who] += 1
            count = self._counts[who]
        if count <= self._limit or not access.allowed:
            return Verdict(decision=Decision.ALLOW)
        return Verdict(
            decision=Decision.BLOCK,
            reason=f"{who} has asked {count} times",
            evidence=(
                f"{access.action} of {access.name} at {access.time.isoformat()}",
                f"on {access.host} by {access.process}",
                f"limit is {self._limit}",
            ),
            subject=who,
        )

    def repeats(self, access: Access) -> Repeats | None:
        """Count repetitions."""
        left = self._limit - self._counts[(access.base or access.principal).name]
        until = access.time.timestamp() + 5.0
        return Repeats(until=until, counters=((itertools.count(1).__next__, left),)) if left > 0 else None

    def observe(self, outcome: Outcome) -> Verdict:
        """Learn how an access ended."""
        if outcome.result != "not_found":
            return Verdict(decision=Decision.ALLOW)
        self._refused[outcome.access.principal.name] += 1
        return Verdict(decision=Decision.ALERT, reason="it was not there")

    def dump(self) -> bytes | None:
        """Return what must outlive the process."""
        return json.dumps(dict(self._counts)).encode() if self._counts else None

    def restore(self, state: bytes) -> None:
        """Take up what an earlier process dumped."""
        self._counts = collections.Counter(json.loads(state))

    def after_fork(self) -> None:
        """Forget every lock."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Release nothing."""
