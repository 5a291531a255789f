"""Which names come and go below the folders that a program was given."""

from __future__ import annotations

import threading
import time
import weakref

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from strongroom._warner import Warner
from strongroom.errors import ClosedError, StrongroomError
from strongroom.pacing import spread
from strongroom.watching.looking import LASTING, REFUSED_SECONDS

if TYPE_CHECKING:
    from strongroom.manager import SecretManager

LONGEST: Final = 5.0
"""Seconds: for how long the thread waits at most until it looks whether anybody still wants to be told."""


class Folders:
    """Lists folders every now and then, each once a round; one daemon thread does so once it is known what was there.

    Args:
        manager: Lists, and records that.
        prefixes: The folders, as ``list`` takes them.
        every: Seconds between two rounds, at most; it is a random part of it, down to half.
        tell: Called, in that thread, with the names that have come and those that have gone.
        clock: Monotonic seconds, for tests: then there is no thread, and somebody calls :meth:`run_due`.
    """

    def __init__(
        self,
        manager: SecretManager,
        prefixes: Iterable[str],
        every: float,
        tell: Callable[[frozenset[str], frozenset[str]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._prefixes = _outermost(prefixes)
        self._every = every
        self._tell = tell
        self._clock = clock
        self._warner = Warner(clock)
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._turn = 0
        """How often somebody has said what is known: a list that was begun before says nothing about that."""
        self._due: float | None = None

    def know(self, names: Iterable[str]) -> None:
        """Tell from now on what differs from what a program has got.

        Args:
            names: All that it was given of what is below the folders.
        """
        with self._lock:
            self._known = frozenset(names)
            self._turn += 1
        if self._due is None and self._prefixes:
            self._due = self._clock() + spread(self._every)
            self._start()

    def _start(self) -> None:
        if self._clock is not time.monotonic:
            return
        thread = threading.Thread(target=_list, args=(weakref.ref(self),), name="strongroom-folders", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._due = None  # there are too many threads now: the next start of the program tries again

    def run_due(self) -> float | None:
        """Do what is due now; return for how many seconds nothing is, or ``None`` if there is no more to do."""
        if self._due is None:
            return None
        if self._clock() >= self._due:
            pause = self._round()
            if pause is None:
                return None
            self._due = self._clock() + pause
        return max(0.0, self._due - self._clock())

    def _round(self) -> float | None:
        """List all folders; return after how many seconds to do so again, and ``None`` for never."""
        turn = self._turn
        try:
            found = frozenset(str(name) for prefix in self._prefixes for name in self._manager.list(prefix))
            # Whoever is told follows what is new, which a manager that has been closed meanwhile refuses.
            self._learn(found, turn)
        except ClosedError:
            return None
        except StrongroomError as error:
            self._warner.warn(f"names that come or go are not noticed: {error.what}")
            # Each further list would be in somebody's log as a denial.
            return REFUSED_SECONDS if isinstance(error, LASTING) else spread(self._every)
        # What is none of our errors is a fault of a plugin, or of ours: it must not end the watch.
        except Exception as error:  # noqa: BLE001  # see above
            self._warner.warn(f"names that come or go are not noticed: {type(error).__name__}")
        return spread(self._every)

    def _learn(self, found: frozenset[str], turn: int) -> None:
        with self._lock:
            if turn != self._turn:
                return
            before, self._known = self._known, found
        if found != before:
            self._tell(found - before, before - found)


def _outermost(prefixes: Iterable[str]) -> list[str]:
    """Return the folders that are not within another one of them."""
    folders = sorted({f"{prefix.removesuffix('/')}/" if prefix else "" for prefix in prefixes})
    return [one for one in folders if not any(one != other and one.startswith(other) for other in folders)]


def _list(folders: weakref.ref[Folders]) -> None:
    while (live := folders()) is not None:
        seconds = live.run_due()
        # Not held while waiting: whoever has got the folders may let go of them.
        del live
        if seconds is None:
            return
        time.sleep(min(seconds, LONGEST))
