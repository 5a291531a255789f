"""Replaying with deaths between any two steps, answers that are lost, and others who write meanwhile."""

from __future__ import annotations

from datetime import timedelta

import hypothesis.strategies as st
import pytest

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from strongroom.contracts import WriteRequest
from strongroom.contracts.journal import Entry, EntryState
from strongroom.model import SecretName
from waitingwrites import CAS_AND_VERSIONS, CAS_ONLY, FAILURES, KINDS, NEITHER, Crash, Done, Replayer

NAMES = st.sampled_from(["a", "b"])
OPERATIONS = st.sampled_from(["read", "write", "delete", "versions"])


class ReplayInAnyOrder(RuleBasedStateMachine):
    """One server, one journal, and processes that come and go; the server remembers all that was done to it."""

    kind = CAS_AND_VERSIONS

    @initialize()
    def begin(self) -> None:
        # One thread, so that the same steps are the same run.
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("strongroom.draining.THREADS", 1)
        self.it = Replayer(self.kind)
        self.accepted: list[Entry] = []
        self.direct: set[str] = set()
        self.has_cause: set[str] = set()
        """Names of which a write may be set aside."""
        self.values = 0

    def teardown(self) -> None:
        if not hasattr(self, "it"):
            return
        try:
            self.everything_is_made_or_set_aside_in_the_end()
        finally:
            self.patch.undo()

    def new_value(self) -> str:
        self.values += 1
        return f"value {self.values}"

    @rule(name=NAMES, delete=st.booleans(), seen=st.booleans())
    def accept(self, name: str, delete: bool, seen: bool) -> None:
        """A write is accepted, over what the server has or over nothing that anybody has seen."""
        value = None if delete else self.new_value()
        current = self.it.server.current(name)
        if delete or not seen:
            self.has_cause.add(name)
        self.accepted.append(self.it.queue(name, value, current if seen else None))

    @rule(name=NAMES, made=st.booleans())
    def accept_in_doubt(self, name: str, made: bool) -> None:
        """A write is accepted of which the answer was lost."""
        if self.it.waiting(name) is not None:
            return
        entry = self.it.queue(name, self.new_value(), self.it.server.current(name), state=EntryState.UNCLEAR)
        self.accepted.append(entry)
        if made and entry.value is not None:
            self.direct.add(entry.value.reveal_text())
            self.it.server._write(WriteRequest(name=SecretName(name), value=entry.value))

    @rule(name=NAMES, delete=st.booleans())
    def somebody_else_writes(self, name: str, delete: bool) -> None:
        self.has_cause.add(name)
        self.it.server.put(name, None if delete else self.new_value())

    @rule(operation=OPERATIONS, name=NAMES, how=st.sampled_from(FAILURES), lasting=st.booleans())
    def calls_fail(self, operation: str, name: str, how: str, lasting: bool) -> None:
        if how == "denied" or how.startswith("foreign"):
            self.has_cause.add(name)
        self.it.server.fails[operation, name] = how
        self.it.server.lasting = lasting

    @rule()
    def calls_go_well(self) -> None:
        self.it.server.fails.clear()

    @rule(seconds=st.sampled_from([-7200.0, 60.0, 90_000.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.it.clock.set_wall(self.it.clock.now() + timedelta(seconds=seconds))
        if seconds > 86_400 - 7200:
            self.has_cause |= {"a", "b"}

    @rule()
    def replay(self) -> None:
        self.it.drain()

    @rule(steps=st.integers(1, 14))
    def replay_and_die(self, steps: int) -> None:
        self.it.countdown = steps
        try:
            self.it.drain()
        except Crash:
            pass
        self.it.restart()

    @rule(steps=st.integers(1, 10), name=NAMES, delete=st.booleans())
    def replay_while_somebody_else_writes(self, steps: int, name: str, delete: bool) -> None:
        if self.kind not in {CAS_AND_VERSIONS, CAS_ONLY}:
            return  # between looking and writing nothing helps there
        self.has_cause.add(name)
        self.it.countdown = steps
        self.it.at_step = lambda: self.it.server.put(name, None if delete else self.new_value())
        self.it.drain()
        self.it.countdown = self.it.at_step = None

    def changes_of(self, entry: Entry) -> list[Done]:
        assert entry.value is not None
        return [one for one in self.it.server.done if one.value == entry.value.reveal_text()]

    @invariant()
    def no_accepted_write_is_lost(self) -> None:
        if not hasattr(self, "it"):
            return
        left = self.it.left()
        for entry in self.accepted:
            if entry.id in left:
                continue
            if entry.value is not None:
                assert self.changes_of(entry), f"{entry.id} is neither made nor there"

    @invariant()
    def none_is_made_twice(self) -> None:
        for entry in getattr(self, "accepted", ()):
            if entry.value is None:
                continue
            times = len(self.changes_of(entry))
            if self.kind == NEITHER and times > 1:
                # Nobody can tell a secret that was never there from one that somebody has deleted.
                assert any(one.value is None for one in self.it.server.done if one.name == entry.place.name)
                continue
            assert times <= 1

    @invariant()
    def nothing_that_somebody_else_wrote_is_overwritten(self) -> None:
        if not hasattr(self, "it"):
            return
        made = {one.value: one for one in self.it.server.done if not one.foreign and one.value is not None}
        by_id = {entry.id: entry for entry in self.accepted}
        for entry in self.accepted:
            if (
                entry.value is None
                or (done := made.get(entry.value.reveal_text())) is None
                or done.value in self.direct
            ):
                continue
            if entry.follows is None:
                assert done.over == entry.expected
                continue
            before = by_id[entry.follows]
            expected = made[before.value.reveal_text()].version if before.value is not None else None
            assert done.over == expected

    @invariant()
    def each_name_has_its_order(self) -> None:
        if not hasattr(self, "it"):
            return
        order = {entry.value.reveal_text(): at for at, entry in enumerate(self.accepted) if entry.value is not None}
        for name in ("a", "b"):
            places = [
                order[one.value]
                for one in self.it.server.done
                if one.name == name and not one.foreign and one.value is not None and one.value not in self.direct
            ]
            if self.kind != NEITHER:
                assert places == sorted(places)

    def everything_is_made_or_set_aside_in_the_end(self) -> None:
        self.it.server.fails.clear()
        if not hasattr(self, "accepted"):
            return
        for _ in range(2):
            outcome = self.it.drain()
        assert outcome.left == ""
        left = self.it.left().values()
        assert not [entry for entry in left if entry.state.waits]
        assert {str(entry.place.name) for entry in left} <= self.has_cause
        self.no_accepted_write_is_lost()
        self.none_is_made_twice()
        self.nothing_that_somebody_else_wrote_is_overwritten()


def machine(kind: str):  # type: ignore[no-untyped-def]  # unittest's own
    """Return the test case of one kind of server."""
    case = type(f"Replay{kind}", (ReplayInAnyOrder,), {"kind": KINDS[kind]}).TestCase
    case.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
    return case


TestBoth = machine("both")
TestCheckAndSetOnly = machine("cas")
TestVersionsOnly = machine("versions")
TestNeither = machine("neither")
