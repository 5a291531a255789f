"""Checks of a backend that also keeps deleted versions, or notes: see ``Recoverable`` and ``Describing``."""

from __future__ import annotations

from typing import TypeGuard

import pytest

from strongroom.contracts import (
    AnnotateRequest,
    Backend,
    Capability,
    DescribeRequest,
    Describing,
    DestroyRequest,
    Recoverable,
    UndeleteRequest,
)
from strongroom.errors import (
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName
from strongroom.testing.backend_kit import (
    BackendKit,
    Seed,
    delete,
    names_below,
    read,
    text_of,
    versions_of,
    write,
)
from strongroom.testing.leaks import assert_hidden, marker_value

NOTES = {"owner": "team shop", "Owner": "somebody else", "umlaut": "Schlüssel: 3 + 4"}
"""Of letters, digits, blanks and ``_.:/=+-@``, which is the least that a backend with notes holds."""
ODD_NOTES = {"owner": "team shop", "what?": "Schlüssel: 3 %", "symbol": "<b>\U0001f511</b>"}
"""What not every backend holds."""


class ListedChecks(BackendKit):
    """What both kinds of checks look at where the backend can list."""

    def assert_listed(self, backend: Backend, folder: str, *tails: str) -> None:
        """Check that a folder holds these names and no others."""
        if Capability.LIST in self.capabilities:
            assert sorted(names_below(backend, folder)) == [f"{folder}/{tail}" for tail in tails]


class RecoveryChecks(ListedChecks):
    """Checks of undeleting and destroying; they are left out for a backend that is not ``Recoverable``."""

    @pytest.fixture
    def recovery(self, backend: Backend) -> Recoverable:
        """Return the backend under test as one that keeps what was deleted."""
        if not keeps_deleted(backend):
            # The interface is optional.
            pytest.skip("the backend is not Recoverable")
        return backend

    def test_what_was_deleted_comes_back_exactly(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """With its value and its version, to a read as to a listing."""
        version = write(backend, f"{folder}/a", "content").version
        delete(backend, f"{folder}/a")
        assert undelete(recovery, f"{folder}/a") == version
        assert text_of(backend, f"{folder}/a") == "content"
        assert read(backend, f"{folder}/a").version == version
        self.assert_listed(backend, folder, "a")

    def test_an_older_version_comes_back_by_its_number(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """What was written after it stays the current version; who knows whole secrets only refuses."""
        self.need(Capability.VERSIONS)
        first = write(backend, f"{folder}/a", "first").version
        if self.writes_over_deleted:
            delete(backend, f"{folder}/a")
        second = write(backend, f"{folder}/a", "second").version
        if self.recovers_versions:
            assert undelete(recovery, f"{folder}/a", first) == first
            assert text_of(backend, f"{folder}/a", first) == "first"
        else:
            with pytest.raises(UnsupportedOperationError):
                undelete(recovery, f"{folder}/a", first)
        assert read(backend, f"{folder}/a").version == second
        assert text_of(backend, f"{folder}/a") == "second"

    def test_undeleting_what_is_not_deleted_changes_nothing(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """It is no error, and says which version is there."""
        self.need(Capability.VERSIONS)
        version = write(backend, f"{folder}/a", "content").version
        assert undelete(recovery, f"{folder}/a") == version
        assert [found.version for found in versions_of(backend, f"{folder}/a")] == [version]
        assert text_of(backend, f"{folder}/a") == "content"

    def test_what_never_was_cannot_be_undeleted(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """Neither a name nor a version."""
        with pytest.raises(SecretNotFoundError):
            undelete(recovery, f"{folder}/absent")
        write(backend, f"{folder}/a", "content")
        with pytest.raises(self._refusals()):
            undelete(recovery, f"{folder}/a", "7777")
        assert text_of(backend, f"{folder}/a") == "content"

    def _refusals(self) -> tuple[type[StrongroomError], ...]:
        """Return what may be said of a version that never was: who knows whole secrets only need not look."""
        return (SecretNotFoundError,) if self.recovers_versions else (SecretNotFoundError, UnsupportedOperationError)

    def _refuses_to_destroy(self, recovery: Recoverable, name: str, version: str) -> bool:
        """Check that one version is not destroyed where only whole secrets are; tell whether that is so."""
        if self.recovers_versions:
            return False
        with pytest.raises(UnsupportedOperationError):
            destroy(recovery, name, version)
        return True

    def test_a_destroyed_version_never_comes_back(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """Reading it and undeleting it say so, and the other versions are left alone; or it is not destroyed."""
        self.need(Capability.VERSIONS)
        first = write(backend, f"{folder}/a", "first").version
        second = write(backend, f"{folder}/a", "second").version
        if self._refuses_to_destroy(recovery, f"{folder}/a", first):
            assert (text_of(backend, f"{folder}/a"), text_of(backend, f"{folder}/a", first)) == ("second", "first")
            return
        assert destroy(recovery, f"{folder}/a", first)
        for attempt in (lambda: read(backend, f"{folder}/a", first), lambda: undelete(recovery, f"{folder}/a", first)):
            with pytest.raises(SecretDeletedError) as caught:
                attempt()
            assert caught.value.code == "destroyed"
        assert read(backend, f"{folder}/a").version == second
        assert text_of(backend, f"{folder}/a") == "second"

    def test_a_deleted_version_can_be_destroyed(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """Then it is not only deleted; where that is refused, it comes back."""
        version = write(backend, f"{folder}/a", "content").version
        delete(backend, f"{folder}/a")
        if self._refuses_to_destroy(recovery, f"{folder}/a", version):
            assert undelete(recovery, f"{folder}/a") == version
            assert text_of(backend, f"{folder}/a") == "content"
            return
        destroy(recovery, f"{folder}/a", version)
        with pytest.raises(SecretDeletedError) as caught:
            undelete(recovery, f"{folder}/a")
        assert caught.value.code == "destroyed"

    def test_a_version_that_never_was_cannot_be_destroyed(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """Whoever mistakes the number is told; nothing else is destroyed for it."""
        version = write(backend, f"{folder}/a", "content").version
        with pytest.raises(self._refusals()):
            destroy(recovery, f"{folder}/a", version, "7777")
        assert text_of(backend, f"{folder}/a") == "content"

    def test_a_secret_that_is_destroyed_as_a_whole_is_gone(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """With every version; its neighbours are spared, and its name is free."""
        self.need(Capability.VERSIONS)
        first = write(backend, f"{folder}/a", "first").version
        write(backend, f"{folder}/a", "second")
        for neighbour in ("a/b", "ab"):
            write(backend, f"{folder}/{neighbour}", "neighbour")
        assert destroy(recovery, f"{folder}/a")
        for version in (None, first):
            with pytest.raises(SecretNotFoundError):
                read(backend, f"{folder}/a", version)
        with pytest.raises(SecretNotFoundError):
            undelete(recovery, f"{folder}/a")
        self.assert_listed(backend, folder, "a/b", "ab")
        write(backend, f"{folder}/a", "third")
        assert text_of(backend, f"{folder}/a") == "third"

    def test_destroying_what_is_absent_is_silent(self, recovery: Recoverable, folder: str) -> None:
        """It says that there was nothing."""
        assert not destroy(recovery, f"{folder}/absent")


class DescribingChecks(ListedChecks):
    """Checks of notes about secrets; they are left out for a backend that is not ``Describing``."""

    @pytest.fixture
    def describing(self, backend: Backend) -> Describing:
        """Return the backend under test as one that keeps notes."""
        if not keeps_notes(backend):
            # The interface is optional.
            pytest.skip("the backend is not Describing")
        return backend

    def test_notes_come_back_exactly(self, describing: Describing, seed: Seed, folder: str) -> None:
        """Each text by its name; a new secret has none."""
        name = seed(f"{folder}/a", "content")
        assert notes_of(describing, name) == {}
        annotate(describing, name, NOTES)
        assert notes_of(describing, name) == NOTES

    def test_odd_notes_are_kept_or_refused_as_a_whole(self, describing: Describing, seed: Seed, folder: str) -> None:
        """No letter is left out or replaced: what cannot be held is refused, and the notes before stay."""
        name = seed(f"{folder}/a", "content")
        annotate(describing, name, NOTES)
        try:
            annotate(describing, name, ODD_NOTES)
        except InvalidValueError:
            assert notes_of(describing, name) == NOTES
        else:
            assert notes_of(describing, name) == ODD_NOTES

    def test_an_empty_note_is_kept_or_refused(self, describing: Describing, seed: Seed, folder: str) -> None:
        """It is not left out: whoever notes nothing about something is told if that cannot be."""
        name = seed(f"{folder}/a", "content")
        try:
            annotate(describing, name, {"ticket": ""})
        except InvalidValueError:
            assert notes_of(describing, name) == {}
        else:
            assert notes_of(describing, name) == {"ticket": ""}

    def test_notes_replace_those_before(self, describing: Describing, seed: Seed, folder: str) -> None:
        """As a whole: what is not given is gone."""
        name = seed(f"{folder}/a", "content")
        annotate(describing, name, NOTES)
        annotate(describing, name, {"owner": "somebody else"})
        assert notes_of(describing, name) == {"owner": "somebody else"}
        annotate(describing, name, {})
        assert notes_of(describing, name) == {}

    def test_notes_leave_the_secret_as_it_is(
        self, describing: Describing, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """No new version is made, and a new version leaves the notes."""
        name = seed(f"{folder}/a", "content")
        before = read(backend, name).version
        annotate(describing, name, NOTES)
        assert read(backend, name).version == before
        seed(f"{folder}/a", "more")
        assert notes_of(describing, name) == NOTES

    def test_notes_of_one_secret_are_not_anothers(self, describing: Describing, seed: Seed, folder: str) -> None:
        """Nor those of a name that begins with the same letters."""
        name = seed(f"{folder}/a", "content")
        others = [seed(f"{folder}/{tail}", "content") for tail in ("ab", "a/b")]
        annotate(describing, name, NOTES)
        assert [notes_of(describing, other) for other in others] == [{}, {}]

    def test_what_is_absent_has_no_notes_and_gets_none(
        self, describing: Describing, backend: Backend, folder: str
    ) -> None:
        """Noting something does not make a secret."""
        for attempt in (
            lambda: notes_of(describing, f"{folder}/absent"),
            lambda: annotate(describing, f"{folder}/absent", NOTES),
            lambda: notes_of(describing, f"{folder}/absent"),
        ):
            with pytest.raises(SecretNotFoundError):
                attempt()
        self.assert_listed(backend, folder)

    def test_a_description_names_the_newest_version(
        self, describing: Describing, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The one that a read gives."""
        name = seed(f"{folder}/a", "first")
        seed(f"{folder}/a", "second")
        found = describing.describe(DescribeRequest(name=name))
        assert found.version in (None, read(backend, name).version)

    def test_no_value_in_a_description(self, describing: Describing, seed: Seed, folder: str) -> None:
        """Whoever looks at notes is not shown the secret."""
        marker = marker_value()
        name = seed(f"{folder}/a", marker)
        assert_hidden(marker, repr(describing.describe(DescribeRequest(name=name))), "a description")


def keeps_deleted(backend: Backend) -> TypeGuard[Recoverable]:
    """Tell whether a backend keeps deleted versions."""
    return isinstance(backend, Recoverable)


def keeps_notes(backend: Backend) -> TypeGuard[Describing]:
    """Tell whether a backend keeps notes."""
    return isinstance(backend, Describing)


def undelete(recovery: Recoverable, name: str, version: str | None = None) -> str:
    """Bring one version back, and return which."""
    return recovery.undelete(UndeleteRequest(name=SecretName(name), version=version)).version


def destroy(recovery: Recoverable, name: str, *versions: str) -> bool:
    """Destroy versions, or all; tell whether there was anything."""
    return recovery.destroy(DestroyRequest(name=SecretName(name), versions=versions)).existed


def notes_of(describing: Describing, name: str) -> dict[str, str]:
    """Return one secret's notes."""
    return describing.describe(DescribeRequest(name=SecretName(name))).metadata


def annotate(describing: Describing, name: str, metadata: dict[str, str]) -> None:
    """Replace one secret's notes."""
    describing.annotate(AnnotateRequest(name=SecretName(name), metadata=metadata))
