"""Turns events into RFC 5424 messages.

Cache hits come by the thousand and differ in number, time and trace, so what they
have in common is encoded once and kept for a while.
"""

from __future__ import annotations

import hashlib

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.contracts import Block, Hits, Reading
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom_audit_syslog.settings import FACILITIES
from strongroom_audit_syslog.severity import severity
from strongroom_audit_syslog.text import members, parameter, word

if TYPE_CHECKING:
    from strongroom_audit_syslog.settings import SyslogSettings

UDP_BYTES: Final = 2048
"""What RFC 5426 expects a server to accept."""
OTHER_BYTES: Final = 8192
"""What RFC 5425 expects a server to accept; the usual limit of servers, too."""
_BOM: Final = "\ufeff"
_REMEMBERED: Final = 1024
# The id, the time and the trace are put into each message; the other two are in its header in the same words.
_OWN: Final = frozenset({"id", "timestamp", "trace_id"})
_IN_HEADER: Final = frozenset({"event", "pid"})
# How many characters are left of a text of a hit that must be shortened.
_LEFT: Final = 24
# How many bytes these may take up, and what is spared; the next one where that does not do.
_SHORTENINGS: Final = ((4 * _LEFT, "key"), (_LEFT // 2, None))


class Form:
    """What messages have in common that differ in id, time and trace only.

    Args:
        facts: The fields that they share, without those that are not known.
        settings: What stands in the header.
    """

    __slots__ = ("_after", "_before", "_body", "_data", "_facts")

    def __init__(self, facts: dict[str, Any], settings: SyslogSettings) -> None:
        self._facts = facts
        event = facts["event"]
        priority = FACILITIES.index(settings.facility) * 8 + severity(event, facts["result"])
        self._before = f"<{priority}>1 "
        host = word(settings.hostname or facts.get("host"), 255)
        pid, kind = word(facts.get("pid"), 128), word(event, 32)
        self._after = f' {host} {settings.app_name} {pid} {kind} [strongroom@{settings.enterprise_id} id="'
        # First, since it refuses what cannot be told at all.
        self._body = members(facts)
        self._data = "".join(f' {name}="{parameter(value)}"' for name, value in facts.items() if name not in _IN_HEADER)

    def message(self, id: str, time: str, timestamp: str, trace_id: str | None, longest: int) -> bytes:
        """Return a message; where it would be too long, the structured data has the id alone.

        Args:
            id: The event's.
            time: When it was, as the header has it.
            timestamp: The same, as the event has it.
            trace_id: Which trace it belongs to.
            longest: How many bytes a message may have.

        Returns:
            The message. It may still be too long.
        """
        trace = f' trace_id="{parameter(trace_id)}"' if trace_id is not None else ""
        own = {"id": id, "timestamp": timestamp} | ({"trace_id": trace_id} if trace_id is not None else {})
        head = f'{self._before}{time}{self._after}{parameter(id)}"'
        body = f"] {_BOM}{{{members(own)},{self._body}}}"
        whole = f"{head}{trace}{self._data}{body}".encode()
        # The body has all of it, so nothing is lost without the rest of the structured data.
        return whole if len(whole) <= longest else f"{head}{body}".encode()

    def shortened(self, settings: SyslogSettings, left: int, spared: str | None) -> Form:
        """Return a form whose long texts are a beginning and a digest of the whole.

        Args:
            settings: What stands in the header.
            left: How many bytes a beginning may take up.
            spared: The field that is left as it is, if there is one.
        """
        facts = {name: value if name == spared else _short(value, left) for name, value in self._facts.items()}
        return Form(facts, settings)


class Encoder:
    """Encodes one request after another, and remembers what hits have in common.

    Args:
        settings: The sink's.
    """

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        usual = UDP_BYTES if settings.address.startswith("udp:") else OTHER_BYTES
        self._longest = settings.max_bytes or usual
        self._forms: dict[tuple[object, ...], Form] = {}

    def encode(self, events: Sequence[AuditEvent]) -> list[bytes]:
        """Return the message of each event.

        Raises:
            AuditError: An event holds something that JSON cannot express, or too much.
        """
        if isinstance(events, Block):
            return [message for part in events.parts for message in self.encode(part)]
        if isinstance(events, Hits):
            return list(self._of_hits(events))
        return [self._of_event(event) for event in events]

    def _of_event(self, event: AuditEvent) -> bytes:
        facts = {name: value for name, value in event.as_dict().items() if value is not None and name not in _OWN}
        form = Form(facts, self._settings)
        made = form.message(event.id, _header_time(event.timestamp), event.timestamp, event.trace_id, self._longest)
        if len(made) > self._longest:
            raise AuditError(
                f"an audit event makes a syslog message of {len(made)} bytes, more than {self._longest}",
                hint="raise max_bytes of the sink if the server accepts longer messages, or use shorter names",
            )
        return made

    def _of_hits(self, hits: Hits) -> Iterator[bytes]:
        """Yield the message of each hit.

        None is refused: it was served already, and as long as it could not be told, no other could.
        """
        second, prefix = -1.0, ""
        for row in hits.rows:
            number, when, reading, version, trace, outcome = row
            when += hits.offset
            if when // 1.0 != second:
                second = when // 1.0
                prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            time = f"{prefix}{int((when - second) * 1e6):06d}"
            form = self._form(hits, row, reading, version, outcome)
            own = (f"{hits.run_id}{number:08x}", f"{time}Z", f"{time}+00:00", trace, self._longest)
            made = form.message(*own)
            for left, spared in _SHORTENINGS:
                if len(made) <= self._longest:
                    break
                made = form.shortened(self._settings, left, spared).message(*own)
            yield made

    def _form(self, hits: Hits, row: Any, reading: Reading, version: str | None, outcome: tuple[str, str]) -> Form:
        key = (reading, version, outcome, hits.origin)
        found = self._forms.get(key)
        if found is None:
            if len(self._forms) >= _REMEMBERED:
                self._forms.clear()
            facts = {name: value for name, value in hits.facts(row).items() if value is not None}
            found = self._forms[key] = Form(facts, self._settings)
        return found


def _header_time(timestamp: str) -> str:
    """Return a time in UTC as the header has it; a dash for what is no time with an offset."""
    try:
        when = datetime.fromisoformat(timestamp)
        if when.tzinfo is None:
            return "-"
        return f"{when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    except (ValueError, OverflowError):
        return "-"


def _short(value: Any, left: int) -> Any:
    if not isinstance(value, str) or (len(value) <= 2 * _LEFT and _size(value) <= 4 * _LEFT):
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    begin = value[:_LEFT]
    while _size(begin) > left:
        begin = begin[:-1]
    return f"{begin}... ({len(value)} characters, SHA-256 {digest}...)"


def _size(text: str) -> int:
    return len(members({"": text}).encode()) - len('"":""')
