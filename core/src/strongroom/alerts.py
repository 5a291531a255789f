"""Tells subscribers of alerts: callbacks, commands and webhooks.

Each subscriber has a bounded queue and a daemon thread of its own, so that
neither an access nor another subscriber ever waits for one that is slow or gone.
"""

from __future__ import annotations

import threading
import time

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from strongroom._record import Record
from strongroom._warner import Warner
from strongroom.alert_targets import CommandTarget, DeliveryError, Target, WebhookTarget
from strongroom.anomaly import Alert
from strongroom.credentials import own_credentials

if TYPE_CHECKING:
    from queue import SimpleQueue

    from strongroom.config.alerts import CommandSettings, WebhookSettings
    from strongroom.config.load import Configuration

QUEUE_SIZE: Final = 1000
"""How many alerts wait for one subscriber at most; further ones are lost to it."""
CLOSE_SECONDS: Final = 2.0
PAUSES: Final = (0.5, 2.0)
"""How many seconds lie before the second and the third attempt."""
_IDLE_SECONDS: Final = 30.0

Callback = Callable[[Alert], object]


class AlertCounts(Record):
    """How deliveries went since the process has had its subscribers; an alert counts once for each."""

    delivered: int
    failed: int
    """Not taken, for all attempts."""
    lost: int
    """Not even tried: the queue was full, or the manager was closed before their turn."""


class Subscriber(Record):
    """A target, and which alerts it wants."""

    name: str
    """What warnings call it."""
    target: Target
    detectors: frozenset[str] | None = None
    """Only alerts of these detectors; ``None`` for all."""
    only_blocked: bool = False

    def wants(self, alert: Alert) -> bool:
        """Tell whether an alert is for it."""
        return (self.detectors is None or alert.detector in self.detectors) and (alert.blocked or not self.only_blocked)


class _CallbackTarget(Target):
    """A function of this process. It is called once: what it did before it raised, nobody knows."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def deliver(self, alert: Alert) -> None:
        try:
            self._callback(alert)
        # Foreign code: its failure is counted, and named by type only.
        except BaseException as error:
            raise DeliveryError(f"it raised {type(error).__name__}", again=False) from error


class Alerts:
    """Hands alerts to subscribers. Nothing here blocks or fails the access that raised one.

    Args:
        subscribers: Those of the configuration; see :func:`configured`.
        pauses: How many seconds to wait before each further attempt.
        clock: Monotonic seconds, for the pace of warnings.
    """

    def __init__(
        self,
        subscribers: Iterable[Subscriber] = (),
        *,
        pauses: tuple[float, ...] = PAUSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pauses = pauses
        self._counts = _Counts(clock)
        self._closed = False
        # Single steps on a dictionary need no lock, which a fork could find held.
        self._lines: dict[object, _Line] = {}
        for subscriber in subscribers:
            self._add(subscriber)

    def _add(self, subscriber: Subscriber) -> object:
        ticket = object()
        self._lines[ticket] = _Line(subscriber, self._counts, self._pauses)
        return ticket

    def publish(self, alert: Alert) -> None:
        """Queue an alert for each subscriber that wants it; it never blocks and never raises."""
        for line in list(self._lines.values()):
            if line.subscriber.wants(alert):
                line.put(alert)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Have a function called with each alert, in a thread of its own, one alert after the other.

        Returns:
            A function that ends the subscription; calling it twice is no error.
        """
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        ticket = self._add(Subscriber(name=name, target=_CallbackTarget(callback)))

        def end() -> None:
            line = self._lines.pop(ticket, None)
            if line is not None:
                line.end(drop=True)

        return end

    def counts(self) -> AlertCounts:
        """Return how deliveries went so far."""
        return AlertCounts(delivered=self._counts.delivered, failed=self._counts.failed, lost=self._counts.lost)

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
        if self._closed:
            return
        self._closed = True
        until = time.monotonic() + seconds
        lines = list(self._lines.values())
        for line in lines:
            line.end()
        for line in lines:
            line.finish(max(0.0, until - time.monotonic()))


