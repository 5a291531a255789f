"""What is known of a secret's logins: which were refused, who is at it, and when to ask the backend again.

It waits for nothing and calls nobody. It holds no password in clear.
"""

from __future__ import annotations

import copy
import os
import threading
import weakref

from typing import Final

from strongroom.errors import AuthenticationError
from strongroom_sqlalchemy.credentials import Credentials
from strongroom_sqlalchemy.settings import LoginOptions
from strongroom_sqlalchemy.waiters import Waiter

AT_ONCE: Final = 4
"""How many logins may be under way at a time with what has been accepted before; with what has not, it is one."""

REMEMBERED: Final = 8
"""How many refused logins are remembered."""

REFRESH_SECONDS: Final = 1.0
"""The pause after the first refresh since a login succeeded; it doubles with each further one."""

MOST_REFRESH_SECONDS: Final = 30.0

_live: weakref.WeakSet[Guard] = weakref.WeakSet()


class Refusal:
    """A login that the server has refused.

    Args:
        credentials: What was refused.
        error: With which error of the driver's.
        pause: For how many seconds it is not tried again.
        until: When that ends.
    """

    __slots__ = ("credentials", "error", "pause", "until")

    def __init__(self, credentials: Credentials, error: Exception, *, pause: float, until: float) -> None:
        self.credentials = credentials
        self.error = error
        self.pause = pause
        self.until = until


class Guard:
    """Keeps refused logins from being tried too often, over all threads and tasks of the process.

    Args:
        secret: The secret's name, for errors.
        settings: How long what cools down.
    """

    def __init__(self, secret: str, settings: LoginOptions) -> None:
        self._secret = secret
        self._settings = settings
        self._clock = settings.clock
        self._refusals: list[Refusal] = []
        self._accepted: Credentials | None = None
        self._refreshes = 0
        self._next_refresh = float("-inf")
        self._begin()
        _live.add(self)

    def _begin(self) -> None:
        """Be in a process in which nobody is at it."""
        self._lock = threading.Lock()
        self._inside = 0
        self._place: Waiter | None = None
        self._flight: Waiter | None = None
        self._process = object()

    def after_fork(self) -> None:
        """Forget in a forked child who was at it in the parent; what was refused stays so."""
        self._begin()

    def enter(self, credentials: Credentials, *, at_any_rate: bool = False) -> Waiter | None:
        """Take a place for a login, to be given back with :meth:`leave`.

        Args:
            credentials: What is to be tried.
            at_any_rate: Take it although others are at it.

        Returns:
            ``None`` if there was one; else what to wait for before asking again.
        """
        with self._lock:
            most = AT_ONCE if credentials == self._accepted else 1
            if self._inside < most or at_any_rate:
                self._inside += 1
                return None
            self._place = self._place or Waiter()
            return self._place

    def leave(self, process: object) -> None:
        """Give a place back, unless it was taken in the process from which this one was forked."""
        with self._lock:
            if process is not self._process:
                return
            self._inside -= 1
            waiter, self._place = self._place, None
        if waiter is not None:
            waiter.wake()

    @property
    def process(self) -> object:
        """What stands for the process in which this is."""
        return self._process

    def accepted(self, credentials: Credentials) -> None:
        """Note that a login has succeeded."""
        with self._lock:
            self._accepted = credentials
            self._refusals.clear()
            self._refreshes = 0
            self._next_refresh = float("-inf")

    def refused(self, credentials: Credentials, error: Exception) -> float:
        """Note that a login was refused; return for how many seconds it is not tried again."""
        kept = _kept(error)
        with self._lock:
            now = self._clock()
            known = self._find(credentials)
            if known is not None and now < known.until:
                # One of several that were under way.
                return known.until - now
            pause = self._settings.cool_down if known is None else min(2 * known.pause, self._settings.max_cool_down)
            self._refusals = [one for one in self._refusals if one is not known][-(REMEMBERED - 1) :]
            self._refusals.append(Refusal(credentials, kept, pause=pause, until=now + pause))
            if credentials == self._accepted:
                self._accepted = None
            return pause

    def cools_down(self, credentials: Credentials) -> bool:
        """Tell whether a login was refused a short while ago."""
        with self._lock:
            known = self._find(credentials)
            return known is not None and self._clock() < known.until

    def again(self, credentials: Credentials) -> Exception:
        """Return the error with which a login was refused, to be raised again without asking the server."""
        with self._lock:
            known = self._find(credentials)
            left = known.until - self._clock() if known is not None else 0.0
        error = _kept(known.error) if known is not None else _unknown()
        error.add_note(
            f"strongroom: a login with {self._secret} was refused a short while ago. The server was not asked again, "
            f"and will not be for {max(0.0, left):.0f} s unless the secret changes"
        )
        return error

    def begin_refresh(self) -> Waiter | bool:
        """Ask for the right to fetch the secret from its backend.

        Returns:
            ``True`` if the caller is to do it, and to call :meth:`end_refresh`; ``False`` if it has been done too
            short a while ago; what to wait for if somebody is doing it.
        """
        with self._lock:
            if self._flight is not None:
                return self._flight
            now = self._clock()
            if now < self._next_refresh:
                return False
            self._next_refresh = now + min(REFRESH_SECONDS * 2**self._refreshes, MOST_REFRESH_SECONDS)
            # Beyond that the pause grows no more.
            self._refreshes = min(self._refreshes + 1, REMEMBERED)
            self._flight = Waiter()
            return True

    def end_refresh(self, process: object) -> None:
        """Let those go on who wait for the refresh."""
        with self._lock:
            if process is not self._process:
                return
            waiter, self._flight = self._flight, None
        if waiter is not None:
            waiter.wake()

    def _find(self, credentials: Credentials) -> Refusal | None:
        return next((one for one in self._refusals if one.credentials == credentials), None)


def without_frames(error: Exception) -> Exception:
    """Take an error's tracebacks away: the local variables of a driver's functions hold the password."""
    known: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in known:
            known.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]
    return error


def _kept(error: Exception) -> Exception:
    """Return a copy of a driver's error that can be raised at any time."""
    try:
        kept = copy.copy(error)
    # Foreign code: not every class lets its objects be copied.
    except Exception:  # noqa: BLE001  # see above
        kept = None
    if not isinstance(kept, Exception):
        return _unknown()
    kept.__cause__ = kept.__context__ = kept.__traceback__ = None
    # The copy shares its notes with the original.
    kept.__dict__.pop("__notes__", None)
    return kept


def _unknown() -> Exception:
    return AuthenticationError("the database has refused user or password", hint="see the server's own log")


def _in_child() -> None:
    for guard in list(_live):
        guard.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
