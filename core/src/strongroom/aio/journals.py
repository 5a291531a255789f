"""The journal for asyncio: each operation in one of the manager's threads."""

from __future__ import annotations

import asyncio

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from strongroom.aio.threads import CHANGES, READS, ROTATIONS, Threads
from strongroom.manager import SecretManager

if TYPE_CHECKING:
    from strongroom.operations.journals import QueuedWrite, Replayed

Result = TypeVar("Result")


class AsyncJournalDesk:
    """The journal of writes that wait, as one principal, for asyncio; what ``AsyncSecretManager.journal`` returns.

    Args:
        manager: The manager whose journal it is.
        threads: Where to work.
    """

    def __init__(self, manager: SecretManager, threads: Threads) -> None:
        self._manager = manager
        self._threads = threads

    async def list(self) -> tuple[QueuedWrite, ...]:
        """Return the writes that wait and those that are set aside; see :meth:`JournalDesk.list`."""
        return await self._in_a_thread(lambda: self._manager.journal.list())

    async def show(self, id: str) -> QueuedWrite:
        """Return one of them; see :meth:`JournalDesk.show`."""
        return await self._in_a_thread(lambda: self._manager.journal.show(id))

    async def replay(self, backend: str | None = None) -> Replayed:
        """Make what waits now; see :meth:`JournalDesk.replay`. A task that is cancelled meanwhile stops waiting."""
        return await self._in_a_thread(lambda: self._manager.journal.replay(backend), lane=ROTATIONS)

    async def drop(self, id: str) -> QueuedWrite:
        """Give up a write; see :meth:`JournalDesk.drop`."""
        return await self._in_a_thread(lambda: self._manager.journal.drop(id), lane=CHANGES)

    async def resolve(self, id: str, keep: str) -> QueuedWrite | None:
        """Decide about a write that is set aside; see :meth:`JournalDesk.resolve`."""
        return await self._in_a_thread(lambda: self._manager.journal.resolve(id, keep), lane=CHANGES)

    def _in_a_thread(self, call: Callable[[], Result], *, lane: str = READS) -> asyncio.Future[Result]:
        self._threads.ensure_open()
        return self._threads.start(call, lane=lane)
