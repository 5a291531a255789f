"""Replaying with deaths between any two steps, answers that are lost, and others who write meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import hypothesis.strategies as st
import pytest

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from strongroom.contracts import Capability, WriteRequest
from strongroom.contracts.journal import Entry, EntryState
from strongroom.model import SecretName
from waitingwrites import FAILURES, KINDS, NEITHER, Crash, Done, Replayer

# Mostly one name: what goes wrong goes wrong between changes of the same one.
NAMES = st.sampled_from(["a", "a", "a", "b"])
OPERATIONS = st.sampled_from(["read", "write", "write", "delete", "versions"])
THEIRS = st.sampled_from(["another", "another", "ours", "none"])
"""What somebody else writes: another value, the one that we are about to write, or a delete."""
DAY = 86_400.0


class ReplayInAnyOrder(RuleBasedStateMachine):
    """One server, one journal, and processes that come and go; the server remembers all that was done to it."""

    kind = NEITHER

    def __init__(self) -> None:
        super().__init__()
        # One thread, so that the same steps are the same run.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("strongroom.outages.draining.THREADS", 1)
        self.it = Replayer(self.kind)
        self.accepted: dict[str, Entry] = {}
        self.direct: set[str] = set()
        """Those that were sent at once, over whatever there was."""
        self.doubted: set[str] = set()
        """Those of which nobody in the program could be certain any more that they were never sent."""
        self.judged: set[str] = set()
        """Those set aside whose reason has been looked at."""
        self.disturbed: set[str] = set()
        """Names that are not as our own writes would have them."""
        self.troubled: set[str] = set()
        """Names of which some call failed in a way that lets nobody look."""
        self.in_windows: set[tuple[str, str]] = set()
        """What others have written while a pass was under way."""
        self.values = 0

    def teardown(self) -> None:
        try:
            self.everything_is_made_or_set_aside_in_the_end()
        finally:
            self.patch.undo()

    @property
    def has_check_and_set(self) -> bool:
        return Capability.CHECK_AND_SET in self.kind

    @property
    def has_versions(self) -> bool:
        return Capability.VERSIONS in self.kind

    @initialize(over=st.booleans())
    def begin(self, over: bool) -> None:
        if over:
            self.it.server.put("a", "in the beginning")

    def new_value(self) -> str:
        self.values += 1
        return f"value {self.values}"

    # What happens

    @rule(name=NAMES, delete=st.sampled_from([False, False, True]), seen=st.sampled_from([True, True, False]))
    def accept(self, name: str, delete: bool, seen: bool) -> None:
        """A write is accepted, over what the server has or over nothing that anybody has seen."""
        current = self.it.server.current(name)
        if self.it.waiting(name) is None and current is not None and not seen:
            self.disturbed.add(name)
        entry = self.it.queue(name, None if delete else self.new_value(), current if seen else None)
        self.accepted[entry.id] = entry

    def have_something_wait(self, name: str) -> None:
        """See to it that there is something to do: most of what goes wrong is about one write that waits."""
        if self.it.waiting(name) is None:
            self.accept(name, delete=False, seen=True)

    @rule(name=NAMES, made=st.booleans())
    def accept_in_doubt(self, name: str, made: bool) -> None:
        """A write is accepted of which the answer was lost."""
        if self.it.waiting(name) is not None:
            return
        entry = self.it.queue(name, self.new_value(), self.it.server.current(name), state=EntryState.UNCLEAR)
        self.accepted[entry.id] = entry
        assert entry.value is not None
        if made:
            self.direct.add(entry.id)
            self.it.server._write(WriteRequest(name=SecretName(name), value=entry.value, token=entry.id))

    @rule(name=NAMES, what=THEIRS, late=st.sampled_from([False, False, False, True]))
    def somebody_else_writes(self, name: str, what: str, late: bool) -> None:
        """Others change what a write waits for, which may wait for too long."""
        self.have_something_wait(name)
        self.put_theirs(name, what)
        if late:
            self.the_clock_jumps(90_000.0)

    def put_theirs(self, name: str, what: str, *, in_window: bool = False) -> None:
        value = None if what == "none" else self.new_value()
        mine = [one for one in self.it.left().values() if one.state.waits and one.place.name == name]
        if what == "ours" and mine and mine[0].value is not None:
            value = mine[0].value.reveal_text()
        self.disturbed.add(name)
        version = self.it.server.put(name, value)
        if in_window and version is not None:
            self.in_windows.add((name, version))

    @rule(operation=OPERATIONS, name=NAMES, how=st.sampled_from(FAILURES), lasting=st.booleans())
    def calls_fail(self, operation: str, name: str, how: str, lasting: bool) -> None:
        if how == "denied" or how.startswith("foreign"):
            self.troubled.add(name)
        self.it.server.fails[operation, name] = how
        self.it.server.lasting = lasting

    @rule(name=NAMES, operation=st.sampled_from(["write", "delete"]), made=st.booleans(), lasting=st.booleans())
    def an_answer_is_lost(self, name: str, operation: str, made: bool, lasting: bool) -> None:
        """A change that the journal holds is sent, and nobody hears what became of it."""
        self.have_something_wait(name)
        self.it.server.fails[operation, name] = "timeout, made" if made else "timeout"
        self.it.server.lasting = lasting
        self.drain()
        self.it.server.fails.clear()

    @rule(name=NAMES)
    def nobody_can_tell(self, name: str) -> None:
        """Neither writing nor looking goes well, for a reason of the name's own: it is put off."""
        self.have_something_wait(name)
        self.troubled.add(name)
        self.it.server.fails |= {(operation, name): "foreign" for operation in ("read", "write", "delete")}
        self.it.server.lasting = True

    @rule()
    def calls_go_well(self) -> None:
        self.it.server.fails.clear()

    @rule(seconds=st.sampled_from([-7200.0, 60.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.it.clock.set_wall(self.it.clock.now() + timedelta(seconds=seconds))

    @rule()
    def replay(self) -> None:
        self.drain()

    def drain(self) -> str:
        left = self.it.drain().left
        self.settle_down()
        return left

    def settle_down(self) -> None:
        """What is quiet again is as our own writes would have it: a conflict after that is one too many."""
        self.everything_is_as_it_should_be()
        waiting = {one.place.name for one in self.it.left().values() if one.state.waits}
        self.disturbed &= waiting
        if not self.it.server.fails:
            self.troubled &= waiting

    @rule(name=NAMES, steps=st.integers(1, 9))
    def replay_and_die(self, name: str, steps: int) -> None:
        self.have_something_wait(name)
        self.it.countdown = steps
        self.drain_and_die()

    def replay_and_die_as_soon_as_something_is_made(self) -> None:
        before = len(self.it.server.done)
        self.it.die_when = lambda: len(self.it.server.done) > before
        self.drain_and_die()

    def drain_and_die(self) -> None:
        try:
            self.it.drain()
        except Crash:
            pass
        self.it.restart()

    @rule(name=NAMES, then=st.lists(THEIRS, max_size=2))
    def made_unseen_and_changed_by_others(self, name: str, then: list[str]) -> None:
        """The process dies when it has made something, others change it, and the next one goes on."""
        self.have_something_wait(name)
        self.it.server.fails.clear()
        self.replay_and_die_as_soon_as_something_is_made()
        for what in then:
            self.put_theirs(name, what)
        self.everything_is_as_it_should_be()
        self.drain()

    @rule(steps=st.integers(1, 8), name=NAMES, what=THEIRS)
    def replay_while_somebody_else_writes(self, steps: int, name: str, what: str) -> None:
        if not self.has_check_and_set:
            return  # between looking and writing nothing helps there
        self.have_something_wait(name)
        self.it.countdown = steps
        self.it.at_step = lambda: self.put_theirs(name, what, in_window=True)
        try:
            self.drain()
        finally:
            self.it.countdown = self.it.at_step = None

    # What must be so

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        left = self.it.left()
        for entry in self.accepted.values():
            now = left.get(entry.id)
            if entry.value is not None:
                self.it_is_made_once(entry)
                self.it_is_made_over_what_it_should(entry)
            if now is None:
                self.it_is_not_lost(entry)
            elif now.state.waits:
                if now.state is EntryState.UNCLEAR:
                    self.doubted.add(entry.id)
            elif entry.id not in self.judged:
                self.judged.add(entry.id)
                self.it_is_set_aside_for_a_reason(entry, now)
        self.deletes_are_made_of_what_they_should()
        self.each_name_has_its_order()

    def changes_of(self, entry: Entry) -> list[Done]:
        return [one for one in self.it.server.done if one.token == entry.id]

    def after(self, entry: Entry, which: Callable[[Done], bool]) -> bool:
        """Tell whether there is such a change after an entry's first one."""
        done = self.it.server.done
        first = next(at for at, one in enumerate(done) if one.token == entry.id)
        return any(which(one) for one in done[first + 1 :] if one.name == entry.place.name)

    def it_is_made_once(self, entry: Entry) -> None:
        if len(self.changes_of(entry)) > 1:
            # There nobody can tell what was never there from what somebody has deleted, or put back.
            assert self.kind == NEITHER, "it is made twice"
            assert self.after(entry, lambda one: one.foreign), "it is made twice"

    def it_is_not_lost(self, entry: Entry) -> None:
        if entry.value is None or self.changes_of(entry):
            return
        # Of what was in doubt somebody else's equal value cannot be told from it.
        equal = [one for one in self.it.server.done if one.foreign and one.value == entry.value.reveal_text()]
        assert equal, "it is neither made nor there"
        assert entry.id in self.doubted or entry.place.name in self.troubled, "what others wrote is taken for ours"
        # Judged by what was so as it was settled: the trouble may be over at the next look.
        self.doubted.add(entry.id)

    def versions_over(self, entry: Entry) -> set[str | None]:
        """Return the versions over which an entry may be made: one, unless it follows one that was in doubt."""
        if entry.follows is None:
            return {entry.expected}
        before = self.accepted[entry.follows]
        if before.value is None:
            return {None}
        value = before.value.reveal_text()
        return {one.version for one in self.it.server.done if one.token == before.id or one.value == value}

    def it_is_made_over_what_it_should(self, entry: Entry) -> None:
        if entry.id not in self.direct:
            for one in self.changes_of(entry):
                assert one.over in self.versions_over(entry), "what somebody else wrote is overwritten"

    def deletes_are_made_of_what_they_should(self) -> None:
        deletes = [one for one in self.accepted.values() if one.value is None]
        for one in self.it.server.done:
            if one.value is None and not one.foreign and (one.name, one.over) not in self.in_windows:
                over = {
                    version
                    for entry in deletes
                    if entry.place.name == one.name
                    for version in self.versions_over(entry)
                }
                assert one.over in over, "what somebody else wrote is deleted"

    def it_is_set_aside_for_a_reason(self, entry: Entry, now: Entry) -> None:
        name = entry.place.name
        if now.state is EntryState.OVERDUE:
            assert self.it.clock.time() - entry.queued > DAY
            assert not self.changes_of(entry) or not self.could_be_found(entry), "it is made, and set aside"
            return
        if now.state is EntryState.REFUSED:
            assert name in self.troubled
            return
        leader = None if now.follows is None else self.it.left().get(now.follows)
        assert leader is None or not leader.state.waits, "what it follows still waits"
        assert not self.changes_of(entry) or not self.could_be_found(entry), "it is made, and set aside"
        if entry.id in self.doubted and any(one.value is None for one in self.it.server.done if one.name == name):
            return  # a deleted secret may be the one that it has made
        assert leader is not None or name in self.disturbed | self.troubled, "nobody has disturbed it"

    def could_be_found(self, entry: Entry) -> bool:
        """Tell whether what an entry has made is there for whoever looks."""
        if entry.place.name in self.troubled or self.after(entry, lambda one: one.value is None):
            return False
        return self.has_versions or not self.after(entry, lambda one: one.foreign)

    def each_name_has_its_order(self) -> None:
        order = {entry: at for at, entry in enumerate(self.accepted)}
        for name in ("a", "b"):
            done = [one for one in self.it.server.done if one.name == name and one.token in order]
            places = [order[str(one.token)] for one in done]
            if self.kind != NEITHER:
                assert places == sorted(places)

    def everything_is_made_or_set_aside_in_the_end(self) -> None:
        self.it.server.fails.clear()
        for _ in range(2):
            left = self.drain()
        assert left == ""
        assert not [entry for entry in self.it.left().values() if entry.state.waits]


def machine(kind: str):  # type: ignore[no-untyped-def]  # unittest's own
    """Return the test case of one kind of server."""
    case = type(f"Replay{kind}", (ReplayInAnyOrder,), {"kind": KINDS[kind]}).TestCase
    case.settings = settings(max_examples=200, stateful_step_count=15, deadline=None)
    return case


TestBoth = machine("both")
TestCheckAndSetOnly = machine("cas")
TestVersionsOnly = machine("versions")
TestNeither = machine("neither")
