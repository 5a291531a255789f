"""Random work on a journal, compared step by step with a model of what a journal promises."""

from __future__ import annotations

import itertools
import math

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from strongroom.contracts import (
    Appended,
    AppendRequest,
    AppendResult,
    ClaimRequest,
    Copy,
    DropCopiesRequest,
    EntriesRequest,
    Entry,
    EntryState,
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
from strongroom.model import SecretName, SecretValue

MOST_ENTRIES, MOST_BYTES = 8, 40
PLACES = [
    Place(backend=backend, target=target, name=SecretName(name))
    for backend, target, name in itertools.product(("main", "other"), ("here", "there"), ("a", "a/b"))
]
CLAIMS = [ClaimRequest(backend=one.backend, target=one.target) for one in PLACES[::2]]

places = st.sampled_from(PLACES)
claims = st.sampled_from(CLAIMS)
contents = st.one_of(st.text(max_size=12), st.binary(max_size=12))
versions = st.sampled_from([None, "1", "2", "7f3a"])
moments = st.one_of(st.none(), st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))
times = st.floats(min_value=0, max_value=4e9)
numbers = st.integers(min_value=0, max_value=50)


class Model:
    """The contract written down with lists, each look going through all of them: slow, and hard to get wrong."""

    def __init__(self) -> None:
        self.copies: list[Copy] = []
        self.entries: list[Entry] = []
        self.claims: list[ClaimRequest] = []
        self.positions = 0

    def keep(self, copy: Copy, now: float = math.inf) -> None:
        newer = [one for one in self.copies if one.place == copy.place and copy.taken < one.taken <= now]
        if not newer:
            self.drop(copy.place)
            self.copies.append(copy)

    def drop(self, place: Place) -> None:
        self.copies = [one for one in self.copies if one.place != place]

    def recall(self, place: Place) -> RecallResult:
        copies = [one for one in self.copies if one.place == place]
        waiting = [one for one in self.entries if one.place == place and one.state.waits]
        return RecallResult(copy=copies[0] if copies else None, entry=waiting[-1] if waiting else None)

    def append(self, entry: Entry) -> AppendResult:
        newest = self.recall(entry.place).entry
        if entry.follows != (None if newest is None else newest.id):
            return AppendResult(outcome=Appended.MOVED)
        if len(self.entries) + 1 > MOST_ENTRIES or size_of([*self.entries, entry]) > MOST_BYTES:
            return AppendResult(outcome=Appended.FULL)
        self.positions += 1
        self.entries.append(entry.replace(position=self.positions))
        return AppendResult(outcome=Appended.YES, position=self.positions)

    def asked(self, request: EntriesRequest) -> list[Entry]:
        found = [
            one
            for one in self.entries
            if (request.backend is None or one.place.backend == request.backend)
            and (request.target is None or one.place.target == request.target)
            and (request.id is None or one.id == request.id)
            and (not request.waiting or one.state in {EntryState.WAITING, EntryState.UNCLEAR})
            and one.position > request.after
        ]
        return found if request.limit is None else found[: request.limit]

    def settle(self, settlement: Settlement) -> None:
        entry = settlement.entry
        if entry.id not in [one.id for one in self.entries]:
            return
        if not settlement.done and not settlement.dropped:
            self.entries = [entry if one.id == entry.id else one for one in self.entries]
            return
        self.entries = [one for one in self.entries if one.id != entry.id]
        if settlement.done:
            self.entries = [
                one.replace(follows=None, expected=settlement.version) if one.follows == entry.id else one
                for one in self.entries
            ]
            if settlement.copy is not None:
                self.keep(settlement.copy)
            elif settlement.drop_copy:
                self.drop(entry.place)

    def status(self, request: JournalStatusRequest) -> JournalStatus:
        asked = self.asked(EntriesRequest(backend=request.backend, target=request.target))
        waiting = [one.queued for one in asked if one.state.waits]
        return JournalStatus(
            waiting=len(waiting),
            set_aside=len(asked) - len(waiting),
            size=size_of(asked),
            oldest=min(waiting) if waiting else None,
        )


def size_of(entries: list[Entry]) -> int:
    """Return how many bytes the values have together."""
    return sum(len(one.value) for one in entries if one.value is not None)


