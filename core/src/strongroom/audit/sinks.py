"""One audit sink as the core uses it: behind a lock of its own, with the hits that it still lacks.

What waits for a sink leaves the queue only after the sink has recorded it. So
whatever ends a write, a signal included, nothing is lost: it may come twice,
under the same id.
"""

from __future__ import annotations

import os
import threading
import time

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from strongroom._apart import apart
from strongroom.contracts.audit import AuditSink, AuditWrite, Block, Hits, Trail, TrailHead
from strongroom.contracts.health import Health, HealthState
from strongroom.errors import AuditError, ClosedError
from strongroom.model import AuditEvent
from strongroom.telemetry import Telemetry, count
from strongroom.telemetry.names import AUDIT_EVENTS, SINK_TYPE

LOCK_SECONDS: Final = 1.0
"""How long an operation waits for a sink that another thread is writing to."""
WARNING_SECONDS: Final = 60.0


class SinkLock:
    """Lets one thread write at a time; a signal's handler cannot make it wait for its own thread."""

    def __init__(self) -> None:
        # Reentrant not in order to be entered twice, but because it then knows whether this thread has it.
        self._lock = threading.RLock()
        self._holder: int | None = None

    @property
    def held_here(self) -> bool:
        """Whether this thread has it."""
        return self._holder == threading.get_ident()

    def run(self, action: Callable[[], None], seconds: float) -> bool:
        """Do something alone, and tell whether it was done: the lock was free in time, and not this thread's."""
        me = threading.get_ident()
        if self._holder == me:
            return False
        lock = self._lock
        try:
            if not lock.acquire(timeout=max(0.0, seconds)):
                return False
            self._holder = me
            action()
            return True
        finally:
            # No call of a Python function in between: at the start of one, a signal's handler may raise.
            if self._holder == me:
                self._holder = None
            try:
                lock.release()
            except RuntimeError:
                pass  # it was not taken

    def acquire(self, *, timeout: float) -> bool:
        """Take it, unless this thread has it already; tell whether that succeeded in time."""
        if self.held_here or not self._lock.acquire(timeout=timeout):
            return False
        self._holder = threading.get_ident()
        return True

    def release(self) -> None:
        """Give it back.

        Raises:
            RuntimeError: This thread has not got it.
        """
        if self.held_here:
            self._holder = None
        self._lock.release()


