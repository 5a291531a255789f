"""The buffer in which cache hits wait for a moment, and the thread that has them written.

A hit that is returned has been put here, and stays until it is in the queue of
each sink. The thread writes 40 ms after the first of them came. If it is late,
because a sink hangs or fails, readers write themselves, and so fail where they
cannot: no hit is served while an older one has waited for longer than the window.
"""

from __future__ import annotations

import os
import threading
import time

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from strongroom._record import Record
from strongroom.audit_sinks import GuardedSink, new_id, timestamp
from strongroom.errors import ClosedError
from strongroom.model import AuditEvent, Principal, current_user

FLUSH_SECONDS: Final = 0.04
"""How long a hit stays in the buffer; with the write itself it stays under 50 ms."""
WINDOW_SECONDS: Final = 0.05
"""How old the oldest hit may be that no sink has recorded yet, without stopping the next one."""
RETRY_SECONDS: Final = (0.05, 1.0)
"""How long the thread waits after a failure, at first and at most."""
NEVER: Final = float("inf")


class Hit(Record):
    """What the events of all hits of one secret by one principal have in common."""

    principal: Principal
    key: str
    backend: str
    base: Principal | None = None
    """Who took on the principal, if somebody did."""


Waiting = tuple[int, float, int, Hit, str | None, str, str, str | None]


class HitBuffer:
    """Takes hits without a lock, and has them written soon.

    Args:
        sinks: Who gets the hits.
        flush: Writes what waits, here and at the sinks.
        unusual: Called after a hit was taken while :attr:`alert` is set; raises if the hit must not pass.
        trace_id: Tells which trace a hit belongs to.
        wall_clock: Nanoseconds since 1970, UTC.
        limit: How many hits may wait; a full buffer is written by the next reader.
    """

    def __init__(
        self,
        sinks: tuple[GuardedSink, ...],
        *,
        flush: Callable[[], None],
        unusual: Callable[[], None],
        trace_id: Callable[[], str | None],
        wall_clock: Callable[[], int],
        limit: int,
    ) -> None:
        self._sinks = sinks
        self._required = tuple(sink for sink in sinks if sink.required)
        self._flush = flush
        self._unusual = unusual
        self._trace_id = trace_id
        self._wall_clock = wall_clock
        self._limit = limit
        self._user = current_user()
        self._host = host_name()
        self.alert = False
        """Whether :meth:`add` has to ask before it lets a hit pass."""
        self.start_afresh()

    def start_afresh(self) -> None:
        """Be empty, without a thread, with new locks."""
        self.items: deque[Waiting] = deque()
        self.due = NEVER
        """When the oldest hit that a required sink still lacks has waited too long; the past, if a write failed."""
        self._number = count(1).__next__
        self._run_id = new_id()
        self._awake = False
        self._taking = threading.RLock()
        self._taker: int | None = None
        self._starting = threading.RLock()
        # Not an Event: a signal's handler that reads would wait for the lock inside it, held by its own thread.
        self._bell = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, hit: Hit, version: str | None, source: str, result: str, now: float) -> None:
        """Record that a read was answered from memory; see ``AuditStage.hit``."""
        items = self.items
        if now > self.due or len(items) >= self._limit:
            # If this fails the read fails, and so must leave no trace that says it went well.
            self._flush()
        items.append((self._number(), now, self._wall_clock(), hit, version, source, result, self._trace_id()))
        if self.alert:
            # Asked only now: what was in the buffer before it was set has been written by who set it.
            self._unusual()
        if not self._awake:
            self._wake(now)

    def _wake(self, now: float) -> None:
        self._awake = True
        try:
            if self._required:
                self.due = min(self.due, now + WINDOW_SECONDS)
            self._run_thread()
            self.ring()
        except RuntimeError:
            # No thread can be started, so it is done here.
            self._awake = False
            self._flush()
        except BaseException:
            self._awake = False
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
                self._awake = False
            pause = min(max(RETRY_SECONDS[0], 2 * pause), RETRY_SECONDS[1]) if self.holds_something() else 0.0

    def holds_something(self) -> bool:
        """Tell whether a hit waits, here or at a sink."""
        return bool(self.items) or any(sink.waiting for sink in self._sinks)

    def stop(self) -> None:
        """Let the thread end, and none be started any more."""
        self._stopped = True
        self.ring()

    def take(self) -> None:
        """Move every hit into the queue of each sink."""
        if self._taker == threading.get_ident():
            return  # a signal's handler, within this: what waits is about to be moved
        with self._taking:
            try:
                self._taker = threading.get_ident()
                self._awake = False
                for _ in range(len(self.items)):
                    event = self._event(self.items[0])
                    for sink in self._sinks:
                        sink.append(event, self._limit)
                    self.items.popleft()
            finally:
                self._taker = None

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

    def _event(self, waiting: Waiting) -> AuditEvent:
        number, _, when, hit, version, source, result, trace_id = waiting
        return AuditEvent(
            # The same however often it has to be written.
            id=f"{self._run_id}{number:08x}",
            timestamp=timestamp(when),
            event="get",
            key=hit.key,
            principal=hit.principal.name,
            principal_source=hit.principal.source.value,
            on_behalf_of=hit.base.name if hit.base is not None else None,
            user=self._user,
            host=self._host,
            pid=os.getpid(),
            result=result,
            cache_hit=True,
            source=source,
            backend=hit.backend,
            version=version,
            trace_id=trace_id,
        )


def host_name() -> str:
    """Return the name of the machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
