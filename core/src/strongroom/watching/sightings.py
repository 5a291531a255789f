"""Which versions of secrets this process knows to be current, so that a change is told once and no older one is."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterable
from typing import Final

from strongroom._record import Record
from strongroom.events.updates import SecretUpdated
from strongroom.model import SecretName

LAG_SECONDS: Final = 15.0
"""For how long after a change the version before is not believed to be current again: a node that lags behind, and a
service that is consistent only after a while, may still name it."""
_TELLING: Final = frozenset({"set", "rotate", "delete"})
"""Changes of our own after which it is known for certain what is current."""


class Held(Record):
    """What is cached of a secret when a look at it begins."""

    version: str | None
    """``None``: that there is no such secret."""


class Finding(Record):
    """What a look at one secret has brought."""

    version: str | None
    """The version that is current, as far as this process knows; ``None`` if there is no such secret."""
    changed: bool
    """Whether that is news."""


class _Sighting:
    """The version of a secret that was seen last, and the one before."""

    __slots__ = ("before", "moved", "rivals", "version")

    def __init__(self, version: str | None) -> None:
        self.version = self.before = version
        self.moved = float("-inf")
        self.rivals: set[str | None] = set()
        """What changes of our own have made beside each other: any of them may be current, and all have been told."""

    def move(self, version: str | None, now: float) -> None:
        if version != self.version:
            self.before, self.version, self.moved = self.version, version, now

    def is_behind(self, version: str | None, now: float) -> bool:
        return version == self.before != self.version and now < self.moved + LAG_SECONDS

    def settle(self, said: str | None) -> None:
        if said in self.rivals and said != self.version:
            self.before, self.version = self.version, said
        self.rivals.clear()


class Sightings:
    """The versions seen last, and the changes that this process is just making itself. Threads may share it.

    Of a change that this process makes its subscribers hear by itself. So what a look brings about such a secret
    while it is being changed is not believed, and what it was changed to is known afterwards.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.after_fork()

    def after_fork(self) -> None:
        """Know nothing in a forked child: its cache is empty, and changes under way are the parent's."""
        # Reentrant: a signal's handler may change a secret while its own thread is in here.
        self._lock = threading.RLock()
        self._seen: dict[SecretName, _Sighting] = {}
        self._under_way: dict[SecretName, int] = {}
        self._beside: set[SecretName] = set()
        """Those whose last changes were made beside each other: nobody knows in which order."""
        self._untold: set[SecretName] = set()
        """Those that were changed since the last look at them, as far as subscribers have not heard of it yet."""
        self._touched: dict[SecretName, int] = {}
        self._turn = 0

    def begin(self, name: SecretName) -> None:
        """Note that this process begins to change a secret."""
        with self._lock:
            if name in self._under_way:
                self._beside.add(name)
            else:
                self._beside.discard(name)
            self._under_way[name] = self._under_way.get(name, 0) + 1
            self._untold.add(name)
            self._touch(name)

    def end(self, name: SecretName) -> None:
        """Note that a change of a secret has ended, however it did."""
        with self._lock:
            left = self._under_way.get(name, 0) - 1
            if left > 0:
                self._under_way[name] = left
            else:
                self._under_way.pop(name, None)
            self._touch(name)

    def heard(self, event: SecretUpdated) -> None:
        """Note a change of this process's own, of which its subscribers are told just now."""
        with self._lock:
            self._untold.discard(event.name)
            self._touch(event.name)
            sighting = self._seen.get(event.name)
            if event.change not in _TELLING:
                self._seen.pop(event.name, None)  # nobody has said what is current now
                return
            if sighting is None:
                sighting = self._seen[event.name] = _Sighting(event.version)
            sighting.move(event.version, self._clock())
            if event.name in self._beside:
                sighting.rivals.add(event.version)
            else:
                sighting.rivals.clear()

    def _touch(self, name: SecretName) -> None:
        self._turn += 1
        self._touched[name] = self._turn

    def begin_look(self, names: Iterable[SecretName]) -> tuple[int, list[SecretName]]:
        """Return a number for :meth:`is_untouched`, and those of some names at which to look now."""
        with self._lock:
            names = list(names)
            ready = [name for name in names if name not in self._under_way and name not in self._untold]
            # One that was changed without a word, since that failed say, is looked at next time.
            self._untold.difference_update(name for name in names if name not in self._under_way)
            return self._turn, ready

    def is_untouched(self, name: SecretName, since: int) -> bool:
        """Tell whether this process has not begun or ended a change of a secret since a look at it began."""
        return self._touched.get(name, 0) <= since

    def is_new(self, name: SecretName) -> bool:
        """Tell whether a secret has not been looked at yet."""
        return name not in self._seen

    def learn(self, name: SecretName, said: str | None, held: Held | None, since: int) -> Finding | None:
        """Take in what a look has brought.

        Args:
            name: The secret's name.
            said: The version that is said to be current; ``None`` if there is no such secret.
            held: What was cached when the look began, if anything was.
            since: The look's number.

        Returns:
            ``None`` if this process has changed the secret meanwhile, so that nothing follows from it.
        """
        with self._lock:
            if not self.is_untouched(name, since):
                return None
            now = self._clock()
            sighting = self._seen.get(name)
            if sighting is None:
                sighting = self._seen[name] = _Sighting(said if held is None else held.version)
            sighting.settle(said)
            before = sighting.version
            # First what was read since the last look, of which nobody has been told either; not what came too late.
            read = [] if held is None or held.version == sighting.before else [held.version]
            for version in (*read, said):
                if not sighting.is_behind(version, now):
                    sighting.move(version, now)
            return Finding(version=sighting.version, changed=sighting.version != before)

    def keep_only(self, names: Iterable[SecretName]) -> None:
        """Forget all secrets but some: nobody looks at the others any more."""
        with self._lock:
            kept = set(names)
            self._seen = {name: seen for name, seen in self._seen.items() if name in kept}
            self._touched.clear()
            self._untold = {name for name in self._untold if name in kept or name in self._under_way}
            self._beside = {name for name in self._beside if name in kept or name in self._under_way}
