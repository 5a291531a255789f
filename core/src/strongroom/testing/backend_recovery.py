"""Checks of a backend that also keeps deleted versions, or notes: see ``Recoverable`` and ``Describing``."""

from __future__ import annotations

from typing import TypeGuard

import pytest

from strongroom.contracts import (
    AnnotateRequest,
    Backend,
    Capability,
    DescribeRequest,
    DescribeResult,
    Describing,
    DestroyRequest,
    DestroyResult,
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
from strongroom.testing.promises import promised_by

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
            pytest.skip("the backend does not implement the optional interface Recoverable")
        return backend

    @promised_by(Recoverable.undelete)
    def test_what_was_deleted_comes_back_exactly(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """A deleted secret comes back with its value and its version, and is listed again.

        Whoever has deleted by mistake wants back what there was, and nothing that only resembles it.
        """
        version = write(backend, f"{folder}/a", "content").version
        delete(backend, f"{folder}/a")
        assert undelete(recovery, f"{folder}/a") == version
        assert text_of(backend, f"{folder}/a") == "content"
        assert read(backend, f"{folder}/a").version == version
        self.assert_listed(backend, folder, "a")

    @promised_by(Recoverable.undelete)
    def test_an_older_version_comes_back_by_its_number(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """An older version comes back by its number, or that is refused; the current one stays current.

        Bringing an old value back must not put it in the place of what all use now.
        """
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

    @promised_by(Recoverable.undelete)
    def test_undeleting_what_is_not_deleted_changes_nothing(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """Undeleting what is there names its version, and makes no other.

        Whoever does not know whether the first attempt arrived may repeat it.
        """
        self.need(Capability.VERSIONS)
        version = write(backend, f"{folder}/a", "content").version
        assert undelete(recovery, f"{folder}/a") == version
        assert [found.version for found in versions_of(backend, f"{folder}/a")] == [version]
        assert text_of(backend, f"{folder}/a") == "content"

    @promised_by(Recoverable.undelete)
    def test_what_never_was_cannot_be_undeleted(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """A name that never was raises ``SecretNotFoundError``, and a version that never was is refused.

        Whoever mistakes the number must be told, and not believe that something was brought back.
        """
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

    @promised_by(Recoverable.destroy)
    def test_a_destroyed_version_never_comes_back(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """A destroyed version is neither read nor undeleted (code ``destroyed``), and the others stay.

        Destroying is what is left to do when a value has leaked.
        """
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

    @promised_by(Recoverable.destroy)
    def test_a_deleted_version_can_be_destroyed(self, recovery: Recoverable, backend: Backend, folder: str) -> None:
        """A deleted version can be destroyed, and is not undeleted then; where that is refused, it comes back.

        Otherwise what was deleted first could never be got rid of.
        """
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

    @promised_by(Recoverable.destroy)
    def test_a_version_that_never_was_cannot_be_destroyed(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """Destroying a version that never was is refused, and the secret is as before.

        Whoever mistakes the number must be told; nothing else may be destroyed for it.
        """
        version = write(backend, f"{folder}/a", "content").version
        with pytest.raises(self._refusals()):
            destroy(recovery, f"{folder}/a", version, "7777")
        assert text_of(backend, f"{folder}/a") == "content"

    @promised_by(DestroyRequest)
    def test_a_secret_that_is_destroyed_as_a_whole_is_gone(
        self, recovery: Recoverable, backend: Backend, folder: str
    ) -> None:
        """A secret that is destroyed as a whole is gone in every version; neighbours stay, its name is free.

        What remains of it could be brought back, and a neighbour that goes with it cannot.
        """
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

    @promised_by(DestroyResult)
    def test_destroying_what_is_absent_is_silent(self, recovery: Recoverable, folder: str) -> None:
        """Destroying a secret that is not there raises nothing, and says that there was none.

        The wished-for state is there already.
        """
        assert not destroy(recovery, f"{folder}/absent")


class DescribingChecks(ListedChecks):
    """Checks of notes about secrets; they are left out for a backend that is not ``Describing``."""

    @pytest.fixture
    def describing(self, backend: Backend) -> Describing:
        """Return the backend under test as one that keeps notes."""
        if not keeps_notes(backend):
            # The interface is optional.
            pytest.skip("the backend does not implement the optional interface Describing")
        return backend

    @promised_by(Describing.annotate)
    def test_notes_come_back_exactly(self, describing: Describing, seed: Seed, folder: str) -> None:
        """Notes come back as they were written, each under its name; a new secret has none.

        People and programs look secrets up by them, such as by who is to be asked.
        """
        name = seed(f"{folder}/a", "content")
        assert notes_of(describing, name) == {}
        annotate(describing, name, NOTES)
        assert notes_of(describing, name) == NOTES

    @promised_by(Describing.annotate)
    def test_odd_notes_are_kept_or_refused_as_a_whole(self, describing: Describing, seed: Seed, folder: str) -> None:
        """Notes with odd characters are kept exactly, or refused as a whole with ``InvalidValueError``.

        A letter that is left out or replaced without a word makes a note say something else.
        """
        name = seed(f"{folder}/a", "content")
        annotate(describing, name, NOTES)
        try:
            annotate(describing, name, ODD_NOTES)
        except InvalidValueError:
            assert notes_of(describing, name) == NOTES
        else:
            assert notes_of(describing, name) == ODD_NOTES

    @promised_by(Describing.annotate)
    def test_an_empty_note_is_kept_or_refused(self, describing: Describing, seed: Seed, folder: str) -> None:
        """An empty note is kept, or refused with ``InvalidValueError``.

        Leaving it out would tell whoever wrote it that it is there.
        """
        name = seed(f"{folder}/a", "content")
        try:
            annotate(describing, name, {"ticket": ""})
        except InvalidValueError:
            assert notes_of(describing, name) == {}
        else:
            assert notes_of(describing, name) == {"ticket": ""}

    @promised_by(Describing.annotate)
    def test_notes_replace_those_before(self, describing: Describing, seed: Seed, folder: str) -> None:
        """Notes replace those before as a whole: what is not given is gone.

        A note that cannot be taken away tells what is no longer true.
        """
        name = seed(f"{folder}/a", "content")
        annotate(describing, name, NOTES)
        annotate(describing, name, {"owner": "somebody else"})
        assert notes_of(describing, name) == {"owner": "somebody else"}
        annotate(describing, name, {})
        assert notes_of(describing, name) == {}

    @promised_by(Describing.annotate)
    def test_notes_leave_the_secret_as_it_is(
        self, describing: Describing, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A note makes no new version, and a new version leaves the notes.

        Programs that watch for changes would take a note for a new value.
        """
        name = seed(f"{folder}/a", "content")
        before = read(backend, name).version
        annotate(describing, name, NOTES)
        assert read(backend, name).version == before
        seed(f"{folder}/a", "more")
        assert notes_of(describing, name) == NOTES

    @promised_by(Describing.describe)
    def test_notes_of_one_secret_are_not_anothers(self, describing: Describing, seed: Seed, folder: str) -> None:
        """Secrets whose names begin like that of one with notes have none.

        Notes would say of one secret what is true of another.
        """
        name = seed(f"{folder}/a", "content")
        others = [seed(f"{folder}/{tail}", "content") for tail in ("ab", "a/b")]
        annotate(describing, name, NOTES)
        assert [notes_of(describing, other) for other in others] == [{}, {}]

    @promised_by(Describing)
    def test_what_is_absent_has_no_notes_and_gets_none(
        self, describing: Describing, backend: Backend, folder: str
    ) -> None:
        """Describing or annotating a missing secret raises ``SecretNotFoundError``, and makes none.

        A misspelt name would leave an empty secret behind.
        """
        for attempt in (
            lambda: notes_of(describing, f"{folder}/absent"),
            lambda: annotate(describing, f"{folder}/absent", NOTES),
            lambda: notes_of(describing, f"{folder}/absent"),
        ):
            with pytest.raises(SecretNotFoundError):
                attempt()
        self.assert_listed(backend, folder)

    @promised_by(DescribeResult)
    def test_a_description_names_the_newest_version(
        self, describing: Describing, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The version in a description is the newest one, or ``None``.

        People compare it with what a program says that it has read.
        """
        name = seed(f"{folder}/a", "first")
        seed(f"{folder}/a", "second")
        found = describing.describe(DescribeRequest(name=name))
        assert found.version in (None, read(backend, name).version)

    @promised_by(DescribeResult)
    def test_no_value_in_a_description(self, describing: Describing, seed: Seed, folder: str) -> None:
        """A description does not show the value.

        Those who may look at notes may not all read the secret.
        """
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
