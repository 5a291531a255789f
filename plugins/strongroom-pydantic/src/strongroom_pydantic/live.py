"""Settings that follow the secrets they were made of."""

from __future__ import annotations

import logging
import os
import threading
import weakref

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, Generic, Self, TypeVar

from pydantic import ValidationError

from strongroom import SecretManager, SecretUpdated
from strongroom.contracts import Record
from strongroom.errors import AuditError, BackendUnavailableError, ConfigurationError, StrongroomError
from strongroom.pacing import delay
from strongroom_pydantic.problems import without_values
from strongroom_pydantic.reading import Reading, reading

S = TypeVar("S")

MOST_SETTLES: Final = 10
"""After so many times ``settle`` the settings are made anew, even if secrets go on changing."""

_log = logging.getLogger("strongroom.pydantic")
_live: weakref.WeakSet[LiveSettings[Any]] = weakref.WeakSet()


class Made(Record):
    """What came of one making of the settings."""

    names: frozenset[str]
    """The secrets that were asked for."""
    settings: Any = None
    problem: Exception | None = None
    """Why there are none."""

    def __repr__(self) -> str:
        # A field that is plain text shows what it holds.
        return f"<Made {', '.join(sorted(self.names))}>"


class LiveSettings(Generic[S]):
    """Settings that are made anew when a secret changes that they were made of, or that they looked for in vain.

    What is made anew takes the place of what was before in one step, after it has been validated. If it cannot be
    made, what was before stays, and :attr:`problem` says why. Several secrets that change within ``settle`` seconds
    lead to one new object.

    Changes that are made through the manager are noticed by themselves, those made elsewhere if the manager watches
    for them (``manager.watch``, or ``[watch]`` in its configuration). Nothing here asks any backend again and again,
    but for one case: if there was no answer when the settings were to be made anew, it is tried again, after pauses
    that grow to some 15 seconds.

    It is safe to use from several threads, from asyncio, where :attr:`current` never waits, and across a fork.

    Args:
        make: The settings class, or any other function that makes them.
        manager: Reads the secrets; it stays open as long as this is used.
        settle: For how many seconds no further secret may change before the settings are made anew.

    Raises:
        ValidationError: The settings cannot be made now.
        ConfigurationError: The function that makes them has raised something else.
        StrongroomError: A secret cannot be read now.
    """

    def __init__(self, make: type[S] | Callable[[], S], manager: SecretManager, *, settle: float = 0.5) -> None:
        self._make = make
        self._manager = manager
        self._settle = settle
        self._problem: Exception | None = None
        self._changed: list[Callable[[S, S], object]] = []
        self._failed: list[Callable[[Exception], object]] = []
        self._ends: dict[str, Callable[[], None]] = {}
        self._due = False
        self._closed = False
        self._begin()
        made = self._made()
        if made.problem is not None:
            raise made.problem
        self._current: S = made.settings
        # Nobody is to look on after secrets for settings that nobody has any more; at exit the manager is closed.
        weakref.finalize(self, _end, self._ends).atexit = False
        self._follow(made.names)
        _live.add(self)
        # What has changed between the reading and the subscription; else that finds all in the manager's cache.
        self._swap()

    def _begin(self) -> None:
        """Be in a process in which nobody makes settings."""
        self._making = threading.RLock()
        self._state = threading.Condition()
        self._news = 0
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """Go on in a forked child: a thread of the parent's that was about to make new settings is not there."""
        self._begin()

    @property
    def current(self) -> S:
        """The settings as they are now: take them once for what belongs together, and do not change them."""
        if self._due and self._thread is None:
            # Forked while there were news.
            self._wake()
        return self._current

    @property
    def problem(self) -> Exception | None:
        """Why the settings could not be made anew the last time; ``None`` if they could. It holds no value."""
        return self._problem

    def on_change(self, callback: Callable[[S, S], object]) -> Callable[[], None]:
        """Have a function called after new settings have taken the place of old ones.

        It is called one change after the other, in the thread that has made the new settings: one that is there for
        that, or the one that has called :meth:`reload`. What it raises is logged, by its type only.

        Args:
            callback: Takes the old settings and the new ones.

        Returns:
            A function that ends it; calling it twice is no error.
        """
        return _added(self._changed, callback)

    def on_problem(self, callback: Callable[[Exception], object]) -> Callable[[], None]:
        """Have a function called when settings cannot be made anew, as for :meth:`on_change`.

        Args:
            callback: Takes the error, a ``ValidationError`` or a ``StrongroomError``; it holds no value.

        Returns:
            A function that ends it; calling it twice is no error.
        """
        return _added(self._failed, callback)

    def reload(self) -> S:
        """Make the settings anew now, in this thread, and return what is current then.

        Raises:
            ValidationError, StrongroomError: They cannot be made; the old ones stay.
        """
        problem = self._swap()
        if problem is not None:
            raise problem
        return self._current

    def close(self) -> None:
        """Follow no further change; calling it twice is no error. The settings stay."""
        self._closed = True
        with self._state:
            self._state.notify_all()
        _end(self._ends)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _made(self) -> Made:
        """Make settings; return them, or the error without any value in it or in its traceback."""
        settings: Any = None
        problem: Exception | None = None
        with ExitStack() as stack:
            current = stack.enter_context(reading(Reading(self._manager)))
            try:
                settings = self._make()
            except ValidationError as error:
                problem = without_values(error, current)
            except StrongroomError as error:
                problem = error.again()
            # Foreign code: what follows secrets must not end because of it. What it says might hold a value.
            except Exception as error:  # noqa: BLE001  # see above
                problem = ConfigurationError(
                    f"the settings could not be made: {type(error).__name__}", hint="make them by themselves to see why"
                )
            return Made(names=frozenset(current.names), settings=settings, problem=problem)

    def _follow(self, names: frozenset[str]) -> None:
        """Hear of changes of these secrets, and of no others."""
        for name in names - set(self._ends):
            self._ends[name] = self._manager.on_update(name, _weak(self))
        for name in set(self._ends) - names:
            self._ends.pop(name, _nothing)()
        if self._closed:
            # It was closed meanwhile, which waits for nobody.
            _end(self._ends)

    def _swap(self) -> Exception | None:
        """Make settings, and have them take the place of the old ones; return why that could not be done."""
        with self._making:
            self._due = False
            made = self._made()
            if self._closed:
                return made.problem
            # What could not be made may have asked for a part of its secrets only.
            self._follow(made.names if made.problem is None else made.names | self._ends.keys())
            self._problem = made.problem
            if made.problem is not None:
                _log.warning("settings could not be made anew: %s", type(made.problem).__name__)
                self._tell(self._failed, made.problem)
            elif made.settings != self._current:
                old, self._current = self._current, made.settings
                self._tell(self._changed, old, made.settings)
            return made.problem

    def _tell(self, callbacks: list[Any], *arguments: Any) -> None:
        for callback in list(callbacks):
            try:
                callback(*arguments)
            # Foreign code: the others are to be called all the same. Its text might hold a setting.
            except Exception as error:  # noqa: BLE001  # see above
                _log.error("a subscriber of settings raised %s", type(error).__name__)  # noqa: TRY400  # see above

    def heard(self, _event: SecretUpdated) -> None:
        """Take notice of a change; the settings are made anew in a thread of their own."""
        self._due = True
        self._wake()

    def _wake(self) -> None:
        with self._state:
            self._news += 1
            self._state.notify_all()
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._run, name="strongroom-settings", daemon=True)
                # Noted after that: if there can be no thread now, the next change tries again.
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        try:
            self._catch_up()
        finally:
            # Whatever has ended it, the next change begins another one.
            with self._state:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _catch_up(self) -> None:
        """Make settings until nothing has changed meanwhile and nothing stands in the way; then the thread ends."""
        attempt = 0
        while True:
            seen = self._settled() if not attempt else self._wait(delay(attempt))
            problem = self._swap() if not self._closed else None
            is_outage = isinstance(problem, BackendUnavailableError | AuditError)
            attempt = attempt + 1 if is_outage else 0
            with self._state:
                if self._closed or (not attempt and seen == self._news):
                    self._thread = None
                    return

    def _settled(self) -> int:
        """Wait until secrets have stopped changing; return up to which change."""
        for _ in range(MOST_SETTLES):
            seen = self._news
            if self._wait(self._settle) == seen:
                break
        return self._news

    def _wait(self, seconds: float) -> int:
        """Wait for so long, or until there are news; return how many there have been."""
        with self._state:
            seen = self._news
            self._state.wait_for(lambda: self._closed or self._news != seen, seconds)
            return self._news


def _weak(live: LiveSettings[Any]) -> Callable[[SecretUpdated], None]:
    """Return what tells live settings of a change, without keeping them alive."""
    reference = weakref.ref(live)

    def heard(event: SecretUpdated) -> None:
        found = reference()
        if found is not None:
            found.heard(event)

    return heard


def _added(callbacks: list[Any], callback: Any) -> Callable[[], None]:
    # One function may be given twice, and each end is the end of one of them.
    entry = _Entry(callback)
    callbacks.append(entry)

    def end() -> None:
        if entry in callbacks:
            callbacks.remove(entry)

    return end


class _Entry:
    """One subscription; two of the same function are not equal."""

    def __init__(self, callback: Callable[..., object]) -> None:
        self._callback = callback

    def __call__(self, *arguments: Any) -> None:
        self._callback(*arguments)


def _end(subscriptions: dict[str, Callable[[], None]]) -> None:
    for name in list(subscriptions):
        subscriptions.pop(name, _nothing)()


def _nothing() -> None:
    """Stand in for the end of a subscription that somebody else has ended."""


def _in_child() -> None:
    for live in list(_live):
        live.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
