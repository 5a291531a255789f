"""Checks of versions, and of writing only over the expected one."""

from __future__ import annotations

import pytest

from strongroom.contracts import Backend, Capability, ReadRequest, Recoverable, VersionsResult, WriteRequest
from strongroom.errors import SecretNotFoundError, UnsupportedOperationError, VersionConflictError
from strongroom.model import ABSENT, Absent
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing.backend_kit import BackendKit, Seed, delete, read, text_of, versions_of, write
from strongroom.testing.processes import in_threads
from strongroom.testing.promises import promised_by

THREADS = 20


class VersionChecks(BackendKit):
    """Checks of reading older versions."""

    @promised_by(VersionsResult)
    def test_versions_come_oldest_first(self, backend: Backend, folder: str) -> None:
        """Versions are listed in the order of their writes, and the last one is current.

        People go back to the one before, and programs take the last one for the newest.
        """
        self.need(Capability.WRITE, Capability.VERSIONS)
        made = [write(backend, f"{folder}/a", content).version for content in ("one", "two", "three")]
        listed = versions_of(backend, f"{folder}/a")
        assert [version.version for version in listed] == made
        assert listed[-1].state == "current"

    @promised_by(VersionsResult)
    def test_only_one_version_is_current(self, backend: Backend, folder: str) -> None:
        """Of several versions exactly one is current.

        Readers get one value; with two current ones nobody could say which.
        """
        self.need(Capability.WRITE, Capability.VERSIONS)
        for content in ("one", "two", "three"):
            write(backend, f"{folder}/a", content)
        states = [version.state for version in versions_of(backend, f"{folder}/a")]
        assert states.count("current") == 1, f"the states are {states}"

    @promised_by(ReadRequest)
    def test_an_older_version_is_readable(self, backend: Backend, folder: str) -> None:
        """An older version is read by what its write returned, with the value that it had.

        During a rotation some readers still need the value from before it.
        """
        self.need(Capability.WRITE, Capability.VERSIONS)
        made = {content: write(backend, f"{folder}/a", content).version for content in ("one", "two", "three")}
        for content, version in made.items():
            result = read(backend, f"{folder}/a", version)
            assert (result.value.reveal_text(), result.version) == (content, version)

    @promised_by(Backend.read)
    def test_an_unknown_version_is_not_found(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Reading a version that never was raises ``SecretNotFoundError``.

        With the current value instead, a caller would believe that it has the old one.
        """
        self.need(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, name, "999999")

    @promised_by(Backend.read)
    def test_a_version_that_makes_no_sense_is_not_found(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Whatever text is asked for as a version, one that never was raises ``SecretNotFoundError``.

        Versions are opaque to callers: they know nothing of numbers that a backend may use.
        """
        self.need(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, name, "no/such version")

    @promised_by(Backend.read)
    def test_no_version_of_a_deleted_secret_is_read(self, backend: Backend, folder: str) -> None:
        """After a delete, a read of any version raises ``SecretNotFoundError`` or ``SecretDeletedError``.

        Whoever deletes a value that has leaked relies on nobody getting it any more, by whatever version.
        """
        self.need(Capability.WRITE, Capability.VERSIONS)
        if isinstance(backend, Recoverable):
            # One that brings deleted versions back may know a delete of the current one only, and says so by `destroy`.
            pytest.skip("the backend is Recoverable, and this is about backends that are not")
        made = [write(backend, f"{folder}/a", content).version for content in ("one", "two")]
        delete(backend, f"{folder}/a")
        for version in made:
            with pytest.raises(SecretNotFoundError):
                read(backend, f"{folder}/a", version)

    @promised_by(Backend.versions)
    def test_versions_of_a_missing_secret_are_not_found(self, backend: Backend, folder: str) -> None:
        """Listing the versions of a missing secret raises ``SecretNotFoundError``.

        An empty list would mean a secret without versions, which there is not.
        """
        self.need(Capability.VERSIONS)
        with pytest.raises(SecretNotFoundError):
            versions_of(backend, f"{folder}/missing")

    @promised_by(Backend.versions)
    def test_listing_versions_without_the_capability_is_refused(
        self, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A backend without ``VERSIONS`` raises ``UnsupportedOperationError`` when it is asked for them.

        A list of the current one alone would be taken for all there were.
        """
        self.need_missing(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(UnsupportedOperationError):
            versions_of(backend, name)

    @promised_by(Capability)
    def test_reading_a_version_without_the_capability_is_refused(
        self, guard: GuardedBackend, seed: Seed, folder: str
    ) -> None:
        """An older version of a backend without ``VERSIONS`` raises ``UnsupportedOperationError``.

        The core never asks such a backend: it might answer with the current value.
        """
        self.need_missing(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(UnsupportedOperationError):
            read(guard, name, "1")


class CheckAndSetChecks(BackendKit):
    """Checks of conditional writes: nobody's change is lost."""

    @promised_by(WriteRequest)
    def test_the_expected_version_is_overwritten(self, backend: Backend, folder: str) -> None:
        """A write that expects the current version is made.

        Whoever has seen what is there may replace it.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        seen = write(backend, f"{folder}/a", "first").version
        write(backend, f"{folder}/a", "second", expect_version=seen)
        assert text_of(backend, f"{folder}/a") == "second"

    @promised_by(Backend.write)
    def test_another_version_than_expected_is_a_conflict(self, backend: Backend, folder: str) -> None:
        """Another version than the expected one raises ``VersionConflictError`` with both, and changes nothing.

        Somebody has written since, and that change would be lost.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        seen = write(backend, f"{folder}/a", "first").version
        current = write(backend, f"{folder}/a", "second").version
        _expect_conflict(backend, f"{folder}/a", seen, expected=seen, found=current)
        assert text_of(backend, f"{folder}/a") == "second"

    @promised_by(Backend.write)
    def test_an_unknown_version_as_expected_is_a_conflict(self, backend: Backend, folder: str) -> None:
        """Expecting a version that never was raises ``VersionConflictError``, and changes nothing.

        It is not the current one, so the caller has seen something else.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        current = write(backend, f"{folder}/a", "first").version
        _expect_conflict(backend, f"{folder}/a", "no-such-version", expected="no-such-version", found=current)
        assert text_of(backend, f"{folder}/a") == "first"

    @promised_by(Backend.write)
    def test_a_version_expected_of_a_missing_secret_is_a_conflict(self, backend: Backend, folder: str) -> None:
        """Expecting a version of a secret that was deleted raises ``VersionConflictError``, and makes none.

        Somebody has deleted it since it was seen, and meant it.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        seen = write(backend, f"{folder}/a", "first").version
        delete(backend, f"{folder}/a")
        _expect_conflict(backend, f"{folder}/a", seen, expected=seen, found="absent")
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a")

    @promised_by(WriteRequest)
    def test_a_secret_expected_to_be_absent_is_created(self, backend: Backend, folder: str) -> None:
        """A write with ``ABSENT`` makes a secret that is not there.

        That is how a secret is made without overwriting one that somebody else has made meanwhile.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        write(backend, f"{folder}/a", "content", expect_version=ABSENT)
        assert text_of(backend, f"{folder}/a") == "content"

    @promised_by(WriteRequest)
    def test_a_secret_that_exists_is_not_absent(self, backend: Backend, folder: str) -> None:
        """A write with ``ABSENT`` over a secret raises ``VersionConflictError``, and its value stays.

        The caller believes that there is none, and would destroy what it has never seen.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        current = write(backend, f"{folder}/a", "first").version
        _expect_conflict(backend, f"{folder}/a", ABSENT, expected="absent", found=current)
        assert text_of(backend, f"{folder}/a") == "first"

    @promised_by(WriteRequest)
    def test_a_deleted_secret_is_absent(self, backend: Backend, folder: str) -> None:
        """A write with ``ABSENT`` makes a deleted secret anew, unless no write may.

        To those who read it is gone, so it must be possible to make it.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        write(backend, f"{folder}/a", "first")
        delete(backend, f"{folder}/a")
        if self.refused_over_deleted(backend, f"{folder}/a", ABSENT):
            return
        write(backend, f"{folder}/a", "second", expect_version=ABSENT)
        assert text_of(backend, f"{folder}/a") == "second"

    @promised_by(Backend.write)
    def test_concurrent_increments_lose_nothing(self, backend: Backend, folder: str) -> None:
        """Of twenty threads that read, add one and write back, none that succeeded is lost.

        Comparing and writing must be one step; with a gap between them two succeed over one version.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        write(backend, f"{folder}/counter", "0")
        succeeded = in_threads(THREADS, lambda _: _increment(backend, f"{folder}/counter"))
        assert sum(succeeded) >= 1, "not one of the writes succeeded"
        assert int(text_of(backend, f"{folder}/counter")) == sum(succeeded), "an increment that succeeded was lost"

    @promised_by(Backend.write)
    def test_concurrent_creations_leave_one(self, backend: Backend, folder: str) -> None:
        """Of eight threads that make the same secret at once exactly one succeeds, and its value is there.

        Comparing and writing must be one step; with a gap between them the others destroy the first.
        """
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        created = in_threads(8, lambda number: _create(backend, f"{folder}/a", f"content {number}"))
        assert sum(created) == 1, f"{sum(created)} threads were told that they had created the secret"
        assert text_of(backend, f"{folder}/a") == f"content {created.index(True)}"

    @promised_by(Backend.write)
    def test_an_expected_version_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """Without ``CHECK_AND_SET`` a write that expects a version raises ``UnsupportedOperationError``.

        Writing all the same would lose the change that the caller wanted to spare.
        """
        self.need(Capability.WRITE)
        self.need_missing(Capability.CHECK_AND_SET)
        seen = write(backend, f"{folder}/a", "first").version
        for expected in (seen, ABSENT):
            with pytest.raises(UnsupportedOperationError):
                write(backend, f"{folder}/a", "second", expect_version=expected)
        assert text_of(backend, f"{folder}/a") == "first"


def _expect_conflict(backend: Backend, name: str, expect_version: str | Absent, *, expected: str, found: str) -> None:
    with pytest.raises(VersionConflictError) as caught:
        write(backend, name, "lost", expect_version=expect_version)
    assert (caught.value.expected, caught.value.found) == (expected, found), "the conflict names other versions"
    assert name in str(caught.value), "the conflict does not name the secret"


def _increment(backend: Backend, name: str) -> bool:
    seen = read(backend, name)
    try:
        write(backend, name, str(int(seen.value.reveal_text()) + 1), expect_version=seen.version)
    except VersionConflictError:
        return False
    return True


def _create(backend: Backend, name: str, content: str) -> bool:
    try:
        write(backend, name, content, expect_version=ABSENT)
    except VersionConflictError:
        return False
    return True
