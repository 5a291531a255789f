"""Checks of versions, and of writing only over the expected one."""

from __future__ import annotations

import pytest

from strongroom.contracts import Backend, Capability
from strongroom.errors import SecretNotFoundError, UnsupportedOperationError, VersionConflictError
from strongroom.model import ABSENT, Absent
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing.backend_kit import BackendKit, Seed, delete, read, text_of, versions_of, write
from strongroom.testing.processes import in_threads

THREADS = 20


class VersionChecks(BackendKit):
    """Checks of reading older versions."""

    def test_versions_come_oldest_first(self, backend: Backend, folder: str) -> None:
        """In the order of the writes, the current one last."""
        self.need(Capability.WRITE, Capability.VERSIONS)
        made = [write(backend, f"{folder}/a", content).version for content in ("one", "two", "three")]
        listed = versions_of(backend, f"{folder}/a")
        assert [version.version for version in listed] == made
        assert listed[-1].state == "current"

    def test_only_one_version_is_current(self, backend: Backend, folder: str) -> None:
        """The ones before it have been superseded."""
        self.need(Capability.WRITE, Capability.VERSIONS)
        for content in ("one", "two", "three"):
            write(backend, f"{folder}/a", content)
        states = [version.state for version in versions_of(backend, f"{folder}/a")]
        assert states.count("current") == 1, f"the states are {states}"

    def test_an_older_version_is_readable(self, backend: Backend, folder: str) -> None:
        """By the version that its write returned, with the value it had."""
        self.need(Capability.WRITE, Capability.VERSIONS)
        made = {content: write(backend, f"{folder}/a", content).version for content in ("one", "two", "three")}
        for content, version in made.items():
            result = read(backend, f"{folder}/a", version)
            assert (result.value.reveal_text(), result.version) == (content, version)

    def test_an_unknown_version_is_not_found(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Never is the current value returned instead."""
        self.need(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, name, "999999")

    def test_a_version_that_makes_no_sense_is_not_found(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Versions are opaque: whatever text is asked for, the answer is 'not found', not a foreign error."""
        self.need(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(SecretNotFoundError):
            read(backend, name, "no/such version")

    def test_versions_of_a_missing_secret_are_not_found(self, backend: Backend, folder: str) -> None:
        """An empty list would mean a secret without versions, which there is not."""
        self.need(Capability.VERSIONS)
        with pytest.raises(SecretNotFoundError):
            versions_of(backend, f"{folder}/missing")

    def test_listing_versions_without_the_capability_is_refused(
        self, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A backend that leaves VERSIONS out lists none."""
        self.need_missing(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(UnsupportedOperationError):
            versions_of(backend, name)

    def test_reading_a_version_without_the_capability_is_refused(
        self, guard: GuardedBackend, seed: Seed, folder: str
    ) -> None:
        """The core never asks such a backend for an older version."""
        self.need_missing(Capability.VERSIONS)
        name = seed(f"{folder}/a", "content")
        with pytest.raises(UnsupportedOperationError):
            read(guard, name, "1")


class CheckAndSetChecks(BackendKit):
    """Checks of conditional writes: nobody's change is lost."""

    def test_the_expected_version_is_overwritten(self, backend: Backend, folder: str) -> None:
        """Whoever has seen the current version may replace it."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        seen = write(backend, f"{folder}/a", "first").version
        write(backend, f"{folder}/a", "second", expect_version=seen)
        assert text_of(backend, f"{folder}/a") == "second"

    def test_another_version_than_expected_is_a_conflict(self, backend: Backend, folder: str) -> None:
        """The error names both versions, and the other's value stays."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        seen = write(backend, f"{folder}/a", "first").version
        current = write(backend, f"{folder}/a", "second").version
        _expect_conflict(backend, f"{folder}/a", seen, expected=seen, found=current)
        assert text_of(backend, f"{folder}/a") == "second"

    def test_an_unknown_version_as_expected_is_a_conflict(self, backend: Backend, folder: str) -> None:
        """A version that was never made is not the current one."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        current = write(backend, f"{folder}/a", "first").version
        _expect_conflict(backend, f"{folder}/a", "no-such-version", expected="no-such-version", found=current)
        assert text_of(backend, f"{folder}/a") == "first"

    def test_a_version_expected_of_a_missing_secret_is_a_conflict(self, backend: Backend, folder: str) -> None:
        """A conditional write never creates: the secret was deleted since it was seen."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        seen = write(backend, f"{folder}/a", "first").version
        delete(backend, f"{folder}/a")
        _expect_conflict(backend, f"{folder}/a", seen, expected=seen, found="absent")
        with pytest.raises(SecretNotFoundError):
            read(backend, f"{folder}/a")

    def test_a_secret_expected_to_be_absent_is_created(self, backend: Backend, folder: str) -> None:
        """``ABSENT`` means: only if there is none."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        write(backend, f"{folder}/a", "content", expect_version=ABSENT)
        assert text_of(backend, f"{folder}/a") == "content"

    def test_a_secret_that_exists_is_not_absent(self, backend: Backend, folder: str) -> None:
        """``ABSENT`` over an existing secret is a conflict, and its value stays."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        current = write(backend, f"{folder}/a", "first").version
        _expect_conflict(backend, f"{folder}/a", ABSENT, expected="absent", found=current)
        assert text_of(backend, f"{folder}/a") == "first"

    def test_a_deleted_secret_is_absent(self, backend: Backend, folder: str) -> None:
        """``ABSENT`` holds after a delete, unless no write does."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        write(backend, f"{folder}/a", "first")
        delete(backend, f"{folder}/a")
        if self.refused_over_deleted(backend, f"{folder}/a", ABSENT):
            return
        write(backend, f"{folder}/a", "second", expect_version=ABSENT)
        assert text_of(backend, f"{folder}/a") == "second"

    def test_concurrent_increments_lose_nothing(self, backend: Backend, folder: str) -> None:
        """Twenty threads read, add one and write back: the sum is the number of writes that succeeded."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        write(backend, f"{folder}/counter", "0")
        succeeded = in_threads(THREADS, lambda _: _increment(backend, f"{folder}/counter"))
        assert sum(succeeded) >= 1, "not one of the writes succeeded"
        assert int(text_of(backend, f"{folder}/counter")) == sum(succeeded), "an increment that succeeded was lost"

    def test_concurrent_creations_leave_one(self, backend: Backend, folder: str) -> None:
        """Of eight threads that create the same name, exactly one succeeds."""
        self.need(Capability.WRITE, Capability.CHECK_AND_SET)
        created = in_threads(8, lambda number: _create(backend, f"{folder}/a", f"content {number}"))
        assert sum(created) == 1, f"{sum(created)} threads were told that they had created the secret"
        assert text_of(backend, f"{folder}/a") == f"content {created.index(True)}"

    def test_an_expected_version_without_the_capability_is_refused(self, backend: Backend, folder: str) -> None:
        """Writing anyway would lose somebody's change."""
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
