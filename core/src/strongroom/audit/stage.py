"""Hands events to sinks: closed or open, at once or through the buffer for cache hits.

What changes something is recorded before and after it happens, and what a read
fetched is recorded before it is returned. Cache hits go through a bounded
buffer that is written at latest every 50 ms.
"""

from __future__ import annotations

import os
import threading
import time

from collections.abc import Callable
from functools import partial, wraps
from itertools import count
from typing import Any, Final, ParamSpec, TypeVar

from strongroom.audit.buffer import HitBuffer, host_name, program_name
from strongroom.audit.sinks import LOCK_SECONDS as LOCK_SECONDS
from strongroom.audit.sinks import Batch, closed_error, new_id, timestamp
from strongroom.audit.sinks import GuardedSink as GuardedSink
from strongroom.contracts.audit import Reading
from strongroom.contracts.health import Health
from strongroom.errors import AuditError, ClosedError, StrongroomError
from strongroom.lifecycle import ForkLocks, all_of
from strongroom.model import AuditEvent, Principal, current_user
from strongroom.telemetry import Telemetry
from strongroom.telemetry import count as count_metric
from strongroom.telemetry.names import ACCESSES, OPERATION, OUTCOME

BUFFER_EVENTS: Final = 2048
CLOSE_SECONDS: Final = 10.0
"""How long the end waits for a sink that another thread is writing to."""
HEAD_SECONDS: Final = 60.0
"""How often at most each sink is told where the trails of the others stand."""
EXEC_SECONDS: Final = 1.0
"""How long other threads wait for the program to be replaced, before they take it that this has failed."""


class _Postponed(threading.local):
    """What this thread has put aside.

    Attributes:
        records: Where set, events that need not be durable are put here instead of
            being recorded. It is for those who must not wait, and who see to it that
            all of it is done before anybody hears of what it tells.
    """

    # No context variable: what a callback or another thread inherits of those would be put aside for ever.
    records: list[Callable[[], object]] | None = None


