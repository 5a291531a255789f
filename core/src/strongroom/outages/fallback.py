"""The fallback store as the core uses it: copies of other backends' secrets, and the journal of writes that wait."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterable
from typing import Any, Final

from strongroom._record import Record
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
from strongroom.errors import (
    ClosedError,
    ConfigurationError,
    PluginError,
    StrongroomError,
    TamperedError,
)
from strongroom.model import SecretName
from strongroom.outages.copies import Copies
from strongroom.outcomes import Begun
from strongroom.pacing import within
from strongroom.resilience.guarded import GuardedBackend

LOOK_SECONDS: Final = 1.0
"""For how long it is believed that no write waits, although another process may have added one."""
STORE_SECONDS: Final = 5.0
"""How long anything may take at the store that a read or another write waits for, or that nobody waits for."""
HANGS_SECONDS: Final = 0.5
"""A store that takes so long to fail is waited for by nobody who can do without it, until it answers again."""
MOST_CLEAR: Final = 10_000
"""Of how many names it is known that no write of theirs waits."""
MOST_NOTED: Final = 10_000
"""Of how many secrets this process remembers which version its last change has made."""


class Noted(Record):
    """Which version of a secret this process has seen last."""

    version: str | None
    """``None`` if there was none."""
    when: float
    """In seconds since 1970 UTC."""


class NoFallbackError(ConfigurationError):
    """The backend that ``fallback`` names could never keep copies or a journal."""


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
        self.found_waiting: Callable[[], object] | None = None
        """Called when writes wait, or may wait since a backend is used for the first time; it must not raise."""
        self.copies = Copies(self._keep, self._erase, background, warn=self.warn, clock=clock, now=self.now)
        """Those that are still to be written, or must not be used any more."""
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()
        self._changes = 0
        self._noted: dict[Place, Noted] = {}
        self._waiting: int | None = None
        self._used: set[str] = set()
        self._looked_at = 0.0
        # By name: when it was seen, or could not be seen, that no write of it waits.
        self._clear: dict[SecretName, float] = {}
        # Of which this process has accepted a write, and has not seen yet that none waits.
        self._ours: set[Place] = set()
        self._hangs = False
        self._listened_at = 0.0
        # Claims of ours that could not be given up.
        self._kept: set[ClaimRequest] = set()
        # Why the store could not be opened, and until when it is not tried again.
        self._unopened: tuple[StrongroomError, float] | None = None

    def after_fork(self) -> None:
        """Start with nothing to write behind in a forked child: that is the parent's."""
        self._start_afresh()
        self.copies.after_fork()

    @property
    def name(self) -> str | None:
        """The store's configured name; ``None`` if there is none."""
        return self.rules.fallback

    def backend(self) -> GuardedBackend:
        """Return the store.

        One that could not be opened is not tried again for a second: reads must not pay for it each time.

        Raises:
            PluginError: There is no such kind of backend here.
            NoFallbackError: It keeps neither copies nor a journal.
            StrongroomError: It cannot be opened, such as a file that is missing or a key that is wrong.
        """
        assert self.name is not None, "asked for only where there is one"
        if self._unopened is not None and self._clock() < self._unopened[1]:
            raise self._unopened[0].again()
        try:
            store = self._open(self.name)
        except (ClosedError, PluginError):
            raise
        except StrongroomError as error:
            self._unopened = (error.again(), self._clock() + LOOK_SECONDS)
            raise
        if not store.offers(Journal):
            raise NoFallbackError(
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

    def begin(self) -> Begun:
        """Return what :meth:`keep_behind` needs to know of when a secret was asked for."""
        return self.copies.turn, self.now()

    def keep_behind(self, backend: GuardedBackend, name: SecretName, result: ReadResult, begun: Begun) -> None:
        """Keep an answer as a copy, a little later, if the configuration says so; nobody waits for that.

        Args:
            backend: Its backend.
            name: Its name.
            result: The answer.
            begun: When the backend was asked for it.
        """
        if not self.rules.rules(name).keep_copy or not self.covers(backend, name):
            return
        turn, asked = begun
        copy = self.copy_of(backend, name, result, taken=asked)
        if copy is not None:
            self.copies.add(copy, turn)

    def copy_of(
        self, backend: GuardedBackend, name: SecretName, result: ReadResult, *, taken: float | None = None
    ) -> Copy | None:
        """Return what a backend has just answered as a copy; ``None`` if nobody can say whose secret it is.

        Args:
            backend: The backend.
            name: The secret's name.
            result: The answer.
            taken: As of when, in seconds since 1970 UTC; now unless given.
        """
        place = self.place(backend, name)
        if place is None:
            return None
        when = self.now() if taken is None else taken
        return Copy(place=place, value=result.value, version=result.version, created=result.created, taken=when)

    def _keep(self, copies: tuple[Copy, ...]) -> StrongroomError | None:
        request = KeepCopiesRequest(copies=copies, now=self.now())
        return self._tried(lambda: self._ask("keep_copies", request))

    def _erase(self, places: tuple[Place, ...]) -> StrongroomError | None:
        def act() -> None:
            # Most of what is not there has no copy either, and to look costs less than to write.
            there = places if len(places) > 1 else tuple(one for one in places if self._is_kept(one))
            if there:
                self._ask("drop_copies", DropCopiesRequest(places=there))

        return self._tried(act)

    def _is_kept(self, place: Place) -> bool:
        try:
            return self._stored(place, copy_only=True).copy is not None
        except TamperedError:
            return True

    def forget_gone(self, place: Place) -> StrongroomError | None:
        """Drop the copy of what a backend has said that there is not, or that it denies; return why that failed.

        It is not used from now on. While the store hangs, it is dropped later: nobody waits for that.
        """
        begun = self._clock()
        if self._hangs:
            self._listen(begun)
            self.copies.forget_later(place)
            return None
        error = self.copies.forget(place)
        if error is not None:
            self._note_failure(begun)
        return error

    def recall(self, place: Place, *, copy_only: bool = False) -> RecallResult:
        """Return the copy of a secret that may be used, and the newest write of it that waits.

        Args:
            place: Where the secret is kept.
            copy_only: Whether to leave out the write, which may be one that cannot be read.

        Raises:
            StrongroomError: The store does not answer.
        """
        newest = self.copies.newest(place)
        found = self._stored(place, copy_only=copy_only)
        if place.backend not in self._used:
            self._used.add(place.backend)
            if self.found_waiting is not None:
                self.found_waiting()
        if newest is None and found.copy is not None and not self.copies.is_usable(found.copy):
            return found.replace(copy=None)
        return found if newest is None else found.replace(copy=newest)

    def _stored(self, place: Place, *, copy_only: bool = False) -> RecallResult:
        request = RecallRequest(place=place, copy_only=copy_only)
        result: RecallResult = self._ask("recall", request, gives=RecallResult)
        return result

    def _ask(self, operation: str, request: Any, *, gives: type[Any] = object) -> Any:
        with within(STORE_SECONDS):
            return self.backend().journal(operation, request, gives=gives)

    # The journal

    def waiting(self) -> bool:
        """Tell whether any write waits, as it was a second ago at most.

        Raises:
            StrongroomError: The store does not answer.
        """
        now = self._clock()
        waiting = self._waiting
        if waiting is None or now >= self._looked_at + LOOK_SECONDS:
            changes = self._changes
            waiting = self.status().waiting
            if waiting and self.found_waiting is not None:
                self.found_waiting()
            with self._lock:
                # Else this process has accepted a write since.
                if changes == self._changes:
                    self._waiting, self._looked_at = waiting, now
                    if not waiting:
                        self._ours.clear()
            if self.copies.are_left():
                # The store answers, and so may drop what it could not.
                self.copies.write_soon()
        return waiting > 0

    def status(self, backend: str | None = None, target: str | None = None) -> JournalStatus:
        """Count the writes that wait or are set aside."""
        request = JournalStatusRequest(backend=backend, target=target)
        counted: JournalStatus = self._ask("journal_status", request, gives=JournalStatus)
        return counted

    def newest(self, place: Place) -> Entry | None:
        """Return the newest write of a secret that waits."""
        changes = self._changes
        entry = self._stored(place).entry if self.waiting() else None
        if entry is None:
            self.note_clear(place.name, changes)
            with self._lock:
                if changes == self._changes:
                    self._ours.discard(place)
        return entry

    def newest_readable(self, place: Place) -> Entry | None:
        """Return the newest write of a secret that waits, for somebody who can do without it.

        A journal that cannot be read holds up nobody, and one that hangs only the first: whoever comes then does
        without, until it has answered somebody who does not wait.
        """
        begun = self._clock()
        if self._hangs:
            self._listen(begun)
            return None
        found: list[Entry | None] = [None]
        error = self.attempt(lambda: found.append(self.newest(place)), "the journal could not be read")
        if error is not None:
            self._note_failure(begun)
            self.note_clear(place.name)
        return found[-1]

    def _note_failure(self, begun: float) -> None:
        self._listened_at = self._clock()
        self._hangs = self._hangs or self._listened_at >= begun + HANGS_SECONDS

    def _listen(self, now: float) -> None:
        """Look in the background, now and then, whether the store answers again."""

        def look() -> None:
            self.status()
            self._hangs = False

        with self._lock:
            if now < self._listened_at + LOOK_SECONDS:
                return
            self._listened_at = now
        self._background.submit(self, look)

    def may_wait(self, place: Place) -> bool:
        """Tell, without asking the store, whether a write of a secret may wait that this process has accepted."""
        return place in self._ours

    def note_clear(self, name: SecretName, changes: int | None = None) -> None:
        """Believe for a second that no write of a name waits.

        Args:
            name: The name.
            changes: Not if this process has changed the journal since this was its number of changes.
        """
        with self._lock:
            if changes in {None, self._changes}:
                if len(self._clear) >= MOST_CLEAR:
                    self._clear.clear()
                self._clear[name] = self._clock()

    def known_clear(self, name: SecretName) -> bool:
        """Tell, without asking the store, whether no write of a name waits, as far as it was known a second ago."""
        now = self._clock()
        if self._hangs or (self._waiting == 0 and now < self._looked_at + LOOK_SECONDS):
            return True
        seen = self._clear.get(name)
        return seen is not None and now < seen + LOOK_SECONDS

    def append(self, entry: Entry) -> AppendResult:
        """Accept a write, unless the journal is full or another one has been accepted meanwhile."""
        keys = self.rules.keys
        request = AppendRequest(entry=entry, max_entries=keys.journal_entries, max_bytes=keys.journal_bytes)
        try:
            added: AppendResult = self.backend().journal("append", request, gives=AppendResult)
            self._hangs = False
        finally:
            self.look_again()
            # In this order: who has looked before must not take it away.
            self._ours.add(entry.place)
        return added

    def entries(self, request: EntriesRequest) -> tuple[Entry, ...]:
        """Return entries in their order."""
        found: EntriesResult = self.backend().journal("entries", request, gives=EntriesResult)
        return found.entries

    def settle(self, settlements: Iterable[Settlement]) -> None:
        """Note what has become of entries."""
        settled = tuple(settlements)
        try:
            self.backend().journal("settle", SettleRequest(settlements=settled, now=self.now()))
        finally:
            self.look_again()
        for one in settled:
            if one.done:
                self.note(one.entry.place, one.version)
                self.copies.changed(one.entry.place, one.copy)

    def look_again(self) -> None:
        """Count anew the next time that somebody asks whether a write waits."""
        with self._lock:
            self._changes += 1
            self._waiting = None
            self._clear.clear()

    # Versions

    def note(self, place: Place, version: str | None) -> None:
        """Remember which version a secret has, in this process; ``None`` for none."""
        with self._lock:
            self._noted.pop(place, None)
            self._noted[place] = Noted(version=version, when=self.now())
            if len(self._noted) > MOST_NOTED:
                del self._noted[next(iter(self._noted))]

    def noted(self, place: Place) -> Noted | None:
        """Return which version a secret had when this process saw it last; ``None`` if it does not know."""
        return self._noted.get(place)

    def claim(self, request: ClaimRequest) -> bool:
        """Become the one who makes the writes that wait for a target; tell whether that is so."""
        with self._lock:
            # Only one of us takes it back: the next holder's claim must not be given up with it.
            kept = request in self._kept
            self._kept.discard(request)
        if kept:
            self.release(request)
        result: ClaimResult = self.backend().journal("claim", request, gives=ClaimResult)
        return result.granted

    def release(self, request: ClaimRequest) -> None:
        """Give up a claim; one that cannot be given up now is given up before it is taken again."""

        def give_up() -> None:
            try:
                self.backend().journal("release", request)
            except StrongroomError:
                self._kept.add(request)
                raise

        self.attempt(give_up, "a claim on the journal could not be given up")

    # Failures

    def attempt(self, act: Callable[[], object], problem: str) -> StrongroomError | None:
        """Do something that nothing else may fail with; return why it failed.

        Args:
            act: What to do.
            problem: What a failure means, for the log.

        Raises:
            NoFallbackError, PluginError: The store is not one that could ever do it.
        """
        error = self._tried(act)
        if error is not None:
            self.warn(problem, error)
        if isinstance(error, NoFallbackError | PluginError):
            raise error
        return error

    def _tried(self, act: Callable[[], object]) -> StrongroomError | None:
        try:
            act()
        except StrongroomError as error:
            self.failures += 1
            return error
        return None

    def warn(self, problem: str, error: StrongroomError) -> None:
        """Log what nobody is told otherwise, at a measured pace.

        Args:
            problem: What a failure means.
            error: The failure.
        """
        self._warner.warn(f"strongroom: {problem}: {error.what}")

    def close(self) -> None:
        """Write what waits to be written behind, in a few seconds at most."""
        self.copies.flush()
