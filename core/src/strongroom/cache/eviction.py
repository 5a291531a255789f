"""Which entry leaves when the cache is full: SIEVE, as ``docs/adr/0013-eviction-by-sieve.md`` explains.

Entries stand in the order in which they came. A hand moves from the oldest to
the newest and starts again at the oldest: an entry that was read since it last
passed stays where it is, the first one that was not leaves. So what is asked
for once leaves soon, and what is asked for often is not moved at all: a hit
only sets a flag.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

MOST_SPARED: Final = 3
"""How often an entry that nobody reads can be passed over at most; so the hand always comes to an end."""


class Place:
    """Where an entry stands in the queue; one that replaces it stands there, too."""

    __slots__ = ("key", "taken_by")

    def __init__(self, key: Hashable, taken_by: object) -> None:
        self.key = key
        self.taken_by = taken_by


class Candidate:
    """What eviction knows of an entry."""

    __slots__ = ("place", "spared", "used", "visited")

    def __init__(self, spared: int = 0) -> None:
        self.visited = False
        """Set by each read; cleared by the hand."""
        self.used = False
        """Whether the hand has ever found it visited."""
        self.spared = min(MOST_SPARED, max(0, spared))
        """How often the hand still passes it over although nobody has read it."""
        self.place: Place | None = None
        """Its place in the queue. That may outlast it, so whoever removes an entry takes the value out of it."""

    def was_read(self) -> bool:
        """Tell whether anybody read it since it was stored."""
        return self.visited or self.used


Entry = TypeVar("Entry", bound=Candidate)


class Sieve(Generic[Entry]):
    """The queue and the hand.

    Each step is one atomic operation on a deque or one assignment, since a signal's
    handler may read, and so store, while its own thread is in here.

    Args:
        entries: What is kept, by key. Whoever removes one tells nobody: its place leads nowhere then.
        max_entries: How many that are at most.
    """

    def __init__(self, entries: dict[Hashable, Entry], max_entries: int) -> None:
        self._entries = entries
        self._most_places = 2 * max_entries + 16
        self.clear()

    def clear(self) -> None:
        """Forget every place."""
        # What lies before the hand, up to the newest entry, and what it has passed. One attribute,
        # so that the two are exchanged in one step when the hand reaches the newest.
        self._queues: tuple[deque[Place], deque[Place]] = deque(), deque()

    def insert(self, key: Hashable, entry: Entry) -> None:
        """Put an entry among the others, in the place of the one that it replaces, or else as the newest.

        Args:
            key: The entry's key.
            entry: The entry.
        """
        replaced = self._entries.get(key)
        if replaced is not None and replaced.place is not None:
            entry.place = replaced.place
            entry.place.taken_by = entry
            if replaced.visited:
                # A refresh is no reason to lose what the readers have earned it.
                entry.spared = max(1, entry.spared)
            self._entries[key] = entry
            return
        entry.place = Place(key, entry)
        self._entries[key] = entry
        self._queues[0].append(entry.place)
        if sum(map(len, self._queues)) > self._most_places:
            self._tidy()

    def choose(self) -> Hashable | None:
        """Move the hand to the entry that is to leave.

        Returns:
            Its key; ``None`` if it has found none: a handler came in between, or all were read again at once.
        """
        # Each place is passed so often at most, unless it is read meanwhile: and readers must not keep this going.
        for _ in range((MOST_SPARED + 2) * sum(map(len, self._queues))):
            place = self._next()
            if place is None:
                break
            entry = self._at(place)
            if entry is None:
                continue
            if _stays(entry):
                self._queues[1].append(place)
                continue
            self._turn_at_the_end()
            return place.key
        return None

    def _next(self) -> Place | None:
        for _ in range(2):
            try:
                return self._queues[0].popleft()
            except IndexError:
                self._turn_at_the_end()
        return None

    def _turn_at_the_end(self) -> None:
        ahead, passed = self._queues
        if not ahead:
            self._queues = passed, ahead

    def _at(self, place: Place) -> Entry | None:
        entry = self._entries.get(place.key)
        return entry if entry is not None and entry is place.taken_by else None

    def _tidy(self) -> None:
        """Drop the places of entries that have left by another way."""
        for queue in self._queues:
            for _ in range(len(queue)):
                try:
                    place = queue.popleft()
                except IndexError:
                    break
                if self._at(place) is not None:
                    queue.append(place)


def _stays(entry: Candidate) -> bool:
    """Tell whether the hand passes an entry over, and note that it has."""
    if entry.visited:
        entry.visited = False
        entry.used = True
        return True
    entry.spared -= 1
    return entry.spared >= 0
