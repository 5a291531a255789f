"""A view that says whether strongroom works, for a load balancer or an orchestrator."""

from __future__ import annotations

import os
import threading
import time

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from strongroom import HealthState, SecretManager
from strongroom.errors import StrongroomError
from strongroom_django.managers import manager

KEPT_SECONDS: Final = 5.0
"""For how long an answer is given again: however often the view is asked, no backend is asked more often."""


class HealthAnswers:
    """Asks how a manager is, at most once in a few seconds. Threads may share it.

    Args:
        opened: Returns the manager.
        clock: Monotonic seconds.
    """

    def __init__(
        self, opened: Callable[[], SecretManager] = manager, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._opened = opened
        self._clock = clock
        self._state = HealthState.DOWN
        self._until = float("-inf")
        self.after_fork()

    def after_fork(self) -> None:
        """Have a lock in a forked child that no thread of the parent's holds."""
        self._asking = threading.Lock()

    def state(self) -> HealthState:
        """Return how the manager is, or was a few seconds ago; while one thread asks, the others have the last answer.

        What cannot be opened is down.
        """
        is_first = self._until == float("-inf")
        asking = self._asking
        if self._clock() < self._until or not asking.acquire(blocking=is_first):
            return self._state
        try:
            # Somebody else may have asked while this one waited.
            if self._clock() >= self._until:
                self._state = self._asked()
                self._until = self._clock() + KEPT_SECONDS
        finally:
            asking.release()
        return self._state

    def _asked(self) -> HealthState:
        try:
            return self._opened().health().state
        except StrongroomError:
            return HealthState.DOWN


_answers: Final = HealthAnswers()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_answers.after_fork)


@never_cache  # type: ignore[untyped-decorator]  # Django has no types
@require_safe  # type: ignore[untyped-decorator]  # as above
def view(request: HttpRequest) -> Any:  # noqa: ARG001  # a view takes one
    """Answer with status 200 if strongroom works, perhaps not all of it, and with 503 if it does not.

    The body is JSON: ``{"status": "up"}``, ``degraded`` or ``down``. It names no secret, no backend and no reason;
    ``strongroom health`` does. Anybody may ask: an answer is given again for five seconds.

    Args:
        request: The request.
    """
    state = _answers.state()
    return JsonResponse({"status": state.value}, status=503 if state is HealthState.DOWN else 200)
