"""The fallback store as the core uses it: copies of other backends' secrets, and the journal of writes that wait."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from strongroom._warner import Warner
from strongroom.background import Background
from strongroom.config.resilience import Resilience
from strongroom.contracts.backend import ReadResult
from strongroom.contracts.journal import (
    AppendRequest,
    AppendResult,
    ClaimRequest,
    ClaimResult,
    Copy,
    DropCopiesRequest,
    EntriesRequest,
    EntriesResult,
    Entry,
    Journal,
    JournalStatus,
    JournalStatusRequest,
    KeepCopiesRequest,
    Place,
    RecallRequest,
    RecallResult,
    Settlement,
    SettleRequest,
)
from strongroom.errors import ConfigurationError, PluginError, StrongroomError
from strongroom.model import Freshness, Secret, SecretName
from strongroom.resilience import GuardedBackend

QUEUED: Final = "queued:"
"""What the version of a write that waits begins with; its entry's id follows."""
LOOK_SECONDS: Final = 1.0
"""For how long it is believed that no write waits, although another process may have added one."""


class FallbackStore:
    """The backend that ``fallback`` names, opened when it is first needed. Threads share it.

    Args:
        rules: What the configuration says.
        open: Returns a backend by its configured name.
        background: Where copies are written behind.
        clock: Monotonic seconds.
        wall_clock: Nanoseconds since 1970 UTC.
    """

    def __init__(
        self,
        rules: Resilience,
        open: Callable[[str], GuardedBackend],
        background: Background,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], int],
    ) -> None:
        self.rules = rules
        self._open = open
        self._background = background
        self._clock = clock
        self._wall_clock = wall_clock
        self._warner = Warner(clock)
        self.failures = 0
        """How often copies or the journal could not be used."""
        self.after_fork()

    def after_fork(self) -> None:
        """Start with nothing to write behind in a forked child: that is the parent's."""
        self._lock = threading.RLock()
        self._behind: dict[Place, Copy] = {}
        self._waiting: int | None = None
        self._looked_at = 0.0

    @property
    def name(self) -> str | None:
        """The store's configured name; ``None`` if there is none."""
        return self.rules.fallback

    def backend(self) -> GuardedBackend:
        """Return the store.

        Raises:
            ConfigurationError: It keeps neither copies nor a journal.
            StrongroomError: It cannot be opened.
        """
        assert self.name is not None, "asked for only where there is one"
        store = self._open(self.name)
        if not store.offers(Journal):
            raise ConfigurationError(
                f"fallback names {self.name} (type {store.type}), which keeps no copies and no journal",
                hint='name a backend that does, such as one of type = "local"',
            )
        return store

    def now(self) -> float:
        """Return the time in seconds since 1970 UTC."""
        return self._wall_clock() / 1e9

    def covers(self, backend: GuardedBackend, name: SecretName) -> bool:
        """Tell whether the store may stand in for a backend where a name is concerned."""
        return self.name is not None and backend.name != self.name and not backend.is_leased(name)

    def place(self, backend: GuardedBackend, name: SecretName) -> Place | None:
        """Return where a secret is kept; ``None`` if nobody can say whose it is yet."""
        target = backend.target()
        return None if target is None else Place(backend=backend.name, target=target, name=name)

    # Copies

    def keep_behind(self, backend: GuardedBackend, name: SecretName, result: ReadResult) -> None:
        """Keep an answer as a copy, a little later, if the configuration says so; nobody waits for that."""
        if not self.rules.rules(name).keep_copy or not self.covers(backend, name):
            return
        copy = self.copy_of(backend, name, result)
        if copy is None:
            return
        with self._lock:
            self._behind[copy.place] = copy
        self._background.submit((self, "copies"), self.write_behind)

    def copy_of(self, backend: GuardedBackend, name: SecretName, result: ReadResult) -> Copy | None:
        """Return what a backend has just answered as a copy; ``None`` if nobody can say whose secret it is."""
        place = self.place(backend, name)
        if place is None:
            return None
        return Copy(place=place, value=result.value, version=result.version, created=result.created, taken=self.now())

    def write_behind(self) -> None:
        """Write the copies that wait for it, all in one."""
        with self._lock:
            copies, self._behind = tuple(self._behind.values()), {}
        if copies:
            self.attempt(lambda: self.keep(copies), "copies could not be kept")

    def keep(self, copies: Iterable[Copy]) -> None:
        """Keep copies now."""
        self.backend().journal("keep_copies", KeepCopiesRequest(copies=tuple(copies)))

    def drop(self, place: Place) -> None:
        """Forget a copy, one that is still to be written, too."""
        with self._lock:
            self._behind.pop(place, None)
        self.backend().journal("drop_copies", DropCopiesRequest(places=(place,)))

    def recall(self, place: Place) -> RecallResult:
        """Return the copy of a secret, and the newest write of it that waits."""
        with self._lock:
            behind = self._behind.get(place)
        result: RecallResult = self.backend().journal("recall", RecallRequest(place=place), gives=RecallResult)
        return result if behind is None else result.replace(copy=behind)

    # The journal

    def waiting(self) -> bool:
        """Tell whether any write waits, as it was a second ago at most."""
        now = self._clock()
        if self._waiting is None or now >= self._looked_at + LOOK_SECONDS:
            self._waiting = self.status().waiting
            self._looked_at = now
        return self._waiting > 0

    def status(self, backend: str | None = None, target: str | None = None) -> JournalStatus:
        """Count the writes that wait or are set aside."""
        request = JournalStatusRequest(backend=backend, target=target)
        counted: JournalStatus = self.backend().journal("journal_status", request, gives=JournalStatus)
        return counted

    def newest(self, place: Place) -> Entry | None:
        """Return the newest write of a secret that waits."""
        return self.recall(place).entry if self.waiting() else None

    def append(self, entry: Entry) -> AppendResult:
        """Accept a write, unless the journal is full or another one has been accepted meanwhile."""
        keys = self.rules.keys
        request = AppendRequest(entry=entry, max_entries=keys.journal_entries, max_bytes=keys.journal_bytes)
        added: AppendResult = self.backend().journal("append", request, gives=AppendResult)
        self.look_again()
        return added

    def entries(self, request: EntriesRequest) -> tuple[Entry, ...]:
        """Return entries in their order."""
        found: EntriesResult = self.backend().journal("entries", request, gives=EntriesResult)
        return found.entries

    def settle(self, settlements: Iterable[Settlement]) -> None:
        """Note what has become of entries."""
        self.backend().journal("settle", SettleRequest(settlements=tuple(settlements)))
        self.look_again()

    def look_again(self) -> None:
        """Count anew the next time that somebody asks whether a write waits."""
        self._waiting = None

    def claim(self, request: ClaimRequest) -> bool:
        """Become the one who makes the writes that wait for a target; tell whether that is so."""
        result: ClaimResult = self.backend().journal("claim", request, gives=ClaimResult)
        return result.granted

    def release(self, request: ClaimRequest) -> None:
        """Give up a claim."""
        self.attempt(lambda: self.backend().journal("release", request), "a claim on the journal could not be given up")

    # Failures

    def attempt(self, act: Callable[[], object], problem: str) -> StrongroomError | None:
        """Do something that nothing else may fail with; return why it failed.

        Args:
            act: What to do.
            problem: What a failure means, for the log.

        Raises:
            ConfigurationError, PluginError: The store is not one that could ever do it.
        """
        try:
            act()
        except (ConfigurationError, PluginError):
            raise
        except StrongroomError as error:
            self.failures += 1
            self._warner.warn(f"strongroom: {problem}: {error.what}")
            return error
        return None

    def close(self) -> None:
        """Write what waits to be written behind."""
        if self.name is not None and self._behind:
            self.write_behind()


def version_of(entry: Entry) -> str | None:
    """Return the version under which a write that waits is known; ``None`` if it is a delete."""
    return None if entry.value is None else QUEUED + entry.id


def waiting_secret(entry: Entry, now: float) -> Secret | None:
    """Return a write that waits as the secret that it will be; ``None`` if it is a delete.

    Args:
        entry: The write.
        now: Seconds since 1970 UTC.
    """
    if entry.value is None:
        return None
    when = datetime.fromtimestamp(entry.queued, UTC)
    return Secret(
        entry.place.name,
        entry.value,
        QUEUED + entry.id,
        entry.place.backend,
        created=when,
        retrieved=when,
        freshness=Freshness.FALLBACK,
        age=max(0.0, now - entry.queued),
    )


def copied_secret(copy: Copy, now: float) -> Secret:
    """Return a copy as the secret that it is of.

    Args:
        copy: The copy.
        now: Seconds since 1970 UTC.
    """
    return Secret(
        copy.place.name,
        copy.value,
        copy.version,
        copy.place.backend,
        created=copy.created,
        retrieved=datetime.fromtimestamp(copy.taken, UTC),
        freshness=Freshness.FALLBACK,
        age=max(0.0, now - copy.taken),
    )