class JournalMachine(RuleBasedStateMachine):
    """Does the same to a journal and to the model; derive from it, and return the journal from :meth:`open`."""

    journal: Journal

    def open(self) -> Journal:
        """Return a new, empty journal."""
        raise AssertionError("a class that is derived from this returns one")

    @initialize()
    def begin(self) -> None:
        self.journal = self.open()
        self.model = Model()
        self.made = 0

    @rule(place=places, content=contents, version=st.sampled_from(["1", "2"]), created=moments, taken=times, now=times)
    def keep_copies(self, place: Place, content: Any, now: float, **facts: Any) -> None:
        copy = Copy(place=place, value=SecretValue(content), **facts)
        self.journal.keep_copies(KeepCopiesRequest(copies=(copy,), now=now))
        self.model.keep(copy, now)

    @rule(some=st.lists(places, max_size=3))
    def drop_copies(self, some: list[Place]) -> None:
        self.journal.drop_copies(DropCopiesRequest(places=tuple(some)))
        for place in some:
            self.model.drop(place)

    @rule(
        place=places,
        content=st.one_of(st.none(), contents),
        expected=versions,
        queued=times,
        unclear=st.booleans(),
        right=st.sampled_from([True, True, True, False]),
        other=numbers,
    )
    def append(
        self, place: Place, content: Any, expected: str | None, queued: float, unclear: bool, right: bool, other: int
    ) -> None:
        newest = self.model.recall(place).entry
        follows = (None if newest is None else newest.id) if right else self.id_of(other)
        self.made += 1
        entry = Entry(
            id=self.id_of(self.made),
            place=place,
            change="delete" if content is None else "set",
            value=None if content is None else SecretValue(content),
            expected=expected,
            follows=follows,
            queued=queued,
            principal="shop",
            state=EntryState.UNCLEAR if unclear else EntryState.WAITING,
        )
        request = AppendRequest(entry=entry, max_entries=MOST_ENTRIES, max_bytes=MOST_BYTES)
        wanted, found = self.model.append(entry), self.journal.append(request)
        assert found.outcome is wanted.outcome
        assert found.position == wanted.position

    def id_of(self, number: int) -> str:
        """Return the id of an entry that has been made, or of none."""
        return f"00000000-0000-4000-8000-{number:012d}"

    @rule(
        chosen=st.lists(numbers, min_size=1, max_size=3),
        ways=st.lists(st.sampled_from(["done", "dropped", "state"]), min_size=3, max_size=3),
        states=st.lists(st.sampled_from(EntryState), min_size=3, max_size=3),
        version=versions,
        moment=moments,
        taken=times,
        copies=st.lists(st.sampled_from(["keep", "drop", "leave"]), min_size=3, max_size=3),
    )
    def settle(
        self,
        chosen: list[int],
        ways: list[str],
        states: list[EntryState],
        version: str | None,
        moment: datetime | None,
        taken: float,
        copies: list[str],
    ) -> None:
        if not self.model.entries:
            return
        # None twice: what the second is to be would depend on what the first has done.
        picked = {one.place: one for one in (self.model.entries[n % len(self.model.entries)] for n in chosen)}
        settlements = []
        for entry, way, state, about in zip(picked.values(), ways, states, copies, strict=False):
            value = SecretValue(b"as it is now") if entry.value is None else entry.value
            copy = Copy(place=entry.place, value=value, version="5", created=moment, taken=taken)
            now = entry.replace(state=state, reason=f"it is {state.value}", found=version, found_created=moment)
            settlements.append(
                Settlement(
                    entry=now if way == "state" else entry,
                    done=way == "done",
                    dropped=way == "dropped",
                    version=version if way == "done" else None,
                    copy=copy if about == "keep" else None,
                    drop_copy=about == "drop",
                )
            )
        self.journal.settle(SettleRequest(settlements=tuple(settlements)))
        for settlement in settlements:
            self.model.settle(settlement)

    @rule(number=numbers)
    def settle_what_may_be_gone(self, number: int) -> None:
        gone = Entry(
            id=self.id_of(number + 1000),
            place=PLACES[0],
            change="set",
            value=None,
            expected=None,
            queued=0.0,
            principal="x",
        )
        copy = Copy(place=PLACES[0], value=SecretValue("x"), version="9", created=None, taken=4e9)
        settlement = Settlement(entry=gone, done=True, version="9", copy=copy)
        self.journal.settle(SettleRequest(settlements=(settlement,)))
        self.model.settle(settlement)

    @rule(
        backend=st.sampled_from([None, "main", "other", "third"]),
        bound_to=st.sampled_from([None, "here", "there"]),
        waiting=st.booleans(),
        after=numbers,
        limit=st.sampled_from([None, 0, 1, 3]),
    )
    def look(self, bound_to: str | None, **asked: Any) -> None:
        request = EntriesRequest(target=bound_to, **asked)
        assert list(self.journal.entries(request).entries) == self.model.asked(request)
        counted = JournalStatusRequest(backend=request.backend, target=request.target)
        assert self.journal.journal_status(counted) == self.model.status(counted)

    @rule(number=numbers)
    def look_for_one(self, number: int) -> None:
        request = EntriesRequest(id=self.id_of(number))
        assert list(self.journal.entries(request).entries) == self.model.asked(request)

    @rule(claim=claims)
    def claim(self, claim: ClaimRequest) -> None:
        assert self.journal.claim(claim).granted is (claim not in self.model.claims)
        if claim not in self.model.claims:
            self.model.claims.append(claim)

    @rule(claim=claims)
    def release(self, claim: ClaimRequest) -> None:
        self.journal.release(claim)
        self.model.claims = [one for one in self.model.claims if one != claim]

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        if not hasattr(self, "model"):
            return
        assert list(self.journal.entries(EntriesRequest()).entries) == self.model.entries
        for place in PLACES:
            assert self.journal.recall(RecallRequest(place=place)) == self.model.recall(place)