class GuardedSink(AuditSink):
    """An audit sink with the core's span, error translation, lock and queue around it.

    Args:
        sink: The sink itself.
        type: The name that its plugin registered.
        required: Whether an operation is refused if the sink cannot record it.
        telemetry: Opens the spans.
    """

    def __init__(
        self, sink: AuditSink, *, type: str, required: bool = True, telemetry: Telemetry | None = None
    ) -> None:
        self.wrapped = sink
        self.type = type
        self.required = required
        self.started: int | None = None
        """When what it records began, in nanoseconds since 1970; with its next event unless given."""
        self.finished = False
        """Whether it has recorded the end, and is closed."""
        self._telemetry = telemetry or Telemetry()
        self._warned = float("-inf")
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.lock = SinkLock()
        self.waiting: deque[Hits] = deque()
        """Hits that it has not recorded yet, in the portions in which they came."""
        self.opened = False
        """Whether it has recorded that this process has begun."""
        # Shared by `opened` and `closed`, so that a missing end is told from another process's.
        self._run_id = new_id()
        self.failing = False
        self._ended = False
        self.lost = 0
        """Events that an optional sink could not record since it last worked."""
        self.lost_in_all = 0
        self._counting = threading.RLock()
        self._gap_id = new_id()
        self._hangs = False
        self._unsynced = False

    def write(self, request: AuditWrite) -> None:
        """Record events; see :meth:`AuditSink.write`."""
        with self._telemetry.span("audit_write", sink_type=self.type, count=len(request.events)):
            try:
                apart(self.wrapped.write, request)
            except AuditError:
                self.failing = True
                raise
            # The plugin boundary: whatever a sink raises means that it did not record.
            except Exception as error:
                self.failing = True
                raise AuditError(
                    f"the audit sink {self.type!r} could not record: {type(error).__name__}",
                    hint="see `strongroom doctor`; no operation goes on unrecorded",
                ) from error
        self.failing = self._hangs = False
        self._unsynced = not request.durable
        count(AUDIT_EVENTS, {SINK_TYPE: self.type}, len(request.events))

    def head(self) -> TrailHead | None:
        """Return where the sink's trail stands, if it keeps one and can say so now."""
        if not isinstance(self.wrapped, Trail):
            return None
        try:
            return self.wrapped.head()
        # The plugin boundary: what cannot be told now is told the next time.
        except Exception:  # noqa: BLE001  # see above
            return None

    def deliver(self, batch: Batch, *, seconds: float) -> None:
        """Record the hits that wait, and then a batch; an optional sink that cannot has lost them.

        Args:
            batch: What is to be recorded after the hits.
            seconds: How long to wait for another thread's write.

        Raises:
            AuditError: The sink is required, and could not record; the hits go on waiting.
            ClosedError: The sink has recorded the end already.
        """
        if not (batch.events or batch.ends or self.waiting or (batch.durable and self._unsynced)):
            return
        write = self._write_all if self.required else self._write_or_lose
        if self.lock.run(lambda: write(batch), 0.0 if self._hangs else seconds):
            return
        if self.required:
            raise self._busy()
        self._hangs = not self.lock.held_here
        self._lose(batch.size, self._busy())

    def _busy(self) -> AuditError:
        if self.lock.held_here:
            return AuditError(
                f"a signal came while this thread was writing to the audit sink {self.type!r}",
                hint="let the signal's handler set a flag, and do the work after it has returned",
            )
        return AuditError(
            f"the audit sink {self.type!r} has not answered in time",
            hint="see `strongroom health` for the sink",
        )

    def _write_all(self, batch: Batch) -> None:
        """Write what waits, and the batch, in one block; the lock is held."""
        if self.finished:
            raise closed_error()
        waiting, block = self._block(batch)
        if not block and not (batch.durable and self._unsynced):
            return
        self.write(AuditWrite(events=block, durable=batch.durable))
        self._written(waiting, batch)

    def _block(self, batch: Batch) -> tuple[int, Sequence[AuditEvent]]:
        """Return how many portions of hits wait, and these with the batch's events and what stands around them."""
        # Only the holder of the lock takes away from the left; others may append meanwhile.
        waiting = len(self.waiting)
        hits = tuple(self.waiting[index] for index in range(waiting))
        after = (*batch.events, batch.edge("closed", self._run_id, None)) if batch.ends else batch.events
        if not hits and not after:
            return 0, ()
        # Each sink hears of the process with the first event that it can record.
        before = () if self.opened else (batch.edge("opened", self._run_id, self.started),)
        return waiting, Block((before, *hits, after)) if hits else (*before, *after)

    def _written(self, waiting: int, batch: Batch) -> None:
        self._ended = batch.ends or (self._ended and not waiting and not batch.events)
        if batch.ends:
            self.opened, self.started, self._run_id = False, None, new_id()
        elif waiting or batch.events:
            self.opened = True
        # Last, so that a signal before leads to a second record rather than to none.
        for _ in range(waiting):
            self.waiting.popleft()

    def _write_or_lose(self, batch: Batch) -> None:
        """Write as :meth:`_write_all`; the first success after a loss records the gap, too."""
        if self.finished:
            return
        waiting, block = self._block(batch)
        lost = self.lost
        if lost and block:
            block = Block(((_gap(batch.edge("gap", self._gap_id, None), lost),), block))
        if not block and not (batch.durable and self._unsynced):
            return
        try:
            self.write(AuditWrite(events=block, durable=batch.durable))
        except AuditError as error:
            # The process's `opened` event is not lost: it comes again with the next events.
            self._lose(sum(len(self.waiting.popleft()) for _ in range(waiting)) + batch.size, error)
            return
        with self._counting:
            self.lost -= lost
        self._gap_id = new_id() if lost else self._gap_id
        self._written(waiting, batch)

    @property
    def backlog(self) -> int:
        """How many hits it has not recorded yet."""
        return sum(map(len, tuple(self.waiting)))

    def lag(self) -> float:
        """Return for how many seconds the oldest of them has waited; 0.0 if none does."""
        oldest = next(iter(tuple(self.waiting)), None)
        rows = () if oldest is None else oldest.rows[:1]
        return max(0.0, time.time() - oldest.offset - rows[0][1]) if oldest is not None and rows else 0.0

    def append(self, hits: Hits, limit: int) -> None:
        """Put hits into the queue; an optional sink's queue may be full."""
        if self.waiting and self.waiting[-1] is hits:
            return  # a signal's handler came in between, and this is done
        if not self.required and self.backlog + len(hits) > limit:
            self._lose(len(hits), self._busy())
        else:
            self.waiting.append(hits)

    def _lose(self, count: int, error: AuditError) -> None:
        with self._counting:
            self.lost += count
            self.lost_in_all += count
        now = time.monotonic()
        if not count or now - self._warned < WARNING_SECONDS:
            return
        self._warned = now
        # Imported here: logging costs a command that has nothing to say more than a read.
        import logging

        try:
            # The error's text, not itself: it leads to its cause, which is another's.
            apart(logging.getLogger("strongroom").warning, f"audit events lost so far: {self.lost_in_all}: {error}")
        # Foreign code: a filter or handler that fails must not fail what goes on although it is not recorded.
        except Exception:  # noqa: BLE001  # see above
            return

    def finish(self, batch: Batch | None, *, seconds: float) -> None:
        """Record what waits and the process's end, and close the sink; once that has succeeded, do nothing.

        Args:
            batch: The end, or ``None`` if nothing has happened that could end.
            seconds: How long to wait for another thread's write; an optional sink has less.

        Raises:
            AuditError: The sink is required and could not record; it stays open for another try.
        """
        if self.lock.run(lambda: self._finish(batch), seconds if self.required else min(seconds, LOCK_SECONDS)):
            return
        if self.required:
            raise self._busy()
        # It is left as it is, open: another thread is in it.
        self._lose(self.backlog + (batch.size if batch else 0), self._busy())

    def _finish(self, batch: Batch | None) -> None:
        if self.finished:
            return
        if batch is not None and (self.waiting or not self._ended):
            (self._write_all if self.required else self._write_or_lose)(batch)
        self.close()
        self.finished = True

    def health(self) -> Health:
        """Ask the sink how it is; a failure to answer is an answer."""
        try:
            state = self.wrapped.health()
        # The plugin boundary, as above.
        except Exception as error:  # noqa: BLE001  # see above
            return Health(state=HealthState.DOWN, reason=f"{self.type} failed with {type(error).__name__}")
        if self.failing and self.required and state.state is HealthState.UP:
            waiting = f", and {self.backlog} events wait for it" if self.waiting else ""
            return Health(state=HealthState.DOWN, reason=f"its last write failed{waiting}")
        return state

    def after_fork(self) -> None:
        """Tell the sink that it is in a forked child; what waits and what was lost is the parent's to report."""
        self._start_afresh()
        self.wrapped.after_fork()

    def close(self) -> None:
        """Close the sink. By now everything has been recorded; what is left is a handle that the process gives back."""
        try:
            self.wrapped.close()
        # The plugin boundary, as above.
        except Exception:  # noqa: BLE001  # see above
            return