postponed: Final = _Postponed()

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def recorded_at_once(operation: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let an operation record by itself what it does, also within another one of its thread that puts records aside.

    A signal's handler or a detector may read while an event loop is at a read of its
    own: what that one has put aside is not for the other to add to.
    """

    @wraps(operation)
    def alone(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if postponed.records is None:
            return operation(*args, **kwargs)
        before, postponed.records = postponed.records, None
        try:
            return operation(*args, **kwargs)
        finally:
            postponed.records = before

    return alone


class AuditStage:
    """Records events at every sink.

    Args:
        sinks: In the order of the configuration.
        telemetry: Tells which trace an event belongs to.
        clock: Monotonic seconds; what the times of hits are taken from.
        wall_clock: Nanoseconds since 1970, UTC.
        number: Gives each hit a number that no other has.
        buffer_events: How many hits may wait; a full buffer is written by the next reader.
    """

    def __init__(
        self,
        sinks: tuple[GuardedSink, ...],
        *,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
        number: Callable[[], int] | None = None,
        buffer_events: int = BUFFER_EVENTS,
    ) -> None:
        self.sinks = sinks
        self._required = tuple(sink for sink in sinks if sink.required)
        self._optional = tuple(sink for sink in sinks if not sink.required)
        self._telemetry = telemetry
        self._wall_clock = wall_clock
        self._user = current_user()
        self._host = host_name()
        self._fork_locks = ForkLocks()
        self._closed = self._finished = False
        self._close_until = 0.0
        self.buffer = HitBuffer(
            sinks,
            flush=self.flush,
            unusual=self._let_pass,
            trace_id=telemetry.current_trace_id,
            clock=clock,
            wall_clock=wall_clock,
            number=number or count(1).__next__,
            limit=buffer_events,
        )
        self.hit: Callable[[Reading, str | None, float], None] | None = self.buffer.add if sinks else None
        """Record that a read was answered from memory; written at latest 50 ms from now. ``None`` without a sink.

        It takes who reads what, the version that was returned, and the time in monotonic
        seconds. It raises an ``AuditError`` if earlier hits could not be recorded by a
        required sink, and a ``ClosedError`` if the stage is closed.
        """
        self.other_hit = self.buffer.add_other if sinks else _no_sinks
        """Record another answer from memory: as ``hit``, and also its source and its result."""
        self._start_run()

    def _start_run(self) -> None:
        self._pid = os.getpid()
        self._exec_by: int | None = None
        self._exec_until = 0.0
        self._heads_due = 0.0
        for sink in self.sinks:
            sink.started = self._wall_clock()

    @property
    def enabled(self) -> bool:
        """Whether there is a sink at all."""
        return bool(self.sinks)

    def event(
        self, event: str, *, principal: Principal | None = None, base: Principal | None = None, **fields: Any
    ) -> AuditEvent:
        """Make an event with everything filled in that does not depend on the operation.

        Args:
            event: Its kind.
            principal: Who acts.
            base: Who took on that principal, if somebody did.
            fields: The other fields of :class:`AuditEvent`.
        """
        return AuditEvent(
            **{"id": new_id(), "timestamp": timestamp(self._wall_clock())} | fields,
            event=event,
            principal=principal.name if principal else None,
            principal_source=principal.source.value if principal else None,
            on_behalf_of=base.name if base else None,
            user=self._user,
            host=self._host,
            pid=self._pid,
            trace_id=self._telemetry.current_trace_id(),
        )

    def _edge(self, kind: str, id: str, when: int | None) -> AuditEvent:
        detail = program_name() if kind == "opened" else None
        return self.event(kind, id=id, timestamp=timestamp(self._wall_clock() if when is None else when), detail=detail)

    def record(self, *events: AuditEvent, durable: bool = False) -> None:
        """Record events now, after the hits that came before them.

        Args:
            events: In their order.
            durable: Whether they must survive a power failure when this returns.

        Raises:
            AuditError: A required sink could not record them.
            ClosedError: The stage is closed.
        """
        if not self.sinks:
            return
        if not durable and (later := postponed.records) is not None:
            later.append(partial(self.record, *events))
            return
        self._ensure_usable()
        self._write(Batch(events, self._edge, durable=durable))
        for event in events:
            if event.phase == "outcome":
                count_metric(ACCESSES, {OPERATION: event.event, OUTCOME: event.result or "ok"})

    def flush(self, *, durable: bool = False) -> None:
        """Record the hits that wait.

        Args:
            durable: Whether they, and all that was recorded before, must survive a power failure.

        Raises:
            AuditError: A required sink could not record them; they are kept.
        """
        if self._closed and not self.buffer.holds_something():
            return
        self._ensure_usable()
        self._write(Batch((), self._edge, durable=durable))

    def _ensure_usable(self) -> None:
        if not self.buffer.alert:
            return
        if self._closed:
            raise closed_error()
        # The program is about to be replaced, and the trail has its end already.
        while self._exec_by not in {None, threading.get_ident()} and time.monotonic() < self._exec_until:
            time.sleep(0.005)
        # This thread still runs, so the program has not been replaced.
        self.exec_refused()

    def _let_pass(self) -> None:
        """Let a hit pass that came although something unusual goes on, or raise."""
        self._ensure_usable()
        self.flush()

    def _write(self, batch: Batch) -> None:
        """Write what waits, and a batch, to every sink; the first failure of a required one is raised."""
        self.buffer.take()
        try:
            self._write_to_required(batch)
        except AuditError:
            self.buffer.settle(failed=True)
            # What is refused must not look as if it had happened.
            self._deliver(self._optional, Batch((), batch.edge))
            raise
        self._deliver(self._optional, batch)
        self.buffer.settle(failed=False)
        self._exchange_heads()

    def _exchange_heads(self) -> None:
        """Tell each sink, once a minute at most, where the trails of the others stand.

        Whoever rewrites one trail would have to rewrite all of them. A head that
        cannot be had or recorded stops nothing: the events themselves are recorded.
        """
        if len(self.sinks) < 2 or time.monotonic() < self._heads_due:
            return
        self._heads_due = time.monotonic() + HEAD_SECONDS
        for sink in self.sinks:
            head = sink.head()
            if head is not None:
                told = self.event("head", detail=f"{sink.type} {head.position}:{head.digest}")
                self._deliver(tuple(other for other in self.sinks if other is not sink), Batch((told,), self._edge))

    def _write_to_required(self, batch: Batch) -> None:
        stuck = tuple(sink for sink in self._required if sink.failing and sink.waiting)
        # First to those which failed last: if they fail again, the others need not hear of what is refused.
        error = self._deliver(stuck, batch)
        others = tuple(sink for sink in self._required if sink not in stuck)
        if error is not None:
            batch = Batch((), batch.edge)
        error = self._deliver(others, batch) or error
        if error is not None:
            raise error

    def _deliver(self, sinks: tuple[GuardedSink, ...], batch: Batch) -> AuditError | None:
        """Write to each of some sinks; return the first failure."""
        first: AuditError | None = None
        for sink in sinks:
            try:
                sink.deliver(batch, seconds=LOCK_SECONDS)
            except AuditError as error:
                first = first or error
        return first

    def health(self) -> list[tuple[str, Health]]:
        """Return each sink's state; one that could not record what came last is down."""
        return [(sink.type, sink.health()) for sink in self.sinks]

    @property
    def lost(self) -> int:
        """How many events optional sinks have lost."""
        return sum(sink.lost_in_all for sink in self.sinks)

    def before_fork(self) -> None:
        """Record what waits, and hold the locks so that no write is cut in two by the fork."""
        self._fork_locks.begin()
        try:
            self.flush()
        except StrongroomError:
            pass  # the parent keeps the hits, and its next read reports the failure
        # A sink that hangs in another thread does not hang the fork: the child takes new locks in any case.
        until = time.monotonic() + LOCK_SECONDS
        for sink in self.sinks:
            self._fork_locks.hold(sink.lock, until - time.monotonic())

    def after_fork_in_parent(self) -> None:
        """Let writes go on."""
        self._fork_locks.release()

    def after_fork_in_child(self) -> None:
        """Start with new locks and an empty buffer: what waits is the parent's to record."""
        self._fork_locks = ForkLocks()
        self.buffer.start_afresh()
        self.buffer.alert = self._closed
        try:
            all_of([sink.after_fork for sink in self.sinks])
        finally:
            self._start_run()

    def before_exec(self) -> None:
        """Record what waits and the end; from now on other threads' reads wait for the new program.

        If the program is not replaced, the next event opens another run.

        Raises:
            AuditError: A required sink could not record it, and nobody has been told so by :meth:`close`.
        """
        if self._finished:
            return
        self._exec_by, self._exec_until = threading.get_ident(), time.monotonic() + CLOSE_SECONDS
        self.buffer.alert = True
        self.buffer.take()
        try:
            self._end_run()
        except AuditError:
            if not self._closed:
                raise
        except ClosedError:
            return  # by another thread, meanwhile: the end is recorded
        self._exec_until = time.monotonic() + EXEC_SECONDS

    def exec_refused(self) -> None:
        """Go on as before: the program is not replaced."""
        self._exec_by = None
        self.buffer.alert = False
        # In this order: another thread may close the stage meanwhile.
        if self._closed:
            self.buffer.alert = True

    def _end_run(self) -> None:
        used = tuple(filter(_has_an_end, self.sinks))
        error = self._deliver(used, Batch((), self._edge, durable=True, ends=True))
        self.buffer.settle(failed=error is not None)
        if error is not None:
            raise error

    def close(self) -> None:
        """Record what waits and that the process is done, and close every sink.

        After a failure it may be called again.

        Raises:
            AuditError: A required sink could not record it.
        """
        if self._finished:
            return
        if not self._closed:
            self._close_until = time.monotonic() + CLOSE_SECONDS
            self._closed = self.buffer.alert = True
        self.buffer.stop()
        self.buffer.take()
        used = any(map(_has_an_end, self.sinks))
        batch = Batch((), self._edge, durable=True, ends=True) if used else None
        all_of([partial(self._finish, sink, batch) for sink in self.sinks])
        self._finished = True

    def _finish(self, sink: GuardedSink, batch: Batch | None) -> None:
        sink.finish(batch, seconds=max(LOCK_SECONDS, self._close_until - time.monotonic()))


def _has_an_end(sink: GuardedSink) -> bool:
    return bool(sink.opened or sink.waiting or sink.lost)


def _no_sinks(reading: Reading, version: str | None, now: float, source: str, result: str) -> None:
    """Record nothing, where there is nothing to record at."""
