"""Calls to backends that do not end by themselves in time: made in a thread that can be left behind."""

from __future__ import annotations

import threading

from collections.abc import Callable
from contextvars import copy_context
from typing import Final, Generic, TypeVar

from strongroom.errors import BackendUnavailableError
from strongroom.pacing import time_left, within

Request = TypeVar("Request")
Result = TypeVar("Result")

MOST_LEFT_BEHIND: Final = 64
"""How many calls to one backend may be left behind at the same time; beyond that, none is begun."""

_left_behind: Final[dict[str, int]] = {}
_lock: Final = threading.RLock()


def call_within(backend: str, function: Callable[[Request], Result], request: Request) -> Result:
    """Call a function, and wait for it as long as :func:`strongroom.pacing.time_left` says.

    It is called in another thread, with the caller's context variables. When the time is over, nobody waits
    any more, but what it does may still take effect.

    Args:
        backend: The backend's configured name.
        function: What to call.
        request: Its argument.

    Raises:
        BackendUnavailableError: It has not returned in time (code ``timeout``), or too many calls before have not
            (code ``busy``).
        BaseException: Whatever it raises.
    """
    if _left_behind.get(backend, 0) >= MOST_LEFT_BEHIND:
        error = BackendUnavailableError(
            f"{MOST_LEFT_BEHIND} calls to {backend} have not returned in time, and no more are made",
            code="busy",
            backend=backend,
            hint="give the backend a time limit of its own, or restart the program",
        )
        error.unsent = True
        raise error
    call = _Call(backend, function, request)
    threading.Thread(target=copy_context().run, args=(call.run,), name="strongroom-call", daemon=True).start()
    return call.result()


class _Call(Generic[Request, Result]):
    """One call, and what came of it."""

    def __init__(self, backend: str, function: Callable[[Request], Result], request: Request) -> None:
        self._backend = backend
        self._function = function
        self._request = request
        self._seconds = time_left() or 0.0
        self._done = threading.Event()
        self._answer: list[Result] = []
        self._error: BaseException | None = None
        self._left = False

    def run(self) -> None:
        """Make the call; in its own thread."""
        try:
            with within(self._seconds):
                self._answer.append(self._function(self._request))
        # Kept, and raised in the thread that waits.
        except BaseException as error:  # noqa: BLE001  # see above
            self._error = error
        with _lock:
            self._done.set()
            if self._left:
                _left_behind[self._backend] -= 1

    def result(self) -> Result:
        """Wait for the call, and return what it returned."""
        self._done.wait(self._seconds)
        with _lock:
            if not self._done.is_set():
                self._left = True
                _left_behind[self._backend] = _left_behind.get(self._backend, 0) + 1
                raise BackendUnavailableError(
                    f"{self._backend} has not answered within {self._seconds:g} s",
                    code="timeout",
                    backend=self._backend,
                    hint="check the backend, or raise [resilience] deadline",
                )
        if self._error is not None:
            raise self._error
        return self._answer[0]