Edge = Callable[[str, str, "int | None"], AuditEvent]
"""Makes ``opened`` or ``closed``, from an id and a time in nanoseconds since 1970 or ``None`` for now."""


class Batch:
    """What is to be recorded together, after the hits that came before.

    Args:
        events: In their order; none for the hits alone.
        edge: Makes what stands at the beginning and the end of what a process records.
        durable: Whether they, and all before them, must survive a power failure.
        ends: Whether the end follows; should there be another event, it begins anew.
    """

    __slots__ = ("durable", "edge", "ends", "events")

    def __init__(
        self, events: tuple[AuditEvent, ...], edge: Edge, *, durable: bool = False, ends: bool = False
    ) -> None:
        self.events = events
        self.edge = edge
        self.durable = durable
        self.ends = ends

    @property
    def size(self) -> int:
        """How many events it has."""
        return len(self.events) + self.ends


def _gap(model: AuditEvent, lost: int) -> AuditEvent:
    return AuditEvent(
        id=model.id,
        timestamp=model.timestamp,
        event="gap",
        result="events_lost",
        count=lost,
        user=model.user,
        host=model.host,
        pid=model.pid,
    )


def new_id() -> str:
    """Return an id that no other event has."""
    return os.urandom(12).hex()


def timestamp(nanoseconds: int) -> str:
    """Return a wall-clock time in nanoseconds as UTC in ISO 8601 with microseconds and offset."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds")


def closed_error() -> ClosedError:
    """Return the error of whatever is used after it was closed."""
    return ClosedError("the manager is closed", hint="open a new one")
