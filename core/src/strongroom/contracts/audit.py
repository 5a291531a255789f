"""The contract of an audit sink: something that records events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.contracts.health import Health, HealthState
from strongroom.model import AuditEvent


class AuditWrite(Record):
    """Record these events, in this order.

    Without events and with ``durable`` it asks that what was written before, by
    requests that need not be durable, be on stable storage now. A sink that has
    nothing to do for that ignores it.
    """

    events: tuple[AuditEvent, ...]
    durable: bool = True
    """Whether they must be on stable storage, or accepted by the far end, before the call returns."""


class AuditSink(ABC):
    """Records audit events. Called by one thread at a time within a process.

    Several processes may have a sink on one file or address. After a fork the
    child calls ``after_fork`` before anything else.
    """

    @abstractmethod
    def write(self, request: AuditWrite) -> None:
        """Record all events of the request or none; on return they are recorded.

        Raises:
            AuditError: They could not be recorded. The core decides what that means.
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
