"""Checks of a backend that also keeps copies and writes that wait: see ``Journal``."""

from __future__ import annotations

import itertools

from datetime import UTC, datetime

import pytest

from strongroom.contracts import (
    Appended,
    Backend,
    Capability,
    Entry,
    EntryState,
    Journal,
    Place,
    RecallRequest,
    RecallResult,
)
from strongroom.errors import SecretNotFoundError
from strongroom.model import MAX_NAME_BYTES, SecretName
from strongroom.testing.backend_journal_kit import (
    TARGET,
    JournalKit,
    append,
    copy_of,
    done,
    drop,
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
from strongroom.testing.backend_kit import Seed, names_below, new_token, read, text_of, versions_of
from strongroom.testing.leaks import assert_hidden, marker_value

CONTENTS = {
    "text": "content",
    "blanks at its ends": " \n content \n\0 ",
    "letters in two spellings": "caf\u00e9 cafe\u0301 \U0001f511",
    "a number": "007",
    "empty text": "",
    "empty bytes": b"",
    "bytes that are text": b"content",
    "every byte": bytes(range(256)),
    "large": b"\0\xff" * 32_000,
}
MOMENT = datetime(2031, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
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
WAITING = (EntryState.WAITING, EntryState.UNCLEAR)
SET_ASIDE = tuple(state for state in EntryState if state not in WAITING)

each_content = pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())


class CopyChecks(JournalKit):
    """Checks of copies of other backends' secrets."""

    @each_content
    def test_a_copy_comes_back_exactly(self, journal: Journal, folder: str, content: str | bytes) -> None:
        """Each byte, and whether it was text."""
        copy = copy_of(place(folder), content)
        keep(journal, copy)
        assert kept(journal, copy.place) == copy

    @pytest.mark.parametrize("created", [None, MOMENT, MOMENT.replace(microsecond=0)])
    def test_what_is_known_of_a_copy_comes_back_exactly(
        self, journal: Journal, folder: str, created: datetime | None
    ) -> None:
        """Its version, and both times to the last digit."""
        for version, taken in (("7", 1_764_295_872.123456), ("AWS/\u00e4 '\"\n", 0.1 + 0.2), ("v" * 500, 0.0)):
            copy = copy_of(place(folder, f"taken-{taken}"), version=version, created=created, taken=taken)
            keep(journal, copy)
            assert kept(journal, copy.place) == copy

    def test_a_copy_replaces_the_one_before(self, journal: Journal, folder: str) -> None:
        """As a whole, also if it was taken at the same moment."""
        where = place(folder)
        for taken, content in ((5.0, "a much longer first"), (5.0, b"second"), (6.0, "")):
            copy = copy_of(where, content, version=f"of {taken}", taken=taken)
            keep(journal, copy)
            assert kept(journal, where) == copy

    def test_an_older_copy_never_replaces_a_newer_one(self, journal: Journal, folder: str) -> None:
        """Two readers may bring them in the wrong order: by one request or two."""
        newer = copy_of(place(folder), "newer", taken=1_750_000_000.000002)
        older = copy_of(place(folder), "older", version="2", taken=1_750_000_000.000001)
        keep(journal, newer)
        keep(journal, older)
        assert kept(journal, newer.place) == newer
        drop(journal, newer.place)
        keep(journal, newer, older)
        assert kept(journal, newer.place) == newer

    def test_a_copy_from_before_the_clock_was_set_back_is_replaced(self, journal: Journal, folder: str) -> None:
        """By whatever comes then; one that was taken just now is none of those."""
        ahead = copy_of(place(folder), "ahead", taken=2_000_000_000.0)
        keep(journal, ahead, now=ahead.taken)
        first = copy_of(place(folder), "first", version="2", taken=1_750_000_000.0)
        keep(journal, first, now=ahead.taken)
        assert kept(journal, first.place) == ahead
        keep(journal, first, now=first.taken)
        assert kept(journal, first.place) == first
        keep(journal, first.replace(taken=first.taken - 1), now=first.taken)
        assert kept(journal, first.place) == first

    def test_copies_of_places_that_look_alike_are_apart(self, journal: Journal, folder: str) -> None:
        """The same name in two backends, in two accounts, in two folders."""
        places = look_alikes(folder)
        copies = [copy_of(where, f"content {number}") for number, where in enumerate(places)]
        keep(journal, *copies)
        assert [kept(journal, where) for where in places] == copies
        drop(journal, places[0])
        assert [kept(journal, where) for where in places] == [None, *copies[1:]]

    def test_what_was_never_kept_is_not_known(self, journal: Journal, folder: str) -> None:
        """That is no error, and neither is forgetting it."""
        drop(journal, place(folder))
        assert recall(journal, place(folder)) == RecallResult(copy=None, entry=None)

    def test_copies_are_dropped_together(self, journal: Journal, folder: str) -> None:
        """Those that are there, with others in between that are not."""
        places = [place(folder, tail) for tail in ("a", "b", "c")]
        keep(journal, copy_of(places[0]), copy_of(places[2]))
        drop(journal, *places)
        assert [kept(journal, where) for where in places] == [None] * 3

    def test_a_dropped_copy_can_be_kept_again(self, journal: Journal, folder: str) -> None:
        """Even an older one: what was forgotten has no say."""
        older = copy_of(place(folder), "older", taken=1.0)
        keep(journal, copy_of(place(folder), "newer", taken=2.0))
        drop(journal, older.place)
        keep(journal, older)
        assert kept(journal, older.place) == older

    def test_copies_and_entries_are_no_secrets(self, journal: Journal, backend: Backend, folder: str) -> None:
        """They are neither read nor listed under their names, and have no versions there."""
        keep(journal, copy_of(place(folder)))
        queued(journal, folder, "a", "b")
        for tail in ("a", "b"):
            with pytest.raises(SecretNotFoundError):
                read(backend, f"{folder}/{tail}")
            if Capability.VERSIONS in self.capabilities:
                with pytest.raises(SecretNotFoundError):
                    versions_of(backend, f"{folder}/{tail}")
        if Capability.LIST in self.capabilities:
            assert names_below(backend, folder) == []

    def test_a_secret_a_copy_and_an_entry_of_one_name_are_apart(
        self, journal: Journal, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The name of another backend's secret may be one of its own."""
        name = seed(f"{folder}/both", "the secret")
        copy = copy_of(place(folder, "both"), "the copy")
        keep(journal, copy)
        entry = queue(journal, entry_of(copy.place, "the entry"))
        assert text_of(backend, name) == "the secret"
        assert recall(journal, copy.place) == RecallResult(copy=copy, entry=entry)
        drop(journal, copy.place)
        settle(journal, done(entry))
        assert text_of(backend, name) == "the secret"

    def test_a_write_that_waits_is_left_out_where_only_the_copy_is_asked_for(
        self, journal: Journal, folder: str
    ) -> None:
        """So that one which cannot be read stops nobody from reading the copy."""
        copy = copy_of(place(folder))
        keep(journal, copy)
        queue(journal, entry_of(copy.place))
        request = RecallRequest(place=copy.place, copy_only=True)
        assert journal.recall(request) == RecallResult(copy=copy, entry=None)

    def test_no_value_in_what_a_journal_shows(self, journal: Journal, folder: str) -> None:
        """Neither in requests and results nor in the journal itself."""
        marker = marker_value()
        copy = copy_of(place(folder), marker)
        keep(journal, copy)
        entry = queue(journal, entry_of(copy.place, marker))
        shown = (copy, done(entry, copy=copy), recall(journal, copy.place), entries(journal, folder), journal)
        for one in shown:
            assert_hidden(marker, f"{one!r} {one!s}", f"the repr of a {type(one).__name__}")


class AppendChecks(JournalKit):
    """Checks of accepting writes, and of looking at what was accepted."""

    @each_content
    def test_an_entry_comes_back_exactly(self, journal: Journal, folder: str, content: str | bytes) -> None:
        """Each byte, and whether it was text."""
        entry = queue(journal, entry_of(place(folder), content))
        assert entries(journal, folder) == [entry]
        assert recall(journal, entry.place).entry == entry

    @pytest.mark.parametrize("state", WAITING, ids=lambda state: state.value)
    def test_what_is_known_of_an_entry_comes_back_exactly(
        self, journal: Journal, folder: str, state: EntryState
    ) -> None:
        """Who wrote, when, over what, and how it stands."""
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

    def test_positions_tell_the_order(self, journal: Journal, folder: str) -> None:
        """Over all names, from 1, and none comes twice: not even after the last entry is gone."""
        made = queued(journal, folder, "b", "a", "b", "c")
        settle(journal, done(made[-1]))
        made += queued(journal, folder, "c", "a")
        positions = [entry.position for entry in made]
        assert positions[0] >= 1
        assert positions == sorted(set(positions)), f"the positions are {positions}"
        assert entries(journal, folder) == [*made[:3], *made[4:]]

    def test_the_newest_write_that_waits_is_recalled(self, journal: Journal, folder: str) -> None:
        """Beside the copy; also if nobody knows whether it was made."""
        keep(journal, copy_of(place(folder)))
        for state in WAITING:
            entry = queue(journal, entry_of(place(folder), f"now {state.value}", state=state))
            queued(journal, folder, "another")
            assert recall(journal, place(folder)) == RecallResult(copy=copy_of(place(folder)), entry=entry)

    @pytest.mark.parametrize("state", SET_ASIDE, ids=lambda state: state.value)
    def test_what_is_set_aside_is_not_recalled(self, journal: Journal, folder: str, state: EntryState) -> None:
        """An older one that waits is, if there is one; and it is what the next one follows."""
        older, newer = queued(journal, folder, "a", "a")
        set_aside(journal, newer, state)
        assert recall(journal, older.place).entry == older
        set_aside(journal, older, state)
        assert recall(journal, older.place).entry is None
        assert append(journal, entry_of(older.place)).outcome is Appended.YES

    def test_entries_of_places_that_look_alike_are_apart(self, journal: Journal, folder: str) -> None:
        """The same name in two backends, in two accounts, in two folders: none follows another's."""
        places = look_alikes(folder)
        made = []
        for number, where in enumerate(places):
            entry = entry_of(where, f"content {number}")
            added = append(journal, entry)
            assert added.outcome is Appended.YES, f"{where} is taken for another place"
            made.append(entry.replace(position=added.position))
        assert [recall(journal, where).entry for where in places] == made

    def test_a_write_that_follows_another_than_the_newest_is_not_accepted(self, journal: Journal, folder: str) -> None:
        """Another one was accepted meanwhile, or the one before it is gone: nothing changes."""
        where = place(folder)
        aside = set_aside(journal, queue(journal, entry_of(where)))
        stranger = queue(journal, entry_of(place(folder, "another")))
        assert append(journal, entry_of(where, follows=new_token())).outcome is Appended.MOVED
        older, newer = queued(journal, folder, "a", "a")
        for follows in (None, new_token(), aside.id, stranger.id, older.id):
            assert append(journal, entry_of(where, follows=follows)).outcome is Appended.MOVED
        assert entries(journal, folder) == [aside, stranger, older, newer]

    def test_a_journal_is_full_of_entries(self, journal: Journal, folder: str) -> None:
        """At exactly the limit, those of other backends and those set aside among them; then nothing changes."""
        others = len(entries(journal, None))
        made = queued(journal, folder, "a", "b")
        made[0] = set_aside(journal, made[0])
        made.append(queue(journal, entry_of(place(folder, "c").replace(backend=f"{folder}-2"))))
        more = entry_of(place(folder, "d"))
        assert append(journal, more, max_entries=others + 3).outcome is Appended.FULL
        assert recall(journal, more.place).entry is None
        assert entries(journal, folder) == made[:2]
        assert append(journal, more, max_entries=others + 4).outcome is Appended.YES

    def test_a_journal_is_full_of_bytes(self, journal: Journal, folder: str) -> None:
        """Of UTF-8, at exactly the limit, those of other backends and those set aside among them."""
        others = status(journal, None).size
        aside = set_aside(journal, queue(journal, entry_of(place(folder), "\u00e9" * 10)))
        elsewhere = queue(journal, entry_of(place(folder, "b").replace(backend=f"{folder}-2"), bytes(30)))
        more = entry_of(place(folder, "c"), "x" * 50)
        assert append(journal, more, max_bytes=others + 99).outcome is Appended.FULL
        assert entries(journal, folder) + entries(journal, f"{folder}-2") == [aside, elsewhere]
        assert append(journal, more, max_bytes=others + 100).outcome is Appended.YES
        assert append(journal, entry_of(place(folder, "d"), None), max_bytes=others + 100).outcome is Appended.YES

    def test_what_is_settled_makes_room(self, journal: Journal, folder: str) -> None:
        """For as much as there was."""
        others = status(journal, None).size
        count = len(entries(journal, None))
        made = queue(journal, entry_of(place(folder), "x" * 50))
        limits = {"max_entries": count + 1, "max_bytes": others + 50}
        more = entry_of(place(folder, "b"), "y" * 50)
        assert append(journal, more, **limits).outcome is Appended.FULL
        settle(journal, done(made))
        assert append(journal, more, **limits).outcome is Appended.YES

    def test_entries_are_found_by_what_is_asked(self, journal: Journal, folder: str) -> None:
        """By each of it, and by all of it together."""
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

    def test_an_entry_is_found_by_its_id(self, journal: Journal, folder: str) -> None:
        """Whoever's it is; one that is gone is not found, and what else is asked holds, too."""
        made = queued(journal, folder, "a", "b", "a")
        set_aside(journal, made[0])
        assert entries(journal, None, id=made[1].id) == [made[1]]
        assert entries(journal, folder, id=made[0].id, waiting=True) == []
        assert entries(journal, f"{folder}-2", id=made[1].id) == []
        settle(journal, done(made[1]))
        assert entries(journal, None, id=made[1].id) == []

    def test_odd_and_long_names_have_copies_and_entries(self, journal: Journal, folder: str) -> None:
        """Exactly those, however long they are, and whatever is in them."""
        longest = "\u00e9" * ((MAX_NAME_BYTES - len(folder) - 1) // 2)
        places = [place(folder, tail, "https://vault.example/" + "n\u00e9/" * 300) for tail in (*NAMES, longest)]
        keep(journal, *(copy_of(where, f"copy {number}") for number, where in enumerate(places)))
        made = [queue(journal, entry_of(where, f"entry {number}")) for number, where in enumerate(places)]
        assert entries(journal, folder) == made
        for number, where in enumerate(places):
            assert recall(journal, where) == RecallResult(copy=copy_of(where, f"copy {number}"), entry=made[number])


def look_alikes(folder: str) -> list[Place]:
    """Return places that a careless key would mix up."""
    backends = (folder, f"{folder}/x", f"{folder}-2", folder.upper())
    targets = (TARGET, f"{TARGET}/a", TARGET.upper(), "x")
    names = ("a", "a/b", "b", "x/a", "A")
    return [
        Place(backend=backend, target=target, name=SecretName(name))
        for backend, target, name in itertools.product(backends, targets, names)
    ]


def _is_asked(entry: Entry, target: str | None, waiting: bool, after: int) -> bool:
    return target in (None, entry.place.target) and (entry.state.waits or not waiting) and entry.position > after
