"""What has changed of the secrets that a program was given."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from strongroom.cli.supervising.folders import Folders
from strongroom.cli.supervising.handover import Report

if TYPE_CHECKING:
    from strongroom.events.updates import SecretUpdated
    from strongroom.manager import SecretManager


class Changes:
    """Looks every now and then at the versions of secrets, and at which there are; of their values it never has any.

    Args:
        manager: Looks.
        every: Seconds between two looks, at most.
        tell: Called, in a thread, when there is something new.
        prefixes: The folders all of whose secrets a program gets.
        clock: Monotonic seconds, as the manager's.

    Attributes:
        folders: Which names come and go below those.
    """

    def __init__(
        self,
        manager: SecretManager,
        every: float,
        tell: Callable[[], object],
        prefixes: Iterable[str] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._every = every
        self._tell = tell
        self.folders = Folders(manager, prefixes, every, self._hear_of, clock=clock)
        self._lock = threading.Lock()
        self._known: dict[str, str | None] = {}
        """What a program has got, or has been told of."""
        self._told: dict[str, str | None] = {}
        """What those who look have been told last, or have told last."""
        self._news: dict[str, str | None] = {}
        self._come: set[str] = set()
        """What is new below a folder."""
        self._subscriptions: dict[str, Callable[[], None]] = {}
        self._is_looking = False

    def know(self, report: Report) -> None:
        """Look from now on for what differs from what a program has got.

        Args:
            report: What it has got.

        Raises:
            StrongroomError: That cannot be looked for.
        """
        # A star would make a pattern of a name; of a leased credential it is known when there has to be another one.
        wanted = {name for name in report.names if "*" not in name} - dict(report.leased).keys()
        with self._lock:
            for name in self._subscriptions.keys() - wanted:
                self._subscriptions.pop(name)()
                self._told.pop(name, None)
            # What is another process's own says nothing here: what was told last is what the program has got.
            own = {name: self._known[name] for name in report.passing if name in self._known}
            self._known = report.known | own
            news = {name: version for name, version in self._news.items() if name in wanted}
            self._news = {name: version for name, version in news.items() if self._is_new(name, version)}
            self._come = set()
            for name in wanted:
                self._subscribe(name)
            self._look({name: version for name, version in self._known.items() if name in wanted})
        self.folders.know(report.listed)

    def _look(self, known: dict[str, str | None]) -> None:
        """Begin to look anew, unless whoever looks knows the same versions already.

        Who goes on remembers the versions before, too, and so does not take a node that lags behind for a change.
        """
        if self._is_looking and known.items() <= self._told.items():
            return
        self._manager.watch(self._every, names=(), known=known)
        self._told = known
        self._is_looking = True

    def _subscribe(self, name: str) -> None:
        if name not in self._subscriptions:
            self._subscriptions[name] = self._manager.on_update(name, self._hear)

    def _is_new(self, name: str, version: str | None) -> bool:
        return name not in self._known or self._known[name] != version

    def _hear(self, event: SecretUpdated) -> None:
        with self._lock:
            if event.name not in self._subscriptions:
                return  # it was found just before the program was started without it
            self._told[event.name] = event.version
            if not self._is_new(event.name, event.version):
                return
            self._news[event.name] = event.version
        self._tell()

    def _hear_of(self, come: frozenset[str], gone: frozenset[str]) -> None:
        with self._lock:
            # Whether what is looked at by its name is back is told by its version.
            self._come = (self._come - gone) | (come - self._subscriptions.keys())
            for name in self._come:
                if "*" not in name:
                    self._subscribe(name)
            news = dict.fromkeys(name for name in gone if self._is_new(name, None))
            self._news |= news
        if self._come or news:
            self._tell()

    def take(self) -> list[str]:
        """Return the names of what has changed since the last call, sorted."""
        with self._lock:
            names = {*self._news, *self._come}
            # Were one of them changed back, that would be news again.
            self._known |= self._news
            self._news, self._come = {}, set()
            return sorted(names)
