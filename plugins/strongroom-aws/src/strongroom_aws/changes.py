"""What this process has changed itself, so that no replica which lags behind is believed instead."""

from __future__ import annotations

import threading

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from strongroom.contracts import ReadRequest, ReadResult
from strongroom.model import SecretName

MOST: Final = 10_000
"""Of how many names a change is remembered; the oldest is forgotten first."""
DRIFT: Final = timedelta(minutes=5)
"""By how much this machine's clock may be off: the service refuses requests of one that is off by more."""


class _Change:
    """A name's last change: the version that it has since, or none if it is deleted or nobody knows; and when."""

    __slots__ = ("at", "version")

    def __init__(self, version: str | None, at: datetime) -> None:
        self.version = version
        self.at = at


class OwnChanges:
    """Remembers the last change of each name. Threads may share it.

    Args:
        now: The wall clock, in UTC.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._changes: dict[SecretName, _Change] = {}
        self.after_fork()

    def after_fork(self) -> None:
        """Use a lock of its own in a forked child; what is known of changes stays."""
        # A signal's handler may write while its own thread is in here.
        self._lock = threading.RLock()

    def begin(self) -> datetime:
        """Return when a change begins, for :meth:`wrote`."""
        return self._now()

    def wrote(self, name: SecretName, version: str, began: datetime | None = None) -> None:
        """Note that a version has become the current one.

        Args:
            name: The secret's name.
            version: The version.
            began: From :meth:`begin`. What another thread has changed since may have come before or after: then no
                replica is believed to have the later one of the two.
        """
        with self._lock:
            other = self._changes.get(name)
            is_last = other is None or began is None or other.at < began
            self._note(name, _Change(version if is_last else None, self._now()))

    def deleted(self, name: SecretName) -> None:
        """Note that a secret was deleted."""
        with self._lock:
            self._note(name, _Change(None, self._now()))

    def allow(self, request: ReadRequest, result: ReadResult) -> bool:
        """Tell whether an answer is no older than what this process has changed itself.

        Args:
            request: What was asked for.
            result: A replica's answer.
        """
        change = self._changes.get(request.name)
        if change is None:
            return True
        # A version's value never changes; it is only gone if the secret is.
        if change.version is not None and (request.version is not None or result.version == change.version):
            return True
        # Somebody else has changed it later, for certain.
        return result.created is not None and result.created > change.at + DRIFT

    def _note(self, name: SecretName, change: _Change) -> None:
        self._changes.pop(name, None)
        self._changes[name] = change
        while len(self._changes) > MOST:
            del self._changes[next(iter(self._changes))]
