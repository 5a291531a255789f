"""The kit's checks of staging: a backend that keeps its promises passes, and each mistake is found."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import pytest

import strongroom.testing  # noqa: F401  # here once, not in each inner run

from staged import StagedBackend
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import Capability
from strongroom.testing.backend_staging import StagingChecks

pytest_plugins = ["pytester"]

HEAD = """
    import time

    import pytest

    from staged import StagedBackend, conflict
    from strongroom.contracts import *
    from strongroom.errors import *
    from strongroom.model import SecretName, SecretValue
    from strongroom.testing.backend_staging import StagingChecks

    class Broken(StagedBackend):
"""
TAIL = """
    class TestBroken(StagingChecks):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self):
            return Broken()
"""
MISTAKES = {
    "writes what it should stage": (
        """
        def stage(self, request):
            result = super().stage(request)
            self.kept[request.name].current = result.version
            return result
        """,
        {
            "test_a_staged_value_is_not_what_a_read_returns",
            "test_the_parts_of_versions_are_told",
            "test_another_write_while_one_is_pending_is_a_conflict",
            "test_of_many_that_stage_at_once_one_wins",
            "test_an_abandoned_value_can_be_taken_over",
            "test_a_promoted_version_is_the_current_one",
            "test_promoting_over_another_version_is_a_conflict",
            "test_promoting_twice_changes_nothing",
            "test_a_discarded_value_leaves_the_current_one",
            "test_only_a_pending_version_is_discarded",
            "test_no_pending_version_is_listed_as_current",
            "test_a_promoted_version_can_stay_marked_as_unfinished",
        },
    ),
    "reads the current value for a pending version": (
        """
        def read(self, request):
            pending = self._known(request.name).pending
            version = None if request.version == pending else request.version
            return super().read(request.replace(version=version))
        """,
        {
            "test_a_staged_value_is_read_by_its_version",
            "test_staging_again_with_the_same_token_is_the_same_version",
            "test_another_write_while_one_is_pending_is_a_conflict",
            "test_of_many_that_stage_at_once_one_wins",
            "test_an_abandoned_value_can_be_taken_over",
            "test_only_the_pending_version_can_be_taken_over",
            "test_only_a_pending_version_is_discarded",
            "test_an_ordinary_write_leaves_the_pending_value",
            "test_staged_bytes_stay_exact",
        },
    ),
    "names the current version as pending": (
        """
        def stages(self, request):
            found = super().stages(request)
            return found.replace(pending=found.pending or found.current)
        """,
        {
            "test_the_parts_of_versions_are_told",
            "test_only_the_pending_version_can_be_taken_over",
            "test_a_promoted_version_is_the_current_one",
            "test_promoting_twice_changes_nothing",
            "test_promoting_the_previous_version_takes_it_back",
            "test_a_discarded_value_leaves_the_current_one",
            "test_a_promoted_version_can_stay_marked_as_unfinished",
            "test_an_unfinished_version_can_be_taken_back",
        },
    ),
    "takes a repetition for another write": (
        """
        def stage(self, request):
            if self._known(request.name).pending is not None and request.expect_pending is None:
                raise conflict(request.name, "absent", "something")
            return super().stage(request)
        """,
        {"test_staging_again_with_the_same_token_is_the_same_version"},
    ),
    "takes the same content for a repetition": (
        """
        def stage(self, request):
            kept = self._known(request.name)
            if kept.pending is not None and kept.values[kept.pending] == request.value:
                return StageResult(version=kept.pending)
            return super().stage(request)
        """,
        {"test_another_write_while_one_is_pending_is_a_conflict", "test_no_value_in_what_staging_shows"},
    ),
    "replaces whatever is pending": (
        """
        def stage(self, request):
            self._known(request.name).pending = request.expect_pending
            return super().stage(request)
        """,
        {
            "test_staging_again_with_the_same_token_is_the_same_version",
            "test_another_write_while_one_is_pending_is_a_conflict",
            "test_of_many_that_stage_at_once_one_wins",
            "test_only_the_pending_version_can_be_taken_over",
            "test_no_value_in_what_staging_shows",
        },
    ),
    "gives up what is pending before it refuses": (
        """
        def stage(self, request):
            try:
                return super().stage(request)
            except VersionConflictError:
                self.kept[request.name].pending = None
                raise
        """,
        {
            "test_another_write_while_one_is_pending_is_a_conflict",
            "test_of_many_that_stage_at_once_one_wins",
            "test_only_the_pending_version_can_be_taken_over",
        },
    ),
    "looks, and stages a moment later": (
        """
        def stage(self, request):
            pending = self._known(request.name).pending
            if pending not in (request.expect_pending, request.token):
                raise conflict(request.name, "", "")
            time.sleep(0.02)  # the gap that a lock would close
            with self._lock:
                self._known(request.name).pending = None if pending != request.token else pending
                return super().stage(request.replace(expect_pending=None))
        """,
        {"test_of_many_that_stage_at_once_one_wins"},
    ),
    "lets nobody take anything over": (
        """
        def stage(self, request):
            return super().stage(request.replace(expect_pending=None))
        """,
        {
            "test_an_abandoned_value_can_be_taken_over",
            "test_only_the_pending_version_can_be_taken_over",
        },
    ),
    "promotes over anything": (
        """
        def promote(self, request):
            return super().promote(request.replace(expect_current=str(self._known(request.name).current)))
        """,
        {"test_promoting_over_another_version_is_a_conflict", "test_an_ordinary_write_leaves_the_pending_value"},
    ),
    "refuses to promote, and does it": (
        """
        def promote(self, request):
            try:
                return super().promote(request)
            except VersionConflictError:
                self.kept[request.name].make_current(request.version)
                raise
        """,
        {"test_promoting_over_another_version_is_a_conflict"},
    ),
    "complains of promoting twice": (
        """
        def promote(self, request):
            if self._known(request.name).current != request.expect_current and request.version in self.kept[
                request.name
            ].values:
                raise conflict(request.name, request.expect_current, "another")
            return super().promote(request)
        """,
        {
            "test_promoting_twice_changes_nothing",
            "test_a_promoted_version_can_stay_marked_as_unfinished",
        },
    ),
    "has no previous version after a second promotion": (
        """
        def promote(self, request):
            result = super().promote(request)
            kept = self.kept[request.name]
            if kept.current != request.expect_current and getattr(self, "once", None) == request.version:
                kept.previous = kept.current
            self.once = request.version
            return result
        """,
        {
            "test_promoting_twice_changes_nothing",
            "test_a_promoted_version_can_stay_marked_as_unfinished",
        },
    ),
    "promotes only what is pending": (
        """
        def promote(self, request):
            kept = self._known(request.name)
            if request.version in kept.values and request.version not in (kept.pending, kept.current):
                raise SecretNotFoundError("it is not pending")
            return super().promote(request)
        """,
        {
            "test_promoting_the_previous_version_takes_it_back",
            "test_an_unfinished_version_can_be_taken_back",
        },
    ),
    "loses the old value when it promotes": (
        """
        def promote(self, request):
            result = super().promote(request)
            if request.version != request.expect_current:
                self.kept[request.name].values.pop(request.expect_current, None)
            return result
        """,
        {
            "test_a_promoted_version_is_the_current_one",
            "test_promoting_the_previous_version_takes_it_back",
            "test_an_unfinished_version_can_be_taken_back",
        },
    ),
    "promotes a version that never was": (
        """
        def promote(self, request):
            kept = self._known(request.name)
            if request.version in kept.values:
                return super().promote(request)
            return PromoteResult()
        """,
        {"test_a_version_that_never_was_cannot_be_promoted"},
    ),
    "forgets what is unfinished": (
        """
        def promote(self, request):
            return super().promote(request.replace(keep_unfinished=False))
        """,
        {"test_a_promoted_version_can_stay_marked_as_unfinished"},
    ),
    "leaves what was taken back unfinished": (
        """
        def stages(self, request):
            found = super().stages(request)
            kept = self.kept[request.name]
            kept.mark = found.unfinished or getattr(kept, "mark", None)
            return found.replace(unfinished=kept.mark)
        """,
        {"test_a_promoted_version_can_stay_marked_as_unfinished"},
    ),
    "discards whatever is pending": (
        """
        def discard(self, request):
            kept = self._known(request.name)
            return super().discard(request.replace(version=kept.pending or request.version))
        """,
        {"test_only_a_pending_version_is_discarded"},
    ),
    "discards the current version": (
        """
        def discard(self, request):
            result = super().discard(request)
            kept = self.kept[request.name]
            if request.version == kept.current:
                kept.current = kept.pending
            return result
        """,
        {
            "test_only_a_pending_version_is_discarded",
            "test_a_promoted_version_can_stay_marked_as_unfinished",
        },
    ),
    "does not discard": (
        """
        def discard(self, request):
            return DiscardResult(existed=self._known(request.name).pending == request.version)
        """,
        {
            "test_only_the_pending_version_can_be_taken_over",
            "test_a_discarded_value_leaves_the_current_one",
            "test_after_a_discard_another_value_can_be_staged",
            "test_a_promoted_version_can_stay_marked_as_unfinished",
        },
    ),
    "names a version by its content": (
        """
        def stage(self, request):
            kept = self._known(request.name)
            name = request.value.reveal().hex()
            if name in kept.values and kept.pending != name:
                return StageResult(version=name)
            return super().stage(request.replace(token=name))
        """,
        {
            "test_another_write_while_one_is_pending_is_a_conflict",
            "test_after_a_discard_another_value_can_be_staged",
            "test_no_value_in_what_staging_shows",
        },
    ),
    "makes a secret to stage something": (
        """
        def stage(self, request):
            if request.name not in self.kept:
                self.write(WriteRequest(name=request.name, value=request.value))
            return super().stage(request)
        """,
        {"test_what_is_absent_has_no_stages_and_gets_none"},
    ),
    "says nothing of a missing secret": (
        """
        def stages(self, request):
            if request.name not in self.kept:
                return StagesResult(current=None, pending=None, previous=None)
            return super().stages(request)
        """,
        {"test_what_is_absent_has_no_stages_and_gets_none"},
    ),
    "gives up what is pending with every write": (
        """
        def write(self, request):
            result = super().write(request)
            self.kept[request.name].pending = None
            return result
        """,
        {"test_an_ordinary_write_leaves_the_pending_value"},
    ),
    "takes a write for the rotation's end": (
        """
        def write(self, request):
            kept = self.kept.get(request.name)
            result = super().write(request)
            if kept is not None and kept.pending is not None:
                kept.make_current(kept.pending)
            return result
        """,
        {"test_an_ordinary_write_leaves_the_pending_value"},
    ),
    "stages text only": (
        """
        def stage(self, request):
            text = request.value.reveal().decode(errors="replace")
            return super().stage(request.replace(value=SecretValue(text)))
        """,
        {"test_staged_bytes_stay_exact"},
    ),
    "lists what is pending as current": (
        """
        def versions(self, request):
            listed = super().versions(request).versions
            states = {"pending": "current"}
            return VersionsResult(versions=tuple(one.replace(state=states.get(one.state, one.state)) for one in listed))
        """,
        {"test_no_pending_version_is_listed_as_current"},
    ),
    "lists the old version as current": (
        """
        def promote(self, request):
            self.old = request.expect_current
            return super().promote(request)

        def versions(self, request):
            listed = super().versions(request).versions
            old = getattr(self, "old", listed[0].version)
            return VersionsResult(
                versions=tuple(one.replace(state="current" if one.version == old else "superseded") for one in listed)
            )
        """,
        {"test_no_pending_version_is_listed_as_current"},
    ),
    "shows the value in a conflict": (
        """
        def stage(self, request):
            try:
                return super().stage(request)
            except VersionConflictError as error:
                raise conflict(request.name, request.value.reveal().decode(), "another") from error
        """,
        {"test_no_value_in_what_staging_shows"},
    ),
    "shows values in its repr": (
        """
        def __repr__(self):
            return repr([value.reveal() for kept in self.kept.values() for value in kept.values.values()])
        """,
        {"test_no_value_in_what_staging_shows"},
    ),
}


class TestStagedBackend(StagingChecks):
    """Whatever keeps the contract passes."""

    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self) -> StagedBackend:
        return StagedBackend()


def module(mistake: str, tail: str = TAIL) -> str:
    return textwrap.dedent(HEAD) + textwrap.indent(textwrap.dedent(mistake), "    ") + textwrap.dedent(tail)


@pytest.mark.parametrize(("mistake", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(mistake: str, expected: set[str], failed_checks: Callable[..., set[str]]) -> None:
    assert failed_checks(module(mistake)) == expected


def test_each_check_can_fail() -> None:
    checks = {name for name in dir(StagingChecks) if name.startswith("test_")}
    assert checks == set().union(*(expected for _, expected in MISTAKES.values()))


def test_a_backend_that_stages_nothing_is_not_checked(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        module("    pass", TAIL.replace("Broken()", "MemoryBackend()")).replace(
            "import time", f"from {MemoryBackend.__module__} import MemoryBackend"
        )
    )
    passed, skipped, failed = pytester.inline_run("-q", "-p", "no:cacheprovider").listoutcomes()
    assert (passed, failed) == ([], [])
    assert skipped
