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
from strongroom.testing.promises import promised_by

STAGERS = 20
CONTENT = bytes(range(256))


class StagingChecks(BackendKit):
    """Checks of staging; they are left out for a backend that is not ``Staging``."""

    @pytest.fixture
    def staging(self, backend: Backend) -> Staging:
        """Return the backend under test as one that keeps pending values."""
        if not keeps_pending(backend):
            # The interface is optional.
            pytest.skip("the backend does not implement the optional interface Staging")
        return backend

    @promised_by(Staging)
    def test_a_staged_value_is_not_what_a_read_returns(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """While a value is pending, a read returns the current value and its version.

        Nobody has been told of the candidate yet; a reader that gets it could not log in.
        """
        name = seed(f"{folder}/a", "current")
        before = read(backend, name).version
        stage(staging, name, "pending")
        found = read(backend, name)
        assert (found.value.reveal_text(), found.version) == ("current", before)

    @promised_by(Staging)
    def test_a_staged_value_is_read_by_its_version(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A pending value is read by its version, exactly and with that version.

        The process that takes over a rotation has no other way to get the candidate.
        """
        name = seed(f"{folder}/a", "current")
        version = stage(staging, name, "pending").version
        found = read(backend, name, version)
        assert (found.value.reveal_text(), found.version) == ("pending", version)

    @promised_by(StagesResult)
    def test_the_parts_of_versions_are_told(self, staging: Staging, backend: Backend, seed: Seed, folder: str) -> None:
        """It is told which version is current and which is pending; at first none is.

        By that the core knows where a rotation stands.
        """
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        assert stages(staging, name).replace(previous=None) == parts(current)
        pending = stage(staging, name, "pending").version
        assert stages(staging, name).replace(previous=None) == parts(current, pending)

    @promised_by(StageRequest)
    def test_staging_again_with_the_same_token_is_the_same_version(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Staging the same value again with the same token gives the same version.

        Whoever does not know whether the first attempt arrived may repeat it.
        """
        name = seed(f"{folder}/a", "current")
        token = new_token()
        first = stage(staging, name, "pending", token=token).version
        assert stage(staging, name, "pending", token=token).version == first
        assert stages(staging, name).pending == first
        assert text_of(backend, name, first) == "pending"

    @promised_by(Staging.stage)
    def test_another_write_while_one_is_pending_is_a_conflict(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Staging while another value is pending raises ``VersionConflictError``, and changes nothing.

        Somebody else is in the middle of a rotation; two at once would lock everybody out.
        """
        name = seed(f"{folder}/a", "current")
        pending = stage(staging, name, "theirs").version
        before = stages(staging, name)
        for content in ("ours", "theirs"):
            with pytest.raises(VersionConflictError):
                stage(staging, name, content)
        assert stages(staging, name) == before, "a refused staging has changed something"
        assert (text_of(backend, name), text_of(backend, name, pending)) == ("current", "theirs")

    @promised_by(Staging)
    def test_of_many_that_stage_at_once_one_wins(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Of twenty threads that stage at once exactly one is told that its value is pending, and it is.

        This is the fence of a rotation: only one process may change the dependent.
        """
        name = seed(f"{folder}/a", "current")
        staged = in_threads(STAGERS, lambda number: _staged_or_not(staging, name, f"content {number}"))
        winners = [number for number, version in enumerate(staged) if version is not None]
        assert len(winners) == 1, f"{len(winners)} threads were told that their value is the pending one"
        assert stages(staging, name).pending == staged[winners[0]]
        assert text_of(backend, name, staged[winners[0]]) == f"content {winners[0]}"
        assert text_of(backend, name) == "current"

    @promised_by(StageRequest)
    def test_an_abandoned_value_can_be_taken_over(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Whoever names the pending version in ``expect_pending`` replaces it with a new one.

        A rotation whose process was killed would block the secret for ever.
        """
        name = seed(f"{folder}/a", "current")
        abandoned = stage(staging, name, "abandoned").version
        taken_over = stage(staging, name, "ours", expect_pending=abandoned).version
        assert taken_over != abandoned
        assert stages(staging, name).pending == taken_over
        assert (text_of(backend, name, taken_over), text_of(backend, name)) == ("ours", "current")

    @promised_by(StageRequest)
    def test_only_the_pending_version_can_be_taken_over(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Naming a version that is not pending raises ``VersionConflictError``, and changes nothing.

        Of two that take over an abandoned rotation only one may go on.
        """
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

    @promised_by(Staging.promote)
    def test_a_promoted_version_is_the_current_one(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A promoted version is current; the one before is the previous one, and still readable.

        Readers get it from then on, and a rotation that goes wrong goes back to the previous one.
        """
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        promote(staging, name, new, old)
        assert stages(staging, name) == parts(new, previous=old)
        found = read(backend, name)
        assert (found.value.reveal_text(), found.version) == ("new", new)
        assert text_of(backend, name, old) == "old"

    @promised_by(Staging.promote)
    def test_promoting_over_another_version_is_a_conflict(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Promoting over another than the current version raises ``VersionConflictError``, and changes nothing.

        Somebody has written since, and that value would be lost.
        """
        name = seed(f"{folder}/a", "old")
        new = stage(staging, name, "new").version
        before = stages(staging, name)
        for expected in ("no-such-version", new):
            with pytest.raises(VersionConflictError):
                promote(staging, name, new, expected)
        assert stages(staging, name) == before, "a refused promotion has changed something"
        assert text_of(backend, name) == "old"

    @promised_by(Staging.promote)
    def test_promoting_twice_changes_nothing(self, staging: Staging, backend: Backend, seed: Seed, folder: str) -> None:
        """Promoting a version that is current already raises nothing and changes nothing.

        Whoever does not know whether the first attempt arrived may repeat it.
        """
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        promote(staging, name, new, old)
        promote(staging, name, new, old)
        assert stages(staging, name) == parts(new, previous=old)
        assert text_of(backend, name) == "new"

    @promised_by(PromoteRequest)
    def test_a_promoted_version_can_stay_marked_as_unfinished(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """With ``keep_unfinished`` a promoted version is marked until it is discarded, and only once.

        What comes after a promotion must be known to be left over when the process is killed there.
        """
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

    @promised_by(PromoteRequest)
    def test_an_unfinished_version_can_be_taken_back(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """An unfinished version can be taken back, after which another rotation can begin.

        The mark must not stay in the way when a rotation has been undone.
        """
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

    @promised_by(PromoteRequest)
    def test_promoting_the_previous_version_takes_it_back(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Promoting the previous version makes it current again, and another value can be staged then.

        That is how a rotation is undone when applications fail with the new value.
        """
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        promote(staging, name, new, old)
        promote(staging, name, old, new)
        assert stages(staging, name) == parts(old, previous=new)
        assert (text_of(backend, name), read(backend, name).version) == ("old", old)
        following = stage(staging, name, "next").version
        assert stages(staging, name).pending == following

    @promised_by(Staging.discard)
    def test_a_discarded_value_leaves_the_current_one(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """A discarded version is pending no more, a second time says so, and the current one stays.

        Giving up a candidate must not touch what all use.
        """
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        pending = stage(staging, name, "pending").version
        assert discard(staging, name, pending)
        assert not discard(staging, name, pending)
        assert stages(staging, name).replace(previous=None) == parts(current)
        assert (text_of(backend, name), read(backend, name).version) == ("current", current)

    @promised_by(Staging.discard)
    def test_after_a_discard_another_value_can_be_staged(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """After a discard the same content can be staged as another version, and promoted.

        A rotation that has failed must not block the secret.
        """
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        given_up = stage(staging, name, "candidate").version
        discard(staging, name, given_up)
        again = stage(staging, name, "candidate").version
        assert again != given_up
        promote(staging, name, again, old)
        assert text_of(backend, name) == "candidate"

    @promised_by(Staging.discard)
    def test_only_a_pending_version_is_discarded(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Discarding the current version or one that never was says so, and changes nothing.

        A process that comes late must not give up somebody else's candidate.
        """
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        pending = stage(staging, name, "pending").version
        for version in (current, "no-such-version"):
            assert not discard(staging, name, version)
        assert stages(staging, name).replace(previous=None) == parts(current, pending)
        assert (text_of(backend, name), text_of(backend, name, pending)) == ("current", "pending")

    @promised_by(Staging)
    def test_what_is_absent_has_no_stages_and_gets_none(self, staging: Staging, folder: str) -> None:
        """For a missing secret each call raises ``SecretNotFoundError``, and makes none.

        A rotation replaces what is there; a misspelt name would leave an empty secret behind.
        """
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

    @promised_by(Staging.promote)
    def test_a_version_that_never_was_cannot_be_promoted(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """Promoting a version that never was raises ``SecretNotFoundError``, and the current one stays.

        Without a current version nobody could read the secret.
        """
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        with pytest.raises(SecretNotFoundError):
            promote(staging, name, "no-such-version", current)
        assert (text_of(backend, name), stages(staging, name).current) == ("current", current)

    @promised_by(Staging)
    def test_an_ordinary_write_leaves_the_pending_value(self, staging: Staging, backend: Backend, folder: str) -> None:
        """An ordinary write leaves the pending value, and is a conflict for who has not seen it.

        A write in the middle of a rotation must neither be lost nor spoil the rotation.
        """
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

    @promised_by(Staging.stage)
    def test_staged_bytes_stay_exact(self, staging: Staging, backend: Backend, seed: Seed, folder: str) -> None:
        """Staged bytes come back as these bytes, while they are pending and once they are current.

        Keys are rotated as well, and are bytes.
        """
        self.need_binary()
        name = seed(f"{folder}/a", "current")
        current = read(backend, name).version
        pending = stage(staging, name, CONTENT).version
        assert read(backend, name, pending).value == SecretValue(CONTENT)
        promote(staging, name, pending, current)
        assert read(backend, name).value == SecretValue(CONTENT)

    @promised_by(StagesResult)
    def test_no_pending_version_is_listed_as_current(
        self, staging: Staging, backend: Backend, seed: Seed, folder: str
    ) -> None:
        """In the list of versions one is current, the pending one never, and after a promotion the new one.

        Whoever looks at the versions must see which of them readers get.
        """
        name = seed(f"{folder}/a", "old")
        old = read(backend, name).version
        new = stage(staging, name, "new").version
        assert _current_of(backend, name) == [old]
        promote(staging, name, new, old)
        assert _current_of(backend, name) == [new]

    @promised_by(Backend)
    def test_no_value_in_what_staging_shows(self, staging: Staging, seed: Seed, folder: str) -> None:
        """Neither requests, results, the backend nor the error of a conflict show a value.

        They end up in logs and in the reports of error trackers.
        """
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
