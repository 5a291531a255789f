"""Checks of a backend that also says which versions are current without their values: see ``VersionPolling``."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterable
from typing import TypeGuard

import pytest

from strongroom.contracts import Backend, Capability, CurrentVersionsRequest, CurrentVersionsResult, VersionPolling
from strongroom.errors import SecretNotFoundError
from strongroom.model import SecretName
from strongroom.testing.backend_kit import BackendKit, Seed, delete, read, write
from strongroom.testing.leaks import assert_hidden, marker_value
from strongroom.testing.processes import in_forked_child
from strongroom.testing.promises import promised_by

MANY = 45
"""More names than one request of most services takes."""


class PollingChecks(BackendKit):
    """Checks of what is said of current versions; they are left out for a backend that is no ``VersionPolling``."""

    @pytest.fixture
    def polling(self, backend: Backend) -> VersionPolling:
        """Return the backend under test as one that says which versions are current."""
        if not says_versions(backend):
            # The interface is optional.
            pytest.skip("the backend does not implement the optional interface VersionPolling")
        return backend

    @pytest.fixture
    def opened_again(
        self, polling: VersionPolling, backend: Backend, seed: Seed, folder: str, reopen: Callable[[], Backend]
    ) -> Backend:
        """Return the same storage opened once more, unless each opening makes versions of its own."""
        # Some backends know only after a read.
        read(backend, seed(f"{folder}/known", "content"))
        if not polling.versions_are_shared:
            # Nobody compares such versions, so there is nothing that they have to be.
            pytest.skip("the backend says that its versions are not shared")
        opened = reopen()
        assert opened is not backend, "`reopen` has returned the backend under test itself"
        return opened

    @promised_by(VersionPolling.current_versions)
    def test_a_current_version_is_the_one_that_a_read_names(
        self, polling: VersionPolling, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The current version of a secret is the one that a read names.

        The core compares the two to see whether what it holds has changed; if they differ it reads each time.
        """
        name = seed(f"{folder}/one", "first")
        assert current(polling, [name]) == {name: read(backend, name).version}

    @promised_by(CurrentVersionsResult)
    def test_a_secret_that_is_not_there_has_no_current_version(self, polling: VersionPolling, folder: str) -> None:
        """A missing secret has the version ``None``, or the error that it is not found.

        The core tells by that that a secret was deleted; an error of the whole call says nothing of the others.
        """
        name = SecretName(f"{folder}/never")
        assert current(polling, [name]) == {name: None}

    @promised_by(VersionPolling.current_versions)
    def test_no_names_have_no_versions(self, polling: VersionPolling) -> None:
        """No names give no versions and no error.

        A process that holds nothing has nothing to ask for.
        """
        assert current(polling, []) == {}

    @promised_by(VersionPolling.current_versions)
    def test_a_change_is_seen_at_the_next_look(
        self, polling: VersionPolling, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """After a write the next look gives the new version.

        What a backend remembers of the last look, to spare requests, must not hide what others have changed.
        """
        name = seed(f"{folder}/changed", "first")
        seen = [current(polling, [name])[name] for _ in range(2)]
        seed(name, "second, and longer")
        assert current(polling, [name])[name] == read(backend, name).version
        assert current(polling, [name])[name] not in seen

    @promised_by(VersionPolling.current_versions)
    def test_a_new_secret_is_seen_at_the_next_look(self, polling: VersionPolling, seed: Seed, folder: str) -> None:
        """A secret that was made since the last look has a version at the next one.

        That there was none may be remembered no longer than that.
        """
        name = SecretName(f"{folder}/new")
        assert current(polling, [name]) == {name: None}
        seed(name, "there now")
        assert current(polling, [name])[name] is not None

    @promised_by(CurrentVersionsResult)
    def test_a_deleted_secret_has_no_current_version(
        self, polling: VersionPolling, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A deleted secret has no current version, whether or not it could be brought back.

        Otherwise processes would go on using what was taken from them.
        """
        self.need(Capability.WRITE)
        name = seed(f"{folder}/gone", "first")
        assert current(polling, [name])[name] is not None
        delete(backend, name)
        assert current(polling, [name]) == {name: None}

    @promised_by(CurrentVersionsResult)
    def test_many_names_are_answered_each_for_itself(
        self, polling: VersionPolling, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Each of 48 names gets its own answer, some of them missing, however many requests that takes.

        A process holds many secrets, and those after the first page of a service count as well.
        """
        there = [seed(f"{folder}/many{number}", f"value {number}") for number in range(MANY)]
        absent = [SecretName(f"{folder}/absent{number}") for number in range(3)]
        found = current(polling, [*absent, *there])
        assert found == dict.fromkeys(absent) | {name: read(backend, name).version for name in there}

    @promised_by(CurrentVersionsResult)
    def test_no_value_in_what_is_said_of_versions(self, polling: VersionPolling, seed: Seed, folder: str) -> None:
        """Versions are texts that neither show the value nor are made of nothing but it.

        Versions are logged and sent to others; a plain hash of a value could be guessed.
        """
        marker = marker_value()
        names = [seed(f"{folder}/a", marker), seed(f"{folder}/b", marker)]
        result = look(polling, names)
        assert {type(version) for version in result.versions.values()} == {str}
        assert_hidden(marker, f"{result!r} {result.versions!r}", "the versions")

    @promised_by(VersionPolling.current_versions)
    def test_versions_are_said_while_others_write(
        self, polling: VersionPolling, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """While others write, each answer is a version that has been written.

        The core asks every few seconds, in the middle of everybody's work.
        """
        self.need(Capability.WRITE, Capability.VERSIONS)
        name = seed(f"{folder}/busy", "0")
        written = {read(backend, name).version}
        writer = threading.Thread(
            target=lambda: written.update(write(backend, name, str(number)).version for number in range(1, 6))
        )
        seen = [current(polling, [name])[name]]
        writer.start()
        while writer.is_alive():
            seen.append(current(polling, [name])[name])
        writer.join()
        assert set(seen) <= written
        assert current(polling, [name])[name] == read(backend, name).version

    @promised_by(VersionPolling.versions_are_shared)
    def test_whoever_opens_the_same_is_told_the_same_version(
        self, backend: Backend, opened_again: Backend, seed: Seed, folder: str
    ) -> None:
        """Two that have opened the same storage are told the same version of an unchanged secret.

        Otherwise a program that follows a secret is told of changes that are none. Where each makes versions of
        its own, `versions_are_shared` says so.
        """
        name = seed(f"{folder}/one", "content")
        assert read(opened_again, name).version == read(backend, name).version
        assert said_by(opened_again, name) == said_by(backend, name) == read(backend, name).version

    @promised_by(VersionPolling.current_versions)
    def test_a_change_is_seen_by_whoever_opens_the_same(
        self, backend: Backend, opened_again: Backend, seed: Seed, folder: str
    ) -> None:
        """What one changes, another that has opened the same storage sees at its next look, as the same version.

        What is asked for most is what other processes have changed.
        """
        name = seed(f"{folder}/changed", "first")
        seen = {said_by(backend, name), said_by(opened_again, name)}
        seed(name, "second, and longer")
        assert said_by(opened_again, name) == said_by(backend, name) == read(backend, name).version
        assert said_by(opened_again, name) not in seen
        if Capability.WRITE in self.capabilities:
            written = write(opened_again, name, "third, by the other").version
            assert said_by(backend, name) == said_by(opened_again, name) == written

    @promised_by(Backend.after_fork)
    def test_a_forked_child_can_ask_for_versions(
        self, polling: VersionPolling, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """After ``after_fork`` the child asks on its own, and the parent goes on.

        Servers fork, and each of their processes holds secrets.
        """
        name = seed(f"{folder}/forked", "first")
        before = current(polling, [name])

        def child() -> str:
            backend.after_fork()
            return repr(current(polling, [name]) == before)

        assert in_forked_child(child) == "True"
        assert current(polling, [name]) == before


def says_versions(backend: Backend) -> TypeGuard[VersionPolling]:
    """Tell whether a backend says which versions are current, too."""
    return isinstance(backend, VersionPolling)


def look(polling: VersionPolling, names: Iterable[SecretName]) -> CurrentVersionsResult:
    """Ask for the current versions of some names."""
    return polling.current_versions(CurrentVersionsRequest(names=tuple(names)))


def current(polling: VersionPolling, names: Iterable[SecretName]) -> dict[SecretName, str | None]:
    """Return the current versions of some names, as the core understands what is said of them."""
    result = look(polling, names)
    absent = [name for name, error in result.errors.items() if isinstance(error, SecretNotFoundError)]
    assert result.errors.keys() == set(absent), "a version could not be told"
    return result.versions | dict.fromkeys(absent)


def said_by(backend: Backend, name: SecretName) -> str | None:
    """Return the current version of one secret, as this backend says it."""
    assert says_versions(backend)
    return current(backend, [name])[name]
