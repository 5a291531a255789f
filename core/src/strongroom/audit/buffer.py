"""The buffer in which cache hits wait for a moment, and the thread that has them written.

A hit that is returned has been put here, and stays until it is in the queue of
each sink. The thread writes 40 ms after the first of them came. If it is late,
because a sink hangs or fails, readers write themselves, and so fail where they
cannot: no hit is served while an older one has waited for longer than the window.
"""

from __future__ import annotations

import operator
import os
import sys
import threading
import time

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count, repeat
from typing import Final

from strongroom.audit.sinks import GuardedSink, new_id
from strongroom.contracts.audit import Hits, Reading, Row
from strongroom.errors import ClosedError, StrongroomError
from strongroom.model import current_user

FLUSH_SECONDS: Final = 0.04
"""How long a hit stays in the buffer; with the write itself it stays under 50 ms."""
WINDOW_SECONDS: Final = 0.05
"""How old the oldest hit may be that no sink has recorded yet, without stopping the next one."""
RETRY_SECONDS: Final = (0.05, 1.0)
"""How long the thread waits after a failure, at first and at most."""
NEVER: Final = float("inf")
HIT: Final = ("cache", "ok")
"""Source and result of a hit that returned a value."""

# Nobody can be in a trace unless somebody has imported this.
_TRACES: Final = "opentelemetry.trace"
_modules: Final = sys.modules


