"""Turns audit events into OpenTelemetry's log records.

Cache hits come by the thousand and differ in number, time and trace, so what they
have in common is made once and kept for a while.
"""

from __future__ import annotations

import json
import time

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from strongroom.contracts import Block, Hits, Reading
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom_otel.severity import severity

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS: Final = (
    *("id", "event", "phase", "key", "principal", "principal_source", "on_behalf_of", "user", "host", "pid", "result"),
    *("cache_hit", "source", "backend", "version", "duration", "rule", "request_id", "count", "detail"),
)
"""The fields of an event that become attributes; the time and the trace have places of their own in a record."""
ATTRIBUTES: Final = {name: f"strongroom.{name}" for name in FIELDS}
"""Every attribute that a record ever has, by the event's field."""
SCOPE: Final = "strongroom.audit"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OWN: Final = frozenset({"id", "timestamp", "trace_id"})
_REMEMBERED: Final = 1024
_TRACE_DIGITS: Final = 32


class _Form:
    """What records have in common that differ in id, time and trace only.

    Args:
        facts: The fields that they share, without those that are not known.
    """

    __slots__ = ("_attributes", "_body", "_name", "_number", "_text")

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._name = _plain(f"strongroom.{facts['event']}")
        number, self._text = severity(facts["event"], facts["result"])
        self._number = SeverityNumber(number)
        self._attributes = {
            ATTRIBUTES[name]: _plain(each) if isinstance(each, str) else each for name, each in facts.items()
        }
        try:
            self._body = json.dumps(facts, allow_nan=False, separators=(",", ":"))[1:]
        except (TypeError, ValueError) as error:
            raise AuditError(
                f"an audit event holds what JSON cannot express ({error})", hint="report this to whoever made the event"
            ) from error

    def record(self, id: str, timestamp: str, nanoseconds: int, trace_id: str | None, where: Where) -> LogRecord:
        """Return a record.

        Args:
            id: The event's.
            timestamp: When it was, as the event has it.
            nanoseconds: The same, since 1970.
            trace_id: Which trace it belongs to.
            where: When and in which span it is recorded.
        """
        own = {"id": id, "timestamp": timestamp} | ({"trace_id": trace_id} if trace_id is not None else {})
        return LogRecord(
            timestamp=nanoseconds,
            observed_timestamp=where.now,
            context=where.context(trace_id),
            severity_number=self._number,
            severity_text=self._text,
            body=f"{json.dumps(own, separators=(',', ':'))[:-1]},{self._body}",
            attributes={ATTRIBUTES["id"]: _plain(id)} | self._attributes,
            event_name=self._name,
        )


class Where:
    """When events are recorded, and in which span.

    Args:
        span: The span that this happens in: records of the same trace point to it.
    """

    def __init__(self, span: SpanContext | None) -> None:
        self.now = time.time_ns()
        self._span = span
        self._known: dict[str | None, Context] = {}

    def context(self, trace_id: str | None) -> Context:
        """Return the context of a record that belongs to a trace."""
        found = self._known.get(trace_id)
        if found is None:
            # Never none at all: then it would be the current one.
            found = self._known[trace_id] = set_span_in_context(self._within(trace_id), Context())
        return found

    def _within(self, trace_id: str | None) -> NonRecordingSpan:
        number = _number(trace_id)
        if not number:
            return INVALID_SPAN
        if self._span is not None and self._span.trace_id == number:
            return NonRecordingSpan(self._span)
        return NonRecordingSpan(SpanContext(number, 0, is_remote=False, trace_flags=TraceFlags(0)))


class Encoder:
    """Encodes one request after another, and remembers what hits have in common.

    Args:
        resource: What everything sent is marked with.
    """

    def __init__(self, resource: Mapping[str, str]) -> None:
        self._resource = Resource({_plain(name): _plain(text) for name, text in resource.items()})
        self._scope = InstrumentationScope(SCOPE)
        self._forms: dict[tuple[object, ...], _Form] = {}

    def records(self, events: Sequence[AuditEvent], span: SpanContext | None) -> list[ReadableLogRecord]:
        """Return the record of each event.

        Args:
            events: What a write has.
            span: The span that this happens in: records of the same trace point to it.

        Raises:
            AuditError: An event holds something that JSON cannot express.
        """
        return [ReadableLogRecord(each, self._resource, self._scope) for each in self._of(events, Where(span))]

    def _of(self, events: Sequence[AuditEvent], where: Where) -> Iterator[LogRecord]:
        if isinstance(events, Block):
            for part in events.parts:
                yield from self._of(part, where)
        elif isinstance(events, Hits):
            yield from self._of_hits(events, where)
        else:
            for event in events:
                facts = {name: each for name, each in event.as_dict().items() if each is not None and name not in _OWN}
                when = _nanoseconds(event.timestamp)
                yield _Form(facts).record(event.id, event.timestamp, when, event.trace_id, where)

    def _of_hits(self, hits: Hits, where: Where) -> Iterator[LogRecord]:
        for row in hits.rows:
            number, when, reading, version, trace, outcome = row
            when += hits.offset
            second = when // 1.0
            # Rounded down, like the event that a row stands for.
            microsecond = int((when - second) * 1e6)
            timestamp = (_EPOCH + timedelta(seconds=second, microseconds=microsecond)).isoformat(
                timespec="microseconds"
            )
            nanoseconds = (int(second) * 1_000_000 + microsecond) * 1000
            form = self._form(hits, row, reading, version, outcome)
            yield form.record(f"{hits.run_id}{number:08x}", timestamp, nanoseconds, trace, where)

    def _form(self, hits: Hits, row: Any, reading: Reading, version: str | None, outcome: tuple[str, str]) -> _Form:
        key = (reading, version, outcome, hits.origin)
        found = self._forms.get(key)
        if found is None:
            if len(self._forms) >= _REMEMBERED:
                self._forms.clear()
            found = _Form({name: each for name, each in hits.facts(row).items() if each is not None})
            self._forms[key] = found
        return found


def _plain(text: str) -> str:
    """Return a text without halves of surrogate pairs, which no UTF-8 can hold; the body has them as JSON does."""
    return text.encode("utf-8", "backslashreplace").decode()


def _nanoseconds(timestamp: str) -> int:
    try:
        return (datetime.fromisoformat(timestamp) - _EPOCH) // timedelta(microseconds=1) * 1000
    except (TypeError, ValueError):
        return 0  # not known, in the terms of OTLP; the body has the event's own words


def _number(trace_id: str | None) -> int:
    """Return a trace's id as a number; 0 if it is none."""
    if trace_id is None or len(trace_id) != _TRACE_DIGITS:
        return 0
    try:
        return int(trace_id, 16)
    except ValueError:
        return 0
