"""Hands events to sinks: closed or open, at once or through the buffer for cache hits.

What changes something is recorded before and after it happens, and what a read
fetched is recorded before it is returned. Cache hits go through a bounded
buffer that is written at latest every 50 ms.
"""

from __future__ import annotations

import os
import threading
import time

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from strongroom._record import Record
from strongroom.contracts.audit import AuditSink, AuditWrite
from strongroom.contracts.health import Health, HealthState
from strongroom.errors import AuditError, ClosedError, StrongroomError
from strongroom.model import AuditEvent, Principal, current_user
from strongroom.telemetry import Telemetry

FLUSH_SECONDS: Final = 0.04
"""How long a hit stays in the buffer; with the write itself it stays under 50 ms."""
BUFFER_EVENTS: Final = 8192
LOCK_SECONDS: Final = 1.0
WARNING_SECONDS: Final = 60.0


class GuardedSink(AuditSink):
    """An audit sink with the core's span and error translation around it.

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
        self.lost = 0
        """Events that an optional sink could not record since it last worked."""
        self.lost_in_all = 0
        self.opened = False
        """Whether it has recorded that this process has begun."""
        self._telemetry = telemetry or Telemetry()
        self._warned = float("-inf")

    def write(self, request: AuditWrite) -> None:
        """Record events; see :meth:`AuditSink.write`."""
        with self._telemetry.span("audit_write", sink_type=self.type, count=len(request.events)):
            try:
                self.wrapped.write(request)
                self.opened = True
            except AuditError:
                raise
            # The plugin boundary: whatever a sink raises means that it did not record.
            except Exception as error:
                raise AuditError(
                    f"the audit sink {self.type!r} could not record: {type(error).__name__}",
                    hint="see `strongroom doctor`; no operation goes on unrecorded",
                ) from error

    def write_if_possible(self, request: AuditWrite) -> None:
        """Record events, or count them as lost; the first success after a loss records the gap."""
        events = request.events
        if self.lost:
            events = (_gap(events[0], self.lost), *events)
        # The process's `opened` event is not lost: it comes again with the next events.
        lost = len(request.events) - (not self.opened)
        try:
            self.write(request.replace(events=events))
            self.lost = 0
        except AuditError as error:
            self.lost += lost
            self.lost_in_all += lost
            self._warn(error)

    def _warn(self, error: AuditError) -> None:
        now = time.monotonic()
        if now - self._warned < WARNING_SECONDS:
            return
        self._warned = now
        # Imported here: logging costs a command that has nothing to say more than a read.
        import logging

        logging.getLogger("strongroom").warning("audit events lost so far: %d: %s", self.lost_in_all, error)

    def health(self) -> Health:
        """Ask the sink how it is; a failure to answer is an answer."""
        try:
            return self.wrapped.health()
        # The plugin boundary, as above.
        except Exception as error:  # noqa: BLE001  # see above
            return Health(state=HealthState.DOWN, reason=f"{self.type} failed with {type(error).__name__}")

    def after_fork(self) -> None:
        """Tell the sink that it is in a forked child; what was lost before is the parent's to report."""
        self.lost = self.lost_in_all = 0
        self.opened = False
        self.wrapped.after_fork()

    def close(self) -> None:
        """Close the sink. By now everything has been recorded; what is left is a handle that the process gives back."""
        try:
            self.wrapped.close()
        # The plugin boundary, as above.
        except Exception:  # noqa: BLE001  # see above
            return


def _gap(model: AuditEvent, lost: int) -> AuditEvent:
    return AuditEvent(
        id=_new_id(),
        timestamp=timestamp(time.time_ns()),
        event="gap",
        result="events_lost",
        count=lost,
        user=model.user,
        host=model.host,
        pid=model.pid,
    )


def _new_id() -> str:
    return os.urandom(12).hex()


