"""Loads that tasks of one event loop share: one thread for all that want the same secret at the same time."""

from __future__ import annotations

import asyncio
import contextvars

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from strongroom.aio.threads import Threads, post
from strongroom.cache.flights import Flight
from strongroom.errors import ClosedError, StrongroomError
from strongroom.model import Secret
from strongroom.operations.reading import Reader
from strongroom.stages.loads import Load


class SharedLoads:
    """Has each load done by one thread for all tasks of a loop that want it at the same time.

    Cancelling a task cancels nothing but its waiting. Each task has an audit
    event of its own, and none gets an answer that is older than its question.

    Args:
        reader: What does them, in a thread.
        threads: Where to.
    """

    def __init__(self, reader: Reader, threads: Threads) -> None:
        self._reader = reader
        self._threads = threads

    def wait_for(self, load: Load) -> asyncio.Future[Secret]:
        """Begin a load, or join the one that is under way; to be used on a running loop.

        Returns:
            What to await; it brings the secret or raises as ``get`` does.
        """
        waiter = _Waiter(load, self._reader._clock())
        self._enter([waiter])
        return waiter.future

    def _enter(self, waiters: list[_Waiter]) -> None:
        """Join a load, or begin one; all of the tasks want the same, and this is their loop."""
        place = (waiters[0].loop, ("load", waiters[0].load.key))
        group: _Group | None = self._threads.under_way.get(place)
        if group is not None and self._may_be_joined(group):
            group.joined += waiters
            return
        group = _Group(waiters, self._threads.hold())
        try:
            self._threads.submit(partial(self._lead, group, place))
        # They get it, whatever it is: each of them waits, or is about to.
        except BaseException as error:  # noqa: BLE001  # see above
            group.held.set_result(None)
            _tell(waiters, error)
            return
        self._threads.under_way[place] = group

    def _may_be_joined(self, group: _Group) -> bool:
        """Tell whether an answer to this load answers who asks now, too."""
        if not group.begun:
            return True
        # Between having begun and knowing the flight it is not: that one may be older than the question.
        load = group.first.load
        return load.flight is not None and self._reader._cache.is_under_way(load.key, load.flight)

    def _lead(self, group: _Group, place: Any) -> None:
        """Do the load of the first one; in a thread."""
        group.begun = True
        first = group.first
        first.run(partial(self._fetch, first.load))
        post(first.loop, _Landing(partial(self._landed, group, place), partial(self._lost, group, place)))

    def _fetch(self, load: Load) -> Secret:
        # It may have been fetched by somebody else while this waited for a thread.
        cached = self._reader._from_cache(load.grant, load.key, load.access, load.version)
        return cached if cached is not None else self._reader._loader.load(load)

    def _landed(self, group: _Group, place: Any) -> None:
        """Give the first one its answer, and have the others' recorded; on the loop."""
        self._over(group, place)
        group.first.deliver()
        flight = group.first.load.flight
        try:
            if group.joined and (flight is None or flight.has_answer()):
                self._threads.submit(partial(self._follow, group.joined, flight))
            elif waiting := [waiter for waiter in group.joined if not waiter.future.done()]:
                # The first one was interrupted: somebody else leads.
                self._enter(waiting)
        except (RuntimeError, ClosedError) as error:
            _tell(group.joined, error)
        finally:
            group.held.set_result(None)

    def _lost(self, group: _Group, place: Any) -> None:
        """Have recorded what was asked for, although the loop has been closed and nobody waits any more."""
        if not self._threads.holds(group.held):
            return  # this is a forked child, and the load is the parent's
        self._over(group, place)
        try:
            self._threads.submit(partial(self._follow, group.joined, group.first.load.flight))
        except (RuntimeError, ClosedError):
            pass  # the process ends, too, or has no thread to spare; none of them got a value
        finally:
            group.held.set_result(None)

    def _over(self, group: _Group, place: Any) -> None:
        if self._threads.under_way.get(place) is group:
            del self._threads.under_way[place]

    def _follow(self, waiters: list[_Waiter], flight: Flight[Secret] | None) -> None:
        """Let others take over what a load has brought, and record that each did; in a thread."""
        for waiter in waiters:
            if flight is None:
                waiter.run(partial(self._fetch, waiter.load))  # from the cache, as the first one
            elif flight.has_answer():
                waiter.run(partial(self._reader._loader.follow, waiter.load, flight, waiter.started))
            post(waiter.loop, waiter.deliver)


class _Group:
    """A load under way for some tasks of one loop."""

    __slots__ = ("begun", "first", "held", "joined")

    def __init__(self, waiters: list[_Waiter], held: Future[None]) -> None:
        self.first = waiters[0]
        self.joined = waiters[1:]
        self.held = held
        self.begun = False


class _Waiter:
    """One task that waits for a load."""

    __slots__ = ("_context", "error", "future", "load", "loop", "secret", "started")

    def __init__(self, load: Load, started: float) -> None:
        self.load = load
        self.started = started
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Secret] = self.loop.create_future()
        self.secret: Secret | None = None
        self.error: BaseException | None = None
        self._context = contextvars.copy_context()

    def run(self, call: Callable[[], Secret]) -> None:
        """Call something in the task's context, and keep what came of it."""
        try:
            self.secret = self._context.run(call)
        # The task gets it, whatever it is.
        except BaseException as error:  # noqa: BLE001  # see above
            self.error = error

    def deliver(self) -> None:
        """Let the task have what came of it, on its loop; one that was cancelled does not want it any more."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        elif self.secret is not None:
            self.future.set_result(self.secret)


class _Landing:
    """What a loop is to call when a load has landed; a loop that is closed forgets it instead, then or earlier.

    Args:
        call: What it calls.
        otherwise: What is done if it never does.
    """

    def __init__(self, call: Callable[[], object], otherwise: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call
        self._otherwise = otherwise

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()

    def __del__(self) -> None:
        if self._call is not None:
            self._otherwise()


def _tell(waiters: list[_Waiter], error: BaseException) -> None:
    for waiter in waiters:
        waiter.error = error.again() if isinstance(error, StrongroomError) else error
        waiter.deliver()
