"""What has changed of the secrets that a program was given."""

from __future__ import annotations

import threading

from collections.abc import Callable
from typing import TYPE_CHECKING

from strongroom.cli.supervising.handover import Report

if TYPE_CHECKING:
    from strongroom.events.updates import SecretUpdated
    from strongroom.manager import SecretManager


class Changes:
    """Looks every now and then at the versions of secrets; of their values it never has any.

    Args:
        manager: Looks.
        every: Seconds between two looks, at most.
        tell: Called, in a thread, when there is something new.
    """

    def __init__(self, manager: SecretManager, every: float, tell: Callable[[], object]) -> None:
        self._manager = manager
        self._every = every
        self._tell = tell
        self._lock = threading.Lock()
        self._known: dict[str, str | None] = {}
        self._news: dict[str, str | None] = {}
        self._subscriptions: dict[str, Callable[[], None]] = {}

    def know(self, report: Report) -> None:
        """Look from now on for what differs from what a program has got.

        Args:
            report: What it has got.

        Raises:
            StrongroomError: That cannot be looked for.
        """
        with self._lock:
            self._known = dict(report.known)
            self._news = {name: version for name, version in self._news.items() if self._is_new(name, version)}
        # A star would make a pattern of a name.
        wanted = {name for name in report.names if "*" not in name}
        for name in self._subscriptions.keys() - wanted:
            self._subscriptions.pop(name)()
        for name in wanted - self._subscriptions.keys():
            self._subscriptions[name] = self._manager.on_update(name, self._hear)
        known = {name: version for name, version in report.known.items() if name in wanted}
        self._manager.watch(self._every, names=(), known=known)

    def _is_new(self, name: str, version: str | None) -> bool:
        return name not in self._known or self._known[name] != version

    def _hear(self, event: SecretUpdated) -> None:
        with self._lock:
            if not self._is_new(event.name, event.version):
                return
            self._news[event.name] = event.version
        self._tell()

    def take(self) -> list[str]:
        """Return the names of what has changed since the last call, sorted."""
        with self._lock:
            news, self._news = self._news, {}
            # Were one of them changed back, that would be news again.
            self._known |= news
            return sorted(news)
