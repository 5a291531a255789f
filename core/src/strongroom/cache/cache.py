"""The cache: single flight by name, bounded size, and answers for as long as a policy says.

A hit is one dictionary look-up and one comparison of numbers, without a lock:
when an entry is stored, the policy says until when it is good, and all that
eviction needs of a hit is a flag.
"""

from __future__ import annotations

import threading

from collections.abc import Callable, Hashable

from strongroom._apart import apart
from strongroom.cache.counting import Cell, Counters, Tally
from strongroom.cache.entries import Entry, PinnedEntry
from strongroom.cache.eviction import Sieve
from strongroom.cache.flights import Flight
from strongroom.cache.pauses import Pauses, refresh_of
from strongroom.cache.stats import CacheStats, distribution
from strongroom.contracts.cache import CachePolicy, Lifetime, Previous, StoreRequest
from strongroom.errors import PluginError, SecretNotFoundError
from strongroom.model import Secret, SecretName

Key = Hashable


class Cache:
    """Keeps answers by key.

    Args:
        policy: Says how long each answer lives.
        max_entries: The most entries that are kept; at least 1.
        clock: Monotonic seconds.
        random: Numbers in [0, 1) for the policy's jitter.
    """

    def __init__(
        self, policy: CachePolicy, *, max_entries: int, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self.policy = policy
        self.max_entries = max_entries
        self.entries: dict[Key, Entry] = {}
        self._sieve = Sieve(self.entries, max_entries)
        self.clock = clock
        self.pauses = Pauses(clock)
        """What backends have refused lately, and when to ask them again."""
        self.hits = Tally()
        """The plain hits: those that returned a value which needed nothing else."""
        self._random = random
        self._cells: list[Cell] = []
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.entries.clear()
        self.hits.reset()
        self.counters = Counters(self._cells)
        # Reentrant, since a signal's handler may read while its own thread is in here. So whatever
        # looks at a collection here must cope with what such a read stores or drops.
        self._lock = threading.RLock()
        self._flights: dict[Key, Flight[Secret]] = {}
        # The keys of older versions by name, so that dropping a name need not look at every entry.
        self._versions: dict[Hashable, set[Key]] = {}
        # Those that are kept beside the others: they have no place in the queue, and do not count.
        self._pinned: dict[Key, Entry] = {}
        self._sieve.clear()
        self.pauses.clear()
        self._evictions = 0
        self._expirations = 0

    @property
    def lock(self) -> threading.RLock:
        """The lock of all that it holds, another one after a fork; whoever looks after some entries shares it."""
        return self._lock

    def after_fork(self) -> None:
        """Start empty, with new locks and counts, in a forked child."""
        for entry in self.entries.values():
            entry.end()
        self._cells = []
        self._start_afresh()

    def store(
        self,
        key: Key,
        name: SecretName,
        flight: Flight[Secret],
        *,
        secret: Secret | None,
        error: SecretNotFoundError | None,
        max_stale: float | None = None,
    ) -> None:
        """Keep a load's answer for as long as the policy says, unless something newer has come since.

        Args:
            key: Its key.
            name: Its name.
            flight: The load.
            secret: The answer.
            error: The answer, if it is that there is no such secret.
            max_stale: For how many seconds beyond its time it may stand in at most, whatever the policy says.
        """
        now = self.clock()
        request = StoreRequest(
            name=name,
            now=now,
            found=secret is not None,
            random=self._random(),
            version=secret.version if secret is not None else None,
            previous=_previous(self.entries.get(key)),
            pinned=isinstance(key, tuple),
        )
        entry = Entry(now, self._lifetime(request), secret=secret, error=error.again() if error else None)
        if max_stale is not None:
            entry.not_beyond(entry.fresh_until + max_stale)
        with self._lock:
            if flight.obsolete:
                return
            if entry.stale_until <= now:
                # Not worth keeping, and what was kept is older: after 'not found' nothing may stand in for it.
                self._forget(key)
            else:
                self._insert(key, entry)
            if flight.obsolete:
                # A signal's handler has changed the secret since.
                self._forget(key)

    def store_substitute(self, key: Key, flight: Flight[Secret], secret: Secret, *, seconds: float) -> None:
        """Keep what stood in for a backend's answer, only to stand in again; never over what the backend said.

        Args:
            key: Its key.
            flight: The load.
            secret: The substitute.
            seconds: For how long it may.
        """
        now = self.clock()
        entry = Entry(now, Lifetime(fresh_until=now, stale_until=now + seconds), secret=secret, error=None)
        with self._lock:
            kept = self.entries.get(key)
            if flight.obsolete or (kept is not None and kept.stale_until > now):
                return
            self._insert(key, entry)
            if flight.obsolete:
                # As above.
                self._forget(key)

    def pin(
        self, key: Key, flight: Flight[Secret], secret: Secret, *, until: float, on_leaving: Callable[[], object]
    ) -> Entry | None:
        """Keep a load's answer beside the others up to a certain time, unless something newer has come since.

        No policy is asked, it does not count as one of the entries, and none leaves for it.

        Args:
            key: Its key.
            flight: The load.
            secret: The answer.
            until: Up to when it serves; not even an outage makes that longer.
            on_leaving: Called when it is dropped or replaced, with the cache's lock held.

        Returns:
            The entry; ``None`` if it is not kept.
        """
        entry = PinnedEntry(self.clock(), until, secret=secret, on_leaving=on_leaving)
        with self._lock:
            if flight.obsolete:
                return None
            self._end_replaced(key)
            self._pinned[key] = self.entries[key] = entry
            if flight.obsolete:
                # A signal's handler has dropped it since.
                self._forget(key)
                return None
        return entry

    def prolong(self, key: Key, entry: Entry, until: float) -> None:
        """Let an entry that is kept beside the others serve up to another time, if it is still there."""
        with self._lock:
            if self.entries.get(key) is entry:
                entry.fresh_until = entry.revalidate_until = entry.stale_until = entry.quiet_until = until

    def release(self, key: Key, entry: Entry) -> None:
        """Forget an entry, if it is still the one that is kept."""
        with self._lock:
            if self.entries.get(key) is entry:
                self._forget(key)

    def keeps_beside(self, key: Key) -> bool:
        """Tell whether a key's answer is kept beside the others, and serves."""
        entry = self._pinned.get(key)
        return entry is not None and self.clock() < entry.fresh_until

    def under_way(self) -> list[tuple[Key, Flight[Secret]]]:
        """Return the loads under way now."""
        with self._lock:
            return list(self._flights.items())

    def _forget(self, key: Key) -> bool:
        entry = self.entries.get(key)
        if entry is None:
            return False
        # First: whoever holds it would go on serving it if a signal's handler ended this in between.
        entry.end()
        left = self.entries.pop(key, None)
        if left is not None and left is not entry:
            left.end()  # which such a handler has stored
            self._left(key, left)
        self._left(key, entry)
        return True

    def _left(self, key: Key, entry: Entry) -> None:
        """Tell whoever looks after an entry that was kept beside the others."""
        if not isinstance(entry, PinnedEntry):
            return
        left, entry.on_leaving = entry.on_leaving, None
        if left is not None:
            if self._pinned.get(key) is entry:
                self._pinned.pop(key, None)
            left()

    def _lifetime(self, request: StoreRequest) -> Lifetime:
        try:
            return apart(self.policy.lifetime, request)
        # The plugin boundary: a policy that fails gives no answer that could be used.
        except Exception as error:
            raise PluginError(
                f"the cache policy failed with {type(error).__name__}",
                code="plugin_broken",
                name=request.name,
                hint="use another one in [cache], or mend it",
            ) from error

    def _insert(self, key: Key, entry: Entry) -> None:
        if key not in self.entries or key in self._pinned:
            while len(self.entries) - len(self._pinned) >= self.max_entries:
                self._evict_one()
        self._end_replaced(key)
        self._sieve.insert(key, entry)

    def _end_replaced(self, key: Key) -> None:
        replaced = self.entries.get(key)
        if replaced is not None:
            # First, as in `_forget`. Who looks for it now waits for the load that brings the new one.
            replaced.end()
            self._left(key, replaced)

    def _evict_one(self) -> None:
        key = self._sieve.choose()
        if key is None:
            # A signal's handler came in between. The oldest goes.
            key = next((one for one in list(self.entries) if one not in self._pinned), None)
        if self._forget(key):
            self._evictions += 1

    def drop(self, name: SecretName, *, denied: bool = False) -> None:
        """Forget every answer about a name, older versions too; a load under way will not be kept either.

        Args:
            name: The name.
            denied: Whether that is because the backend denies it; else it may be different now, and pauses end.
        """
        with self._lock:
            # The keys stay noted until the next sweep: if a signal's handler ends this, the next call finds them.
            for key in (name, *self._versions.get(name, ())):
                self._obsolete(key)
                self._forget(key)
                if not denied:
                    self.pauses.end(key, refresh_of(key))

    def drop_older(self, name: SecretName, seen: Entry | None, version: str | None) -> None:
        """Forget every answer about a name that is older than a look at it, and keep no load from before either.

        What was kept since the look began may be newer, and stays unless it is the same version again.

        Args:
            name: The name.
            seen: What was kept when the look began.
            version: The version of that.
        """
        with self._lock:
            kept = self.entries.get(name)
            if kept is None or kept is seen or (seen is not None and version_of(kept) == version):
                self.drop(name)

    def abandon(self, key: Key) -> None:
        """Let the next read start a load of its own, and keep what is there until that one ends."""
        with self._lock:
            self._obsolete(key)

    def _obsolete(self, key: Key) -> None:
        flight = self._flights.get(key)
        if flight is not None:
            # First, since a signal's handler may end this in between.
            flight.obsolete = True
            self._flights.pop(key, None)

    def clear(self) -> None:
        """Forget everything; no load under way will be kept either."""
        with self._lock:
            for key in list(self.entries):
                self._forget(key)
            self._sieve.clear()
            self.pauses.clear()
            for flight in list(self._flights.values()):
                flight.obsolete = True
            self._flights.clear()

    def names(self) -> set[SecretName]:
        """Return the names of what is kept or being loaded now."""
        with self._lock:
            keys = [*self.entries, *self._flights]
        names = {key[0] if isinstance(key, tuple) else key for key in keys}
        return {name for name in names if isinstance(name, SecretName)}

    def kept(self) -> list[Key]:
        """Return the keys of what is kept now."""
        with self._lock:
            return list(self.entries)

    def sweep(self) -> int:
        """Forget what has expired, so that its values leave the memory.

        Returns:
            How many entries were forgotten.
        """
        now = self.clock()
        with self._lock:
            expired = [key for key, entry in list(self.entries.items()) if entry.stale_until <= now]
            for key in expired:
                self._forget(key)
            self._expirations += len(expired)
            self._versions.clear()
            for key in (*self.entries, *self._flights):
                self._index(key)
        return len(expired)

    def join(self, key: Key, own: Flight[Secret] | None = None) -> tuple[Flight[Secret], bool]:
        """Return the load under way for a key, and whether the caller must do it.

        A flight whose leader has died without an answer is taken over.

        Args:
            key: What is wanted.
            own: What to put there if nothing is under way. Whoever has it can land it even if this is interrupted.
        """
        own = own or Flight()
        # A signal's handler that reads while its own thread is in here waits for nobody: they may wait for the lock.
        interrupting = self._lock._is_owned()  # type: ignore[attr-defined]  # Condition calls it as well
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.may_be_joined() and not interrupting:
                return flight, False
            self._index(key)
            self._flights[key] = own
            return own, True

    def is_under_way(self, key: Key, flight: Flight[Secret]) -> bool:
        """Tell, without a lock, whether a reader that begins now may still take this load's answer for its own."""
        return self._flights.get(key) is flight

    def _index(self, key: Key) -> None:
        if isinstance(key, tuple):
            self._versions.setdefault(key[0], set()).add(key)

    def land(self, key: Key, flight: Flight[Secret], *, secret: Secret | None, error: BaseException | None) -> None:
        """End a load: whoever waits for it gets the secret or the error."""
        flight.result = secret
        flight.error = error
        with self._lock:
            if self._flights.get(key) is flight:
                self._flights.pop(key, None)
        flight.done.set()

    def stats(self) -> CacheStats:
        """Return the counts since the manager was opened, and the entries as they are now."""
        now = self.clock()
        total = Cell()
        with self._lock:
            for cell in list(self._cells):
                total.add(cell)
            self._fold_dead_cells()
            entries = list(self.entries.values())
            total.hits += self.hits.value()
        return CacheStats(
            reads=total.hits + total.misses + total.negative + total.stale + total.fallback + total.errors,
            hits=total.hits,
            misses=total.misses,
            negative_hits=total.negative,
            stale_hits=total.stale,
            fallback_hits=total.fallback,
            errors=total.errors,
            loads=total.loads,
            refreshes=total.refreshes,
            failed_refreshes=total.failed_refreshes,
            evictions=self._evictions,
            expirations=self._expirations,
            size=len(entries),
            max_entries=self.max_entries,
            ages=distribution([now - entry.stored for entry in entries]),
            lives=distribution([entry.fresh_until - now for entry in entries if entry.fresh_until > now]),
        )

    def answered_refreshes(self) -> int:
        """Return how many calls that nobody waited for have ended with an answer; 'no such secret' is one, too."""
        with self._lock:
            return sum(cell.answered_refreshes for cell in self._cells)

    def _fold_dead_cells(self) -> None:
        """Keep one cell for all threads that have ended, so that cells do not pile up."""
        dead = [cell for cell in self._cells if not cell.owner.is_alive()]
        if len(dead) > 1:
            for cell in dead[1:]:
                dead[0].add(cell)
                self._cells.remove(cell)


def version_of(entry: Entry) -> str | None:
    """Return the version of what is kept; ``None`` for the answer that there is no such secret."""
    secret = entry.secret
    return secret.version if secret is not None else None


def _previous(entry: Entry | None) -> Previous | None:
    if entry is None:
        return None
    return Previous(version=version_of(entry), stored=entry.stored, used=entry.was_read())
