"""Tells subscribers that a secret changed, each one isolated with a time limit."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable
from datetime import datetime
from typing import Final

from strongroom._record import Record
from strongroom.model import SecretName
from strongroom.policy import matches

SUBSCRIBER_SECONDS: Final = 5.0


class SecretUpdated(Record):
    """A secret changed through this manager, or a leased credential did by itself.

    It holds no value: read the secret if you need it.
    """

    name: SecretName
    change: str
    """``set``, ``rotate``, ``delete``, ``undelete`` or ``destroy``; of a leased credential ``replace`` when there is
    another one, and ``expire`` when it has ended, or was given up, and there is no other one yet."""
    version: str | None
    """The new version, or the one that was brought back; ``None`` after a delete, after versions were destroyed,
    and when a leased credential is gone."""


class Announcement(Record):
    """Something about a secret's rotation that others may have to know.

    It holds no value.
    """

    kind: str
    """``rotation_started``, ``rotation_failed``, ``rotation_due`` or ``expiring``."""
    name: SecretName
    detail: str = ""
    """A sentence for people: why it failed, by when it is due."""
    when: datetime | None = None
    """When it is due, or ends by itself, with its offset from UTC."""


Callback = Callable[[SecretUpdated], object]


class Notified(Record):
    """Which subscribers did not take a notification."""

    failed: tuple[str, ...] = ()
    """One sentence each: which subscriber, and whether it raised or took too long."""


class Subscriptions:
    """Callbacks by name pattern.

    Args:
        limit: How many seconds one subscriber may take before it is reported as failed.
    """

    def __init__(self, *, limit: float = SUBSCRIBER_SECONDS) -> None:
        self._limit = limit
        # Single steps on a dictionary need no lock, which a fork could find held.
        self._entries: dict[object, tuple[str, Callback]] = {}

    def add(self, pattern: str, callback: Callback) -> Callable[[], None]:
        """Subscribe to a name or pattern.

        Returns:
            A function that ends the subscription; calling it twice is no error.

        Raises:
            InvalidNameError: The pattern is malformed.
        """
        matches(pattern, "checked-now")
        ticket = object()
        self._entries[ticket] = (pattern, callback)

        def end() -> None:
            self._entries.pop(ticket, None)

        return end

    def notify(self, event: SecretUpdated) -> Notified:
        """Call every subscriber of a name beside each other, and wait at most the limit.

        A subscriber that hangs goes on in its own daemon thread.
        """
        subscribers = list(self._entries.values())
        calls = [_Call(callback, event) for pattern, callback in subscribers if matches(pattern, event.name)]
        for call in calls:
            call.start()
        until = time.monotonic() + self._limit
        for call in calls:
            call.wait(max(0.0, until - time.monotonic()))
        return Notified(failed=tuple(problem for call in calls if (problem := call.problem())))


class _Call:
    """One subscriber being told of one event."""

    def __init__(self, callback: Callback, event: SecretUpdated) -> None:
        self.name = getattr(callback, "__qualname__", type(callback).__qualname__)
        self.error: str = ""
        self.thread = threading.Thread(
            target=self._run, args=(callback, event), name="strongroom-subscriber", daemon=True
        )

    def start(self) -> None:
        try:
            self.thread.start()
        # The change has been made: that there are too many threads must not look as if it had failed.
        except RuntimeError:
            self.error = f"{self.name} could not be called: no thread could be started"

    def _run(self, callback: Callback, event: SecretUpdated) -> None:
        try:
            callback(event)
        # Foreign code: its failure is reported to whoever made the change, by type only.
        except BaseException as error:  # noqa: BLE001  # see above
            self.error = f"{self.name} raised {type(error).__name__}"

    def wait(self, seconds: float) -> None:
        if self.thread.ident is not None:
            self.thread.join(seconds)

    def problem(self) -> str:
        if self.thread.is_alive():
            return f"{self.name} did not return in time"
        return self.error
