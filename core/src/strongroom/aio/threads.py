"""The threads that do what would hold up an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Final, Generic, TypeVar

from strongroom import lifecycle
from strongroom.errors import ClosedError, ConfigurationError, StrongroomError
from strongroom.events.updates import SUBSCRIBER_SECONDS

Result = TypeVar("Result")
Event = TypeVar("Event")

MAX_THREADS: Final = 8
READS: Final = "read"
CHANGES: Final = "change"
"""Apart from reads: a change waits for its subscribers, and these read."""
ROTATIONS: Final = "rotate"
"""Apart from other changes: a rotation may wait for a service for minutes."""
CLOSING: Final = "close"
"""Apart from the others: what hangs there must not keep the end from beginning."""

Place = tuple[asyncio.AbstractEventLoop, Hashable]
"""An event loop, and what is under way there."""


class Threads:
    """A bounded number of threads for the views of one asyncio manager, and what they are doing for whom.

    They are started when they are first needed, and anew in a forked child.

    Args:
        most: How many threads may read at a time; as many again may make changes, and as many again rotate.

    Attributes:
        closed: Whether nothing new is to begin.
        under_way: What the tasks of a loop share; each loop touches only its own places.

    Raises:
        ConfigurationError: The number is not usable.
    """

    def __init__(self, most: int = MAX_THREADS) -> None:
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise ConfigurationError("max_threads is a whole number from 1", hint=f"leave it out for {MAX_THREADS}")
        self._most = most
        self.closed = False
        self._start_afresh()
        lifecycle.watch(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._jobs: set[Future[Any]] = set()
        self.under_way: dict[Place, Any] = {}

    def ensure_open(self) -> None:
        """Refuse to begin something on a manager that is done.

        Raises:
            ClosedError: It is closed.
        """
        if self.closed:
            raise ClosedError("the manager is closed", hint="open a new one")

    def start(self, call: Callable[[], Result], *, lane: str = READS) -> asyncio.Future[Result]:
        """Have a thread call something, in the caller's context; to be used on a running loop.

        Returns:
            What to await. Cancelling it does not stop the call; a rotation that has not begun by then does not begin.

        Raises:
            ClosedError: The interpreter is about to end.
            RuntimeError: No thread can be started.
        """
        loop = asyncio.get_running_loop()
        shown: asyncio.Future[Result] = loop.create_future()
        job = self.submit(partial(contextvars.copy_context().run, call), lane=lane)
        job.add_done_callback(lambda done: post(loop, partial(_show, done, shown)))
        if lane == ROTATIONS:
            # It may stand behind others for minutes, and then nobody expects it any more.
            shown.add_done_callback(partial(_cancel_too, job))
        return shown

    def submit(self, call: Callable[[], Result], *, lane: str = READS) -> Future[Result]:
        """Have a thread call something, whoever waits for it; else as :meth:`start`."""
        job: Future[Result] = Future()
        if lane != CLOSING:
            self._note(job)
        try:
            self._pool(lane).submit(_do, job, call)
        except RuntimeError as error:
            # It may be in the queue all the same, if only the thread could not be started.
            if job.cancel():
                if threading.main_thread().is_alive():
                    raise
                raise ClosedError("the interpreter is about to end", hint="close the manager before") from error
        return job

    def hold(self) -> Future[None]:
        """Return something that counts as work under way until it has a result."""
        job: Future[None] = Future()
        self._note(job)
        return job

    def holds(self, job: Future[Any]) -> bool:
        """Tell whether that counts as work under way in this process."""
        return job in self._jobs

    def _note(self, job: Future[Any]) -> None:
        jobs = self._jobs
        jobs.add(job)
        job.add_done_callback(jobs.discard)

    def _pool(self, lane: str) -> ThreadPoolExecutor:
        pool = self._pools.get(lane)
        if pool is None:
            with self._lock:
                pool = self._pools.get(lane) or ThreadPoolExecutor(
                    1 if lane == CLOSING else self._most, thread_name_prefix=f"strongroom-{lane}"
                )
                self._pools[lane] = pool
        return pool

    async def once(self, what: Hashable, call: Callable[[], object]) -> None:
        """Have a thread do something, once for all tasks of this loop that want it at the same time.

        Args:
            what: What it is.
            call: What does it.

        Raises:
            StrongroomError: It failed; each task gets an error of its own.
        """
        place = (asyncio.get_running_loop(), what)
        shared: asyncio.Future[object] | None = self.under_way.get(place)
        if shared is None or shared.done():
            self._forget_closed_loops()
            shared = self.under_way[place] = self.start(call)
            shared.add_done_callback(partial(self._over, place))
        # Not awaited itself: a task that is cancelled must not cancel it for the others.
        await asyncio.wait([shared])
        error = shared.exception()
        if error is not None:
            raise error.again() if isinstance(error, StrongroomError) else error

    def _over(self, place: Place, shared: asyncio.Future[object]) -> None:
        shared.exception()  # all who wanted it may have been cancelled, and that is no reason for a complaint
        if self.under_way.get(place) is shared:
            del self.under_way[place]

    def _forget_closed_loops(self) -> None:
        for place in list(self.under_way):
            if place[0].is_closed():
                self.under_way.pop(place, None)

    def drain(self, seconds: float) -> None:
        """Wait until nothing is under way any more, but not for longer than that."""
        until = time.monotonic() + seconds
        while (jobs := self._jobs.copy()) and (left := until - time.monotonic()) > 0:
            wait(jobs, left)

    def before_fork(self) -> None:
        """Do nothing: the child starts with threads of its own."""

    def after_fork_in_parent(self) -> None:
        """Do nothing, as above."""

    def after_fork_in_child(self) -> None:
        """Start without threads: what was under way is the parent's."""
        self._start_afresh()

    def before_exec(self) -> None:
        """Do nothing: what there is to record, the audit stage is told of by itself."""

    def exec_refused(self) -> None:
        """Do nothing, as above."""

    def close(self) -> None:
        """Let the threads end when they have done what is under way; twice is no error."""
        self.closed = True
        lifecycle.forget(self)
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.shutdown(wait=False)


