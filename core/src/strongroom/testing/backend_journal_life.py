"""Checks of a ``Journal`` in use by many: claims, threads, forks, and what outlives its closing."""

from __future__ import annotations

import threading

from collections.abc import Callable

import pytest

from strongroom.contracts import Appended, Backend, ClaimRequest, Entry, Journal, Place, RecallResult, SettleRequest
from strongroom.testing.backend_journal_kit import (
    TARGET,
    JournalKit,
    append,
    claim,
    copy_of,
    done,
    drop,
    entries,
    entry_of,
    keep,
    keeps_journal,
    kept,
    place,
    queue,
    queued,
    recall,
    release,
    set_aside,
    settle,
    status,
)
from strongroom.testing.processes import in_forked_child, in_threads
from strongroom.testing.promises import promised_by

WRITERS = 8
EACH = 5
MANY = 2000
PIECE = 250
NAMES = 100
ROUNDS = 40

Reopen = Callable[[], Journal]
"""Opens the same storage once more."""


class JournalLifeChecks(JournalKit):
    """Checks of claims, threads, processes and reopening."""

    @pytest.fixture
    def again(self, journal: Journal, reopen: Callable[[], Backend]) -> Reopen:
        """Return a function that opens the journal's storage once more."""

        def opened() -> Journal:
            backend = reopen()
            assert keeps_journal(backend)
            assert backend is not journal, "`reopen` has returned the backend under test itself"
            return backend

        return opened

    @promised_by(Journal.claim)
    def test_a_claim_is_granted_once(self, journal: Journal, folder: str) -> None:
        """A claim is granted to one, and to another only when it has been given up.

        Two that make the waiting writes at the same time would make them twice, or in the wrong order.
        """
        assert claim(journal, folder)
        assert not claim(journal, folder)
        release(journal, folder)
        assert claim(journal, folder)
        release(journal, folder)

    @promised_by(ClaimRequest)
    def test_claims_that_look_alike_are_apart(self, journal: Journal, folder: str) -> None:
        """Claims of other backends or targets are apart, when one is given up, too.

        One target's outage must not keep the writes of another from being made.
        """
        claims = [
            (folder, TARGET),
            (folder, f"{TARGET}/a"),
            (f"{folder}-2", TARGET),
            (f"{folder}/x", "y"),
            (folder, "x/y"),
        ]
        assert [claim(journal, *one) for one in claims] == [True] * len(claims)
        release(journal, *claims[0])
        assert [claim(journal, *one) for one in claims] == [True, *[False] * (len(claims) - 1)]
        for one in claims:
            release(journal, *one)

    @promised_by(Journal.release)
    def test_giving_up_what_is_not_held_is_no_error(self, journal: Journal, folder: str) -> None:
        """Giving up a claim that is not held raises nothing and leaves the claim free.

        Whoever cleans up does not know whether it was held.
        """
        release(journal, folder)
        assert claim(journal, folder)
        release(journal, folder)
        release(journal, folder)
        assert claim(journal, folder)
        release(journal, folder)

    @promised_by(Journal.claim)
    def test_of_many_that_claim_at_once_one_is_granted(self, journal: Journal, folder: str) -> None:
        """Of eight threads that claim at the same moment exactly one is granted.

        Two that make the waiting writes at the same time would make them twice, or in the wrong order.
        """
        for _ in range(EACH):
            assert sorted(in_threads(WRITERS, lambda _: claim(journal, folder))) == [False] * (WRITERS - 1) + [True]
            release(journal, folder)

    @promised_by(Journal.claim)
    def test_a_claim_holds_against_whoever_opens_the_same(self, journal: Journal, again: Reopen, folder: str) -> None:
        """A claim holds against others that open the same storage, when they give it up or close, too.

        Several processes have one journal, and end at different times.
        """
        other, third = again(), again()
        assert claim(journal, folder)
        assert not claim(other, folder)
        release(other, folder)
        assert not claim(other, folder), "a claim was given up by somebody who did not hold it"
        _close(other)
        assert not claim(third, folder), "a claim ended when somebody else closed"
        release(journal, folder)
        assert claim(third, folder)
        assert not claim(journal, folder)
        release(third, folder)

    @promised_by(Journal.claim)
    def test_a_childs_claim_ends_with_the_child(self, journal: Journal, backend: Backend, folder: str) -> None:
        """The claim of a child that has ended is free.

        A process that was killed can give nothing up; its writes would wait for ever.
        """

        def child() -> bool:
            backend.after_fork()
            return claim(journal, folder)

        assert in_forked_child(child) == "True"
        assert claim(journal, folder)
        release(journal, folder)

    @promised_by(Journal.claim)
    def test_a_child_has_no_part_in_its_parents_claim(self, journal: Journal, backend: Backend, folder: str) -> None:
        """A forked child neither gives up its parent's claim nor ends it with its own end.

        Handles that both share are closed with the child's, and some locks end with that.
        """
        assert claim(journal, folder)

        def child() -> None:
            backend.after_fork()
            release(journal, folder)
            backend.close()

        assert in_forked_child(child) == "None"
        assert not claim(journal, folder)
        release(journal, folder)

    @promised_by(Journal.claim)
    def test_a_parents_claim_holds_against_its_child(self, journal: Journal, again: Reopen, folder: str) -> None:
        """A parent's claim holds against its child, and against others whatever the child does.

        After a fork both have the same storage, and must not make the same writes.
        """
        other = again()
        assert claim(journal, folder)

        def child() -> bool:
            for one in (journal, other):
                assert isinstance(one, Backend)
                one.after_fork()
            granted = claim(journal, folder) or claim(other, folder)
            release(journal, folder)
            _close(journal)
            return granted

        assert in_forked_child(child) == "False"
        assert not claim(other, folder), "the child has ended its parent's claim"
        release(journal, folder)
        assert claim(other, folder)
        release(other, folder)

    @promised_by(Journal.append)
    def test_writes_of_one_name_make_a_chain(self, journal: Journal, folder: str) -> None:
        """Of eight threads that write one name, each write follows the one before it, and none is lost.

        The chain is what tells a later write from one that nobody has seen.
        """
        where = place(folder)

        def work(number: int) -> list[Entry]:
            return [_chained(journal, where, f"by {number}") for _ in range(EACH)]

        made = [one for some in in_threads(WRITERS, work) for one in some]
        found = entries(journal, folder)
        assert sorted(one.id for one in found) == sorted(one.id for one in made)
        assert [one.follows for one in found] == [None, *(one.id for one in found[:-1])]
        assert recall(journal, where).entry == found[-1]

    @promised_by(Journal.append)
    def test_writes_of_different_names_do_not_disturb_each_other(self, journal: Journal, folder: str) -> None:
        """Writes of eight threads each get a position of their own, and can be settled meanwhile.

        During an outage all threads of a server write into the one journal.
        """

        def work(number: int) -> list[Entry]:
            made = [queue(journal, entry_of(place(folder, f"{number}/{turn}"))) for turn in range(EACH)]
            keep(journal, copy_of(made[0].place, f"by {number}"))
            settle(journal, done(made[-1]))
            return made[:-1]

        made = [one for some in in_threads(WRITERS, work) for one in some]
        assert entries(journal, folder) == sorted(made, key=lambda one: one.position)
        assert len({one.position for one in made}) == len(made)
        for number in range(WRITERS):
            copy = kept(journal, place(folder, f"{number}/0"))
            assert copy is not None
            assert copy.value.reveal_text() == f"by {number}"

    @promised_by(SettleRequest)
    def test_settlements_are_seen_all_at_once(self, journal: Journal, folder: str) -> None:
        """Whoever looks meanwhile sees all that one request has settled, or nothing of it.

        Half of it would be a state that no order of writes has brought about.
        """

        def act() -> None:
            settle(journal, *map(done, queued(journal, folder, "a", "b")))

        seen = _watched(act, lambda: [one.place.name for one in entries(journal, folder)])
        assert [place(folder, "b").name] not in seen, "one was settled before the other"

    @promised_by(Journal.recall)
    def test_a_copy_and_what_waits_are_of_one_moment(self, journal: Journal, folder: str) -> None:
        """At no time is neither the copy nor the write that becomes the copy there.

        A reader at that moment would be told that there is no such secret.
        """
        where = place(folder)
        keep(journal, copy_of(where))

        def act() -> None:
            entry = queue(journal, entry_of(where))
            drop(journal, where)
            settle(journal, done(entry, copy=copy_of(where)))

        assert RecallResult(copy=None, entry=None) not in _watched(act, lambda: recall(journal, where))
        assert recall(journal, where) == RecallResult(copy=copy_of(where), entry=None)

    @promised_by(Journal.entries)
    def test_a_big_journal_stays_in_order(self, journal: Journal, folder: str) -> None:
        """In pieces, 2,000 writes of 100 names are returned and settled, complete and in order.

        A long outage leaves that many, and they are made piece by piece.
        """
        newest: dict[int, Entry] = {}
        for number in range(MANY):
            before = newest.get(number % NAMES)
            entry = entry_of(place(folder, f"{number % NAMES}"), f"{number}", follows=before.id if before else None)
            added = append(journal, entry)
            assert added.outcome is Appended.YES
            newest[number % NAMES] = entry.replace(position=added.position)
        pieces: list[Entry] = []
        for _ in range(MANY // PIECE):
            pieces += entries(journal, folder, after=pieces[-1].position if pieces else 0, limit=PIECE)
        assert [one.value for one in pieces] == [entry_of(one.place, f"{n}").value for n, one in enumerate(pieces)]
        assert len(pieces) == MANY
        assert [recall(journal, one.place).entry for one in newest.values()] == list(newest.values())
        settle(journal, *map(done, pieces[:NAMES]))
        left = entries(journal, folder)
        assert [one.id for one in left] == [one.id for one in pieces[NAMES:]]
        assert [one.follows for one in left[:NAMES]] == [None] * NAMES
        assert status(journal, folder).waiting == MANY - NAMES

    @promised_by(Journal)
    def test_everything_outlives_closing(self, journal: Journal, again: Reopen, folder: str) -> None:
        """Copies, entries, their states and the order are the same once the storage is opened again.

        What was accepted is promised: whoever wrote was told that it will be made.
        """
        copy = copy_of(place(folder), bytes(range(256)))
        keep(journal, copy)
        made = queued(journal, folder, "a", "b", "a", "c")
        made[1] = set_aside(journal, made[1])
        settle(journal, done(made[3]))
        counted = status(journal, folder)
        _close(journal)
        reopened = again()
        assert entries(reopened, folder) == made[:3]
        assert recall(reopened, copy.place) == RecallResult(copy=copy, entry=made[2])
        assert status(reopened, folder) == counted
        assert queue(reopened, entry_of(place(folder, "c"))).position > made[3].position

    @promised_by(Journal)
    def test_whoever_opens_the_same_sees_the_same(self, journal: Journal, again: Reopen, folder: str) -> None:
        """What one has changed the other sees at once, if both have opened the same storage.

        Several processes share one journal; each makes its writes over what the others have written.
        """
        other = again()
        first = queue(journal, entry_of(place(folder), "by the first"))
        assert append(other, entry_of(place(folder))).outcome is Appended.MOVED
        second = queue(other, entry_of(place(folder), "by the second"))
        assert (entries(journal, folder), second.follows) == ([first, second], first.id)
        keep(other, copy_of(place(folder)))
        assert kept(journal, place(folder)) == copy_of(place(folder))
        settle(journal, done(first))
        assert [one.id for one in entries(other, folder)] == [second.id]
        assert status(other, folder) == status(journal, folder)

    @promised_by(Backend.after_fork)
    def test_a_forked_child_can_use_the_journal(self, journal: Journal, backend: Backend, folder: str) -> None:
        """After ``after_fork`` the child uses the journal on its own, and the parent goes on.

        Servers fork, and outages do not wait for that.
        """
        keep(journal, copy_of(place(folder)))
        queued(journal, folder, "a")

        def child() -> str:
            backend.after_fork()
            (entry,) = entries(journal, folder)
            queue(journal, entry_of(place(folder), "by the child"))
            settle(journal, done(entry))
            copy = kept(journal, place(folder))
            newest = recall(journal, place(folder)).entry
            return f"{newest is not None and newest.follows} {copy is not None and copy.value.reveal_text()}"

        assert in_forked_child(child) == "None content"
        latest = queue(journal, entry_of(place(folder), "by the parent"))
        assert recall(journal, place(folder)) == RecallResult(copy=copy_of(place(folder)), entry=latest)

    @promised_by(Backend.close)
    def test_a_journal_can_be_closed_twice(self, journal: Journal, folder: str) -> None:
        """A journal that was used and holds a claim can be closed, and a second time as well.

        Whoever cleans up does not know what has been done before.
        """
        queued(journal, folder, "a")
        claim(journal, folder)
        _close(journal)
        _close(journal)


def _close(journal: Journal) -> None:
    assert isinstance(journal, Backend)
    journal.close()


def _chained(journal: Journal, where: Place, content: str) -> Entry:
    """Have a write accepted, however often another one comes first."""
    for _ in range(WRITERS * EACH * 10):
        newest = recall(journal, where).entry
        entry = entry_of(where, content, follows=None if newest is None else newest.id)
        if append(journal, entry).outcome is Appended.YES:
            return entry
    raise AssertionError("a write that follows the newest one was refused time and again")


def _watched(act: Callable[[], None], look: Callable[[], object]) -> list[object]:
    """Do something many times, and look meanwhile; return each thing that was seen, once."""
    stop = threading.Event()

    def work(number: int) -> list[object]:
        if number == 0:
            try:
                for _ in range(ROUNDS):
                    act()
            finally:
                stop.set()
            return []
        seen: list[object] = []
        while not stop.is_set():
            found = look()
            if found not in seen:
                seen.append(found)
        return seen

    return in_threads(2, work)[1]
