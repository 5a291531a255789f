"""Checks of listing names."""

from __future__ import annotations

import pytest

from strongroom.contracts import Backend, Capability, ListRequest
from strongroom.errors import UnsupportedOperationError
from strongroom.model import SecretName
from strongroom.testing.backend_kit import BackendKit, Seed, delete, names_below, text_of, write


class ListingChecks(BackendKit):
    """Checks of listing names."""

    def test_a_listing_is_complete_and_sorted(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Every name once, in the order of its text, however they were written."""
        self.need(Capability.LIST)
        names = sorted(seed(f"{folder}/{number:03}", "content") for number in (5, 30, 1, 12, 7, 100, 2))
        assert names_below(backend, folder) == names

    def test_a_listing_goes_into_every_depth(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Names in folders below are listed in full, the folders themselves are not."""
        self.need(Capability.LIST)
        names = [seed(f"{folder}/{tail}", "content") for tail in ("a", "b/c", "b/d/e/f")]
        assert names_below(backend, folder) == names

    def test_one_level_tells_of_all_that_is_below(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Asked for one level, a backend names what is directly there, and what is deeper or the folder it is in."""
        self.need(Capability.LIST)
        names = [seed(f"{folder}/{tail}", "content") for tail in ("a", "b/c", "b/d/e", "f", "f/g")]
        seed(f"{folder}x/a", "content")
        found = backend.list(ListRequest(prefix=folder, recursive=False))
        assert set(found.names) <= set(names), "it holds another folder's names"
        assert {f"{folder}/a", f"{folder}/f"} <= set(found.names)
        told = set(found.names).union(*({name for name in names if name.is_below(one)} for one in found.folders))
        assert told == set(names)
        assert set(found.folders) <= {f"{folder}/b", f"{folder}/f"}

    def test_a_prefix_is_made_of_whole_segments(self, backend: Backend, seed: Seed, folder: str) -> None:
        """``db`` lists ``db/...``, but neither ``db`` itself nor ``dbx`` nor ``x/db``."""
        self.need(Capability.LIST)
        for tail in ("db", "db/a", "db/b/c", "dbx", "dbx/a", "x/db/a", "d/b/a"):
            seed(f"{folder}/{tail}", "content")
        assert names_below(backend, f"{folder}/db") == [f"{folder}/db/a", f"{folder}/db/b/c"]

    def test_a_prefix_is_not_a_pattern(self, backend: Backend, seed: Seed, folder: str) -> None:
        """``_``, ``%`` and ``*`` stand for themselves, whatever they mean to the storage."""
        self.need(Capability.LIST)
        seed(f"{folder}/axb/name", "content")
        for prefix in (f"{folder}/a_b", f"{folder}/a%", f"{folder}/*", f"{folder}/a.b", f"{folder}/A"):
            assert names_below(backend, prefix) == [], f"the prefix {prefix} matched another folder"

    def test_a_listing_of_nothing_is_empty(self, backend: Backend, folder: str) -> None:
        """An empty folder is no error."""
        self.need(Capability.LIST)
        assert names_below(backend, f"{folder}/nothing") == []

    def test_a_listing_of_everything_holds_every_name(self, backend: Backend, seed: Seed, folder: str) -> None:
        """The empty prefix means all; other names may be there, too."""
        self.need(Capability.LIST)
        names = {seed(f"{folder}/{tail}", "content") for tail in ("a", "b/c")}
        listed = names_below(backend, "")
        assert names <= set(listed)
        assert listed == sorted(set(listed)), "the listing is not sorted, or holds a name twice"

    def test_listed_names_are_canonical_and_readable(self, backend: Backend, seed: Seed, folder: str) -> None:
        """What is listed can be handed to a read as it is."""
        self.need(Capability.LIST)
        seed(f"{folder}/a/b", "content")
        listed = names_below(backend, folder)
        assert [type(name) for name in listed] == [SecretName]
        assert text_of(backend, listed[0]) == "content"

    def test_a_deleted_secret_is_not_listed(self, backend: Backend, folder: str) -> None:
        """Whatever the backend keeps of it, to a user it is gone."""
        self.need(Capability.LIST, Capability.WRITE)
        for tail in ("a", "b", "c"):
            write(backend, f"{folder}/{tail}", "content")
        delete(backend, f"{folder}/b")
        assert names_below(backend, folder) == [f"{folder}/a", f"{folder}/c"]

    def test_an_overwritten_secret_is_listed_once(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Versions are not names."""
        self.need(Capability.LIST)
        seed(f"{folder}/a", "first")
        seed(f"{folder}/a", "second")
        assert names_below(backend, folder) == [f"{folder}/a"]

    def test_listing_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """A backend that leaves LIST out does not list."""
        self.need_missing(Capability.LIST)
        with pytest.raises(UnsupportedOperationError):
            names_below(backend, folder)