def post(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> bool:
    """Have a loop call something; tell whether there is still such a loop."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        return False  # it is closed, so nobody waits there
    return True


def _do(job: Future[Result], call: Callable[[], Result]) -> None:
    if not job.set_running_or_notify_cancel():
        return
    try:
        job.set_result(call())
    # Whoever waits gets it, whatever it is; if nobody does, it is over.
    except BaseException as error:  # noqa: BLE001  # see above
        job.set_exception(error)


def _cancel_too(job: Future[Any], shown: asyncio.Future[Any]) -> None:
    if shown.cancelled():
        job.cancel()


def _show(done: Future[Result], shown: asyncio.Future[Result]) -> None:
    """Hand a result over to the loop; who is no longer waiting there has cancelled it."""
    if shown.done():
        return
    error = done.exception()
    if error is not None:
        shown.set_exception(error)
    else:
        shown.set_result(done.result())


class Subscriber(Generic[Event]):
    """A callback that is to run on a loop, as one that threads can call.

    Args:
        callback: A function or a coroutine function.
        loop: Where it runs.

    Attributes:
        end: Ends the subscription; called when the loop is closed.
    """

    def __init__(self, callback: Callable[[Event], object], loop: asyncio.AbstractEventLoop) -> None:
        self._callback = callback
        self._loop = loop
        self.end: Callable[[], None] = lambda: None
        self.__qualname__ = getattr(callback, "__qualname__", type(callback).__qualname__)

    def __call__(self, event: Event) -> None:
        """Have it called on the loop, and wait for it."""
        call = self._call(event)
        try:
            waiting = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:
            # The loop is closed, and with it whatever wanted to know.
            call.close()
            self.end()
            return
        # Not for ever: whoever made the change has been told by then that it takes too long.
        waiting.result(2 * SUBSCRIBER_SECONDS)

    async def _call(self, event: Event) -> None:
        answer = self._callback(event)
        if asyncio.iscoroutine(answer) or asyncio.isfuture(answer):
            await answer
