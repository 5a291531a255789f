"""The contract of an audit sink: something that records events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.contracts.health import Health, HealthState
from strongroom.model import AuditEvent, Principal

Row = tuple[int, float, "Reading", "str | None", "str | None", tuple[str, str]]
"""One hit: its number, when it came on the monotonic clock, who read what, the version that was returned, the trace it
belongs to, and a pair of its source and result."""


class Reading:
    """Who reads what from where: what all hits of one principal on one name have in common.

    It cannot be changed: one sink must not alter what the next one records.

    Attributes:
        principal: Who reads.
        base: Who took on that principal, if somebody did.
        name: The secret's name.
        origin: The configured name of its backend.
    """

    __slots__ = ("base", "name", "origin", "principal")
    principal: Principal
    base: Principal | None
    name: str
    origin: str

    def __init__(self, principal: Principal, base: Principal | None, name: str, origin: str) -> None:
        for attribute, value in (("principal", principal), ("base", base), ("name", name), ("origin", origin)):
            object.__setattr__(self, attribute, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")


class Hits(Sequence[AuditEvent]):
    """Cache hits, as a sequence of events that are made only when they are looked at.

    A sink may treat it as any sequence. One that has to be quick reads ``rows``
    and asks for the ``facts`` of each ``Reading`` once.

    Args:
        run_id: What every id begins with; the number in eight hexadecimal digits follows.
        offset: What to add to a row's time to get seconds since 1970, UTC.
        origin: User, host and process id, which all the events share.
        rows: The hits in their order.
    """

    __slots__ = ("offset", "origin", "rows", "run_id")

    def __init__(self, run_id: str, offset: float, origin: tuple[str, str, int], rows: Sequence[Row]) -> None:
        self.run_id = run_id
        self.offset = offset
        self.origin = origin
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(map(self.event, self.rows[index]))
        return self.event(self.rows[index])

    def __iter__(self) -> Iterator[AuditEvent]:
        return map(self.event, self.rows)

    def event(self, row: Row) -> AuditEvent:
        """Return the event of one row."""
        when = row[1] + self.offset
        second = when // 1.0
        # Rounded down, as a sink does that formats the rows by itself: a hit that comes twice has one time.
        time = datetime.fromtimestamp(second, UTC).replace(microsecond=int((when - second) * 1e6))
        stamp = time.isoformat(timespec="microseconds")
        return AuditEvent(**self.facts(row), id=f"{self.run_id}{row[0]:08x}", timestamp=stamp, trace_id=row[4])

    def facts(self, row: Row) -> dict[str, Any]:
        """Return the fields of a row's event, but for the id, the time and the trace."""
        _, _, reading, version, _, (source, result) = row
        user, host, pid = self.origin
        return {
            "event": "get",
            "phase": "outcome",
            "key": reading.name,
            "principal": reading.principal.name,
            "principal_source": reading.principal.source.value,
            "on_behalf_of": reading.base.name if reading.base is not None else None,
            "user": user,
            "host": host,
            "pid": pid,
            "result": result,
            "cache_hit": True,
            "source": source,
            "backend": reading.origin,
            "version": version,
        }


class Block(Sequence[AuditEvent]):
    """Several sequences of events as one.

    Args:
        parts: In their order; each a tuple of events, or :class:`Hits`.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Sequence[AuditEvent], ...]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[AuditEvent]:
        for part in self.parts:
            yield from part


class AuditWrite(Record):
    """Record these events, in this order.

    Without events and with ``durable`` it asks that what was written before, by
    requests that need not be durable, be on stable storage now. A sink that has
    nothing to do for that ignores it.
    """

    events: Sequence[AuditEvent]
    """A tuple, or a :class:`Block` with cache hits in it."""
    durable: bool = True
    """Whether they must be on stable storage, or accepted by the far end, before the call returns."""


class AuditSink(ABC):
    """Records audit events. Called by one thread at a time within a process.

    Several processes may have a sink on one file or address. After a fork the
    child calls ``after_fork`` before anything else. The core opens one span around
    each write, and turns a foreign exception into ``AuditError`` with its cause.
    """

    @abstractmethod
    def write(self, request: AuditWrite) -> None:
        """Record all events of the request or none; on return they are recorded.

        Each is recorded with all of its fields, whatever characters are in them.

        Raises:
            AuditError: They could not be recorded, this time as any time. The core decides what that means.
        """

    def health(self) -> Health:
        """Say whether events can be recorded now."""
        return Health(state=HealthState.UP)

    def after_fork(self) -> None:
        """Forget, in a forked child, every handle and lock; close none that the parent uses."""
        return

    def close(self) -> None:
        """Release what is held. Closing twice is no error."""
        return


class SinkSpec(Record):
    """Describes a kind of audit sink; what the hook ``strongroom_audit_sinks`` yields."""

    name: str
    """What ``type = "..."`` in ``[[audit]]`` says; the entry point's name."""
    summary: str
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], AuditSink]

    kind: ClassVar[str] = "audit_sink"


class TrailQuery(Record):
    """Which recorded events to read. Every condition that is set must hold."""

    principal: str | None = None
    key: str | None = None
    result: str | None = None
    since: str | None = None
    """UTC in ISO 8601; events at or after it."""
    until: str | None = None
    """UTC in ISO 8601; events before it."""
    last: int | None = None
    """Only that many of the newest that match."""
    follow: bool = False
    """Go on with new events as they come, until the iterator is closed."""


class TrailHead(Record):
    """Where the trail stands; kept elsewhere, it shows later whether lines were removed."""

    position: int
    """How many lines have been written, over all of the trail's files."""
    digest: str
    """The chain's head in hexadecimal."""


class TrailFinding(Record):
    """One thing that verification found."""

    kind: str
    """``broken``, ``gap``, ``unsealed`` or ``unclosed``."""
    place: str
    """File and line, for people."""
    detail: str


class TrailReport(Record):
    """The outcome of verifying a trail."""

    state: str
    """``sealed``, ``unsealed``, ``gap`` or ``broken``; the worst that applies."""
    events: int
    files: tuple[str, ...]
    head: TrailHead
    findings: tuple[TrailFinding, ...] = ()


class Trail(ABC):
    """An optional interface of a sink whose events can be read back and verified."""

    @abstractmethod
    def read(self, query: TrailQuery) -> Iterator[AuditEvent]:
        """Yield the matching events, oldest first.

        Raises:
            AuditError: The trail cannot be read.
        """

    @abstractmethod
    def head(self) -> TrailHead:
        """Return where the trail stands now.

        Raises:
            AuditError: The trail cannot be read.
        """

    @abstractmethod
    def verify(self, head: TrailHead | None = None) -> TrailReport:
        """Check every line of the trail, and that an earlier head is part of it.

        Args:
            head: A head that was noted earlier; if the trail does not contain it,
                the report is ``broken``.

        Raises:
            AuditError: The trail cannot be read.
        """
