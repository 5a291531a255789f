"""Tells subscribers that a secret changed, each one isolated with a time limit."""

from __future__ import annotations

import threading
import time

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Final

from strongroom._record import Record
from strongroom.model import SecretName
from strongroom.policy import matches

SUBSCRIBER_SECONDS: Final = 5.0


class SecretUpdated(Record):
    """A secret changed, through this manager or elsewhere, or a leased credential did by itself.

    It holds no value: read the secret if you need it.
    """

    name: SecretName
    change: str
    """``set``, ``rotate``, ``delete``, ``undelete`` or ``destroy``; ``seen`` when somebody else has changed it, which
    :meth:`SecretManager.watch` notices, and nobody can say how; of a leased credential ``replace`` when there is
    another one, and ``expire`` when it has ended, or was given up, and there is no other one yet."""
    version: str | None
    """The new version, or the one that was brought back; ``None`` after a delete, also by somebody else, after versions
    were destroyed, and when a leased credential is gone."""


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
    """When it is due, or ends by itself, with its offset from UTC; of the others ``None``."""


Callback = Callable[[SecretUpdated], object]


class Notified(Record):
    """Which subscribers did not take a notification."""

    failed: tuple[str, ...] = ()
    """One sentence each: which subscriber, and whether it raised or took too long."""


class Watch(ABC):
    """Notices what others change; what the rest of the core knows of it."""

    @abstractmethod
    def start(self) -> None:
        """Begin, if it has not begun in this process yet."""

    @abstractmethod
    def subscribed(self) -> None:
        """Note that somebody wants to hear of a further name."""

    @abstractmethod
    def begin_change(self, name: SecretName) -> None:
        """Note that this process begins to change a secret."""

    @abstractmethod
    def end_change(self, name: SecretName) -> None:
        """Note that such a change has ended, however it did."""

    @abstractmethod
    def heard(self, event: SecretUpdated) -> None:
        """Note an event of which the subscribers are about to be told."""

    @abstractmethod
    def after_fork(self) -> None:
        """Start afresh in a forked child."""

    @abstractmethod
    def close(self) -> None:
        """Look no more."""


class Subscriptions:
    """Callbacks by name pattern.

    Args:
        limit: How many seconds one subscriber may take before it is reported as failed.

    Attributes:
        watch: Notices what others change, if somebody wants that; it is told of each event before the subscribers are.
    """

    def __init__(self, *, limit: float = SUBSCRIBER_SECONDS) -> None:
        self._limit = limit
        self.watch: Watch | None = None
        # Single steps on a dictionary need no lock, which a fork could find held.
        self._entries: dict[object, tuple[str, Callback, Callable[[str], bool]]] = {}

    def add(
        self, pattern: str, callback: Callback, may_read: Callable[[str], bool] = lambda _: True
    ) -> Callable[[], None]:
        """Subscribe to a name or pattern.

        Args:
            pattern: The name or pattern.
            callback: Takes the event.
            may_read: Tells whether whoever subscribes may read a name: else nobody looks after it for him.

        Returns:
            A function that ends the subscription; calling it twice is no error.

        Raises:
            InvalidNameError: The pattern is malformed.
        """
        matches(pattern, "checked-now")
        ticket = object()
        self._entries[ticket] = (pattern, callback, may_read)
        if self.watch is not None:
            self.watch.subscribed()

        def end() -> None:
            self._entries.pop(ticket, None)

        return end

    def notify(self, event: SecretUpdated) -> Notified:
        """Call every subscriber of a name beside each other, and wait at most the limit.

        A subscriber that hangs goes on in its own daemon thread.
        """
        return self.later(event)()

    def later(self, event: SecretUpdated) -> Callable[[], Notified]:
        """Return what calls every subscriber of a name, as :meth:`notify` does: it may be called some time later."""
        if self.watch is not None:
            self.watch.heard(event)
        return lambda: self._notify(event)

    def names(self) -> set[SecretName]:
        """Return the names that somebody has subscribed to by themselves, and may read."""
        entries = list(self._entries.values())
        exact = [(SecretName(pattern), may_read) for pattern, _, may_read in entries if "*" not in pattern]
        return {name for name, may_read in exact if may_read(name)}

    def has(self, name: SecretName) -> bool:
        """Tell whether anybody wants to hear of a name."""
        return any(matches(pattern, name) for pattern, _, _ in list(self._entries.values()))

    def _notify(self, event: SecretUpdated) -> Notified:
        subscribers = list(self._entries.values())
        calls = [_Call(callback, event) for pattern, callback, _ in subscribers if matches(pattern, event.name)]
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
