"""What detectors have learned, kept from one process to the next.

Each detector is restored before its first judgement, and what it dumps is saved
from time to time and at the end. Nothing here is a reason to fail an access: a
store that cannot be had costs the memory, and is counted and warned of.

Processes that keep states under the same keys do not add them up: whoever saves
last wins.
"""

from __future__ import annotations

import threading
import time

from collections.abc import Callable, Iterable
from typing import Final

from strongroom._warner import Warner
from strongroom.contracts.anomaly import AnomalyDetector
from strongroom.contracts.state import MAX_STATE_BYTES, LoadStateRequest, SaveStateRequest
from strongroom.errors import StrongroomError
from strongroom.resilience.guarded import GuardedBackend

EVERY_SECONDS: Final = 60.0


def state_key(position: int, kind: str) -> str:
    """Return what a detector's state is kept under.

    Args:
        position: The detector's place in the configuration, from 0.
        kind: Its type.
    """
    return f"anomaly/{position}-{kind}"


class DetectorMemory:
    """Restores detectors and saves what they dump. Safe to use from several threads.

    Args:
        detectors: Each with the key of its state, as :func:`state_key` makes it.
        store: Returns the backend that keeps the states; called when it is first
            needed, and again after it failed.
        every: How many seconds lie between two saves, at least.
        clock: Monotonic seconds.

    Attributes:
        failures: How often a state could not be loaded, taken up, dumped or saved.
        saved: How many states were saved.
    """

    def __init__(
        self,
        detectors: Iterable[tuple[str, AnomalyDetector]],
        store: Callable[[], GuardedBackend],
        *,
        every: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.failures = 0
        self.saved = 0
        self._detectors = tuple(detectors)
        self._store = store
        self._every = every
        self._clock = clock
        # Reentrant: a signal's handler may ask for a secret while its own thread restores.
        self._lock = threading.RLock()
        self._begun = False
        self._restored = False
        self._closed = False
        self._loaded: set[str] = set()
        """The keys whose state is known: no other is overwritten."""
        self._last: dict[str, bytes] = {}
        """The digest of what was saved or restored last, by key."""
        self._saved_at = clock()
        self._warner = Warner(clock)

    def restore(self) -> None:
        """Give each detector what was kept of it; only the first call does something, and others wait for it.

        A detector whose state cannot be loaded or taken up goes on as new. What
        could not be loaded is not overwritten by this process.
        """
        if self._restored:
            return
        with self._lock:
            if self._begun:  # another thread has done it meanwhile, or this one is at it
                return
            self._begun = True
            for key, detector in self._detectors:
                self._attempt(key, "restored", self._restore_one, detector)
            self._saved_at = self._clock()
            self._restored = True

    def _restore_one(self, key: str, detector: AnomalyDetector) -> None:
        state = self._store().load_state(LoadStateRequest(key=key)).state
        self._loaded.add(key)
        if state is not None:
            self._last[key] = _digest(state)
            detector.restore(state)

    def save_due(self, now: float | None = None) -> bool:
        """Save if that is due, and if no other thread is at it; tell whether it was done.

        Args:
            now: Seconds on the clock; asked for unless given.
        """
        now = self._clock() if now is None else now
        if not self._restored or self._closed or now < self._saved_at + self._every:
            return False
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if now < self._saved_at + self._every:
                return False
            self.save()
            return True
        finally:
            self._lock.release()

    def save(self) -> None:
        """Save what each detector dumps, where that has changed; nothing before the states were restored."""
        with self._lock:
            if not self._restored or self._closed:
                return
            self._saved_at = self._clock()
            for key, detector in self._detectors:
                if key in self._loaded:
                    self._attempt(key, "saved", self._save_one, detector)

    def _save_one(self, key: str, detector: AnomalyDetector) -> None:
        state = detector.dump()
        if state is None:
            return
        if not isinstance(state, bytes):
            raise TypeError(f"bytes expected, {type(state).__name__} given")
        if len(state) > MAX_STATE_BYTES:
            raise ValueError(f"{len(state)} bytes are more than {MAX_STATE_BYTES}")
        digest = _digest(state)
        if self._last.get(key) == digest:
            return
        self._store().save_state(SaveStateRequest(key=key, state=state))
        self._last[key] = digest
        self.saved += 1

    def _attempt(
        self, key: str, deed: str, act: Callable[[str, AnomalyDetector], None], detector: AnomalyDetector
    ) -> None:
        try:
            act(key, detector)
        # Foreign code, and a store that may be out of reach: what a detector remembers is no reason to fail.
        except Exception as error:  # noqa: BLE001  # see above
            self.failures += 1
            reason = error.what if isinstance(error, StrongroomError) else type(error).__name__
            self._warner.warn(f"the state {key} could not be {deed}: {reason}")

    def after_fork(self) -> None:
        """Take a new lock in a forked child, where the old one may be held by a thread that it does not have.

        A child that was forked while the states were being restored restores them itself.
        """
        self._lock = threading.RLock()
        self._begun = self._restored

    def close(self) -> None:
        """Save a last time; call it before detectors and backends are closed. Twice is no error."""
        self.save()
        self._closed = True


def _digest(state: bytes) -> bytes:
    import hashlib  # as for logging

    return hashlib.sha256(state).digest()
