"""Audit events as the dashboard keeps them: compact, and of a size that has a bound."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from strongroom.model import AuditEvent

LONGEST: Final = 600
"""How many characters of a text are kept."""
_LAST: Final = 253_402_000_000.0
"""Within the year 9999, the last one that a time can be written in."""
_TALLEST: Final = 1e9
"""What takes longer, in seconds, is no duration; nor is such a number the number of a process."""


class Row(NamedTuple):
    """One event, as it is kept."""

    number: int
    time: float
    """Seconds since 1970 UTC."""
    event: str
    result: str
    """``attempt`` for an attempt."""
    principal: str | None
    name: str | None
    backend: str | None
    source: str | None
    rule: str | None
    detail: str | None
    duration: float | None
    """Seconds."""
    on_behalf_of: str | None
    host: str | None
    pid: int | None

    @property
    def length(self) -> int:
        """How many characters its texts have together."""
        return sum(len(part) for part in self if isinstance(part, str))


def row_of(event: AuditEvent, number: int, now: float) -> Row:
    """Return an event as it is kept.

    A trail may hold lines that somebody else has written, so nothing is taken for granted about its fields.

    Args:
        event: The event.
        number: Its number.
        now: The time now, in seconds since 1970 UTC; it stands in for a time that is none.
    """
    return Row(
        number=number,
        time=_seconds(event.timestamp, now),
        event=_text(event.event) or "",
        result="attempt" if event.phase == "attempt" else _text(event.result) or "",
        principal=_text(event.principal),
        name=_text(event.key),
        backend=_text(event.backend),
        source=_text(event.source),
        rule=_text(event.rule),
        detail=_text(event.detail),
        duration=_number(event.duration),
        on_behalf_of=_text(event.on_behalf_of),
        host=_text(event.host),
        pid=event.pid if isinstance(event.pid, int) and 0 <= event.pid <= _TALLEST else None,
    )


def _seconds(timestamp: object, otherwise: float) -> float:
    try:
        moment = datetime.fromisoformat(timestamp if isinstance(timestamp, str) else "")
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return otherwise
    return seconds if 0 <= seconds <= _LAST else otherwise


def _text(content: object) -> str | None:
    """Return a text at a length that has a bound."""
    if content is None:
        return None
    try:
        text = str(content)
    except ValueError:  # a number of thousands of digits
        text = "…"
    return _once(cut(text))


def cut(text: str) -> str:
    """Return a text, or its beginning if it is a long one."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


@lru_cache(maxsize=4096)
def _once(text: str) -> str:
    """Return a text as it was kept before; the same ones come again and again. What is interned may stay for ever."""
    return text


def _number(content: object) -> float | None:
    # What is not a number at all is not within the bounds either.
    if isinstance(content, int | float) and 0 <= content <= _TALLEST:
        return float(content)
    return None
