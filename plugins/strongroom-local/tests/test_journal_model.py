"""Whatever is done in whatever order, the store's journal agrees with two dictionaries."""

from __future__ import annotations

import tempfile
import uuid

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strongroom.contracts import KeySource, RekeyRequest, VerifyRequest
from strongroom.contracts.journal import (
    Appended,
    AppendRequest,
    AppendResult,
    ClaimRequest,
    ClaimResult,
    Copy,
    DropCopiesRequest,
    EntriesRequest,
    EntriesResult,
    Entry,
    EntryState,
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
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings

PLACES = [
    Place(backend=backend, target=target, name=SecretName(name))
    for backend in ("vault", "aws")
    for target in ("t", "t/a")
    for name in ("a", "a/b", "é")
]
PLACE = st.sampled_from(PLACES)
VALUE = st.one_of(st.text(max_size=10), st.binary(max_size=10), st.just("x" * 6000)).map(SecretValue)
TIME = st.floats(0, 1e10)
WORD = st.text(max_size=8)
MAYBE = st.none() | WORD
MOMENT = st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda one: one.replace(tzinfo=UTC))
STATES = st.sampled_from(EntryState)
FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "backend": st.sampled_from([None, "vault", "aws", "none"]),
    "target": st.sampled_from([None, "t", "t/a", "none"]),
}
COPY = st.builds(Copy, place=PLACE, value=VALUE, version=WORD, created=MOMENT, taken=TIME)
MAX_ENTRIES, MAX_BYTES = 12, 20_000


class Key(KeySource):
    def read(self) -> SecretValue:
        return SecretValue("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")

    def describe(self) -> str:
        return "the test's key"


class Model:
    """What a journal is, as plainly as it can be said: a list of entries, and a copy of each place."""

    def __init__(self) -> None:
        self.copies: dict[Place, Copy] = {}
        self.all: list[Entry] = []
        self.given = 0
        self.claimed: set[tuple[str, str]] = set()

    def keep_copies(self, request: KeepCopiesRequest) -> None:
        for copy in request.copies:
            old = self.copies.get(copy.place)
            if old is None or old.taken <= copy.taken or old.taken > request.now:
                self.copies[copy.place] = copy

    def drop_copies(self, request: DropCopiesRequest) -> None:
        for place in request.places:
            self.copies.pop(place, None)

    def recall(self, request: RecallRequest) -> RecallResult:
        waiting = [one for one in self.all if one.place == request.place and one.state.waits]
        return RecallResult(copy=self.copies.get(request.place), entry=waiting[-1] if waiting else None)

    def append(self, request: AppendRequest) -> AppendResult:
        newest = self.recall(RecallRequest(place=request.entry.place)).entry
        if request.entry.follows != (newest.id if newest else None):
            return AppendResult(outcome=Appended.MOVED)
        if len(self.all) + 1 > request.max_entries or size([*self.all, request.entry]) > request.max_bytes:
            return AppendResult(outcome=Appended.FULL)
        self.given += 1
        self.all.append(request.entry.replace(position=self.given))
        return AppendResult(outcome=Appended.YES, position=self.given)

    def entries(self, request: EntriesRequest) -> EntriesResult:
        asked = [one for one in self.asked(request) if one.state.waits or not request.waiting]
        asked = [one for one in asked if request.id in {None, one.id} and one.position > request.after]
        return EntriesResult(entries=tuple(asked[: request.limit]))

    def asked(self, request: EntriesRequest | JournalStatusRequest) -> list[Entry]:
        return [
            one
            for one in self.all
            if request.backend in {None, one.place.backend} and request.target in {None, one.place.target}
        ]

    def settle(self, request: SettleRequest) -> None:
        for settlement in request.settlements:
            places = [at for at, one in enumerate(self.all) if one.id == settlement.entry.id]
            for at in places:
                self.all[at : at + 1] = [] if settlement.done or settlement.dropped else [settlement.entry]
            if places and settlement.done:
                self.made(settlement, request.now)

    def made(self, settlement: Settlement, now: float) -> None:
        if settlement.copy is not None:
            self.keep_copies(KeepCopiesRequest(copies=(settlement.copy,), now=now))
        elif settlement.drop_copy:
            self.copies.pop(settlement.entry.place, None)
        self.all = [
            one.replace(follows=None, expected=settlement.version) if one.follows == settlement.entry.id else one
            for one in self.all
        ]

    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        asked = self.asked(request)
        waiting = [one.queued for one in asked if one.state.waits]
        oldest = min(waiting, default=None)
        return JournalStatus(waiting=len(waiting), set_aside=len(asked) - len(waiting), size=size(asked), oldest=oldest)

    def claim(self, request: ClaimRequest) -> ClaimResult:
        held = (request.backend, request.target) in self.claimed
        self.claimed.add((request.backend, request.target))
        return ClaimResult(granted=not held)

    def release(self, request: ClaimRequest) -> None:
        self.claimed.discard((request.backend, request.target))


