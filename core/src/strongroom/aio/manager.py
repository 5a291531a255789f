"""``AsyncSecretManager``, the manager for programs that run on asyncio.

The stages are the same. What needs no waiting, a read that the cache answers
above all, is done on the event loop; everything else is done by a few threads.
"""

from __future__ import annotations

import asyncio
import time

from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from strongroom import manager as _manager
from strongroom.aio.keys import AsyncKeyUser
from strongroom.aio.reading import HandOver, LoopReader
from strongroom.aio.threads import CHANGES, CLOSING, MAX_THREADS, ROTATIONS, Subscriber, Threads, post
from strongroom.anomaly.stage import Alert
from strongroom.cache.stats import CacheStats
from strongroom.contracts.audit import AuditSink
from strongroom.contracts.backend import Backend
from strongroom.events.updates import Announcement, SecretUpdated
from strongroom.generators import Encoding
from strongroom.manager import SecretManager
from strongroom.model import Absent, Secret, SecretName, SecretValue, SecretVersion
from strongroom.operations.batch import CONCURRENCY, Batch, Progress
from strongroom.operations.checkup import ManagerHealth
from strongroom.resilience.conditions import ConditionChanged
from strongroom.rotation import WAIT_SECONDS

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from strongroom.aio.journals import AsyncJournalDesk
    from strongroom.aio.recorded import AsyncRecordedAction
    from strongroom.aio.rotation import AsyncRotationDesk
    from strongroom.contracts.service_rotation import Schedule
    from strongroom.leases.held import LeaseStatus
    from strongroom.operations.recovery import Description, Destroyed, Undeleted
    from strongroom.operations.writing import Deleted, Written
    from strongroom.stages.browsing import Folder

Result = TypeVar("Result")
Event = TypeVar("Event")

CLOSE_SECONDS: Final = 10.0
"""How long closing waits for what is under way."""


def open_async(
    config: str | dict[str, Any] | None = None,
    *,
    max_threads: int = MAX_THREADS,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], object] = time.sleep,
    tracer_provider: TracerProvider | None = None,
    backends: Mapping[str, Backend] | None = None,
    sinks: tuple[AuditSink, ...] = (),
) -> Opening:
    """Open a manager for asyncio; use it with ``async with``, or ``await`` it and close it yourself.

    It is opened in a thread, too.

    Args:
        config: As for :func:`strongroom.open`, like all that follows but ``max_threads``.
        max_threads: How many threads may read at a time, as many again change something, and as many again rotate.
        clock: Monotonic seconds, for tests.
        wall_clock: Nanoseconds since 1970 in UTC, for tests.
        sleep: Waits for so many seconds in a thread, where an operation waits for a service; for tests.
        tracer_provider: Whose OpenTelemetry spans to make; the global one's unless given.
        backends: Backends that exist already, by the name that the configuration uses.
        sinks: Further audit sinks that exist already; all of them are required.

    Raises:
        ConfigurationError: The configuration, or ``max_threads``, is not usable.
        PluginError: A cache policy, sink or detector that it names is missing or broken.
    """
    return Opening(
        partial(
            _manager.open,
            config,
            clock=clock,
            wall_clock=wall_clock,
            sleep=sleep,
            tracer_provider=tracer_provider,
            backends=backends,
            sinks=sinks,
        ),
        Threads(max_threads),
    )


class Opening:
    """A manager that is about to be opened: to be awaited, or entered with ``async with``. Made by :func:`open_async`.

    Args:
        opener: What opens the manager.
        threads: Where to.
    """

    def __init__(self, opener: Callable[[], SecretManager], threads: Threads) -> None:
        self._opener = opener
        self._threads = threads
        self._opened: SecretManager | None = None
        self._abandoned = False
        self._manager: AsyncSecretManager | None = None

    def __await__(self) -> Generator[Any, None, AsyncSecretManager]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncSecretManager:
        self._manager = await self._open()
        return self._manager

    async def __aexit__(self, *exception: object) -> None:
        if self._manager is not None:
            await self._manager.aclose()

    async def _open(self) -> AsyncSecretManager:
        try:
            opened = await self._threads.start(self._open_in_a_thread)
        except BaseException:
            self._abandoned = True
            # Whichever of the two comes last closes what nobody will have.
            if self._opened is not None:
                self._threads.submit(self._opened.close)
            self._threads.close()
            raise
        manager = AsyncSecretManager.__new__(AsyncSecretManager)
        manager._assemble(opened, self._threads, closes=opened.close)
        return manager

    def _open_in_a_thread(self) -> SecretManager:
        self._opened = self._opener()
        if self._abandoned:
            self._opened.close()
        return self._opened


