"""What must happen to live managers when the process forks, execs or exits.

The interpreter offers no way to take such hooks back, so they are set once a
process and look at a set of weak references.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref

from collections.abc import Callable, Iterable
from typing import Any, Protocol


class Lifelong(Protocol):
    """Something that must hear of a fork, an exec and the exit."""

    def before_fork(self) -> None:
        """Write out what is buffered and take the locks that the child must find free."""

    def after_fork_in_parent(self) -> None:
        """Give the locks back."""

    def after_fork_in_child(self) -> None:
        """Replace every lock, thread, buffer and connection; close none that the parent uses."""

    def flush(self) -> None:
        """Write out what is buffered; the program image is about to be replaced."""

    def close(self) -> None:
        """Write out and release everything; the interpreter is about to end."""


_live: weakref.WeakSet[Any] = weakref.WeakSet()
_installed = False


def watch(thing: Lifelong) -> None:
    """Have something told of forks, execs and the exit until it is forgotten or collected."""
    _live.add(thing)
    _install_once()


def forget(thing: Lifelong) -> None:
    """Stop telling something."""
    _live.discard(thing)


def _install_once() -> None:
    global _installed  # the hooks belong to the process, as the interpreter's own registries do
    if _installed:
        return
    _installed = True
    atexit.register(_each, "close")
    # This may be such a worker, in which a manager has been opened for the first time.
    _close_at_the_end_of_a_worker()
    sys.addaudithook(_on_interpreter_event)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lambda: _each("before_fork"),
            after_in_parent=lambda: _each("after_fork_in_parent"),
            after_in_child=_in_child,
        )


def all_of(actions: Iterable[Callable[[], object]]) -> None:
    """Do each of several things although others fail, and raise what the first failure raised."""
    first: BaseException | None = None
    for action in actions:
        try:
            action()
        # Kept and raised below: one manager that fails must not cost another its records.
        except BaseException as error:  # noqa: BLE001  # see above
            first = first or error
    if first is not None:
        raise first


def _each(method: str) -> None:
    all_of([getattr(thing, method) for thing in list(_live)])


def _in_child() -> None:
    _each("after_fork_in_child")
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # multiprocessing empties its list of finalizers after this, and then calls what is registered here.
        util.register_after_fork(_live, _close_at_the_end_of_a_worker)


def _close_at_the_end_of_a_worker(_: object = None) -> None:
    """Have everything closed when a worker of multiprocessing ends: those end without running atexit."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _each, args=("close",), exitpriority=0)


def _on_interpreter_event(event: str, _arguments: object) -> None:
    if event == "os.exec":
        _each("flush")
