"""Checks of a backend that also keeps a pending value beside the current one: see ``Staging``."""

from __future__ import annotations

from typing import TypeGuard

import pytest

from strongroom.contracts import (
    Backend,
    Capability,
    DiscardRequest,
    PromoteRequest,
    StageRequest,
    StageResult,
    StagesRequest,
    StagesResult,
    Staging,
)
from strongroom.errors import SecretNotFoundError, VersionConflictError
from strongroom.model import SecretName, SecretValue
from strongroom.testing.backend_kit import BackendKit, Seed, new_token, read, text_of, versions_of, write
from strongroom.testing.leaks import assert_hidden, marker_value
from strongroom.testing.processes import in_threads

STAGERS = 20
CONTENT = bytes(range(256))


class StagingChecks(BackendKit):
    """Checks of staging; they are left out for a backend that is not ``Staging``."""

    @pytest.fixture
    def staging(self, backend: Backend) -> Staging:
        """Return the backend under test as one that keeps pending values."""
        if not keeps_pending(backend):
            # The interface is optional.
            pytest.skip("the backend is not Staging")
        return backend

    def test_a_staged_value_is_not_what_a_read_returns(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Readers go on getting the current value and its version."""
        name = seed(f"{folder}/a", "current")
        before = read(backend, name).version
        stage(staging, name, "pending")
        found = read(backend, name)
        assert (found.value.reveal_text(), found.version) == ("current", before)

    def test_a_staged_value_is_read_by_its_version(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Whoever tries the candidate gets it exactly, and with that version."""
        name = seed(f"{folder}/a", "current")
        version = stage(staging, name, "pending").version
        found = read(backend, name, version)
        assert (found.value.reveal_text(), found.version) == ("pending", version)

    def test_the_parts_of_versions_are_told(self, staging: Staging, backend: Backend, seed: Seed, folder: str) -> None:
        """Which one is current, and which is pending; at first none is."""
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        assert stages(staging, name).replace(previous=None) == parts(current)
        pending = stage(staging, name, "pending").version
        assert stages(staging, name).replace(previous=None) == parts(current, pending)

    def test_staging_again_with_the_same_token_is_the_same_version(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Whoever does not know whether the first attempt arrived may repeat it."""
        name = seed(f"{folder}/a", "current")
        token = new_token()
        first = stage(staging, name, "pending", token=token).version
        assert stage(staging, name, "pending", token=token).version == first
        assert stages(staging, name).pending == first
        assert text_of(backend, name, first) == "pending"

    def test_another_write_while_one_is_pending_is_a_conflict(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Somebody else rotates the secret: nothing of it changes."""
        name = seed(f"{folder}/a", "current")
        pending = stage(staging, name, "theirs").version
        before = stages(staging, name)
        for content in ("ours", "theirs"):
            with pytest.raises(VersionConflictError):
                stage(staging, name, content)
        assert stages(staging, name) == before, "a refused staging has changed something"
        assert (text_of(backend, name), text_of(backend, name, pending)) == ("current", "theirs")

    def test_of_many_that_stage_at_once_one_wins(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Of twenty threads, exactly one is told that its value is the pending one, and it is."""
        name = seed(f"{folder}/a", "current")
        staged = in_threads(STAGERS, lambda number: _staged_or_not(staging, name, f"content {number}"))
        winners = [number for number, version in enumerate(staged) if version is not None]
        assert len(winners) == 1, f"{len(winners)} threads were told that their value is the pending one"
        assert stages(staging, name).pending == staged[winners[0]]
        assert text_of(backend, name, staged[winners[0]]) == f"content {winners[0]}"
        assert text_of(backend, name) == "current"

    def test_an_abandoned_value_can_be_taken_over(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Whoever names the version that is pending may replace it."""
        name = seed(f"{folder}/a", "current")
        abandoned = stage(staging, name, "abandoned").version
        taken_over = stage(staging, name, "ours", expect_pending=abandoned).version
        assert taken_over != abandoned
        assert stages(staging, name).pending == taken_over
        assert (text_of(backend, name, taken_over), text_of(backend, name)) == ("ours", "current")

    def test_only_the_pending_version_can_be_taken_over(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Naming another one, or one where none is pending, is a conflict and changes nothing."""
        name = seed(f"{folder}/a", "current")
        abandoned = stage(staging, name, "abandoned").version
        pending = stage(staging, name, "theirs", expect_pending=abandoned).version
        with pytest.raises(VersionConflictError):
            stage(staging, name, "ours", expect_pending=abandoned)
        assert (stages(staging, name).pending, text_of(backend, name, pending)) == (pending, "theirs")
        discard(staging, name, pending)
        with pytest.raises(VersionConflictError):
            stage(staging, name, "ours", expect_pending=pending)
        assert stages(staging, name).pending is None

    def test_a_promoted_version_is_the_current_one(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The old one is the previous one from then on, and can still be read."""
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        promote(staging, name, new, old)
        assert stages(staging, name) == parts(new, previous=old)
        found = read(backend, name)
        assert (found.value.reveal_text(), found.version) == ("new", new)
        assert text_of(backend, name, old) == "old"

    def test_promoting_over_another_version_is_a_conflict(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Somebody has written since: nothing changes, and the candidate stays pending."""
        name = seed(f"{folder}/a", "old")
        new = stage(staging, name, "new").version
        before = stages(staging, name)
        for expected in ("no-such-version", new):
            with pytest.raises(VersionConflictError):
                promote(staging, name, new, expected)
        assert stages(staging, name) == before, "a refused promotion has changed something"
        assert text_of(backend, name) == "old"

    def test_promoting_twice_changes_nothing(self, staging: Staging, backend: Backend, seed: Seed, folder: str) -> None:
        """Whoever does not know whether the first attempt arrived may repeat it."""
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        promote(staging, name, new, old)
        promote(staging, name, new, old)
        assert stages(staging, name) == parts(new, previous=old)
        assert text_of(backend, name) == "new"

    def test_a_promoted_version_can_stay_marked_as_unfinished(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """What comes after a promotion is known to be left over, until somebody takes the mark off."""
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        request = PromoteRequest(name=SecretName(name), version=new, expect_current=old, keep_unfinished=True)
        for _ in range(2):
            staging.promote(request)
            assert stages(staging, name) == parts(new, previous=old).replace(unfinished=new)
        assert text_of(backend, name) == "new"
        assert discard(staging, name, new), "the mark of an unfinished version was not taken off"
        assert not discard(staging, name, new)
        assert stages(staging, name) == parts(new, previous=old)

    def test_an_unfinished_version_can_be_taken_back(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The previous one becomes current again, and nothing stays in the way of another rotation."""
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        staging.promote(PromoteRequest(name=SecretName(name), version=new, expect_current=old, keep_unfinished=True))
        promote(staging, name, old, new)
        discard(staging, name, new)
        assert stages(staging, name) == parts(old, previous=new)
        assert text_of(backend, name) == "old"
        following = stage(staging, name, "next").version
        assert stages(staging, name).pending == following

    def test_promoting_the_previous_version_takes_it_back(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The two change places, and the next rotation can begin."""
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        promote(staging, name, new, old)
        promote(staging, name, old, new)
        assert stages(staging, name) == parts(old, previous=new)
        assert (text_of(backend, name), read(backend, name).version) == ("old", old)
        following = stage(staging, name, "next").version
        assert stages(staging, name).pending == following

    def test_a_discarded_value_leaves_the_current_one(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """It is pending no more; the second time there is nothing to give up."""
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        pending = stage(staging, name, "pending").version
        assert discard(staging, name, pending)
        assert not discard(staging, name, pending)
        assert stages(staging, name).replace(previous=None) == parts(current)
        assert (text_of(backend, name), read(backend, name).version) == ("current", current)

    def test_after_a_discard_another_value_can_be_staged(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """An end that failed does not block the secret; the same content is another version."""
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        given_up = stage(staging, name, "candidate").version
        discard(staging, name, given_up)
        again = stage(staging, name, "candidate").version
        assert again != given_up
        promote(staging, name, again, old)
        assert text_of(backend, name) == "candidate"

    def test_only_a_pending_version_is_discarded(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The current one and one that never was are left alone, and so is the pending one."""
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        pending = stage(staging, name, "pending").version
        for version in (current, "no-such-version"):
            assert not discard(staging, name, version)
        assert stages(staging, name).replace(previous=None) == parts(current, pending)
        assert (text_of(backend, name), text_of(backend, name, pending)) == ("current", "pending")

    def test_what_is_absent_has_no_stages_and_gets_none(self, staging: Staging, folder: str) -> None:
        """Staging makes no secret."""
        name = f"{folder}/absent"
        for attempt in (
            lambda: stages(staging, name),
            lambda: stage(staging, name, "pending"),
            lambda: promote(staging, name, "1", "2"),
            lambda: discard(staging, name, "1"),
            lambda: stages(staging, name),
        ):
            with pytest.raises(SecretNotFoundError):
                attempt()

    def test_a_version_that_never_was_cannot_be_promoted(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """The current version stays what it is."""
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        with pytest.raises(SecretNotFoundError):
            promote(staging, name, "no-such-version", current)
        assert (text_of(backend, name), stages(staging, name).current) == ("current", current)

    def test_an_ordinary_write_leaves_the_pending_value(self, staging: Staging, backend: Backend, folder: str) -> None:
        """It is not lost, and who promotes it over what he has seen is told of the write."""
        self.need(Capability.WRITE)
        seen = write(backend, f"{folder}/a", "seen").version
        pending = stage(staging, f"{folder}/a", "pending").version
        written = write(backend, f"{folder}/a", "written").version
        assert stages(staging, f"{folder}/a").replace(previous=None) == parts(written, pending)
        assert (text_of(backend, f"{folder}/a"), text_of(backend, f"{folder}/a", pending)) == ("written", "pending")
        with pytest.raises(VersionConflictError):
            promote(staging, f"{folder}/a", pending, seen)
        promote(staging, f"{folder}/a", pending, written)
        assert text_of(backend, f"{folder}/a") == "pending"

    def test_staged_bytes_stay_exact(self, staging: Staging, backend: Backend, seed: Seed, folder: str) -> None:
        """Each of them, and that they are bytes: while they are pending, and when they are current."""
        self.need_binary()
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        pending = stage(staging, name, CONTENT).version
        assert read(backend, name, pending).value == SecretValue(CONTENT)
        promote(staging, name, pending, current)
        assert read(backend, name).value == SecretValue(CONTENT)

    def test_no_pending_version_is_listed_as_current(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Whether it is listed or not: one version is current, and after a promotion it is another one."""
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        assert _current_of(backend, name) == [old]
        promote(staging, name, new, old)
        assert _current_of(backend, name) == [new]

    def test_no_value_in_what_staging_shows(self, staging: Staging, seed: Seed, folder: str) -> None:
        """Neither in requests and results nor in the backend, nor in the error of a conflict."""
        marker = marker_value()
        name = seed(f"{folder}/a", "current")
        request = StageRequest(name=name, value=SecretValue(marker), token=new_token())
        shown = [request, staging.stage(request), stages(staging, name), staging]
        with pytest.raises(VersionConflictError) as caught:
            stage(staging, name, marker)
        for one in (*shown, caught.value, caught.value.__dict__):
            assert_hidden(marker, repr(one), f"the repr of a {type(one).__name__}")


def keeps_pending(backend: Backend) -> TypeGuard[Staging]:
    """Tell whether a backend keeps pending values."""
    return isinstance(backend, Staging)


def stage(
    staging: Staging, name: str, content: str | bytes, *, token: str | None = None, expect_pending: str | None = None
) -> StageResult:
    """Keep a value as the pending one, by a token of its own unless one is given."""
    value = SecretValue(content)
    return staging.stage(
        StageRequest(name=SecretName(name), value=value, token=token or new_token(), expect_pending=expect_pending)
    )


def stages(staging: Staging, name: str) -> StagesResult:
    """Return which versions are current, pending and previous."""
    return staging.stages(StagesRequest(name=SecretName(name))).replace(request_id=None)


def parts(current: str, pending: str | None = None, previous: str | None = None) -> StagesResult:
    """Return what ``stages`` is to say."""
    return StagesResult(current=current, pending=pending, previous=previous)


def promote(staging: Staging, name: str, version: str, expect_current: str) -> None:
    """Make a version the current one."""
    staging.promote(PromoteRequest(name=SecretName(name), version=version, expect_current=expect_current))


def discard(staging: Staging, name: str, version: str) -> bool:
    """Give a version up; tell whether it was pending."""
    return staging.discard(DiscardRequest(name=SecretName(name), version=version)).existed


def _staged_or_not(staging: Staging, name: str, content: str) -> str | None:
    try:
        return stage(staging, name, content).version
    except VersionConflictError:
        return None


def _current_of(backend: Backend, name: str) -> list[str]:
    return [found.version for found in versions_of(backend, name) if found.state == "current"]
