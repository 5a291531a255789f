"""Copies of secrets on their way to the fallback store, and those there that must not be used any more."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

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
Warn = Callable[[str, StrongroomError], object]


class Pending(NamedTuple):
    """A copy that is still to be written."""

    copy: Copy
    turn: int
    """What :attr:`Copies.turn` was when its secret was asked for."""


class Change(NamedTuple):
    """The last change of a secret that this process has seen."""

    turn: int
    """What :attr:`Copies.turn` has been since."""
    when: float
    """In seconds since 1970 UTC: a copy from before is older than the change."""


class Copies:
    """Has copies written behind, in one go whatever has come meanwhile. Threads share it.

    What has been changed, is gone or is denied has no copy from that moment on: if the store cannot drop it now,
    that is tried again each time that something is written, and in this process it is not used until then. Nor is one
    that comes into the store later, but is from before: another process, or a call that nobody waits for any more, may
    have been slow.

    Args:
        keep: Keeps copies in the store; returns why that failed.
        erase: Drops copies from the store, if they are there; returns why that failed.
        background: Where they are written.
        warn: Logs what has failed where nobody waits for it; whoever waits is told by what is returned.
        clock: Monotonic seconds.
        now: Seconds since 1970 UTC.
    """

    def __init__(
        self,
        keep: Kept,
        erase: Erased,
        background: Background,
        *,
        warn: Warn,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._keep = keep
        self._erase = erase
        self._background = background
        self._warn = warn
        self._clock = clock
        self._now = now
        # A forked child keeps these: what has been seen gone is gone there, too.
        self._revoked: dict[Place, None] = {}
        self._trusted = True
        self._changes: dict[Place, Change] = {}
        self._forgotten = Change(0, float("-inf"))
        self.turn = 0
        """How many changes there have been."""
        self.after_fork()

    def after_fork(self) -> None:
        """Start with nothing to write in a forked child: that is the parent's."""
        # Reentrant, as everywhere here: a signal's handler may read while its own thread is in here.
        self._lock = threading.RLock()
        # Held by the one who writes, so that of two copies of a secret the newer one is written last.
        self._writing = threading.RLock()
        self._waiting: dict[Place, Pending] = {}
        self._under_way: dict[Place, Pending] = {}
        self._is_due = False
        self._written: dict[Place, tuple[str, float]] = {}

    def add(self, copy: Copy, turn: int) -> None:
        """Have a copy written soon, unless there has been a change since its secret was asked for.

        Args:
            copy: The copy.
            turn: What :attr:`turn` was when its secret was asked for.
        """
        pending = Pending(copy, turn)
        if copy.taken > self._now():
            # The clock has been set back meanwhile: the store would take it for newer than what comes next.
            return
        with self._lock:
            if self._is_outdated(pending) or self._is_written(copy):
                return
            if len(self._waiting) >= MOST_WAITING and copy.place not in self._waiting:
                return
            self._waiting[copy.place] = pending
        self.write_soon()

    def _change_of(self, place: Place) -> Change:
        return self._changes.get(place, self._forgotten)

    def _is_outdated(self, pending: Pending) -> bool:
        """Tell whether there has been a change since a secret was asked for."""
        return pending.turn < self._change_of(pending.copy.place).turn

    def _is_written(self, copy: Copy) -> bool:
        under_way = self._under_way.get(copy.place)
        if under_way is not None and under_way.copy.version == copy.version and not self._is_outdated(under_way):
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
                    self._drop_behind(revoked)
                while waiting := self._take():
                    self._write(waiting)
        finally:
            self._is_due = False

    def _take(self) -> dict[Place, Pending]:
        with self._lock:
            waiting = self._waiting
            self._waiting = {}
            self._under_way = self._under_way | waiting
            if not waiting:
                # From now on whoever adds one has it written.
                self._is_due = False
            return waiting

    def _write(self, copies: dict[Place, Pending]) -> None:
        error = self._kept(copies)
        with self._lock:
            outdated = tuple(place for place, one in copies.items() if self._is_outdated(one))
            if error is None:
                self._note_written(one.copy for place, one in copies.items() if place not in outdated)
        if error is not None:
            self._warn("copies could not be kept", error)
        if outdated:
            # Meanwhile it was changed or seen gone, and whoever saw it may have come to the store first.
            self._drop_behind(outdated)

    def _kept(self, copies: dict[Place, Pending]) -> StrongroomError | None:
        try:
            return self._keep(tuple(one.copy for one in copies.values()))
        finally:
            with self._lock:
                self._under_way = {place: one for place, one in self._under_way.items() if one is not copies.get(place)}
                for place, one in copies.items():
                    # Whatever the store has of it, it is not to be used till that is dropped.
                    if self._is_outdated(one):
                        self._mark(place)

    def _drop_behind(self, places: tuple[Place, ...]) -> None:
        error = self._drop(places)
        if error is not None:
            names = places[0].name if len(places) == 1 else f"{len(places)} names"
            self._warn(undropped(names), error)

    def _note_written(self, copies: Iterable[Copy]) -> None:
        now = self._clock()
        for copy in copies:
            if len(self._written) >= MOST_KNOWN:
                self._written.clear()
            self._written[copy.place] = copy.version, now
            self._note_usable(copy)

    def _note_usable(self, copy: Copy) -> None:
        """Note that the store has a copy that is newer than the last change, whatever the clock says now."""
        change = self._changes.get(copy.place)
        if change is not None:
            self._changes[copy.place] = change._replace(when=copy.taken)
        if copy.place not in self._under_way:
            self._revoked.pop(copy.place, None)

    def replace(self, copy: Copy) -> StrongroomError | None:
        """Keep the copy of what has just been changed, now; return why that failed."""
        self._revoke(copy.place)
        error = self._keep((copy,))
        if error is None:
            with self._lock:
                self._note_written([copy])
        return error

    def forget(self, place: Place) -> StrongroomError | None:
        """Drop the copy of what has been changed, is gone or is denied, now; return why that failed."""
        self._revoke(place)
        return self._drop((place,))

    def forget_later(self, place: Place) -> None:
        """Have the copy of what is gone or is denied dropped in the background; from now on it is not used."""
        self._revoke(place)
        self.write_soon()

    def changed(self, place: Place, copy: Copy | None) -> None:
        """Note that the store has just brought its copy of a secret up to date by itself.

        Args:
            place: Where the secret is kept.
            copy: The copy that it has now, if it has not dropped it.
        """
        with self._lock:
            self._note_change(place)
            if copy is not None:
                self._note_usable(copy)
            elif place not in self._under_way:
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
        change = Change(self.turn, self._now())
        if len(self._changes) >= MOST_KNOWN:
            self._changes.clear()
            self._forgotten = change
        self._changes[place] = change

    def _drop(self, places: tuple[Place, ...]) -> StrongroomError | None:
        error = self._erase(places)
        with self._lock:
            for place in places:
                if error is not None:
                    self._mark(place)
                    continue
                self._written.pop(place, None)
                if place not in self._under_way:
                    self._revoked.pop(place, None)
        return error

    def are_left(self) -> bool:
        """Tell whether some copies could not be dropped yet."""
        return bool(self._revoked)

    def is_usable(self, copy: Copy) -> bool:
        """Tell whether a copy that the store has may be used."""
        return self._trusted and copy.place not in self._revoked and copy.taken >= self._change_of(copy.place).when

    def newest(self, place: Place) -> Copy | None:
        """Return the copy of a secret that is still to be written, if there is one."""
        with self._lock:
            pending = self._waiting.get(place) or self._under_way.get(place)
            return None if pending is None or self._is_outdated(pending) else pending.copy

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


def undropped(names: str) -> str:
    """Return what it means that copies could not be dropped.

    Args:
        names: Whose they are.
    """
    return f"the copy of {names} could not be dropped, and is not used until it is"
