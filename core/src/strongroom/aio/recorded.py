"""Recorded actions for asyncio: attempt and outcome are written in the manager's threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading

from functools import partial
from types import TracebackType
from typing import Self

from strongroom.aio.threads import CHANGES, Threads
from strongroom.operations.recorded import RecordedAction, entered_twice


class AsyncRecordedAction:
    """Something that a program does, recorded; what ``AsyncSecretManager.recorded`` returns, for ``async with``.

    Args:
        recorded: The same without asyncio.
        threads: Where to write.
    """

    def __init__(self, recorded: RecordedAction, threads: Threads) -> None:
        self._recorded = recorded
        self._threads = threads
        self._lock = threading.Lock()
        self._is_entered = self._begun = self._abandoned = False

    def note(self, *, result: str | None = None, detail: str | None = None) -> None:
        """Say what the outcome will tell; see :meth:`RecordedAction.note`."""
        self._recorded.note(result=result, detail=detail)

    async def __aenter__(self) -> Self:
        self._threads.ensure_open()
        # Before anything is started: what is begun belongs to one task, and ends with that one only.
        if self._is_entered:
            raise entered_twice()
        self._is_entered = True
        try:
            await self._threads.start(self._begin, lane=CHANGES)
        except asyncio.CancelledError as error:
            # The attempt may be written by now, or soon: then it has to have an outcome, in the same trace.
            self._threads.submit(partial(contextvars.copy_context().run, self._abandon, error), lane=CHANGES)
            raise
        except Exception:
            self._is_entered = False
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Whoever is cancelled meanwhile stops waiting; it is written all the same.
        await self._threads.start(partial(self._recorded.__exit__, kind, error, traceback), lane=CHANGES)

    def _begin(self) -> None:
        with self._lock:
            if self._abandoned:
                raise entered_twice()
            self._recorded.__enter__()
            self._begun = True

    def _abandon(self, error: BaseException) -> None:
        with self._lock:
            self._abandoned = True
            if self._begun:
                self._recorded.__exit__(type(error), error, None)
