"""How grave an event is, in the terms of syslog."""

from __future__ import annotations

from typing import Final

ALERT: Final = 1
ERROR: Final = 3
WARNING: Final = 4
NOTICE: Final = 5
INFO: Final = 6

_DONE: Final = frozenset({"ok", "queued"})
# What changes nothing. Whatever else there is, or will be, is worth a notice.
_EVERYDAY: Final = frozenset(
    {
        *("get", "list", "versions", "describe", "schedules", "watch", "refresh", "renew", "release"),
        *("encrypt", "decrypt", "rewrap", "sign", "verify_signature", "data_key"),
        *("opened", "closed", "head", "verify", "journal_list", "journal_show"),
    }
)


def severity(event: str, result: str) -> int:
    """Return the severity of an event.

    Args:
        event: Its kind.
        result: How it ended.

    Returns:
        ``ALERT`` if a detector has blocked an access, ``ERROR`` if one has found something, ``WARNING`` for what was
        denied or has failed, ``NOTICE`` for changes and for what was not there, ``INFO`` for all else.
    """
    if event == "alert":
        return ALERT if result == "blocked" else ERROR
    if result in _DONE:
        return INFO if event in _EVERYDAY else NOTICE
    return NOTICE if result.endswith("not_found") else WARNING
