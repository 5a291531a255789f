"""What must happen to live managers when the process forks, execs or exits.

The interpreter offers no way to take such hooks back, so they are set once a
process and look at a set of weak references.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from strongroom._apart import apart
from strongroom.errors import StrongroomError


class Lifelong(Protocol):
    """Something that must hear of a fork, an exec and the exit."""

    def before_fork(self) -> None:
        """Write out what is buffered and take the locks that the child must find free."""

    def after_fork_in_parent(self) -> None:
        """Give the locks back; called by the thread that forked, if it called ``before_fork``."""

    def after_fork_in_child(self) -> None:
        """Replace every lock, thread, buffer and connection; close none that the parent uses."""

    def before_exec(self) -> None:
        """Write out what is buffered; the program is about to be replaced, unless that fails."""

    def exec_refused(self) -> None:
        """Go on: something could not be written out, so the program is not replaced."""

    def close(self) -> None:
        """Write out and release everything; the interpreter is about to end."""


class Lock(Protocol):
    """A lock that its thread may take more than once."""

    def acquire(self, *, timeout: float) -> bool:
        """Take it; tell whether that succeeded in time."""

    def release(self) -> None:
        """Give it back; a ``RuntimeError`` if this thread has not got it."""


class ForkLocks(threading.local):
    """The locks that a thread holds while it forks; a signal's handler may fork meanwhile, too."""

    def __init__(self) -> None:
        self._held: list[list[Lock]] = []

    def begin(self) -> None:
        """Note that a fork begins, with no lock taken yet."""
        self._held.append([])

    def hold(self, lock: Lock, seconds: float) -> None:
        """Take a lock, if it is free in time, until :meth:`release`."""
        held = self._held[-1]
        # Noted first: a signal may end this as soon as the lock is taken.
        held.append(lock)
        if not lock.acquire(timeout=max(0.0, seconds)):
            held.pop()

    def release(self) -> None:
        """Give back what was taken since the last :meth:`begin`; without one, do nothing."""
        for lock in self._held.pop() if self._held else ():
            try:
                lock.release()
            except RuntimeError:
                continue  # a signal came before it was taken


# Weak references instead of a WeakSet: that one cannot be looked at while another thread adds to it.
_live: dict[weakref.ref[Any], None] = {}
_installed = False
_workers_told = False


class _Forking(threading.local):
    """What each fork under way in this thread has been announced to."""

    def __init__(self) -> None:
        self.told: list[list[Any]] = []


_forking = _Forking()


def watch(thing: Lifelong) -> None:
    """Have something told of forks, execs and the exit until it is forgotten or collected."""
    _live[weakref.ref(thing, _gone)] = None
    _install_once()


def forget(thing: Lifelong) -> None:
    """Stop telling something."""
    _live.pop(weakref.ref(thing), None)


def _gone(reference: weakref.ref[Any]) -> None:
    _live.pop(reference, None)


def watched() -> list[Any]:
    """Return what is told now, in the order in which it came."""
    return [thing for reference in _live.copy() if (thing := reference()) is not None]


def _install_once() -> None:
    global _installed  # the hooks belong to the process, as the interpreter's own registries do
    if _installed:
        return
    _installed = True
    atexit.register(_close_all)
    # This may be such a worker, in which a manager has been opened for the first time.
    _close_at_the_end_of_a_worker()
    sys.addaudithook(_on_interpreter_event)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


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


def _close_all() -> None:
    try:
        all_of([thing.close for thing in watched()])
    except StrongroomError as error:
        # There is nobody who could catch it any more, and the interpreter would show a traceback.
        import logging

        # The error's text: it leads to its cause and to its frames, which are nobody's business.
        apart(logging.getLogger("strongroom").log, logging.ERROR, f"at the end of the process: {error}")


def _before_fork() -> None:
    told: list[Any] = []
    _forking.told.append(told)

    def tell(thing: Any) -> None:
        # Noted first: what it has taken must be given back even if it is interrupted.
        told.append(thing)
        thing.before_fork()

    all_of([partial(tell, thing) for thing in watched()])


def _in_parent() -> None:
    # Exactly those: another thread may have opened or closed managers meanwhile.
    told = _forking.told.pop() if _forking.told else []
    all_of([thing.after_fork_in_parent for thing in told])


def _in_child() -> None:
    told = _forking.told.pop() if _forking.told else []
    known = {id(thing) for thing in told}
    all_of([thing.after_fork_in_child for thing in (*told, *(one for one in watched() if id(one) not in known))])
    _close_at_the_end_of_a_worker()


def _close_at_the_end_of_a_worker(_: object = None) -> None:
    """Have everything closed when a worker of multiprocessing ends: those end without running atexit.

    When a worker begins, whatever way it was started, multiprocessing empties its
    list of finalizers, and then calls what is registered to run after a fork.
    """
    global _workers_told  # the registry belongs to the process, and is inherited
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    if not _workers_told:
        _workers_told = True
        util.register_after_fork(_forking, _close_at_the_end_of_a_worker)
    util.Finalize(None, _close_all, exitpriority=0)


def _on_interpreter_event(event: str, _arguments: object) -> None:
    if event != "os.exec":
        return
    things = watched()
    try:
        all_of([thing.before_exec for thing in things])
    except BaseException:
        all_of([thing.exec_refused for thing in things])
        raise
