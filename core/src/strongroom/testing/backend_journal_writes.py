"""Checks of how a ``Journal`` accepts writes that wait, and of looking at them."""

from __future__ import annotations

import itertools

import pytest

from strongroom.contracts import (
    Appended,
    AppendRequest,
    EntriesRequest,
    Entry,
    EntryState,
    Journal,
    Place,
    RecallResult,
)
from strongroom.model import MAX_NAME_BYTES
from strongroom.testing.backend_journal import SET_ASIDE, WAITING, each_content, look_alikes
from strongroom.testing.backend_journal_kit import (
    TARGET,
    JournalKit,
    append,
    copy_of,
    done,
    entries,
    entry_of,
    keep,
    place,
    queue,
    queued,
    recall,
    set_aside,
    settle,
    status,
)
from strongroom.testing.backend_kit import new_token
from strongroom.testing.promises import promised_by

NAMES = (
    "a",
    "a/b",
    "ab",
    "A",
    "a b",
    "a%2Fb",
    "caf\u00e9",
    "\u65e5\u672c\u8a9e",
    "\U0001f511",
    "a\\b",
    "it's",
    "%_",
    "-",
)


class AppendChecks(JournalKit):
    """Checks of accepting writes, and of looking at what was accepted."""

    @each_content
    @promised_by(Journal.append)
    def test_an_entry_comes_back_exactly(self, journal: Journal, folder: str, content: str | bytes) -> None:
        """A write that waits comes back with every byte, and as text if it was text.

        It is what the backend is given once it answers again.
        """
        entry = queue(journal, entry_of(place(folder), content))
        assert entries(journal, folder) == [entry]
        assert recall(journal, entry.place).entry == entry

    @pytest.mark.parametrize("state", WAITING, ids=lambda state: state.value)
    @promised_by(Entry)
    def test_what_is_known_of_an_entry_comes_back_exactly(
        self, journal: Journal, folder: str, state: EntryState
    ) -> None:
        """Who wrote, when, over what, and how it stands come back as they were.

        By these the write is made later, recorded in the audit, and explained to people.
        """
        plain = entry_of(place(folder, "plain"), state=state)
        full = entry_of(
            place(folder, "full"),
            change="rotate",
            expected="AWS/\u00e4 '\"",
            queued=1_764_295_872.123456,
            principal="caf\u00e9 admin",
            principal_source="token",
            on_behalf_of="the 'on-call' shift",
            state=state,
        )
        delete = entry_of(place(folder, "delete"), None, expected="7", queued=0.1 + 0.2, state=state)
        made = [queue(journal, entry) for entry in (plain, full, delete)]
        assert entries(journal, folder) == made
        assert [recall(journal, one.place).entry for one in made] == made

    @promised_by(Entry)
    def test_positions_tell_the_order(self, journal: Journal, folder: str) -> None:
        """Positions go up over all names, begin at 1, and are never used again.

        Writes are made in this order; a position that came twice would have one of them passed over.
        """
        made = queued(journal, folder, "b", "a", "b", "c")
        settle(journal, done(made[-1]))
        made += queued(journal, folder, "c", "a")
        positions = [entry.position for entry in made]
        assert positions[0] >= 1
        assert positions == sorted(set(positions)), f"the positions are {positions}"
        assert entries(journal, folder) == [*made[:3], *made[4:]]

    @promised_by(Journal.recall)
    def test_the_newest_write_that_waits_is_recalled(self, journal: Journal, folder: str) -> None:
        """The newest write that waits is returned beside the copy, if it is unclear whether it was made, too.

        Whoever has written must read that during the outage, and the next write is made over it.
        """
        keep(journal, copy_of(place(folder)))
        for state in WAITING:
            entry = queue(journal, entry_of(place(folder), f"now {state.value}", state=state))
            queued(journal, folder, "another")
            assert recall(journal, place(folder)) == RecallResult(copy=copy_of(place(folder)), entry=entry)

    @pytest.mark.parametrize("state", SET_ASIDE, ids=lambda state: state.value)
    @promised_by(RecallResult)
    def test_what_is_set_aside_is_not_recalled(self, journal: Journal, folder: str, state: EntryState) -> None:
        """A write that is set aside is not returned; an older one that waits is, and the next write follows it.

        What waits for a person's decision is not what the secret will be.
        """
        older, newer = queued(journal, folder, "a", "a")
        set_aside(journal, newer, state)
        assert recall(journal, older.place).entry == older
        set_aside(journal, older, state)
        assert recall(journal, older.place).entry is None
        assert append(journal, entry_of(older.place)).outcome is Appended.YES

    @promised_by(Place)
    def test_entries_of_places_that_look_alike_are_apart(self, journal: Journal, folder: str) -> None:
        """Places that differ in backend, target or name have writes of their own, and none follows another's.

        A write must never be made in another account or under another name.
        """
        places = look_alikes(folder)
        made = []
        for number, where in enumerate(places):
            entry = entry_of(where, f"content {number}")
            added = append(journal, entry)
            assert added.outcome is Appended.YES, f"{where} is taken for another place"
            made.append(entry.replace(position=added.position))
        assert [recall(journal, where).entry for where in places] == made

    @promised_by(Journal.append)
    def test_a_write_that_follows_another_than_the_newest_is_not_accepted(self, journal: Journal, folder: str) -> None:
        """A write that follows another than the newest one of its name gets ``MOVED``, and nothing changes.

        Another process has written meanwhile; accepting it would lose that write without a word.
        """
        where = place(folder)
        aside = set_aside(journal, queue(journal, entry_of(where)))
        stranger = queue(journal, entry_of(place(folder, "another")))
        assert append(journal, entry_of(where, follows=new_token())).outcome is Appended.MOVED
        older, newer = queued(journal, folder, "a", "a")
        for follows in (None, new_token(), aside.id, stranger.id, older.id):
            assert append(journal, entry_of(where, follows=follows)).outcome is Appended.MOVED
        assert entries(journal, folder) == [aside, stranger, older, newer]

    @promised_by(AppendRequest)
    def test_a_journal_is_full_of_entries(self, journal: Journal, folder: str) -> None:
        """At ``max_entries``, all that are there counted, a write gets ``FULL`` and nothing changes.

        The limit keeps a long outage from filling the disk, and a write is either kept or refused.
        """
        others = len(entries(journal, None))
        made = queued(journal, folder, "a", "b")
        made[0] = set_aside(journal, made[0])
        made.append(queue(journal, entry_of(place(folder, "c").replace(backend=f"{folder}-2"))))
        more = entry_of(place(folder, "d"))
        assert append(journal, more, max_entries=others + 3).outcome is Appended.FULL
        assert recall(journal, more.place).entry is None
        assert entries(journal, folder) == made[:2]
        assert append(journal, more, max_entries=others + 4).outcome is Appended.YES

    @promised_by(AppendRequest)
    def test_a_journal_is_full_of_bytes(self, journal: Journal, folder: str) -> None:
        """At ``max_bytes``, in UTF-8 and all that are there counted, a write gets ``FULL`` and nothing changes.

        The limit keeps a long outage from filling the disk, and a write is either kept or refused.
        """
        others = status(journal, None).size
        aside = set_aside(journal, queue(journal, entry_of(place(folder), "\u00e9" * 10)))
        elsewhere = queue(journal, entry_of(place(folder, "b").replace(backend=f"{folder}-2"), bytes(30)))
        more = entry_of(place(folder, "c"), "x" * 50)
        assert append(journal, more, max_bytes=others + 99).outcome is Appended.FULL
        assert entries(journal, folder) + entries(journal, f"{folder}-2") == [aside, elsewhere]
        assert append(journal, more, max_bytes=others + 100).outcome is Appended.YES
        assert append(journal, entry_of(place(folder, "d"), None), max_bytes=others + 100).outcome is Appended.YES

    @promised_by(Journal.settle)
    def test_what_is_settled_makes_room(self, journal: Journal, folder: str) -> None:
        """An entry that is settled makes room for another of its size.

        Else a journal would be full for ever after one outage.
        """
        others = status(journal, None).size
        count = len(entries(journal, None))
        made = queue(journal, entry_of(place(folder), "x" * 50))
        limits = {"max_entries": count + 1, "max_bytes": others + 50}
        more = entry_of(place(folder, "b"), "y" * 50)
        assert append(journal, more, **limits).outcome is Appended.FULL
        settle(journal, done(made))
        assert append(journal, more, **limits).outcome is Appended.YES

    @promised_by(EntriesRequest)
    def test_entries_are_found_by_what_is_asked(self, journal: Journal, folder: str) -> None:
        """Entries are those that fit all that is asked, in their order and no more than the limit.

        A write of another backend in the answer would be made in the wrong place.
        """
        other = "https://vault.example/other"
        made = [
            queue(journal, entry_of(place(folder, tail, target), f"{tail} {target}"))
            for tail, target in itertools.product(("a", "b", "c", "a"), (TARGET, other))
        ]
        made[1], made[2] = set_aside(journal, made[1]), set_aside(journal, made[2], EntryState.OVERDUE)
        queued(journal, f"{folder}-2", "a", "b")
        for target, waiting, after, limit in itertools.product(
            (None, TARGET, other, "https://vault.example"), (False, True), (0, made[1].position), (None, 0, 1, 3, 100)
        ):
            found = entries(journal, folder, target=target, waiting=waiting, after=after, limit=limit)
            assert found == [one for one in made if _is_asked(one, target, waiting, after)][:limit]

    @promised_by(EntriesRequest)
    def test_an_entry_is_found_by_its_id(self, journal: Journal, folder: str) -> None:
        """An entry is found by its id as long as it is there and fits what else is asked.

        People name an entry by its id to decide about it.
        """
        made = queued(journal, folder, "a", "b", "a")
        set_aside(journal, made[0])
        assert entries(journal, None, id=made[1].id) == [made[1]]
        assert entries(journal, folder, id=made[0].id, waiting=True) == []
        assert entries(journal, f"{folder}-2", id=made[1].id) == []
        settle(journal, done(made[1]))
        assert entries(journal, None, id=made[1].id) == []

    @promised_by(Place)
    def test_odd_and_long_names_have_copies_and_entries(self, journal: Journal, folder: str) -> None:
        """Odd names and the longest ones have copies and waiting writes of their own.

        What another backend can hold must not be lost in an outage for its name.
        """
        longest = "\u00e9" * ((MAX_NAME_BYTES - len(folder) - 1) // 2)
        places = [place(folder, tail, "https://vault.example/" + "n\u00e9/" * 300) for tail in (*NAMES, longest)]
        keep(journal, *(copy_of(where, f"copy {number}") for number, where in enumerate(places)))
        made = [queue(journal, entry_of(where, f"entry {number}")) for number, where in enumerate(places)]
        assert entries(journal, folder) == made
        for number, where in enumerate(places):
            assert recall(journal, where) == RecallResult(copy=copy_of(where, f"copy {number}"), entry=made[number])


def _is_asked(entry: Entry, target: str | None, waiting: bool, after: int) -> bool:
    return target in (None, entry.place.target) and (entry.state.waits or not waiting) and entry.position > after
