"""Audit events as the dashboard keeps them: compact, and of a size that has a bound."""

from __future__ import annotations

import sys

from datetime import UTC, datetime
from math import isfinite
from typing import Final, NamedTuple

from strongroom.model import AuditEvent

LONGEST: Final = 600
"""How many characters of a text are kept."""


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
        pid=event.pid if isinstance(event.pid, int) else None,
    )


def _seconds(timestamp: object, otherwise: float) -> float:
    try:
        moment = datetime.fromisoformat(str(timestamp))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return otherwise


def _text(content: object) -> str | None:
    """Return a text at a length that has a bound; the same texts come again and again, and are kept once."""
    if content is None:
        return None
    text = str(content)
    return sys.intern(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def _number(content: object) -> float | None:
    if isinstance(content, int | float) and isfinite(content) and content >= 0:
        return float(content)
    return None