def size(entries: list[Entry]) -> int:
    return sum(len(one.value) for one in entries if one.value is not None)


class JournalMachine(RuleBasedStateMachine):
    """Does the same to a store and to a model of its journal."""

    def __init__(self) -> None:
        super().__init__()
        self._place = tempfile.TemporaryDirectory()
        path = str(Path(self._place.name) / "secrets.db")
        self._settings = LocalSettings(path=path, master_key=Key())
        create_store(self._settings)
        self.store = LocalBackend.open(self._settings)
        self.model = Model()

    def both(self, operation: str, request: object) -> Any:
        """Ask both, and return what they agree on."""
        found, expected = getattr(self.store, operation)(request), getattr(self.model, operation)(request)
        assert found == expected
        return found

    @property
    def present(self) -> list[Entry]:
        return self.model.all

    @rule(copies=st.lists(COPY, max_size=4), now=TIME)
    def keep_copies(self, copies: list[Copy], now: float) -> None:
        self.both("keep_copies", KeepCopiesRequest(copies=tuple(copies), now=now))

    @rule(places=st.lists(PLACE, max_size=4))
    def drop_copies(self, places: list[Place]) -> None:
        self.both("drop_copies", DropCopiesRequest(places=tuple(places)))

    @rule(
        entry=st.builds(
            Entry,
            id=st.uuids(version=4).map(str),
            place=PLACE,
            change=st.sampled_from(["set", "rotate", "delete"]),
            value=st.none() | VALUE,
            expected=MAYBE,
            queued=TIME,
            principal=WORD,
            principal_source=WORD,
            on_behalf_of=MAYBE,
            state=STATES,
            reason=WORD,
            found=MAYBE,
            found_created=MOMENT,
        ),
        right=st.sampled_from([True, True, True, False]),
    )
    def append(self, entry: Entry, right: bool) -> None:
        """Mostly over the newest write that waits."""
        newest = self.model.recall(RecallRequest(place=entry.place)).entry
        follows = None if newest is None else newest.id
        if not right:
            follows = str(uuid.uuid4()) if follows is None else None
        request = AppendRequest(entry=entry.replace(follows=follows), max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES)
        assert right or self.both("append", request).outcome is Appended.MOVED
        if right:
            self.both("append", request)

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Some at once: made, dropped or in another state; also one that is not there any more."""
        chosen = data.draw(st.lists(st.sampled_from(self.present), unique_by=lambda one: one.id, max_size=4))
        settlements = tuple(data.draw(self.settlement(entry)) for entry in chosen)
        self.both("settle", SettleRequest(settlements=settlements, now=data.draw(TIME)))
        if settlements and settlements[0].done:
            self.both("settle", SettleRequest(settlements=settlements[:1]))

    @staticmethod
    def settlement(entry: Entry) -> st.SearchStrategy[Settlement]:
        other = st.builds(
            lambda **changes: entry.replace(**changes), state=STATES, reason=WORD, found=MAYBE, found_created=MOMENT
        )
        return st.one_of(
            st.builds(Settlement, entry=other),
            st.builds(
                Settlement,
                entry=st.just(entry),
                done=st.just(True),
                version=MAYBE,
                copy=st.none() | COPY,
                drop_copy=st.booleans(),
            ),
            st.builds(Settlement, entry=st.just(entry), dropped=st.just(True)),
        )

    @rule(
        asked=st.builds(
            EntriesRequest,
            waiting=st.booleans(),
            after=st.integers(0, 5),
            limit=st.none() | st.integers(0, 4),
            **FILTERS,
        )
    )
    def entries(self, asked: EntriesRequest) -> None:
        self.both("entries", asked)

    @rule(asked=st.builds(JournalStatusRequest, **FILTERS))
    def journal_status(self, asked: JournalStatusRequest) -> None:
        self.both("journal_status", asked)

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def entry(self, data: st.DataObject) -> None:
        identity = data.draw(st.sampled_from(self.present)).id
        self.both("entries", EntriesRequest(id=identity))

    @rule(backend=st.sampled_from(["vault", "aws"]), take=st.booleans())
    def claim(self, backend: str, take: bool) -> None:
        self.both("claim" if take else "release", ClaimRequest(backend=backend, target="t"))

    @rule(reencrypt=st.booleans())
    def rekey(self, reencrypt: bool) -> None:
        self.store.rekey(RekeyRequest(reencrypt=reencrypt))

    @rule()
    def reopen(self) -> None:
        """Whoever closes the store gives up its claims."""
        self.store.close()
        self.store = LocalBackend.open(self._settings)
        self.model.claimed.clear()

    @invariant()
    def agrees(self) -> None:
        self.both("entries", EntriesRequest())
        self.both("journal_status", JournalStatusRequest())
        for place in PLACES:
            self.both("recall", RecallRequest(place=place))

    @invariant()
    def verifies(self) -> None:
        assert self.store.verify(VerifyRequest()).problems == ()

    def teardown(self) -> None:
        self.store.close()
        self._place.cleanup()


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