class _Counts:
    """The numbers of all subscribers, and the warnings about them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.delivered = self.failed = self.lost = 0
        self.warn = Warner(clock).warn
        # Reentrant: a signal's handler may raise an alert while its own thread counts one.
        self._lock = threading.RLock()

    def add(self, *, delivered: int = 0, failed: int = 0, lost: int = 0) -> None:
        with self._lock:
            self.delivered += delivered
            self.failed += failed
            self.lost += lost

    def after_fork(self) -> None:
        self.delivered = self.failed = self.lost = 0
        self._lock = threading.RLock()


class _Line:
    """One subscriber's queue, and the thread that empties it while there is something in it."""

    def __init__(self, subscriber: Subscriber, counts: _Counts, pauses: tuple[float, ...]) -> None:
        self.subscriber = subscriber
        self._counts = counts
        self._pauses = pauses
        self._renew()

    def _renew(self) -> None:
        from queue import SimpleQueue  # whoever has no subscriber has no need of it

        # Its put() may be interrupted by a signal's handler that puts something, too.
        self._queue: SimpleQueue[Alert | None] = SimpleQueue()
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._given_up = self._dropped = False

    def put(self, alert: Alert) -> None:
        """Queue an alert and see to it that a thread is there."""
        # Several threads at once may exceed the size by their number, which does no harm.
        if self._ending.is_set() or self._queue.qsize() >= QUEUE_SIZE:
            self._lose(1)
            return
        self._queue.put(alert)
        self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="strongroom-alerts", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # there are too many threads now: the next alert tries again
            self._thread = thread

    def _run(self) -> None:
        from queue import Empty

        waiting = self._queue
        while True:
            try:
                alert = waiting.get(timeout=_IDLE_SECONDS)
            except Empty:
                if self._retired():
                    return
                continue
            if alert is None:
                return
            self._deliver(alert)

    def _retired(self) -> bool:
        """Tell whether nothing came meanwhile, so that the thread may end."""
        with self._lock:
            if not self._queue.empty():
                return False
            self._thread = None
            return True

    def _deliver(self, alert: Alert) -> None:
        with self._lock:
            if self._given_up:
                self._lose(0 if self._dropped else 1)
                return
            self._busy = True
        problem = self._attempted(alert)
        with self._lock:
            self._busy = False
            if self._given_up:
                return  # it has been counted as lost
            self._counts.add(delivered=problem is None, failed=problem is not None)
        if problem is not None:
            self._counts.warn(f"an alert did not reach {self.subscriber.name}: {problem}")

    def _attempted(self, alert: Alert) -> str | None:
        """Return why the last attempt failed, or nothing if one succeeded."""
        for pause in (*self._pauses, None):
            try:
                self.subscriber.target.deliver(alert)
                return None
            except DeliveryError as error:
                problem, again = str(error), error.again
            # What is wrong with a target's own code must not end the thread that others' alerts wait for.
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
            self._counts.warn(f"{count} alerts are lost to {self.subscriber.name}: {reason}")

    def end(self, *, drop: bool = False) -> None:
        """Take no more alerts, and have the thread end after those that wait, or, if asked, without them."""
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
        """Empty the queue, and return how many alerts were in it."""
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


def configured(configuration: Configuration) -> tuple[Subscriber, ...]:
    """Return the subscribers that the configuration names; nothing is started or sent by that.

    Args:
        configuration: The configuration; see ``[[alerts]]`` there.

    Raises:
        ConfigurationError: A webhook's secret is not where it should be.
    """

    def hidden() -> Collection[str]:
        return own_credentials(configuration, tolerant=True)

    return tuple(
        Subscriber(
            name=table.label,
            target=_target(table.settings, hidden),
            detectors=None if table.settings.detectors is None else frozenset(table.settings.detectors),
            only_blocked=table.settings.only_blocked,
        )
        for table in configuration.alerts
    )


def _target(settings: CommandSettings | WebhookSettings, hidden: Callable[[], Collection[str]]) -> Target:
    from strongroom.config.alerts import CommandSettings

    if isinstance(settings, CommandSettings):
        return CommandTarget(settings.command, seconds=settings.timeout, hidden=hidden)
    return WebhookTarget(settings.url, settings.read_secret(), seconds=settings.timeout)
