"""What happens to connections around a fork."""

from __future__ import annotations

import os
import threading
import weakref

from typing import Final, Protocol


class ForkAware(Protocol):
    """Something that must not cross a fork as it is."""

    def before_fork(self) -> None:
        """Give up what must not be inherited, and take up nothing until the fork is over."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def forget(self) -> None:
        """Start afresh in the child, whether or not ``before_fork`` was called."""


class _Forks:
    """The forks of this process: one at a time, and who waits for its end."""

    def __init__(self) -> None:
        self.watchers: Final[weakref.WeakSet[ForkAware]] = weakref.WeakSet()
        self.waiting: list[ForkAware] = []
        self.watching = False
        self.turn = threading.RLock()

    def before(self) -> None:
        self.turn.acquire()
        self.waiting = list(self.watchers)
        for watcher in self.waiting:
            watcher.before_fork()

    def after_in_parent(self) -> None:
        for watcher in self.waiting:
            watcher.after_fork_in_parent()
        self.waiting = []
        self.turn.release()

    def after_in_child(self) -> None:
        # The inherited lock may belong to a thread that is not here.
        self.turn = threading.RLock()
        self.waiting = []
        for watcher in self.watchers:
            watcher.forget()


_forks: Final = _Forks()


def watch_forks(watcher: ForkAware) -> None:
    """Tell a watcher of each fork for as long as it lives."""
    with _forks.turn:  # a fork walks the set, and waits for whoever adds to it
        _forks.watchers.add(watcher)
        if not _forks.watching:
            _forks.watching = True
            os.register_at_fork(
                before=_forks.before, after_in_parent=_forks.after_in_parent, after_in_child=_forks.after_in_child
            )
