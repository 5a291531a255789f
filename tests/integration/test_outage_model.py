"""Whatever fails in whatever order, with a death between any two steps: no accepted write is lost, doubled or misled.

A manager, two servers that take turns behind its one backend, a fallback store and its journal are compared with
a record of what was really made. Both servers hold the same names; a write that was accepted for one must never
reach the other.
"""

from __future__ import annotations

import contextlib

from typing import Any

import hypothesis.strategies as st

from hypothesis import HealthCheck, event, note, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import strongroom

from outages import TINY, Accepted, Crash, FallbackDouble, Primary, World, text
from outagestores import LocalStore, MemoryStore
from strongroom.contracts import DeleteRequest, WriteRequest
from strongroom.contracts.journal import EntriesRequest, Entry, EntryState
from strongroom.errors import (
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.model import ABSENT, Freshness, SecretName, SecretValue

NAMES = ("a", "b")
TTL = 10.0
STALE = 120.0
PROBE = 5.0
CONFIGURATION = {
    "backend": "main",
    "fallback": "store",
    "audit": "none",
    "cache": {"ttl": f"{TTL}s", "max_stale": f"{STALE}s", "negative_ttl": f"{TTL}s"},
    "resilience": {
        "keep_copy": True,
        "probe_every": f"{PROBE}s",
        "failures": 2,
        "journal_entries": 12,
        "journal_max_age": "2h",
    },
}


KINDS = ["any", "any", "any", "any", "absent", "seen", "wrong", "delete", "delete", "rotate", "get", "get", "get"]
"""What a program does: the first few are writes over what they expect to be there."""
WORK = st.lists(
    st.tuples(st.sampled_from([*KINDS, "get_many", "refresh"]), st.sampled_from(NAMES)), min_size=1, max_size=5
)


class OutageMachine(RuleBasedStateMachine):
    """Does things to a manager, and looks whether what it answers and makes can be right."""

    store_type: type[Any] = MemoryStore

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.primaries = [Primary(self.world, "server-0"), Primary(self.world, "server-1", plain=True)]
        self.at = 0
        self.store = self.store_type()
        self.numbers: dict[str, int] = {}
        self.written_to: dict[str, tuple[str, str]] = {}
        self.never: set[str] = set()
        self.accepted: dict[str, Accepted] = {}
        self.decided: set[str] = set()
        """Ids of entries that a person has decided about."""
        self.forced: set[str] = set()
        """Values that a person has chosen over others: their place in the order is the person's."""
        self.known_out = False
        self.copy_failed: set[tuple[str, str]] = set()
        self.begin()

    # The process

    def begin(self) -> None:
        """Start a process, on what the one before has left."""
        generation = self.world.begin_process()
        self.journal_double = FallbackDouble(self.store.backend, self.world, generation)
        self.remote = self.primary.of_process(generation)
        self.manager = strongroom.open(
            CONFIGURATION,
            clock=self.world.clock,
            wall_clock=self.world.wall_clock,
            sleep=self.world.clock.sleep,
            backends={"main": self.remote, "store": self.journal_double},
        )
        self.known_out = False

    @property
    def primary(self) -> Primary:
        return self.primaries[self.at]

    @contextlib.contextmanager
    def mortal(self) -> Any:
        """Let the process die in what is done here, if it is to; the next one begins then."""
        try:
            yield
        except Crash:
            note("  died")
            event("died in the middle")
            self.die()

    def die(self) -> None:
        self.world.begin_process()  # whatever still runs of the old one dies of its next step
        with self.world.burying():
            self.manager.close()
        self.store.die()
        self.begin()

    def entries(self) -> tuple[Entry, ...]:
        return self.store.backend.entries(EntriesRequest()).entries

    def waiting(self, name: str) -> Entry | None:
        """Return the newest write of a name that waits for the server that is there now."""
        mine = [
            one
            for one in self.entries()
            if (one.place.target, str(one.place.name)) == (self.primary.address, name) and one.state.waits
        ]
        return mine[-1] if mine else None

    def new_value(self, name: str) -> str:
        value = f"{name}-{len(self.numbers)}"
        self.numbers[value] = len(self.numbers)
        self.written_to[value] = (self.primary.address, name)
        return value

    # What programs do

    @rule(work=WORK)
    def work(self, work: list[tuple[str, str]]) -> None:
        """Do several things in a row."""
        for kind, name in work:
            match kind:
                case "get":
                    self.get(name)
                case "refresh":
                    self.refresh(name)
                case "get_many":
                    self.get_many()
                case "delete":
                    self.delete(name)
                case "rotate":
                    self.rotate(name)
                case _:
                    self.set(name, kind)

    def set(self, name: str, expect: str) -> None:
        with self.mortal():
            condition: dict[str, Any] = {}
            if expect == "absent":
                condition["expect_version"] = ABSENT
            elif expect == "seen":
                try:
                    condition["expect_version"] = self.manager.get(name).version
                except StrongroomError:
                    return
            elif expect == "wrong":
                condition["expect_version"] = "999"
            self.change(name, self.new_value(name), lambda value: self.manager.set(name, value, **condition))

    def delete(self, name: str) -> None:
        with self.mortal():
            self.change(name, None, lambda _: self.manager.delete(name))

    def rotate(self, name: str) -> None:
        """The value is random: what it is is seen in the journal or at the server."""
        with self.mortal():
            before = len(self.world.changes)
            try:
                written = self.manager.rotate(name, encoding="hex")
            except StrongroomError:
                return
            finally:
                self.adopt(before)
            if written.queued is not None:
                entry = next(one for one in self.entries() if one.id == written.queued)
                self.accept(entry.id, name, text(entry.value))
            else:
                assert [one.name for one in self.world.changes[before:] if not one.foreign] == [name]

    def adopt(self, before: int) -> None:
        """Take note of random values that were written or accepted just now."""
        made = [(one.target, one.name, one.value) for one in self.world.changes[before:]]
        queued = [
            (one.place.target, str(one.place.name), text(one.value)) for one in self.entries() if one.value is not None
        ]
        for target, name, value in [*made, *queued]:
            if value is not None and value not in self.numbers:
                self.numbers[value] = len(self.numbers)
                self.written_to[value] = (target, name)

    def change(self, name: str, value: str | None, act: Any) -> None:
        mode, before = self.primary.mode, len(self.world.changes)
        waited = self.waiting(name)
        try:
            done = act(value)
        except VersionConflictError:
            if value is not None:
                self.never.add(value)
            assert len(self.world.changes) == before
            return
        except BackendUnavailableError as error:
            self.known_out = True
            if value is not None and error.unsent:
                self.never.add(value)
            assert mode != "up" or self.known_out or self.world.disk_full or waited is not None
            return
        except StrongroomError as error:
            if error.code == "unsupported":
                self.never.add(value or "")
                return
            raise
        if done.queued is not None:
            self.accept(done.queued, name, value)
            return
        made = [one for one in self.world.changes[before:] if not one.foreign]
        if value is not None:
            assert [(one.target, one.name, one.value) for one in made] == [(self.primary.address, name, value)]
        else:
            assert self.primary.present(name) is None
        (self.copy_failed.add if done.copy_failed else self.copy_failed.discard)((self.primary.address, name))

    def accept(self, id: str, name: str, value: str | None) -> None:
        event("queued")
        self.accepted[id] = Accepted(self.primary.address, name, value, len(self.world.changes))

    def get(self, name: str) -> None:
        with self.mortal():
            self.read(name, lambda: self.manager.get(name))

    def refresh(self, name: str) -> None:
        """What the server has now, whatever waits."""
        with self.mortal(), contextlib.suppress(BackendUnavailableError):
            try:
                secret = self.manager.refresh(name)
            except SecretNotFoundError:
                assert self.primary.present(name) is None
            else:
                assert secret.freshness is Freshness.FRESH
                assert text(secret) == self.primary.present(name)

    def get_many(self) -> None:
        with self.mortal():
            waiting = {name: self.waiting(name) for name in NAMES}
            out = self.may_be_out()
            batch = self.manager.get_many(NAMES)
            for name in NAMES:
                if name in batch.errors:
                    self.check_error(name, batch.errors[name], waiting[name], out)
                else:
                    self.check_secret(name, batch.found[name], waiting[name])

    def read(self, name: str, act: Any) -> None:
        waiting, out = self.waiting(name), self.may_be_out()
        try:
            secret = act()
        except StrongroomError as error:
            self.check_error(name, error, waiting, out)
        else:
            self.check_secret(name, secret, waiting)

    def may_be_out(self) -> bool:
        return self.primary.mode != "up" or self.known_out

    def check_error(self, name: str, error: StrongroomError, waiting: Entry | None, out: bool) -> None:
        if isinstance(error, BackendUnavailableError):
            self.known_out = True
            assert out
            assert waiting is None, "what was accepted can be read whatever has failed"
        elif waiting is not None:
            assert isinstance(error, SecretNotFoundError), error
            assert waiting.value is None
        else:
            assert isinstance(error, SecretNotFoundError), error
            now = self.world.clock()
            assert None in self.world.current(self.primary.address, name, now - TTL, now)

    def check_secret(self, name: str, secret: Any, waiting: Entry | None) -> None:
        value, target, now = text(secret), self.primary.address, self.world.clock()
        if waiting is not None:
            assert waiting.value is not None, "it is deleted, as far as this process is concerned"
            assert value == text(waiting.value)
            assert secret.freshness is Freshness.FALLBACK
            assert secret.version == f"queued:{waiting.id}"
            return
        if secret.freshness is Freshness.FRESH:
            assert value == self.primary.present(name)
            self.known_out = False
            return
        made = self.world.of(target, name)
        places = [place for place, one in enumerate(made) if one.value == value]
        own = [place for place, one in enumerate(made) if not one.foreign]
        newest_own = own[-1] if own else -1
        if secret.freshness is Freshness.CACHED:
            assert value in self.world.current(target, name, now - TTL, now)
            assert places[-1] >= newest_own, "older than what this process has written"
            return
        assert self.may_be_out()
        if secret.freshness is Freshness.STALE:
            assert TINY < secret.age <= TTL + STALE
            assert value in self.world.current(target, name, now - secret.age - TINY, now - secret.age + TINY)
            assert places[-1] >= newest_own, "older than what this process has written"
            return
        assert secret.freshness is Freshness.FALLBACK
        assert places, "a copy of something that was never there"
        if not self.world.went_back:
            then = [self.world.current(target, name, one - TINY, one + TINY) for one in self.world.moments(secret.age)]
            assert any(value in values for values in then), "not as old as it says"

    # What happens

    @rule(mode=st.sampled_from(["refused", "silent", "lost"]), work=WORK)
    def outage_begins(self, mode: str, work: list[tuple[str, str]]) -> None:
        self.primary.mode = mode
        self.work(work)

    @rule(steps=st.none() | st.integers(1, 20), work=WORK)
    def outage_ends(self, steps: int | None, work: list[tuple[str, str]]) -> None:
        """Perhaps with a death while what waits is made."""
        if self.primary.mode != "up":
            self.known_out = True
        self.primary.mode = "up"
        self.world.clock.advance(PROBE)
        self.world.countdown = steps
        self.replay()
        self.work(work)

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 12.0, 60.0, 600.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -30.0, 30.0, 3600.0]))
    def wall_clock_jumps(self, seconds: float) -> None:
        self.world.shift_wall(seconds)

    @rule(name=st.sampled_from(NAMES), deletes=st.booleans(), server=st.sampled_from([0, 0, 0, 1]))
    def somebody_else_writes(self, name: str, deletes: bool, server: int) -> None:
        self.world.writer_is_foreign = True
        primary = self.primaries[server]
        if deletes:
            primary.delete(DeleteRequest(name=SecretName(name)))
        else:
            value = f"foreign-{len(self.world.changes)}"
            primary.write(WriteRequest(name=SecretName(name), value=SecretValue(value)))
        self.world.writer_is_foreign = False

    @rule(steps=st.integers(1, 20), work=WORK)
    def dies(self, steps: int, work: list[tuple[str, str]]) -> None:
        self.world.countdown = steps
        self.work(work)

    @rule(gracefully=st.booleans(), server=st.sampled_from([0, 0, 1]))
    def starts_again(self, gracefully: bool, server: int) -> None:
        """Perhaps with another server behind the same name in the configuration."""
        self.world.countdown = None
        if gracefully:
            self.manager.close()
            self.store.backend = self.reopened() if isinstance(self.store, LocalStore) else self.store.backend
        self.at = server
        self.die() if not gracefully else self.begin()

    def reopened(self) -> Any:
        self.store.backend.close()
        return self.store._opened()

    @rule(full=st.booleans())
    def disk_fills_or_empties(self, full: bool) -> None:
        self.world.disk_full = full

    @rule()
    def replay(self) -> None:
        with self.mortal(), contextlib.suppress(BackendUnavailableError):
            self.caught_up()

    def caught_up(self) -> None:
        replayed = self.manager.journal.replay()
        note(f"  {replayed}")

    @rule()
    def recovers(self) -> None:
        """All that is wrong ends: then the queue is empty soon, but for what is set aside."""
        self.world.countdown = None
        self.primary.mode = "up"
        self.world.disk_full = False
        self.world.clock.advance(2 * PROBE * 8)
        self.caught_up()
        assert [one for one in self.entries() if one.place.target == self.primary.address and one.state.waits] == []
        for name in NAMES:
            self.manager.invalidate(name)
            with contextlib.suppress(SecretNotFoundError):
                assert self.manager.get(name).freshness is Freshness.FRESH
        self.known_out = False

    # What people do

    @precondition(lambda self: self.entries())
    @rule(choice=st.integers(0, 100), keep=st.sampled_from(["ours", "theirs", "drop"]))
    def decide(self, choice: int, keep: str) -> None:
        entry = self.entries()[choice % len(self.entries())]
        if keep != "drop" and entry.place.target != self.primary.address:
            return
        with self.mortal():
            # From the first step on: if the process dies in the middle, either may be.
            self.decided.add(entry.id)
            if keep == "ours" and entry.value is not None:
                self.forced.add(text(entry.value))
            try:
                if keep == "drop":
                    self.manager.journal.drop(entry.id)
                else:
                    self.manager.journal.resolve(entry.id, keep=keep)
            except StrongroomError as error:
                note(f"  {error}")

    # What holds always

    @invariant()
    def no_accepted_write_is_lost(self) -> None:
        kept = {one.id for one in self.entries()}
        for entry, write in self.accepted.items():
            if entry in kept or entry in self.decided:
                continue
            made = self.world.of(write.target, write.name)
            if write.value is not None:
                assert any(one.value == write.value for one in made), f"{write} is lost"
            else:
                before = [one for one in self.world.changes[: write.since] if one in made]
                after = [one for one in self.world.changes[write.since :] if one in made]
                was_absent = not before or before[-1].value is None
                assert was_absent or any(one.value is None for one in after), f"{write} is lost"

    @invariant()
    def what_waits_is_what_was_accepted(self) -> None:
        for entry in self.entries():
            write = self.accepted.get(entry.id)
            if write is not None:
                value = None if entry.value is None else text(entry.value)
                assert (entry.place.target, str(entry.place.name), value) == write[:3]

    @invariant()
    def nothing_is_made_elsewhere_or_twice_or_out_of_order(self) -> None:
        newest: dict[tuple[str, str], int] = {}
        seen: set[str] = set()
        for one in self.world.changes:
            if one.foreign or one.value is None:
                continue
            place = (one.target, one.name)
            assert one.value not in self.never, f"{one} was refused"
            assert self.written_to[one.value] == place, f"{one} is another's"
            if one.value in self.forced:
                continue
            assert one.value not in seen, f"{one} was made twice"
            seen.add(one.value)
            assert self.numbers[one.value] > newest.get(place, -1), f"{one} was overtaken"
            newest[place] = self.numbers[one.value]

    @invariant()
    def a_conflict_was_not_made(self) -> None:
        """Or else somebody has changed the secret since, so that it cannot be found out; nobody takes it for made."""
        for entry in self.entries():
            if entry.state is EntryState.CONFLICT and entry.id not in self.decided and entry.value is not None:
                made = self.world.of("server-0", str(entry.place.name))
                at = [place for place, one in enumerate(made) if one.value == text(entry.value)]
                assert not at or any(one.foreign for one in made[at[-1] :])

    def teardown(self) -> None:
        try:
            for server in (0, 1):
                self.starts_again(gracefully=False, server=server)
                self.recovers()
                self.no_accepted_write_is_lost()
                self.nothing_is_made_elsewhere_or_twice_or_out_of_order()
        finally:
            self.manager.close()
            self.store.close()


class LocalOutageMachine(OutageMachine):
    """The same with the store that people use."""

    store_type = LocalStore


LIMITS = settings(stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
OutageMachine.TestCase.settings = settings(LIMITS, max_examples=400)
LocalOutageMachine.TestCase.settings = settings(LIMITS, max_examples=120)
TestOutageInMemory = OutageMachine.TestCase
TestOutageWithTheLocalStore = LocalOutageMachine.TestCase
