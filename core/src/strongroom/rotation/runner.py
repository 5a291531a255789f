"""Rotates what is due again and again, in a thread of a program that runs for long."""

from __future__ import annotations

import threading
import time
import weakref

from collections.abc import Callable
from typing import Final

from strongroom._warner import Warner
from strongroom.errors import ClosedError, ConfigurationError, StrongroomError
from strongroom.model import SecretName
from strongroom.pacing import spread
from strongroom.rotation.reports import DueRun
from strongroom.wiring import Parts

EVERY_SECONDS: Final = 300.0
"""How much time lies between two runs at most, unless somebody says otherwise."""
LONGEST: Final = 5.0
"""Seconds: for how long the thread waits at most until it looks whether the manager is still there."""
ENDING_SECONDS: Final = 10.0
"""How long the end of a manager waits for a rotation that is under way."""

GoesOn = Callable[[], bool]
Run = Callable[[GoesOn], DueRun]


class RotationRunner:
    """Calls a function that rotates what is due, in a daemon thread; it keeps no manager alive.

    A run that fails is warned of, once as long as it fails in the same way, and the next one tries again. With a
    clock that a test moves on there is no thread.

    Args:
        parts: The stages of the manager.

    Attributes:
        failures: How many runs ended in an error of somebody else's making.
        made: When the versions of secrets that were never rotated were made, as runs have found out.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._closed = False
        self._told: dict[tuple[str, SecretName], float | None] = {}
        self._warned: frozenset[tuple[str, str]] = frozenset()
        self._every = EVERY_SECONDS
        self._run: Run | None = None
        self.failures = 0
        self.made: dict[SecretName, float] = {}
        self.after_fork()

    def after_fork(self) -> None:
        """Start without a thread in a forked child: the parent's goes on, and one is enough."""
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    @property
    def is_running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, run: Run, every: float) -> None:
        """Begin, or go on with another time or function.

        Args:
            run: Rotates what is due; asks between two secrets whether to go on.
            every: How many seconds lie between two runs at most.

        Raises:
            ConfigurationError: The time is not above 0.
            ClosedError: The manager is closed.
        """
        # A comparison that a number which is none fails, too.
        if isinstance(every, bool) or not isinstance(every, int | float) or not 0 < every < threading.TIMEOUT_MAX:
            raise ConfigurationError("every is a number of seconds above 0", hint=f"leave it out for {EVERY_SECONDS:g}")
        self._parts.ensure_open()
        with self._lock:
            self.stop()
            self._run, self._every, self._end = run, float(every), threading.Event()
            if self._closed or self._parts.clock is not time.monotonic:
                return
            self._thread = threading.Thread(
                target=_work, args=(weakref.ref(self), self._end), name="strongroom-rotation", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None
                _warn("nothing is rotated by itself: there are too many threads to start one for that")

    def stop(self) -> None:
        """Begin no further run; a rotation that is under way comes to its end."""
        with self._lock:
            self._end.set()
            self._run = None

    def close(self) -> None:
        """Stop, and wait ten seconds at most for what is under way, since it needs what is closed after this."""
        self._closed = True
        self.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(ENDING_SECONDS)

    def is_news(self, kind: str, name: SecretName, when: float | None) -> bool:
        """Tell whether something is to be announced, once for each name and time.

        Args:
            kind: The announcement's kind.
            name: The secret's name.
            when: What is due then, in seconds since 1970 UTC; ``None`` if nobody knows.
        """
        key = (kind, name)
        if key in self._told and self._told[key] == when:
            return False
        self._told[key] = when
        return True

    def pause(self) -> float:
        """Return for how many seconds to wait before the next run."""
        return spread(self._every)

    def run_once(self, end: threading.Event) -> None:
        """Rotate what is due, and warn of what has failed.

        Args:
            end: Set when no further secret is to be begun.
        """
        run = self._run
        if run is None or end.is_set():
            return
        try:
            done = run(lambda: not end.is_set())
            failed = {(str(one.name), one.error.code): one.error.what for one in done.failed}
        except ClosedError:
            end.set()
            return
        except StrongroomError as error:
            failed = {("", error.code): error.what}
        # What came this far is a fault of a plugin, or of ours: it must not be the last run.
        except Exception as error:  # noqa: BLE001  # see above
            self.failures += 1
            failed = {("", type(error).__name__): f"a run has failed with {type(error).__name__}"}
        for key, what in failed.items():
            if key not in self._warned:
                _warn(f"what is due could not be rotated, and will be tried again: {what}")
        self._warned = frozenset(failed)


def runner_of(parts: Parts) -> RotationRunner:
    """Return what rotates for a manager by itself, made when first needed."""
    runner = parts.runner
    if not isinstance(runner, RotationRunner):
        runner = parts.runner = RotationRunner(parts)
    return runner


def _work(runner: weakref.ref[RotationRunner], end: threading.Event) -> None:
    while (live := runner()) is not None:
        until = time.monotonic() + live.pause()
        # Not held while waiting: whoever has got the manager may let go of it.
        del live
        while (left := until - time.monotonic()) > 0:
            if end.wait(min(left, LONGEST)) or runner() is None:
                return
        if (live := runner()) is not None:
            live.run_once(end)
            del live


def _warn(problem: str) -> None:
    # One that has not warned yet holds nothing back.
    Warner(time.monotonic).warn(problem)
