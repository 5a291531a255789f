"""Delivers messages, alerts say, to subscribers: callbacks, commands and webhooks.

Each subscriber has a bounded queue and a daemon thread of its own, so that neither
whoever has something to tell nor another subscriber ever waits for one that is slow or gone.
"""

from __future__ import annotations

import threading
import time

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from strongroom._record import Record
from strongroom._warner import Warner
from strongroom.events.targets import DeliveryError, Target

if TYPE_CHECKING:
    from queue import SimpleQueue

Message = TypeVar("Message")

QUEUE_SIZE: Final = 1000
"""How many messages wait for one subscriber at most; further ones are lost to it."""
CLOSE_SECONDS: Final = 2.0
PAUSES: Final = (0.5, 2.0)
"""How many seconds lie before the second and the third attempt."""
_IDLE_SECONDS: Final = 30.0


class DeliveryCounts(Record):
    """How deliveries went since the process has had its subscribers; a message counts once for each."""

    delivered: int
    failed: int
    """Not taken, for all attempts."""
    lost: int
    """Not even tried: the queue was full, or the manager was closed before their turn."""


class Wording(Record):
    """What warnings and threads call the messages."""

    one: str
    """With its article, such as ``an alert``."""
    many: str


class Subscriber(Generic[Message]):
    """A target, and which messages it wants.

    Args:
        name: What warnings call it.
        target: Where the messages go.
        wants: Tells whether a message is for it; must neither wait nor raise. All are unless given.
    """

    def __init__(
        self, *, name: str, target: Target[Message], wants: Callable[[Message], bool] = lambda _: True
    ) -> None:
        self.name = name
        self.target = target
        self.wants = wants


class _CallbackTarget(Target[Message]):
    """A function of this process. It is called once: what it did before it raised, nobody knows."""

    def __init__(self, callback: Callable[[Message], object]) -> None:
        self._callback = callback

    def deliver(self, message: Message) -> None:
        try:
            self._callback(message)
        # Foreign code: its failure is counted, and named by type only.
        except BaseException as error:
            raise DeliveryError(f"it raised {type(error).__name__}", again=False) from error