def timestamp(nanoseconds: int) -> str:
    """Return a wall-clock time in nanoseconds as UTC in ISO 8601 with microseconds and offset."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds")


class Hit(Record):
    """What the events of all hits of one secret by one principal have in common."""

    principal: Principal
    key: str
    backend: str


class AuditStage:
    """Records events at every sink.

    Args:
        sinks: In the order of the configuration.
        telemetry: Tells which trace an event belongs to.
        wall_clock: Nanoseconds since 1970, UTC.
        buffer_events: How many hits may wait; a full buffer is written by the next reader.
    """

    def __init__(
        self,
        sinks: tuple[GuardedSink, ...],
        *,
        telemetry: Telemetry,
        wall_clock: Callable[[], int] = time.time_ns,
        buffer_events: int = BUFFER_EVENTS,
    ) -> None:
        self.sinks = sinks
        self._telemetry = telemetry
        self._wall_clock = wall_clock
        self._limit = buffer_events
        self._user = current_user()
        self._host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
        self._closed = False
        self._fork = threading.local()
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self._started = self._wall_clock()
        # Shared by `opened` and `closed`, so that a missing end is told from another process's.
        self._run_id = _new_id()
        self._lock = threading.Lock()
        self._buffer: deque[tuple[int, Hit, str | None, str, str, str | None]] = deque()
        self._stuck: tuple[AuditEvent, ...] = ()
        self._owed: tuple[GuardedSink, ...] = ()
        self._awake = False
        self._signal = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def enabled(self) -> bool:
        """Whether there is a sink at all."""
        return bool(self.sinks)

    def event(self, event: str, *, principal: Principal | None = None, **fields: Any) -> AuditEvent:
        """Make an event with everything filled in that does not depend on the operation."""
        return AuditEvent(
            **{"id": _new_id()} | fields,
            timestamp=timestamp(self._wall_clock()),
            event=event,
            principal=principal.name if principal else None,
            principal_source=principal.source.value if principal else None,
            user=self._user,
            host=self._host,
            pid=self._pid,
            trace_id=self._telemetry.current_trace_id(),
        )

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
        self._locked(lambda: self._write(events, durable=durable))

    def hit(self, hit: Hit, version: str | None, source: str, result: str) -> None:
        """Record that a read was answered from memory; written at latest 50 ms from now.

        Args:
            hit: Whose and which.
            version: The version that was returned.
            source: ``cache`` or ``stale``.
            result: ``ok``, or the code of the remembered error.

        Raises:
            AuditError: Earlier hits could not be recorded by a required sink.
            ClosedError: The stage is closed.
        """
        if not self.sinks:
            return
        if self._stuck or len(self._buffer) >= self._limit:
            # If this fails the read fails, and so must leave no trace that says it went well.
            self.flush()
        self._buffer.append((self._wall_clock(), hit, version, source, result, self._telemetry.current_trace_id()))
        if self._closed:
            # Asked only now: what was in the buffer before the stage closed has been written by its closing.
            raise _closed_error()
        if not self._awake:
            self._awake = True
            self._wake_writer()

    def flush(self, *, durable: bool = False) -> None:
        """Record the hits that wait.

        Raises:
            AuditError: A required sink could not record them; they are kept.
        """
        if self._buffer or self._stuck:
            self._locked(lambda: self._write((), durable=durable))

    def _locked(self, action: Callable[[], None], *, closing: bool = False) -> None:
        if not self._lock.acquire(timeout=LOCK_SECONDS):
            raise AuditError(
                f"an audit sink has not answered for {LOCK_SECONDS:g} s", hint="see `strongroom health` for the sink"
            )
        try:
            if self._closed and not closing:
                raise _closed_error()
            action()
        finally:
            self._lock.release()

    def _write(self, events: tuple[AuditEvent, ...], *, durable: bool) -> None:
        """Write one block; called under the lock."""
        self._pay_debts(durable=durable)
        self._awake = False
        hits = tuple(self._hit_event(self._buffer.popleft()) for _ in range(len(self._buffer)))
        block = (*hits, *events)
        if not block:
            return
        failed, error = self._write_to(self.sinks, block, durable=durable)
        if error is None:
            self._owed = ()
            return
        # The operation that `events` tell of is refused, so they are let go; the hits have happened.
        self._stuck, self._owed = hits, failed
        raise error

    def _pay_debts(self, *, durable: bool) -> None:
        """Write the hits that an earlier write could not, to the sinks that still lack them."""
        if self._stuck:
            failed, error = self._write_to(self._owed, self._stuck, durable=durable)
            if error is not None:
                self._owed = failed
                raise error
            self._stuck = self._owed = ()

    def _write_to(
        self, sinks: tuple[GuardedSink, ...], block: tuple[AuditEvent, ...], *, durable: bool
    ) -> tuple[tuple[GuardedSink, ...], AuditError | None]:
        """Write a block to sinks; return the required ones that failed, with the first error."""
        opening = self.event("opened", id=self._run_id).replace(timestamp=timestamp(self._started))
        failed: list[GuardedSink] = []
        first: AuditError | None = None
        for sink in sinks:
            # Each sink hears of the process with the first event that it can record.
            request = AuditWrite(events=block if sink.opened else (opening, *block), durable=durable)
            if not sink.required:
                sink.write_if_possible(request)
                continue
            try:
                sink.write(request)
            except AuditError as error:
                failed.append(sink)
                first = first or error
        return tuple(failed), first

    def _hit_event(self, waiting: tuple[int, Hit, str | None, str, str, str | None]) -> AuditEvent:
        when, hit, version, source, result, trace_id = waiting
        return AuditEvent(
            id=_new_id(),
            timestamp=timestamp(when),
            event="get",
            key=hit.key,
            principal=hit.principal.name,
            principal_source=hit.principal.source.value,
            user=self._user,
            host=self._host,
            pid=self._pid,
            result=result,
            cache_hit=True,
            source=source,
            backend=hit.backend,
            version=version,
            trace_id=trace_id,
        )

    def _wake_writer(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._write_behind, name="strongroom-audit", daemon=True)
            self._thread.start()
        self._signal.set()

    def _write_behind(self) -> None:
        """Write hits a moment after the first of them came, until the stage is closed."""
        signal = self._signal
        while not self._closed:
            signal.wait()
            signal.clear()
            time.sleep(FLUSH_SECONDS)
            try:
                self.flush()
            except AuditError:
                # The hits are kept, and the next read fails with the reason; waking now would spin.
                self._awake = False
            except ClosedError:
                return

    def health(self) -> list[tuple[str, Health]]:
        """Return each sink's state; one that could not record what came last is down."""
        states = []
        for sink in self.sinks:
            state = sink.health()
            if sink in self._owed and state.state is HealthState.UP:
                waiting = f", and {len(self._stuck)} events wait for it" if self._stuck else ""
                state = Health(state=HealthState.DOWN, reason=f"its last write failed{waiting}")
            states.append((sink.type, state))
        return states

    @property
    def lost(self) -> int:
        """How many events optional sinks have lost."""
        return sum(sink.lost_in_all for sink in self.sinks)

    def before_fork(self) -> None:
        """Record what waits, and hold the lock so that no write is cut in two by the fork."""
        try:
            self.flush()
        except StrongroomError:
            pass  # the parent keeps the hits, and its next read reports the failure
        # A sink that hangs in another thread does not hang the fork: the child takes new locks in any case.
        self._fork.locked = self._lock.acquire(timeout=LOCK_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Let writes go on."""
        if getattr(self._fork, "locked", False):
            self._fork.locked = False
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start with new locks and an empty buffer: what waits is the parent's to record."""
        self._start_afresh()
        for sink in self.sinks:
            sink.after_fork()

    def close(self) -> None:
        """Record what waits and that the process is done, and close every sink.

        Raises:
            AuditError: A required sink could not record it.
        """
        if self._closed:
            return
        self._closed = True
        self._signal.set()
        try:
            if self._buffer or self._stuck or any(sink.opened for sink in self.sinks):
                self._locked(lambda: self._write((self.event("closed", id=self._run_id),), durable=True), closing=True)
        finally:
            for sink in self.sinks:
                sink.close()


def _closed_error() -> ClosedError:
    return ClosedError("the manager is closed", hint="open a new one")
