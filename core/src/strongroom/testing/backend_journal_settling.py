"""Checks of what a ``Journal`` notes about writes that have waited, and of how it counts them."""

from __future__ import annotations

import pytest

from strongroom.contracts import EntryState, Journal, JournalStatus, JournalStatusRequest, Settlement, SettleRequest
from strongroom.testing.backend_journal import CONTENTS, MOMENT, SET_ASIDE
from strongroom.testing.backend_journal_kit import (
    TARGET,
    JournalKit,
    append,
    copy_of,
    done,
    entries,
    entry_of,
    keep,
    kept,
    place,
    queue,
    queued,
    recall,
    set_aside,
    settle,
    status,
)
from strongroom.testing.promises import promised_by

EMPTY = JournalStatus(waiting=0, set_aside=0, size=0, oldest=None)


class SettlingChecks(JournalKit):
    """Checks of settling and counting."""

    @pytest.mark.parametrize("version", ["2", "AWS/\u00e4 '\"", None], ids=["plain", "odd", "deleted"])
    @promised_by(Settlement)
    def test_what_follows_a_write_that_is_made_waits_over_its_version(
        self, journal: Journal, folder: str, version: str | None
    ) -> None:
        """Once a write is made, the one that follows it waits over its version, and no other does.

        The next write is made only over that version: that is how a change by somebody else is noticed.
        """
        first, other, second, third = queued(journal, folder, "a", "b", "a", "a", expected="1")
        settle(journal, done(first, version))
        rebound = second.replace(follows=None, expected=version)
        assert entries(journal, folder) == [other, rebound, third]
        settle(journal, done(rebound, "3"))
        assert entries(journal, folder) == [other, third.replace(follows=None, expected="3")]
        assert recall(journal, first.place).entry == third.replace(follows=None, expected="3")

    @promised_by(Settlement)
    def test_the_last_write_that_is_made_leaves_nothing_behind(self, journal: Journal, folder: str) -> None:
        """Once the last write of a name is made nothing of it waits, and the next one follows nothing.

        A write that follows one that is gone could never be made.
        """
        (entry,) = queued(journal, folder, "a")
        settle(journal, done(entry))
        assert (entries(journal, folder), recall(journal, entry.place).entry) == ([], None)
        again = queue(journal, entry_of(entry.place, "again"))
        assert again.follows is None
        assert entries(journal, folder) == [again]

    @promised_by(Settlement)
    def test_what_follows_a_write_that_is_dropped_stays_bound_to_it(self, journal: Journal, folder: str) -> None:
        """A write that follows one which is dropped stays bound to that.

        It was made over what nobody wants any more: it must not go over something else.
        """
        first, second = queued(journal, folder, "a", "a", expected="1")
        settle(journal, Settlement(entry=first, dropped=True, version="2"))
        assert entries(journal, folder) == [second]
        assert second.follows == first.id

    @pytest.mark.parametrize("state", EntryState, ids=lambda state: state.value)
    @promised_by(Settlement)
    def test_a_state_is_kept_with_its_reason(self, journal: Journal, folder: str, state: EntryState) -> None:
        """State, reason, and what was found and when, are kept; the rest stays as it was.

        A person decides by these what is to become of the write.
        """
        made = queued(journal, folder, "a", "b", "a", expected="1", principal_source="token", on_behalf_of="ops")
        for reason, found, when in (
            ("", None, None),
            ("caf\u00e9 'has' 7,\nnot 3", '7"', MOMENT),
            ("x", "absent", None),
        ):
            made[0] = made[0].replace(state=state, reason=reason, found=found, found_created=when)
            settle(journal, Settlement(entry=made[0]))
            assert entries(journal, folder) == made

    @promised_by(Settlement)
    def test_an_entry_that_is_set_aside_can_wait_again(self, journal: Journal, folder: str) -> None:
        """An entry that was set aside can wait again, over the version that is given, and keeps its place.

        A person has decided so, and what came after it is still to be made after it.
        """
        first, second = queued(journal, folder, "a", "b", expected="1")
        again = set_aside(journal, first).replace(state=EntryState.WAITING, reason="", found=None, expected="7")
        settle(journal, Settlement(entry=again))
        assert entries(journal, folder, waiting=True) == [again, second]
        assert recall(journal, first.place).entry == again

    @promised_by(SettleRequest)
    def test_many_entries_are_settled_at_once(self, journal: Journal, folder: str) -> None:
        """One request settles many entries, each in its own way.

        What has been made in one go is noted in one go, or a kill in between would have it made again.
        """
        made = queued(journal, folder, "a", "b", "c", "d", "a", "b")
        aside = made[2].replace(state=EntryState.REFUSED, reason="no")
        settle(
            journal,
            done(made[0], "5"),
            Settlement(entry=made[1], dropped=True),
            Settlement(entry=aside),
            done(made[3], None),
        )
        assert entries(journal, folder) == [aside, made[4].replace(follows=None, expected="5"), made[5]]

    @promised_by(SettleRequest)
    def test_nothing_to_settle_is_no_error(self, journal: Journal, folder: str) -> None:
        """A request without settlements raises nothing and changes nothing.

        The core notes what there is, and at times there is nothing.
        """
        made = queued(journal, folder, "a")
        settle(journal)
        assert entries(journal, folder) == made

    @promised_by(Settlement)
    def test_an_entry_that_is_gone_is_passed_over(self, journal: Journal, folder: str) -> None:
        """An entry that is gone is passed over with all that was to happen to it; the others are settled.

        Another process may have settled it; its copy may be newer than the one given here.
        """
        gone, second, other = queued(journal, folder, "a", "a", "b")
        settle(journal, Settlement(entry=gone, dropped=True))
        settle(journal, done(gone, "9", copy=copy_of(gone.place)), done(other, "3"))
        assert entries(journal, folder) == [second]
        assert kept(journal, gone.place) is None
        settle(journal, Settlement(entry=gone.replace(state=EntryState.UNCLEAR)))
        assert entries(journal, folder) == [second], "what was gone has come back"

    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
    @promised_by(Settlement)
    def test_a_write_that_is_made_becomes_the_copy(self, journal: Journal, folder: str, content: str | bytes) -> None:
        """A write that is made becomes the copy, exactly, whether there was one before or not.

        The next outage may begin before anybody has read the secret again.
        """
        for tail, created in (("with", MOMENT), ("without", None)):
            entry = queue(journal, entry_of(place(folder, tail), content))
            if tail == "with":
                keep(journal, copy_of(entry.place, "before", taken=1.5))
            copy = copy_of(entry.place, content, version="2", created=created, taken=1_764_295_872.123456)
            settle(journal, done(entry, copy=copy))
            assert kept(journal, entry.place) == copy

    @promised_by(SettleRequest)
    def test_a_write_that_is_made_replaces_a_copy_from_before_the_clock_was_set_back(
        self, journal: Journal, folder: str
    ) -> None:
        """A write that is made replaces a copy that was taken later than now, and no other newer one.

        After a clock was set back, what it dated into the future would stay in the way of all that comes.
        """
        ahead = copy_of(place(folder), "ahead", taken=2_000_000_000.0)
        keep(journal, ahead)
        copy = copy_of(ahead.place, version="2")
        for now, left in ((ahead.taken, ahead), (copy.taken, copy)):
            entry = queue(journal, entry_of(ahead.place))
            journal.settle(SettleRequest(settlements=(done(entry, copy=copy),), now=now))
            assert kept(journal, ahead.place) == left

    @promised_by(Settlement)
    def test_a_copy_is_forgotten_with_the_delete_that_is_made(self, journal: Journal, folder: str) -> None:
        """With ``drop_copy`` the copy of the entry's place is forgotten, and no other.

        A deleted secret must not come back in the next outage.
        """
        places = [place(folder), place(folder, "a/b"), place(folder, target="https://vault.example/other")]
        keep(journal, *map(copy_of, places))
        settle(journal, done(queue(journal, entry_of(places[0], None)), None, drop_copy=True))
        assert [kept(journal, where) for where in places] == [None, copy_of(places[1]), copy_of(places[2])]

    @promised_by(Settlement)
    def test_the_copy_stays_unless_it_is_said(self, journal: Journal, folder: str) -> None:
        """The copy stays unless an entry that is done says otherwise.

        What was dropped or set aside was not made, so the copy is still what the backend has.
        """
        copy = copy_of(place(folder))
        keep(journal, copy)
        newer = copy.replace(version="2", taken=copy.taken + 1)
        made = queued(journal, folder, "a", "a", "a", "a")
        settle(
            journal,
            done(made[0]),
            Settlement(entry=made[1], dropped=True, copy=newer),
            Settlement(entry=made[2], dropped=True, drop_copy=True),
            Settlement(entry=made[3].replace(state=EntryState.REFUSED), copy=newer, drop_copy=True),
        )
        assert kept(journal, copy.place) == copy

    @promised_by(JournalStatus)
    def test_entries_are_counted(self, journal: Journal, folder: str) -> None:
        """Waiting entries, those set aside, their bytes and the oldest are counted as they are.

        Alerts and ``strongroom journal`` go by these numbers.
        """
        assert status(journal, folder) == EMPTY
        made = [
            queue(journal, entry_of(place(folder, tail), content, queued=when, state=state))
            for tail, content, when, state in (
                ("a", "\u00e9" * 10, 30.25, EntryState.WAITING),
                ("b", None, 20.5, EntryState.UNCLEAR),
                ("c", bytes(100), 10.125, EntryState.WAITING),
                ("d", "", 40.0, EntryState.WAITING),
            )
        ]
        assert status(journal, folder) == JournalStatus(waiting=4, set_aside=0, size=120, oldest=10.125)
        set_aside(journal, made[2])
        assert status(journal, folder) == JournalStatus(waiting=3, set_aside=1, size=120, oldest=20.5)
        settle(journal, done(made[0]), done(made[1], None))
        assert status(journal, folder) == JournalStatus(waiting=1, set_aside=1, size=100, oldest=40.0)
        settle(journal, done(made[3]))
        assert status(journal, folder) == JournalStatus(waiting=0, set_aside=1, size=100, oldest=None)
        settle(journal, Settlement(entry=made[2], dropped=True))
        assert status(journal, folder) == EMPTY

    @pytest.mark.parametrize("state", SET_ASIDE, ids=lambda state: state.value)
    @promised_by(EntryState)
    def test_each_state_that_does_not_wait_is_set_aside(self, journal: Journal, folder: str, state: EntryState) -> None:
        """An entry in each state that does not wait counts as set aside, and is not among those that wait.

        It would be sent again although a person is to decide about it.
        """
        first, second = queued(journal, folder, "a", "b")
        set_aside(journal, first, state)
        assert (status(journal, folder).waiting, status(journal, folder).set_aside) == (1, 1)
        assert entries(journal, folder, waiting=True) == [second]

    @promised_by(JournalStatusRequest)
    def test_entries_are_counted_by_backend_and_target(self, journal: Journal, folder: str) -> None:
        """Entries are counted by backend, by target, by both, or all of them.

        Whether one backend's writes still wait says nothing of another's.
        """
        before = status(journal, None)
        other = "https://vault.example/other"
        queue(journal, entry_of(place(folder), "1"))
        queue(journal, entry_of(place(folder, target=other), "22", queued=5.0))
        set_aside(journal, queue(journal, entry_of(place(f"{folder}-2", target=other), "333")))
        assert status(journal, folder).size == 3
        assert status(journal, folder, TARGET).size == 1
        assert status(journal, folder, other) == JournalStatus(waiting=1, set_aside=0, size=2, oldest=5.0)
        assert status(journal, f"{folder}-2", other) == JournalStatus(waiting=0, set_aside=1, size=3, oldest=None)
        assert status(journal, f"{folder}-2", TARGET) == EMPTY
        assert status(journal, None, f"{TARGET}/{folder}") == EMPTY
        after = status(journal, None)
        assert (after.waiting, after.set_aside) == (before.waiting + 2, before.set_aside + 1)
        assert after.size == before.size + 6

    @promised_by(Journal.append)
    def test_a_refused_write_is_not_counted(self, journal: Journal, folder: str) -> None:
        """A write that was not accepted is not counted.

        Whoever wrote it has been told that it will not be made.
        """
        queued(journal, folder, "a")
        before = status(journal, folder)
        append(journal, entry_of(place(folder)))
        append(journal, entry_of(place(folder, "b")), max_entries=0)
        assert status(journal, folder) == before