class HitBuffer:
    """Takes hits without a lock, and has them written soon.

    Args:
        sinks: Who gets the hits.
        flush: Writes what waits, here and at the sinks.
        unusual: Called after a hit was taken while :attr:`alert` is set; raises if the hit must not pass.
        trace_id: Tells which trace a hit belongs to.
        clock: Monotonic seconds; what the times of the hits are taken from.
        wall_clock: Nanoseconds since 1970, UTC.
        number: Gives each hit a number that no other has.
        limit: How many hits may wait; a full buffer is written by the next reader.
    """

    def __init__(
        self,
        sinks: tuple[GuardedSink, ...],
        *,
        flush: Callable[[], None],
        unusual: Callable[[], None],
        trace_id: Callable[[], str | None],
        clock: Callable[[], float],
        wall_clock: Callable[[], int],
        number: Callable[[], int],
        limit: int,
    ) -> None:
        self._sinks = sinks
        self._required = tuple(sink for sink in sinks if sink.required)
        self._flush = flush
        self._unusual = unusual
        self._trace_id = trace_id
        self._clock = clock
        self._wall_clock = wall_clock
        self._number = number
        self._limit = limit
        self._user = current_user()
        self._host = host_name()
        self._alert = False
        self.start_afresh()

    def start_afresh(self) -> None:
        """Be empty, without a thread, with new locks."""
        self.items: deque[Row] = deque()
        self.due = NEVER
        """When the oldest hit that a required sink still lacks has waited too long; the past, if a write failed."""
        # The numbers of answers that are no plain hits: below zero, so that they are nobody else's.
        self._other_number = count(-1, -1).__next__
        self._run_id = new_id()
        self._origin = (self._user, self._host, os.getpid())
        self._awake = False
        # Whether the thread is awake and nothing unusual goes on: one look instead of two for each hit.
        self._calm = False
        self._taking = threading.RLock()
        self._taker: int | None = None
        self._taken: Hits | None = None
        self._given = 0
        self._starting = threading.RLock()
        # Not an Event: a signal's handler that reads would wait for the lock inside it, held by its own thread.
        self._bell = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    @property
    def alert(self) -> bool:
        """Whether :meth:`add` has to ask before it lets a hit pass."""
        return self._alert

    @alert.setter
    def alert(self, value: bool) -> None:
        with self._starting:
            self._alert = value
            self._calm = False

    def add(self, reading: Reading, version: str | None, now: float) -> None:
        """Record that a read was answered from memory; see ``AuditStage.hit``."""
        if now > self.due or len(self.items) >= self._limit:
            # If this fails the read fails, and so must leave no trace that says it went well.
            self._flush()
        trace = None if _TRACES not in _modules else self._trace_id()
        row = (self._number(), now, reading, version, trace, HIT)
        # Looked up only now: a signal's handler may have forked, and the child has a buffer of its own.
        self.items.append(row)
        if not self._calm:
            self._attend(now)

    def add_other(self, reading: Reading, version: str | None, now: float, source: str, result: str) -> None:
        """Record another answer from memory: that there is no such secret, or a stale one."""
        if now > self.due or len(self.items) >= self._limit:
            self._flush()
        trace = None if _TRACES not in _modules else self._trace_id()
        row = (self._other_number(), now, reading, version, trace, (source, result))
        self.items.append(row)
        if not self._calm:
            self._attend(now)

    def takes_without_waiting(self, now: float) -> bool:
        """Tell whether a hit can be taken now without anything being written, or a thread started, first."""
        return (
            now <= self.due
            and len(self.items) < self._limit
            and not self._alert
            and (self._calm or ((thread := self._thread) is not None and thread.is_alive()))
        )

    @property
    def has_room(self) -> bool:
        """Whether :meth:`add_late` may be called."""
        return len(self.items) < self._limit and not self._alert

    def add_late(
        self, reading: Reading, version: str | None, now: float, source: str = HIT[0], result: str = HIT[1]
    ) -> None:
        """Record an answer from memory without writing what is overdue: the caller has just had that done."""
        answer = (source, result)
        number = self._number() if answer == HIT else self._other_number()
        trace = None if _TRACES not in _modules else self._trace_id()
        self.items.append((number, now, reading, version, trace, answer))
        if not self._calm:
            self._attend(now)

    def prepare(self) -> None:
        """Write what is overdue and start the thread, so that the next hits need not wait for that.

        Raises:
            AuditError: A required sink could not record it; the hits are kept.
            ClosedError: The stage is closed, and hits were left.
        """
        self._flush()
        if not self._stopped:
            try:
                self._run_thread()
            except RuntimeError:
                pass  # there are too many threads now; whoever reads writes then

    def _attend(self, now: float) -> None:
        if self._alert:
            # Asked only now: what was in the buffer before it was set has been written by who set it.
            self._unusual()
        if not self._awake:
            self._wake(now)
        with self._starting:
            self._calm = True
            # Set meanwhile, by a signal's handler or the taker: then the next hit looks again.
            if self._alert or not self._awake:
                self._calm = False

    def _wake(self, now: float) -> None:
        self._awake = True
        try:
            if self._required:
                self.due = min(self.due, now + WINDOW_SECONDS)
            self._run_thread()
            self.ring()
        except RuntimeError:
            # No thread can be started, so it is done here.
            self._awake = self._calm = False
            self._flush()
        except BaseException:
            self._awake = self._calm = False
            # Other threads' hits may have come to rely on this one to see to it that they are written.
            with suppress(StrongroomError):
                self._flush()
            raise

    def _run_thread(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._write_behind, name="strongroom-audit", daemon=True)
                self._thread.start()

    def ring(self) -> None:
        """Wake the thread, if there is one."""
        try:
            self._bell.release()
        except RuntimeError:
            return  # it has been woken already

    def _write_behind(self) -> None:
        """Write hits a moment after the first of them came, again and again if that fails, until the end."""
        pause = 0.0
        bell = self._bell
        while self._thread is threading.current_thread() and not self._stopped:
            if bell.acquire(timeout=pause or -1):
                time.sleep(FLUSH_SECONDS)
            try:
                self._flush()
            except ClosedError:
                return
            # The hits are kept, and the next read fails with the reason. A sink may raise anything at all.
            except BaseException:  # noqa: BLE001  # see above
                self._awake = self._calm = False
            pause = min(max(RETRY_SECONDS[0], 2 * pause), RETRY_SECONDS[1]) if self.holds_something() else 0.0

    def holds_something(self) -> bool:
        """Tell whether a hit waits, here or at a sink."""
        return bool(self.items) or self._taken is not None or any(sink.waiting for sink in self._sinks)

    def stop(self) -> None:
        """Let the thread end, and none be started any more."""
        self._stopped = True
        self.ring()

    def take(self) -> None:
        """Move every hit into the queue of each sink.

        A signal's handler may end this at any point; the next call goes on there.
        """
        if self._taker == threading.get_ident():
            return  # a signal's handler, within this: what waits is about to be moved
        with self._taking:
            try:
                self._taker = threading.get_ident()
                # In this order: a reader who says that all is calm looks afterwards whether the thread is awake.
                self._awake = self._calm = False
                if self._taken is not None:
                    self._hand_out(self._taken)
                if self.items:
                    self._taken = self._hits()
                    self._hand_out(self._taken)
            finally:
                self._taker = None

    def _hits(self) -> Hits:
        offset = self._wall_clock() / 1e9 - self._clock()
        return Hits(self._run_id, offset, self._origin, [])

    def _hand_out(self, taken: Hits) -> None:
        rows = taken.rows
        if self._taken is not taken:
            return  # a signal's handler has forked, and this is the child: it is the parent's
        if not rows and isinstance(rows, list):
            # One call that runs no Python code, so neither a signal nor another thread comes in between.
            rows.extend(map(operator.call, repeat(self.items.popleft, len(self.items))))
        while self._taken is taken and self._given < len(self._sinks):
            self._sinks[self._given].append(taken, self._limit)
            self._given += 1
        self._taken, self._given = None, 0

    def settle(self, *, failed: bool) -> None:
        """Note from when on the next hit must not pass before this one was written.

        Args:
            failed: Whether a required sink could not record; then at once.
        """
        before, self.due = self.due, NEVER
        if failed:
            self.due = -NEVER
            return
        try:
            self.due = min(self.due, self.items[0][1] + WINDOW_SECONDS) if self._required else NEVER
        except IndexError:
            pass  # there is none
        if any(sink.waiting for sink in self._required):
            # Another thread is writing these.
            self.due = min(self.due, before)


def host_name() -> str:
    """Return the name of the machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def program_name() -> str:
    """Return the name of the program that this process runs, without its folder and its arguments."""
    name = os.path.basename(sys.argv[0] if sys.argv else "")
    if not name or name in {"-c", "-m", "-"}:
        return "python"
    # A file's name may hold bytes that are no text.
    return name.encode("utf-8", "backslashreplace").decode()
