"""Copies that die, meet outages and other people's writes: nothing is lost, and the last one ends as it should."""

from __future__ import annotations

import contextlib

from collections.abc import Callable
from functools import partial
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from moves import Kept, Killed, Move
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    DeleteRequest,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.model import ABSENT, SecretName
from strongroom.moving.survey import State

NAMES: Final = ("a", "b", "c/d")
names = st.sampled_from(NAMES)
values = st.sampled_from(["1", "2", b"1", ""])
rules = st.sampled_from(["error", "skip", "overwrite", "newer"])
moments = st.integers(1, 14)


class Watched(Kept):
    """The target, which notes for each name what the copy knows of it, and refuses writes over anything else."""

    def __init__(self, settings: MemorySettings) -> None:
        super().__init__(settings)
        self.known: dict[str, set[str]] = {}
        self.blind: list[str] = []

    def read(self, request: ReadRequest) -> ReadResult:
        answer = super().read(request)
        self.known.setdefault(request.name, set()).add(answer.version)
        return answer

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        answer = super().read_many(request)
        for name, one in answer.found.items():
            self.known.setdefault(name, set()).add(one.version)
        return answer

    def write(self, request: WriteRequest) -> WriteResult:
        expected = request.expect_version
        if expected is not ABSENT and expected not in self.known.get(request.name, set()):
            self.blind.append(request.name)
        answer = super().write(request)
        self.known.setdefault(request.name, set()).add(answer.version)
        return answer


class Copies(RuleBasedStateMachine):
    """Two backends, somebody who changes both, and copies from one to the other."""

    @initialize(keep=st.sampled_from([2, 100]))
    def start(self, keep: int) -> None:
        self.here = Kept()
        self.there = Watched(MemorySettings(keep_versions=keep))
        self.move = Move(self.here, self.there)

    @rule(name=names, value=values)
    def change_the_source(self, name: str, value: str | bytes) -> None:
        self.here.put(name, value)

    @rule(name=names, value=values)
    def change_the_target(self, name: str, value: str | bytes) -> None:
        self.there.put(name, value)

    @rule(name=names, in_source=st.booleans())
    def delete(self, name: str, in_source: bool) -> None:
        (self.here if in_source else self.there).delete(DeleteRequest(name=SecretName(name)))

    @rule(chosen=rules, versions=st.booleans(), at=moments)
    def die(self, chosen: str, versions: bool, at: int) -> None:
        self._meddle(at, self._kill)
        with contextlib.suppress(Killed, StrongroomError):
            self.move.copy(rule=chosen, versions=versions)

    @rule(chosen=rules, versions=st.booleans(), at=moments, last=moments)
    def meet_an_outage(self, chosen: str, versions: bool, at: int, last: int) -> None:
        self._meddle(at, self._fail, last=last)
        with contextlib.suppress(StrongroomError):
            self.move.copy(rule=chosen, versions=versions)

    @rule(chosen=rules, versions=st.booleans(), at=moments, name=names)
    def be_interrupted_by_a_write(self, chosen: str, versions: bool, at: int, name: str) -> None:
        """What somebody writes in between is the current value, or has been seen before something went over it."""
        self._meddle(at, partial(self.there.put, name, "theirs"))
        with contextlib.suppress(StrongroomError):
            self.move.copy(rule=chosen, versions=versions)

    @rule(versions=st.booleans())
    def refuse(self, versions: bool) -> None:
        """Unless told otherwise a copy leaves each other value as it is, and writes nothing at all then."""
        self._settle()
        before = self._current()
        try:
            self.move.copy(versions=versions)
        except StrongroomError:
            assert self._current() == before

    @rule(versions=st.booleans())
    def finish(self, versions: bool) -> None:
        self._settle()
        _, copier = self.move.copy(rule="overwrite", versions=versions)
        assert copier.outcome.problems == {}
        good = {State.SAME, State.ONLY_TO}
        assert set(self.move.states().values()) <= good
        written = len(self.there.writes)
        plan, _ = self.move.copy(rule="error", versions=versions)
        assert (plan.writes, len(self.there.writes)) == ([], written)

    @invariant()
    def nothing_was_overwritten_unseen(self) -> None:
        if hasattr(self, "there"):
            assert self.there.blind == []

    def _current(self) -> dict[str, str | bytes]:
        with self.move.survey() as survey:
            found = survey.target.manager.get_many(NAMES).found
        return {name: secret.reveal() for name, secret in found.items()}

    def _settle(self) -> None:
        self.there.before = self.there.after = lambda operation, name: None

    def _meddle(self, at: int, act: Callable[[], object], *, last: int = 1) -> None:
        """Have something happen at a call to the target, and at some calls after it."""
        calls = 0

        def step(operation: str, name: str) -> None:
            nonlocal calls
            calls += 1
            if at <= calls < at + last:
                act()

        self._settle()
        if at % 2:
            self.there.before = step
        else:
            self.there.after = step

    def _kill(self) -> None:
        raise Killed

    def _fail(self) -> None:
        raise BackendUnavailableError("there is away")


Copies.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestCopies = Copies.TestCase