class AsyncSecretManager(AsyncKeyUser):
    """Reads and changes secrets as one principal, for asyncio. Made by :func:`open_async`, or around a manager.

    Each operation is the :class:`~strongroom.SecretManager`'s own: same arguments,
    results, errors and audit events. A read that the cache answers is answered on
    the loop; whatever may have to wait is done by a few threads. A task that is
    cancelled, by a time limit say, stops waiting; what a thread is doing for it
    goes on and is recorded.

    Several loops, each in a thread of its own, may use it.

    Args:
        manager: The manager to use; its cache is shared. Closing this one leaves that one open.
        max_threads: How many threads may read at a time, as many again change something, and as many again rotate.

    Raises:
        ConfigurationError: ``max_threads`` is not usable.
    """

    def __init__(self, manager: SecretManager, *, max_threads: int = MAX_THREADS) -> None:
        self._assemble(manager, Threads(max_threads), closes=_nothing)

    def _assemble(self, manager: SecretManager, threads: Threads, *, closes: Callable[[], object] | None) -> None:
        self.principal = manager.principal
        self._manager = manager
        self._threads = threads
        self._reader = LoopReader(manager, threads)
        # None for a view of another one, which closes nothing at all.
        self._closes = closes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def get(self, name: str, *, version: str | None = None, field: str | None = None) -> Secret:
        """Return a secret; see :meth:`SecretManager.get`."""
        late = None
        if self._threads.closed:
            self._threads.ensure_open()
        try:
            # The field is taken below, so that it is taken in one place.
            secret: Secret | None = self._reader.get(name, version=version)
        except HandOver as stop:
            secret, late = None, stop.late
        if secret is None:
            secret = await self._reader.finish(name, version, late)
        return secret if field is None else secret.field(field)

    async def get_many(
        self,
        names: Iterable[str],
        *,
        strict: bool = False,
        concurrency: int = CONCURRENCY,
        progress: Progress | None = None,
    ) -> Batch:
        """Return several secrets, with an error for each name that has none; see :meth:`SecretManager.get_many`.

        Progress is told on the loop.
        """
        self._threads.ensure_open()
        return await self._reader.several(
            list(names), strict=strict, concurrency=concurrency, progress=_on_this_loop(progress)
        )

    async def prefetch(self, *patterns: str, concurrency: int = CONCURRENCY, progress: Progress | None = None) -> Batch:
        """Read into the cache every secret whose name matches; see :meth:`SecretManager.prefetch`.

        Progress is told on the loop.
        """
        told = _on_this_loop(progress)
        return await self._in_a_thread(
            partial(self._manager.prefetch, *patterns, concurrency=concurrency, progress=told)
        )

    async def list(self, prefix: str = "") -> list[SecretName]:
        """Return the names below a prefix; see :meth:`SecretManager.list`."""
        return await self._in_a_thread(partial(self._manager.list, prefix))

    async def browse(self, prefix: str = "") -> Folder:
        """Return what is directly below a prefix; see :meth:`SecretManager.browse`."""
        return await self._in_a_thread(partial(self._manager.browse, prefix))

    async def schedules(self, prefix: str = "") -> tuple[Schedule, ...]:
        """Return when the secrets below a prefix are rotated; see :meth:`SecretManager.schedules`."""
        return await self._in_a_thread(partial(self._manager.schedules, prefix))

    async def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """Return the versions of a secret that its backend keeps; see :meth:`SecretManager.versions`."""
        return await self._in_a_thread(partial(self._manager.versions, name))

    async def refresh(self, name: str) -> Secret:
        """Fetch a secret from its backend at once; see :meth:`SecretManager.refresh`."""
        return await self._in_a_thread(partial(self._manager.refresh, name))

    async def refresh_all(self) -> Batch:
        """Fetch every cached secret anew; see :meth:`SecretManager.refresh_all`."""
        return await self._in_a_thread(self._manager.refresh_all)

    async def invalidate(self, name: str | None = None) -> None:
        """Forget what is cached; see :meth:`SecretManager.invalidate`."""
        await self._in_a_thread(partial(self._manager.invalidate, name))

    async def set(
        self, name: str, value: str | bytes | SecretValue, *, expect_version: str | Absent | None = None
    ) -> Written:
        """Create or update a secret; see :meth:`SecretManager.set`.

        A task that is cancelled meanwhile does not know whether it was written or queued; the audit trail does.
        """
        content = SecretValue.wrap(value)
        # No local variable of ours holds the value from here on: a traceback may show them.
        del value
        return await self._in_a_thread(
            lambda: self._manager._writer.set(name, content, expect_version=expect_version), lane=CHANGES
        )

    async def check_set(
        self, name: str, value: SecretValue, *, expect_version: str | Absent | None = None
    ) -> SecretName:
        """Refuse what ``set`` would refuse, and write nothing; see :meth:`SecretManager.check_set`."""
        return await self._in_a_thread(partial(self._manager.check_set, name, value, expect_version=expect_version))

    async def delete(self, name: str) -> Deleted:
        """Delete a secret; see :meth:`SecretManager.delete`."""
        return await self._in_a_thread(partial(self._manager.delete, name), lane=CHANGES)

    async def rotate(
        self,
        name: str,
        *,
        size: int | None = None,
        encoding: Encoding | None = None,
        expect_version: str | None = None,
        wait: float = WAIT_SECONDS,
    ) -> Written:
        """Replace a secret's value, or have its service do so; see :meth:`SecretManager.rotate`.

        A task that is cancelled meanwhile does not know whether it was rotated; the audit trail does. While it waits
        for a thread, nothing has begun, and nothing will.
        """
        options: dict[str, Any] = {"size": size, "encoding": encoding, "expect_version": expect_version, "wait": wait}
        return await self._in_a_thread(partial(self._manager.rotate, name, **options), lane=ROTATIONS)

    async def undelete(self, name: str, *, version: str | None = None) -> Undeleted:
        """Bring a deleted version back; see :meth:`SecretManager.undelete`."""
        return await self._in_a_thread(partial(self._manager.undelete, name, version=version), lane=CHANGES)

    async def destroy(self, name: str, versions: Iterable[str] | None = None) -> Destroyed:
        """Remove a secret or versions of it for good; see :meth:`SecretManager.destroy`."""
        return await self._in_a_thread(partial(self._manager.destroy, name, versions), lane=CHANGES)

    async def describe(self, name: str) -> Description:
        """Return what is known of a secret beside its value; see :meth:`SecretManager.describe`."""
        return await self._in_a_thread(partial(self._manager.describe, name))

    async def annotate(self, name: str, metadata: Mapping[str, str]) -> None:
        """Replace what users have noted about a secret; see :meth:`SecretManager.annotate`."""
        await self._in_a_thread(partial(self._manager.annotate, name, metadata), lane=CHANGES)

    def watch(
        self, every: float = 30.0, *, names: Iterable[str] = (), known: Mapping[str, str | None] | None = None
    ) -> Callable[[], None]:
        """Look again and again whether others have changed what is held, in a thread; see :meth:`SecretManager.watch`.

        Args:
            every: Seconds between two looks, at most.
            names: Patterns of the names to look at; all unless given.
            known: The version of each name that is in use elsewhere, such as in another process.
        """
        return self._manager.watch(every, names=names, known=known)

    def on_update(self, name: str, callback: Callable[[SecretUpdated], object]) -> Callable[[], None]:
        """Have a function called on the running loop after a secret changes; see :meth:`SecretManager.on_update`.

        It may be a coroutine function. Whoever makes the change waits for it, for five
        seconds at most. With the end of the loop the subscription ends.

        Args:
            name: A name, or a pattern such as ``db/**``.
            callback: Takes a :class:`~strongroom.events.updates.SecretUpdated`.

        Returns:
            A function that ends the subscription.

        Raises:
            InvalidNameError: The name or pattern is malformed.
            RuntimeError: No event loop is running here.
        """
        return self._subscribed(callback, partial(self._manager.on_update, name))

    def on_rotation(self, name: str, callback: Callable[[Announcement], object]) -> Callable[[], None]:
        """Have a function called on the running loop with what is announced; see :meth:`SecretManager.on_rotation`.

        It may be a coroutine function. No rotation waits for it. With the end of the loop the subscription ends.

        Args:
            name: A name, or a pattern such as ``db/**``.
            callback: Takes an :class:`~strongroom.events.updates.Announcement`.

        Raises:
            InvalidNameError: The name or pattern is malformed.
            RuntimeError: No event loop is running here.
        """
        return self._subscribed(callback, partial(self._manager.on_rotation, name))

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[], None]:
        """Have a function called on the running loop with each alert; see :meth:`SecretManager.on_alert`.

        It may be a coroutine function. No access waits for it. With the end of the
        loop the subscription ends.

        Args:
            callback: Takes an :class:`~strongroom.anomaly.stage.Alert`; it holds no value.

        Returns:
            A function that ends the subscription; calling it twice is no error.

        Raises:
            RuntimeError: No event loop is running here.
        """
        return self._subscribed(callback, self._manager.on_alert)

    def on_condition(self, callback: Callable[[ConditionChanged], object]) -> Callable[[], None]:
        """Have a function called on the running loop with each change of a backend's state.

        See :meth:`SecretManager.on_condition`. It may be a coroutine function. Nobody waits for it. With the end of
        the loop the subscription ends.

        Args:
            callback: Takes a :class:`~strongroom.resilience.conditions.ConditionChanged`.

        Returns:
            A function that ends the subscription; calling it twice is no error.

        Raises:
            RuntimeError: No event loop is running here.
        """
        return self._subscribed(callback, self._manager.on_condition)

    def _subscribed(
        self,
        callback: Callable[[Event], object],
        subscribe: Callable[[Callable[[Event], object]], Callable[[], None]],
    ) -> Callable[[], None]:
        """Have a function called on the running loop by what calls functions in threads."""
        self._threads.ensure_open()
        subscriber = Subscriber(callback, asyncio.get_running_loop())
        outcome, records = self._reader.attempt(partial(subscribe, subscriber))
        # Of a refusal, which the caller need not wait for.
        self._reader.leave(records)
        subscriber.end = outcome()
        return subscriber.end

    def as_principal(self, name: str) -> AsyncSecretManager:
        """Return a view of this manager that acts as another principal; see :meth:`SecretManager.as_principal`.

        Raises:
            ConfigurationError: It is no text, or empty.
        """
        view = AsyncSecretManager.__new__(type(self))
        view._assemble(self._manager.as_principal(name), self._threads, closes=None)
        return view

    async def reload(self) -> None:
        """Read the policies anew; see :meth:`SecretManager.reload`."""
        await self._in_a_thread(self._manager.reload)

    def recorded(self, action: str, *, detail: str | None = None) -> AsyncRecordedAction:
        """Return an ``async with`` block for something that the program does; see :meth:`SecretManager.recorded`."""
        from strongroom.aio.recorded import AsyncRecordedAction

        return AsyncRecordedAction(self._manager.recorded(action, detail=detail), self._threads)

    async def record_refused(self, action: str, result: str, *, detail: str | None = None) -> None:
        """Record that the program has refused to do something; see :meth:`SecretManager.record_refused`."""
        await self._in_a_thread(partial(self._manager.record_refused, action, result, detail=detail), lane=CHANGES)

    @property
    def journal(self) -> AsyncJournalDesk:
        """What has been accepted during outages; see :attr:`SecretManager.journal`."""
        from strongroom.aio.journals import AsyncJournalDesk

        return AsyncJournalDesk(self._manager, self._threads)

    @property
    def rotation(self) -> AsyncRotationDesk:
        """What is rotated when, and what was left; see :attr:`SecretManager.rotation`."""
        from strongroom.aio.rotation import AsyncRotationDesk

        return AsyncRotationDesk(self._manager, self._threads)

    async def leases(self) -> tuple[LeaseStatus, ...]:
        """Return the leased credentials that this process keeps alive; see :meth:`SecretManager.leases`."""
        return await self._in_a_thread(self._manager.leases)

    async def release_leases(self) -> None:
        """Leave the leased credentials to whoever has got them; see :meth:`SecretManager.release_leases`."""
        await self._in_a_thread(self._manager.release_leases)

    async def stats(self) -> CacheStats:
        """Return how the cache has served; see :meth:`SecretManager.stats`."""
        return await self._in_a_thread(self._manager.stats)

    async def health(self) -> ManagerHealth:
        """Ask every configured backend and sink how it is; see :meth:`SecretManager.health`."""
        return await self._in_a_thread(self._manager.health)

    async def flush(self) -> None:
        """Record the cache hits that wait; see :meth:`SecretManager.flush`."""
        await self._in_a_thread(self._manager.flush)

    async def aclose(self) -> None:
        """Wait for what is under way, ten seconds at most, and close the manager; twice is no error.

        What begins from now on raises a ``ClosedError``. A manager that was there
        before, and was only wrapped, stays open. Closing a view closes nothing.

        Raises:
            AuditError: As :meth:`SecretManager.close`.
        """
        if self._closes is not None:
            self._threads.closed = True
            await self._threads.start(partial(self._close_in_a_thread, self._closes), lane=CLOSING)

    async def close(self) -> None:
        """Close the manager; the same as :meth:`aclose`."""
        await self.aclose()

    def _close_in_a_thread(self, closes: Callable[[], object]) -> None:
        self._threads.drain(CLOSE_SECONDS)
        try:
            closes()
        finally:
            self._threads.close()


def _on_this_loop(progress: Progress | None) -> Progress | None:
    """Return what has a function called on the running loop, from whatever thread."""
    if progress is None:
        return None
    loop, told = asyncio.get_running_loop(), progress
    return lambda done, total: post(loop, partial(told, done, total))


def _nothing() -> None:
    """Leave a manager open that somebody else closes."""
