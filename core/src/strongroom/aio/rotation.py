"""Rotations for asyncio: each operation in one of the manager's threads."""

from __future__ import annotations

import asyncio

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from strongroom.aio.threads import READS, ROTATIONS, Threads
from strongroom.manager import SecretManager

if TYPE_CHECKING:
    from strongroom.contracts.service_rotation import Schedule
    from strongroom.outcomes import Rotated
    from strongroom.rotation.changes import Undone
    from strongroom.rotation.reports import DueRun, RotationPlan, RotationStatus

Result = TypeVar("Result")


class AsyncRotationDesk:
    """Looks after rotations as one principal, for asyncio; what ``AsyncSecretManager.rotation`` returns.

    A task that is cancelled meanwhile stops waiting; a rotation that is under way goes on.

    Args:
        manager: The manager whose secrets are rotated.
        threads: Where to work.
    """

    def __init__(self, manager: SecretManager, threads: Threads) -> None:
        self._manager = manager
        self._threads = threads

    async def plan(self, name: str) -> RotationPlan:
        """Return what rotating a secret now would do; see :meth:`RotationDesk.plan`."""
        return await self._in_a_thread(lambda: self._manager.rotation.plan(name))

    async def status(self, prefix: str = "") -> tuple[RotationStatus, ...]:
        """Return how rotations stand; see :meth:`RotationDesk.status`."""
        return await self._in_a_thread(lambda: self._manager.rotation.status(prefix))

    async def schedule(self, prefix: str = "") -> tuple[Schedule, ...]:
        """Return when secrets are rotated; see :meth:`RotationDesk.schedule`."""
        return await self._in_a_thread(lambda: self._manager.rotation.schedule(prefix))

    async def rotate_due(self, prefix: str = "", *, ignore_windows: bool = False) -> DueRun:
        """Rotate all that is due; see :meth:`RotationDesk.rotate_due`."""
        return await self._in_a_thread(
            lambda: self._manager.rotation.rotate_due(prefix, ignore_windows=ignore_windows), lane=ROTATIONS
        )

    async def resume(self, name: str, *, force: bool = False) -> Rotated:
        """Lead a rotation that was left to its end; see :meth:`RotationDesk.resume`."""
        return await self._in_a_thread(lambda: self._manager.rotation.resume(name, force=force), lane=ROTATIONS)

    async def undo(self, name: str, *, force: bool = False) -> Undone:
        """Have all be as before a rotation that is pending; see :meth:`RotationDesk.undo`."""
        return await self._in_a_thread(lambda: self._manager.rotation.undo(name, force=force), lane=ROTATIONS)

    async def start(self, *, every: float | None = None) -> None:
        """Have a daemon thread rotate what is due again and again; see :meth:`RotationDesk.start`."""
        await self._in_a_thread(lambda: self._manager.rotation.start(every=every))

    async def stop(self) -> None:
        """End what :meth:`start` has begun; see :meth:`RotationDesk.stop`."""
        await self._in_a_thread(lambda: self._manager.rotation.stop())

    def _in_a_thread(self, call: Callable[[], Result], *, lane: str = READS) -> asyncio.Future[Result]:
        self._threads.ensure_open()
        return self._threads.start(call, lane=lane)
