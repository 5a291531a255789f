"""What must happen to live managers when the process forks, execs or exits.

The interpreter offers no way to take such hooks back, so they are set once a
process and look at a set of weak references.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref

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
    sys.addaudithook(_on_interpreter_event)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lambda: _each("before_fork"),
            after_in_parent=lambda: _each("after_fork_in_parent"),
            after_in_child=_in_child,
        )


def _each(method: str) -> None:
    for thing in list(_live):
        getattr(thing, method)()


def _in_child() -> None:
    _each("after_fork_in_child")
    # Workers of multiprocessing end without running atexit; they run these instead.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _each, args=("close",), exitpriority=0)


def _on_interpreter_event(event: str, _arguments: object) -> None:
    if event == "os.exec":
        _each("flush")
