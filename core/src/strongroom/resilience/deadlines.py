"""Calls to a backend that does not end them in time by itself: made in a thread that can be left behind."""

from __future__ import annotations

import threading

from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final, Generic, TypeVar

from strongroom.errors import BackendUnavailableError
from strongroom.joining import join
from strongroom.pacing import time_left, without_end

Request = TypeVar("Request")
Result = TypeVar("Result")

MOST_LEFT_BEHIND: Final = 64
"""How many calls to one backend may be left behind at the same time; beyond that, none is begun."""


class TimedCalls:
    """Calls one backend, and waits for it as long as :func:`strongroom.pacing.time_left` says. Threads share it.

    When the time is over nobody waits any more, but what the call does may still take effect.

    Args:
        backend: The backend's configured name.
        late: Called with the request and the result of a call to which nobody listens any more, in its own thread;
            it must not raise.
    """

    def __init__(self, backend: str, late: Callable[[Any, Any], object] | None = None) -> None:
        self._backend = backend
        self._late = late
        self.after_fork()

    def after_fork(self) -> None:
        """Start with no call left behind in a forked child: those are the parent's."""
        # Reentrant: a signal's handler may make a call while its own thread is in here.
        self._lock = threading.RLock()
        self._left: list[_Call[Any, Any]] = []

    @property
    def left_behind(self) -> int:
        """How many calls are under way that nobody waits for."""
        return len(self._left)

    def requests_left_behind(self) -> tuple[object, ...]:
        """Return what was asked for in the calls that are under way and that nobody waits for."""
        with self._lock:
            return tuple(made.request for made in self._left)

    def call(self, function: Callable[[Request], Result], request: Request) -> Result:
        """Call a function in another thread, with the caller's context variables.

        Without a thread to be had, as at the interpreter's end, it is called in this one, and takes what time it likes.

        Args:
            function: What to call.
            request: Its argument.

        Raises:
            BackendUnavailableError: It has not returned in time (code ``timeout``), or too many calls before have not
                (code ``busy``).
            BaseException: Whatever it raises.
        """
        if self.left_behind >= MOST_LEFT_BEHIND:
            raise self._too_many()
        seconds = time_left()
        if seconds is None:
            return function(request)
        made: _Call[Request, Result] = _Call(function, request)
        thread = threading.Thread(
            target=copy_context().run, args=(self._run, made), name="strongroom-call", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            return function(request)
        return self._result(made, thread, seconds)

    def _run(self, made: _Call[Any, Any]) -> None:
        made.make()
        with self._lock:
            made.done.set()
            if not made.left:
                return
            self._left.remove(made)
        if self._late is not None and made.error is None:
            self._late(made.request, made.answer)

    def _result(self, made: _Call[Request, Result], thread: threading.Thread, seconds: float) -> Result:
        try:
            made.done.wait(seconds)
        except BaseException:
            # Ctrl-C: whoever waited goes, and the call stays.
            self._leave(made)
            raise
        if self._leave(made):
            raise BackendUnavailableError(
                f"{self._backend} has not answered within {round(seconds, 2):g} s",
                code="timeout",
                backend=self._backend,
                hint="check the backend, or raise `deadline` under [resilience]",
            )
        join(thread)
        if made.error is not None:
            raise made.error
        return made.answer

    def _leave(self, made: _Call[Any, Any]) -> bool:
        """Leave a call behind, unless it has ended; tell whether that is so."""
        with self._lock:
            if not made.done.is_set() and not made.left:
                made.left = True
                self._left.append(made)
            return made.left

    def _too_many(self) -> BackendUnavailableError:
        error = BackendUnavailableError(
            f"{MOST_LEFT_BEHIND} calls to {self._backend} have not returned in time, and no more are made",
            code="busy",
            backend=self._backend,
            hint="give the backend a time limit of its own, or restart the program",
        )
        error.unsent = True
        return error


class _Call(Generic[Request, Result]):
    """One call, and what came of it."""

    answer: Result

    def __init__(self, function: Callable[[Request], Result], request: Request) -> None:
        self._function = function
        self.request = request
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.left = False

    def make(self) -> None:
        """Make the call; what it raises is kept for the thread that waits."""
        try:
            # It does not keep deadlines, so it is not told of one either.
            with without_end():
                self.answer = self._function(self.request)
        # Kept, as said.
        except BaseException as error:  # noqa: BLE001  # see above
            self.error = error
