"""How grave an event is, in the terms of OpenTelemetry."""

from __future__ import annotations

from typing import Final

INFO: Final = (9, "INFO")
NOTICE: Final = (10, "INFO2")
WARNING: Final = (13, "WARN")
ERROR: Final = (17, "ERROR")
ALERT: Final = (19, "ERROR3")

_DONE: Final = frozenset({"ok", "queued"})


def severity(event: str, result: str) -> tuple[int, str]:
    """Return the number and the name of an event's severity.

    Args:
        event: Its kind.
        result: How it ended.

    Returns:
        ``ERROR3`` if a detector has blocked an access and ``ERROR`` if one has found something, ``WARN`` for what was
        denied or has failed, and for lost events, ``INFO2`` for what was not there, ``INFO`` for all else.
    """
    if event == "alert":
        return ALERT if result == "blocked" else ERROR
    if event == "gap":
        return WARNING
    if result in _DONE:
        return INFO
    return NOTICE if result.endswith("not_found") else WARNING
