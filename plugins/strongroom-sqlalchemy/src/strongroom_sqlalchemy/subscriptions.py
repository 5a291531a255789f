"""Hearing from a manager that a secret has changed, for as long as somebody is there to hear it."""

from __future__ import annotations

import asyncio
import weakref

from collections.abc import Callable

from strongroom import AsyncSecretManager
from strongroom_sqlalchemy.login import Login


class LoopSubscription:
    """A subscription with an asyncio manager, which lasts as long as a loop, made anew on each loop that needs it.

    Args:
        manager: Where to subscribe.
        login: What is to hear of changes.
    """

    def __init__(self, manager: AsyncSecretManager, login: Login) -> None:
        self._manager = manager
        self._login = login
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None
        self._end: Callable[[], None] | None = None
        self._ended = not login.settings.recycle_on_update

    def ensure(self) -> None:
        """Subscribe on the running loop, unless that has been done."""
        loop = asyncio.get_running_loop()
        if self._ended or (self._loop is not None and self._loop() is loop):
            return
        if self._end is not None:
            self._end()
        self._loop = weakref.ref(loop)
        self._end = self._manager.on_update(self._login.secret, self._login.heard)

    def end(self) -> None:
        """Hear of no more changes."""
        self._ended = True
        if self._end is not None:
            self._end()
