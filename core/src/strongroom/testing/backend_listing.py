"""Checks of listing names."""

from __future__ import annotations

import pytest

from strongroom.contracts import Backend, Capability, ListRequest, ListResult
from strongroom.errors import UnsupportedOperationError
from strongroom.model import SecretName
from strongroom.testing.backend_kit import BackendKit, Seed, delete, names_below, text_of, write
from strongroom.testing.promises import promised_by


class ListingChecks(BackendKit):
    """Checks of listing names."""

    @promised_by(ListResult)
    def test_a_listing_is_complete_and_sorted(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A listing holds every name below the prefix once, sorted by its text.

        Batch jobs and exports go by it: a name that is missing is a secret that is missing.
        """
        self.need(Capability.LIST)
        names = sorted(seed(f"{folder}/{number:03}", "content") for number in (5, 30, 1, 12, 7, 100, 2))
        assert names_below(backend, folder) == names

    @promised_by(ListResult)
    def test_a_listing_goes_into_every_depth(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Names in folders below are listed in full, and folders are not.

        What is listed is what can be read; a folder cannot be.
        """
        self.need(Capability.LIST)
        names = [seed(f"{folder}/{tail}", "content") for tail in ("a", "b/c", "b/d/e/f")]
        assert names_below(backend, folder) == names

    @promised_by(ListRequest)
    def test_one_level_tells_of_all_that_is_below(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Asked for one level, a listing names what is directly there, and what is deeper or its folder.

        Whoever walks through folders must find everything, and nothing that is not there.
        """
        self.need(Capability.LIST)
        names = [seed(f"{folder}/{tail}", "content") for tail in ("a", "b/c", "b/d/e", "f", "f/g")]
        seed(f"{folder}x/a", "content")
        found = backend.list(ListRequest(prefix=folder, recursive=False))
        assert set(found.names) <= set(names), "it holds another folder's names"
        assert {f"{folder}/a", f"{folder}/f"} <= set(found.names)
        told = set(found.names).union(*({name for name in names if name.is_below(one)} for one in found.folders))
        assert told == set(names)
        assert set(found.folders) <= {f"{folder}/b", f"{folder}/f"}

    @promised_by(ListRequest)
    def test_a_prefix_is_made_of_whole_segments(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The prefix ``db`` lists ``db/...``, but neither ``db`` itself nor ``dbx`` nor ``x/db``.

        Policies grant whole segments; a listing that goes further shows names that were not granted.
        """
        self.need(Capability.LIST)
        for tail in ("db", "db/a", "db/b/c", "dbx", "dbx/a", "x/db/a", "d/b/a"):
            seed(f"{folder}/{tail}", "content")
        assert names_below(backend, f"{folder}/db") == [f"{folder}/db/a", f"{folder}/db/b/c"]

    @promised_by(ListRequest)
    def test_a_prefix_is_not_a_pattern(self, backend: Backend, seed: Seed, folder: str) -> None:
        """``_``, ``%``, ``*`` and ``.`` in a prefix stand for themselves, and case counts.

        They mean something to many storages; a prefix would list, and batch jobs change, other folders.
        """
        self.need(Capability.LIST)
        seed(f"{folder}/axb/name", "content")
        for prefix in (f"{folder}/a_b", f"{folder}/a%", f"{folder}/*", f"{folder}/a.b", f"{folder}/A"):
            assert names_below(backend, prefix) == [], f"the prefix {prefix} matched another folder"

    @promised_by(Backend.list)
    def test_a_listing_of_nothing_is_empty(self, backend: Backend, folder: str) -> None:
        """Listing a folder that does not exist gives no names and no error.

        Folders are only parts of names: one without secrets is not there, and nobody has to make it.
        """
        self.need(Capability.LIST)
        assert names_below(backend, f"{folder}/nothing") == []

    @promised_by(ListRequest)
    def test_a_listing_of_everything_holds_every_name(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The empty prefix lists every name, sorted and once.

        Backups and audits begin with it.
        """
        self.need(Capability.LIST)
        names = {seed(f"{folder}/{tail}", "content") for tail in ("a", "b/c")}
        listed = names_below(backend, "")
        assert names <= set(listed)
        assert listed == sorted(set(listed)), "the listing is not sorted, or holds a name twice"

    @promised_by(ListResult)
    def test_listed_names_are_canonical_and_readable(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Each listed name is a ``SecretName``, and a read takes it as it is.

        A backend that spells names in its own way must spell them back.
        """
        self.need(Capability.LIST)
        seed(f"{folder}/a/b", "content")
        listed = names_below(backend, folder)
        assert [type(name) for name in listed] == [SecretName]
        assert text_of(backend, listed[0]) == "content"

    @promised_by(ListResult)
    def test_a_deleted_secret_is_not_listed(self, backend: Backend, folder: str) -> None:
        """After a delete, a listing holds the other names only.

        Whatever the backend keeps of it, to those who read it is gone.
        """
        self.need(Capability.LIST, Capability.WRITE)
        for tail in ("a", "b", "c"):
            write(backend, f"{folder}/{tail}", "content")
        delete(backend, f"{folder}/b")
        assert names_below(backend, folder) == [f"{folder}/a", f"{folder}/c"]

    @promised_by(ListResult)
    def test_an_overwritten_secret_is_listed_once(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A secret with several versions is listed once.

        Versions are not names; a batch job would do its work twice.
        """
        self.need(Capability.LIST)
        seed(f"{folder}/a", "first")
        seed(f"{folder}/a", "second")
        assert names_below(backend, folder) == [f"{folder}/a"]

    @promised_by(Backend.list)
    def test_listing_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """A backend without ``LIST`` raises ``UnsupportedOperationError`` when it is asked to list.

        An empty listing would be taken for an empty store.
        """
        self.need_missing(Capability.LIST)
        with pytest.raises(UnsupportedOperationError):
            names_below(backend, folder)
