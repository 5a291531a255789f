"""Loads under way, which all share who want the same secret at the same time."""

from __future__ import annotations

import threading

from typing import Generic, TypeVar

from strongroom.errors import StrongroomError

Loaded = TypeVar("Loaded")


class Landing:
    """Tells waiting threads that something is done; other than an ``Event`` it stands a signal's handler that reads."""

    def __init__(self) -> None:
        # Its lock is reentrant; an Event's is not.
        self._cond = threading.Condition()
        self._done = False

    def is_set(self) -> bool:
        """Tell whether it is done."""
        return self._done

    def set(self) -> None:
        """Say that it is done."""
        with self._cond:
            self._done = True
            self._cond.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done, or the time is over; tell whether it is done."""
        with self._cond:
            return self._cond.wait_for(self.is_set, seconds)


class Flight(Generic[Loaded]):
    """One load under way, shared by everybody who wants the same secret.

    Attributes:
        is_strict: Whether the leader wants the backend's answer and no other; others may be content with less.
        is_substitute: Whether it has brought something that only stands in for the backend's answer.
    """

    def __init__(self) -> None:
        self.done = Landing()
        self.obsolete = False
        self.is_strict = False
        self.is_substitute = False
        self.result: Loaded | None = None
        self.error: BaseException | None = None
        self.leader = threading.current_thread()

    def may_be_joined(self) -> bool:
        """Tell whether waiting for it can end: it has, or another thread is at it that still lives."""
        return self.done.is_set() or (self.leader.is_alive() and self.leader is not threading.current_thread())

    def has_answer(self) -> bool:
        """Tell whether it has brought an answer, be it one of our errors; else the leader was interrupted."""
        return self.result is not None or isinstance(self.error, StrongroomError)
