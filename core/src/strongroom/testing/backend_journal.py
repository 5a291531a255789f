"""Checks of a backend that also keeps copies of others' secrets: see ``Journal``."""

from __future__ import annotations

import itertools

from datetime import UTC, datetime

import pytest

from strongroom.contracts import (
    Backend,
    Capability,
    Copy,
    EntryState,
    Journal,
    KeepCopiesRequest,
    Place,
    RecallRequest,
    RecallResult,
)
from strongroom.errors import SecretNotFoundError
from strongroom.model import SecretName
from strongroom.testing.backend_journal_kit import (
    TARGET,
    JournalKit,
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
    settle,
)
from strongroom.testing.backend_kit import Seed, names_below, read, text_of, versions_of
from strongroom.testing.leaks import assert_hidden, marker_value
from strongroom.testing.promises import promised_by

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
WAITING = (EntryState.WAITING, EntryState.UNCLEAR)
SET_ASIDE = tuple(state for state in EntryState if state not in WAITING)

each_content = pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())


class CopyChecks(JournalKit):
    """Checks of copies of other backends' secrets."""

    @each_content
    @promised_by(Journal.keep_copies)
    def test_a_copy_comes_back_exactly(self, journal: Journal, folder: str, content: str | bytes) -> None:
        """A copy comes back with every byte, and as text if it was text.

        It stands in for the secret during an outage; an application must not see a difference.
        """
        copy = copy_of(place(folder), content)
        keep(journal, copy)
        assert kept(journal, copy.place) == copy

    @pytest.mark.parametrize("created", [None, MOMENT, MOMENT.replace(microsecond=0)])
    @promised_by(Copy)
    def test_what_is_known_of_a_copy_comes_back_exactly(
        self, journal: Journal, folder: str, created: datetime | None
    ) -> None:
        """Version, time of writing and time of taking come back to the last digit.

        By these the core tells a newer copy from an older one, and who reads it how old it is.
        """
        for version, taken in (("7", 1_764_295_872.123456), ("AWS/\u00e4 '\"\n", 0.1 + 0.2), ("v" * 500, 0.0)):
            copy = copy_of(place(folder, f"taken-{taken}"), version=version, created=created, taken=taken)
            keep(journal, copy)
            assert kept(journal, copy.place) == copy

    @promised_by(KeepCopiesRequest)
    def test_a_copy_replaces_the_one_before(self, journal: Journal, folder: str) -> None:
        """A copy replaces the one before as a whole, if it was taken at the same moment, too.

        Content of one with the version of another would be a secret that never was.
        """
        where = place(folder)
        for taken, content in ((5.0, "a much longer first"), (5.0, b"second"), (6.0, "")):
            copy = copy_of(where, content, version=f"of {taken}", taken=taken)
            keep(journal, copy)
            assert kept(journal, where) == copy

    @promised_by(KeepCopiesRequest)
    def test_an_older_copy_never_replaces_a_newer_one(self, journal: Journal, folder: str) -> None:
        """A copy that was taken earlier does not replace one that was taken later, in whichever order they come.

        Two readers may bring them in the wrong order; the older value may have stopped working.
        """
        newer = copy_of(place(folder), "newer", taken=1_750_000_000.000002)
        older = copy_of(place(folder), "older", version="2", taken=1_750_000_000.000001)
        keep(journal, newer)
        keep(journal, older)
        assert kept(journal, newer.place) == newer
        drop(journal, newer.place)
        keep(journal, newer, older)
        assert kept(journal, newer.place) == newer

    @promised_by(KeepCopiesRequest)
    def test_a_copy_from_before_the_clock_was_set_back_is_replaced(self, journal: Journal, folder: str) -> None:
        """A copy that was taken later than now is replaced by any; others are not replaced by older ones.

        After a clock was set back, what it dated into the future would stay in the way of all that comes.
        """
        ahead = copy_of(place(folder), "ahead", taken=2_000_000_000.0)
        keep(journal, ahead, now=ahead.taken)
        first = copy_of(place(folder), "first", version="2", taken=1_750_000_000.0)
        keep(journal, first, now=ahead.taken)
        assert kept(journal, first.place) == ahead
        keep(journal, first, now=first.taken)
        assert kept(journal, first.place) == first
        keep(journal, first.replace(taken=first.taken - 1), now=first.taken)
        assert kept(journal, first.place) == first

    @promised_by(Place)
    def test_copies_of_places_that_look_alike_are_apart(self, journal: Journal, folder: str) -> None:
        """Places that differ in backend, target or name have copies of their own.

        One account's secret would be handed to whoever reads another's.
        """
        places = look_alikes(folder)
        copies = [copy_of(where, f"content {number}") for number, where in enumerate(places)]
        keep(journal, *copies)
        assert [kept(journal, where) for where in places] == copies
        drop(journal, places[0])
        assert [kept(journal, where) for where in places] == [None, *copies[1:]]

    @promised_by(Journal.recall)
    def test_what_was_never_kept_is_not_known(self, journal: Journal, folder: str) -> None:
        """Of what was never kept there is neither copy nor write, and forgetting it is no error.

        The core asks about every name when an outage begins.
        """
        drop(journal, place(folder))
        assert recall(journal, place(folder)) == RecallResult(copy=None, entry=None)

    @promised_by(Journal.drop_copies)
    def test_copies_are_dropped_together(self, journal: Journal, folder: str) -> None:
        """One request forgets all of its copies, with some among them that are not there.

        A copy that stays after its secret was deleted would be served in the next outage.
        """
        places = [place(folder, tail) for tail in ("a", "b", "c")]
        keep(journal, copy_of(places[0]), copy_of(places[2]))
        drop(journal, *places)
        assert [kept(journal, where) for where in places] == [None] * 3

    @promised_by(Journal.drop_copies)
    def test_a_dropped_copy_can_be_kept_again(self, journal: Journal, folder: str) -> None:
        """After a copy was forgotten an older one can be kept.

        What was forgotten has no say: there is nothing newer to be protected.
        """
        older = copy_of(place(folder), "older", taken=1.0)
        keep(journal, copy_of(place(folder), "newer", taken=2.0))
        drop(journal, older.place)
        keep(journal, older)
        assert kept(journal, older.place) == older

    @promised_by(Journal)
    def test_copies_and_entries_are_no_secrets(self, journal: Journal, backend: Backend, folder: str) -> None:
        """Copies and waiting writes are neither read nor listed as secrets, and have no versions there.

        They belong to other backends, and only the core may hand them out, once policy and detectors have agreed.
        """
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

    @promised_by(Journal)
    def test_a_secret_a_copy_and_an_entry_of_one_name_are_apart(
        self, journal: Journal, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A secret of its own, a copy and a waiting write of one name do not touch each other.

        The name of another backend's secret may well be one of its own.
        """
        name = seed(f"{folder}/both", "the secret")
        copy = copy_of(place(folder, "both"), "the copy")
        keep(journal, copy)
        entry = queue(journal, entry_of(copy.place, "the entry"))
        assert text_of(backend, name) == "the secret"
        assert recall(journal, copy.place) == RecallResult(copy=copy, entry=entry)
        drop(journal, copy.place)
        settle(journal, done(entry))
        assert text_of(backend, name) == "the secret"

    @promised_by(RecallRequest)
    def test_a_write_that_waits_is_left_out_where_only_the_copy_is_asked_for(
        self, journal: Journal, folder: str
    ) -> None:
        """With ``copy_only`` the copy is returned, and no write that waits.

        A write that cannot be read must stop nobody from reading the copy.
        """
        copy = copy_of(place(folder))
        keep(journal, copy)
        queue(journal, entry_of(copy.place))
        request = RecallRequest(place=copy.place, copy_only=True)
        assert journal.recall(request) == RecallResult(copy=copy, entry=None)

    @promised_by(Backend)
    def test_no_value_in_what_a_journal_shows(self, journal: Journal, folder: str) -> None:
        """Neither requests, results nor the journal itself show a value in ``repr`` or ``str``.

        They end up in logs and in the reports of error trackers.
        """
        marker = marker_value()
        copy = copy_of(place(folder), marker)
        keep(journal, copy)
        entry = queue(journal, entry_of(copy.place, marker))
        shown = (copy, done(entry, copy=copy), recall(journal, copy.place), entries(journal, folder), journal)
        for one in shown:
            assert_hidden(marker, f"{one!r} {one!s}", f"the repr of a {type(one).__name__}")


def look_alikes(folder: str) -> list[Place]:
    """Return places that a careless key would mix up."""
    backends = (folder, f"{folder}/x", f"{folder}-2", folder.upper())
    targets = (TARGET, f"{TARGET}/a", TARGET.upper(), "x")
    names = ("a", "a/b", "b", "x/a", "A")
    return [
        Place(backend=backend, target=target, name=SecretName(name))
        for backend, target, name in itertools.product(backends, targets, names)
    ]