class Delivery(Generic[Message]):
    """Hands messages to subscribers. Nothing here blocks or fails whoever has something to tell.

    Args:
        wording: What the messages are called.
        subscribers: Those of the configuration.
        pauses: How many seconds to wait before each further attempt.
        clock: Monotonic seconds, for the pace of warnings.
    """

    def __init__(
        self,
        wording: Wording,
        subscribers: Iterable[Subscriber[Message]] = (),
        *,
        pauses: tuple[float, ...] = PAUSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pauses = pauses
        self._wording = wording
        self._counts = _Counts(clock)
        self._closed = False
        # Single steps on a dictionary need no lock, which a fork could find held.
        self._lines: dict[object, _Line[Message]] = {}
        for subscriber in subscribers:
            self._add(subscriber)

    def _add(self, subscriber: Subscriber[Message]) -> object:
        ticket = object()
        self._lines[ticket] = _Line(subscriber, self._counts, self._pauses, self._wording)
        return ticket

    def publish(self, message: Message) -> None:
        """Queue a message for each subscriber that wants it; it never blocks and never raises."""
        for line in list(self._lines.values()):
            if line.subscriber.wants(message):
                line.put(message)

    def subscribe(
        self,
        callback: Callable[[Message], object],
        *,
        name: str = "",
        wants: Callable[[Message], bool] = lambda _: True,
    ) -> Callable[[], None]:
        """Have a function called with each message, in a thread of its own, one message after the other.

        Args:
            callback: Takes the message.
            name: What warnings call it; the function's own name unless given.
            wants: Tells whether a message is for it; must neither wait nor raise. All are unless given.

        Returns:
            A function that ends the subscription; calling it twice is no error.
        """
        name = name or name_of(callback)
        ticket = self._add(Subscriber(name=name, target=_CallbackTarget(callback), wants=wants))

        def end() -> None:
            line = self._lines.pop(ticket, None)
            if line is not None:
                line.end(drop=True)

        return end

    def counts(self) -> DeliveryCounts:
        """Return how deliveries went so far."""
        return DeliveryCounts(delivered=self._counts.delivered, failed=self._counts.failed, lost=self._counts.lost)

    def after_fork(self) -> None:
        """Start, in a forked child, with empty queues, no thread and counts at zero."""
        self._counts.after_fork()
        for line in self._lines.values():
            line.after_fork()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Let what waits be delivered, and count as lost what is not by then. Twice is no error.

        Args:
            seconds: How long to wait at most, over all subscribers.
        """
        close_all([self], seconds)

    def _end(self) -> list[_Line[Message]]:
        """Take no more messages, and return what is still to be waited for."""
        if self._closed:
            return []
        self._closed = True
        lines = list(self._lines.values())
        for line in lines:
            line.end()
        return lines


def close_all(deliveries: Iterable[Delivery[Any]], seconds: float = CLOSE_SECONDS) -> None:
    """Close several of them beside each other; see :meth:`Delivery.close`.

    Args:
        deliveries: What to close.
        seconds: How long to wait at most, over all of them.
    """
    until = time.monotonic() + seconds
    for line in [line for one in deliveries for line in one._end()]:
        line.finish(max(0.0, until - time.monotonic()))


def name_of(callback: Callable[..., object]) -> str:
    """Return what warnings call a function."""
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


class _Counts:
    """The numbers of all subscribers, and the warnings about them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.delivered = self.failed = self.lost = 0
        self.warn = Warner(clock).warn
        # Reentrant: a signal's handler may publish something while its own thread counts one.
        self._lock = threading.RLock()

    def add(self, *, delivered: int = 0, failed: int = 0, lost: int = 0) -> None:
        with self._lock:
            self.delivered += delivered
            self.failed += failed
            self.lost += lost

    def after_fork(self) -> None:
        self.delivered = self.failed = self.lost = 0
        self._lock = threading.RLock()


class _Line(Generic[Message]):
    """One subscriber's queue, and the thread that empties it while there is something in it."""

    def __init__(
        self, subscriber: Subscriber[Message], counts: _Counts, pauses: tuple[float, ...], wording: Wording
    ) -> None:
        self.subscriber = subscriber
        self._wording = wording
        self._counts = counts
        self._pauses = pauses
        self._renew()

    def _renew(self) -> None:
        from queue import SimpleQueue  # whoever has no subscriber has no need of it

        # Its put() may be interrupted by a signal's handler that puts something, too.
        self._queue: SimpleQueue[tuple[Message] | None] = SimpleQueue()
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._given_up = self._dropped = False

    def put(self, message: Message) -> None:
        """Queue a message and see to it that a thread is there."""
        # Several threads at once may exceed the size by their number, which does no harm.
        if self._ending.is_set() or self._queue.qsize() >= QUEUE_SIZE:
            self._lose(1)
            return
        self._queue.put((message,))
        self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name=f"strongroom-{self._wording.many}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # there are too many threads now: the next message tries again
            self._thread = thread

    def _run(self) -> None:
        from queue import Empty

        waiting = self._queue
        # Another one after a fork: if a callback forks and returns in the child, what waits here is its parent's.
        while waiting is self._queue:
            try:
                found = waiting.get(timeout=_IDLE_SECONDS)
            except Empty:
                if self._retired():
                    return
                continue
            if found is None:
                return
            self._deliver(found[0])

    def _retired(self) -> bool:
        """Tell whether nothing came meanwhile, so that the thread may end."""
        with self._lock:
            if not self._queue.empty():
                return False
            self._thread = None
            return True

    def _deliver(self, message: Message) -> None:
        with self._lock:
            if self._given_up:
                self._lose(0 if self._dropped else 1)
                return
            self._busy = True
        problem = self._attempted(message)
        with self._lock:
            self._busy = False
            if self._given_up:
                return  # it has been counted as lost
            self._counts.add(delivered=problem is None, failed=problem is not None)
        if problem is not None:
            self._counts.warn(f"{self._wording.one} did not reach {self.subscriber.name}: {problem}")

    def _attempted(self, message: Message) -> str | None:
        """Return why the last attempt failed, or nothing if one succeeded."""
        for pause in (*self._pauses, None):
            try:
                self.subscriber.target.deliver(message)
                return None
            except DeliveryError as error:
                problem, again = str(error), error.again
            # What is wrong with a target's own code must not end the thread that other messages wait for.
            except Exception as error:  # noqa: BLE001  # see above
                problem, again = type(error).__name__, False
            if not again or pause is None or self._given_up:
                break
            self._ending.wait(pause)  # when the manager is closed, there is no time for pauses
        return problem

    def _lose(self, count: int) -> None:
        if count:
            self._counts.add(lost=count)
            reason = "the manager is closed" if self._ending.is_set() else f"{QUEUE_SIZE} wait already"
            self._counts.warn(f"{count} {self._wording.many} are lost to {self.subscriber.name}: {reason}")

    def end(self, *, drop: bool = False) -> None:
        """Take no more messages, and have the thread end after those that wait, or, if asked, without them."""
        if drop:
            self._given_up = self._dropped = True
            self._drained()
        self._ending.set()
        if not self._queue.empty():
            self._start()
        self._queue.put(None)

    def finish(self, seconds: float) -> None:
        """Wait for the thread, and count as lost what it has not delivered by then."""
        thread = self._thread
        if thread is threading.current_thread():
            return  # a callback closes the manager: its thread goes on with what waits
        if thread is not None:
            thread.join(seconds)
        with self._lock:
            self._given_up = True
            left = self._drained() + self._busy
            self._queue.put(None)  # in place of the one that was taken out, too
        if left:
            self.subscriber.target.cancel()
            self._lose(left)

    def _drained(self) -> int:
        """Empty the queue, and return how many messages were in it."""
        from queue import Empty

        count = 0
        while True:
            try:
                count += self._queue.get_nowait() is not None
            except Empty:
                return count

    def after_fork(self) -> None:
        ended = self._ending.is_set()
        self._renew()
        if ended:
            self._ending.set()
        self.subscriber.target.after_fork()
