"""Copies of secrets on their way to the fallback store, and those there that must not be used any more."""

from __future__ import annotations

import threading

from collections.abc import Callable
from typing import Final

from strongroom.background import Background
from strongroom.contracts.journal import Copy, Place
from strongroom.errors import StrongroomError
from strongroom.pacing import time_left, within

MOST_WAITING: Final = 10_000
"""How many copies may wait to be written; a further one is left out."""
MOST_KNOWN: Final = 10_000
"""How many places are remembered of each kind."""
AGAIN_SECONDS: Final = 60.0
"""For how long a copy of the same version is not written again."""
FLUSH_SECONDS: Final = 5.0
"""How long whoever closes the manager waits at most until the copies are written."""

Kept = Callable[[tuple[Copy, ...]], StrongroomError | None]
Erased = Callable[[tuple[Place, ...]], StrongroomError | None]


class Copies:
    """Has copies written behind, in one go whatever has come meanwhile. Threads share it.

    What has been changed, is gone or is denied has no copy from that moment on: if the store cannot drop it now,
    that is tried again each time that something is written, and in this process it is not used until then.

    Args:
        keep: Keeps copies in the store; returns why that failed.
        erase: Drops copies from the store, if they are there; returns why that failed.
        background: Where they are written.
        clock: Monotonic seconds.
    """

    def __init__(self, keep: Kept, erase: Erased, background: Background, *, clock: Callable[[], float]) -> None:
        self._keep = keep
        self._erase = erase
        self._background = background
        self._clock = clock
        # A forked child keeps these: what has been seen gone is gone there, too.
        self._revoked: dict[Place, None] = {}
        self._trusted = True
        self.after_fork()

    def after_fork(self) -> None:
        """Start with nothing to write in a forked child: that is the parent's."""
        # Reentrant, as everywhere here: a signal's handler may read while its own thread is in here.
        self._lock = threading.RLock()
        # Held by the one who writes, so that of two copies of a secret the newer one is written last.
        self._writing = threading.RLock()
        self._waiting: dict[Place, Copy] = {}
        self._under_way: dict[Place, Copy] = {}
        self._is_due = False
        self._written: dict[Place, tuple[str, float]] = {}
        self._changes: dict[Place, int] = {}
        self._forgotten = 0
        self.turn = 0
        """How many changes there have been."""

    def add(self, copy: Copy, turn: int) -> None:
        """Have a copy written soon, unless there has been a change since its secret was asked for.

        Args:
            copy: The copy.
            turn: What :attr:`turn` was when its secret was asked for.
        """
        with self._lock:
            if turn < max(self._forgotten, self._changes.get(copy.place, 0)) or self._is_written(copy):
                return
            if len(self._waiting) >= MOST_WAITING and copy.place not in self._waiting:
                return
            self._waiting[copy.place] = copy
            # It is there again, and what is newer than an older copy is on its way.
            self._revoked.pop(copy.place, None)
        self.write_soon()

    def _is_written(self, copy: Copy) -> bool:
        under_way = self._under_way.get(copy.place)
        if under_way is not None and under_way.version == copy.version:
            return True
        version, when = self._written.get(copy.place, ("", 0.0))
        return version == copy.version and self._clock() < when + AGAIN_SECONDS

    def write_soon(self) -> None:
        """Have written in the background what waits, unless that is about to happen."""
        with self._lock:
            if self._is_due:
                return
            self._is_due = True
        if not self._background.submit(object(), self.write):
            self._is_due = False

    def write(self) -> None:
        """Write all that waits now, and drop what could not be dropped before; whoever cannot goes on."""
        try:
            with self._writing:
                if revoked := tuple(self._revoked):
                    self._drop(revoked)
                while waiting := self._take():
                    self._write(waiting)
        finally:
            self._is_due = False

    def _take(self) -> dict[Place, Copy]:
        with self._lock:
            waiting = self._waiting
            self._waiting = {}
            self._under_way = self._under_way | waiting
            if not waiting:
                # From now on whoever adds one has it written.
                self._is_due = False
            return waiting

    def _write(self, copies: dict[Place, Copy]) -> None:
        try:
            error = self._keep(tuple(copies.values()))
        finally:
            with self._lock:
                self._under_way = {place: one for place, one in self._under_way.items() if one is not copies.get(place)}
        with self._lock:
            if error is None:
                self._note_written(copies)
            revoked = tuple(place for place in copies if place in self._revoked)
        if revoked:
            # Meanwhile it was seen gone, and whoever saw it may have come to the store first.
            self._drop(revoked)

    def _note_written(self, copies: dict[Place, Copy]) -> None:
        if len(self._written) + len(copies) > MOST_KNOWN:
            self._written.clear()
        now = self._clock()
        self._written.update((place, (copy.version, now)) for place, copy in copies.items())

    def replace(self, copy: Copy) -> StrongroomError | None:
        """Keep the copy of what has just been changed, now; return why that failed."""
        self._revoke(copy.place)
        error = self._keep((copy,))
        if error is None:
            with self._lock:
                self._note_written({copy.place: copy})
                self._revoked.pop(copy.place, None)
        return error

    def forget(self, place: Place) -> StrongroomError | None:
        """Drop the copy of what has been changed, is gone or is denied, now; return why that failed."""
        self._revoke(place)
        return self._drop((place,))

    def changed(self, place: Place) -> None:
        """Note that the store has just brought its copy of a secret up to date by itself."""
        with self._lock:
            self._note_change(place)
            self._revoked.pop(place, None)

    def _revoke(self, place: Place) -> None:
        with self._lock:
            # First: whatever else comes to pass, it is not used any more.
            self._mark(place)
            self._note_change(place)

    def _mark(self, place: Place) -> None:
        if len(self._revoked) >= MOST_KNOWN and place not in self._revoked:
            # There is no telling any more which ones are good, and there will not be.
            self._trusted = False
        else:
            self._revoked[place] = None

    def _note_change(self, place: Place) -> None:
        self._waiting.pop(place, None)
        self._written.pop(place, None)
        self.turn += 1
        if len(self._changes) >= MOST_KNOWN:
            self._changes.clear()
            self._forgotten = self.turn
        self._changes[place] = self.turn

    def _drop(self, places: tuple[Place, ...]) -> StrongroomError | None:
        error = self._erase(places)
        with self._lock:
            for place in places:
                if error is not None:
                    self._mark(place)
                elif place not in self._under_way:
                    self._revoked.pop(place, None)
        return error

    def are_left(self) -> bool:
        """Tell whether some copies could not be dropped yet."""
        return bool(self._revoked)

    def is_usable(self, place: Place) -> bool:
        """Tell whether the store's copy of a secret may be used."""
        return self._trusted and place not in self._revoked

    def newest(self, place: Place) -> Copy | None:
        """Return the copy of a secret that is still to be written, if there is one."""
        with self._lock:
            return self._waiting.get(place) or self._under_way.get(place)

    def flush(self) -> None:
        """Write all that waits, and wait for that for a few seconds at most."""
        with self._lock:
            if not (self._waiting or self._under_way or self._revoked):
                return
        with within(FLUSH_SECONDS):
            if self._writing.acquire(timeout=time_left() or 0.0):
                try:
                    self.write()
                finally:
                    self._writing.release()
