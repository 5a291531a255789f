"""The kit and backends that refuse more than others: what they may refuse, and how it must be refused."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import opentelemetry.sdk.trace.export.in_memory_span_exporter  # noqa: F401  # here once, not in each inner run
import pytest

from strict import StrictBackend
from strongroom.contracts import Capability
from strongroom.testing import BackendContract

pytest_plugins = ["pytester"]

HEAD = """
    import pytest

    from strict import StrictBackend
    from strongroom.builtin.memory import MemoryBackend
    from strongroom.contracts import *
    from strongroom.errors import *
    from strongroom.testing.backend_recovery import DescribingChecks, RecoveryChecks
    from strongroom.testing.backend_versions import CheckAndSetChecks
    from strongroom.testing.backend_writing import WritingChecks

    class Broken(StrictBackend):
"""
TAIL = """
    class TestBroken(WritingChecks, CheckAndSetChecks, RecoveryChecks, DescribingChecks):
        capabilities = frozenset(Capability)
        recovers_versions = False
        writes_over_deleted = False

        @pytest.fixture
        def backend(self):
            return Broken()
"""
OVER_DELETED = {"test_a_write_after_a_delete_makes_a_new_secret", "test_a_deleted_secret_is_absent"}
MISTAKES = {
    "writes over what was deleted": ("    write = MemoryBackend.write", OVER_DELETED),
    "says of what is to be deleted that it is": (
        """
        def write(self, request):
            try:
                return super().write(request)
            except SecretDeletedError as error:
                raise SecretDeletedError(error.what, code="deleted") from error
        """,
        OVER_DELETED,
    ),
    "brings back what it refuses to write over": (
        """
        def write(self, request):
            try:
                return super().write(request)
            except SecretDeletedError:
                self.undelete(UndeleteRequest(name=request.name))
                raise
        """,
        OVER_DELETED,
    ),
    "says that what is to be deleted is no conflict": (
        """
        def write(self, request):
            try:
                return super().write(request)
            except VersionConflictError as error:
                if error.found != "absent":
                    raise
                raise SecretDeletedError(error.what, code="deletion_scheduled") from error
        """,
        {"test_a_version_expected_of_a_missing_secret_is_a_conflict"},
    ),
    "brings a single version back after all": (
        "    undelete = MemoryBackend.undelete",
        {"test_an_older_version_comes_back_by_its_number"},
    ),
    "brings the whole back where a version was asked for": (
        """
        def undelete(self, request):
            return super().undelete(request.replace(version=None))
        """,
        {"test_an_older_version_comes_back_by_its_number", "test_what_never_was_cannot_be_undeleted"},
    ),
    "destroys a single version after all": (
        "    destroy = MemoryBackend.destroy",
        {"test_a_destroyed_version_never_comes_back", "test_a_deleted_version_can_be_destroyed"},
    ),
    "destroys the whole where a version was named": (
        """
        def destroy(self, request):
            try:
                return super().destroy(request)
            except UnsupportedOperationError:
                super().destroy(request.replace(versions=()))
                raise
        """,
        {
            "test_a_destroyed_version_never_comes_back",
            "test_a_deleted_version_can_be_destroyed",
            "test_a_version_that_never_was_cannot_be_destroyed",
        },
    ),
    "replaces the letters of notes that it cannot hold": (
        """
        def annotate(self, request):
            kept = {key.replace("?", "_"): text.replace("%", "_") for key, text in request.metadata.items()}
            return MemoryBackend.annotate(self, request.replace(metadata=kept))
        """,
        {"test_odd_notes_are_kept_or_refused_as_a_whole"},
    ),
    "keeps some of the notes that it refuses": (
        """
        def annotate(self, request):
            try:
                return super().annotate(request)
            except InvalidValueError:
                MemoryBackend.annotate(self, request.replace(metadata={"owner": request.metadata["owner"]}))
                raise
        """,
        {"test_odd_notes_are_kept_or_refused_as_a_whole"},
    ),
    "refuses ordinary notes": (
        """
        def annotate(self, request):
            if any(not text.isascii() for text in request.metadata.values()):
                raise InvalidValueError("plain letters only")
            return super().annotate(request)
        """,
        {
            "test_notes_come_back_exactly",
            "test_odd_notes_are_kept_or_refused_as_a_whole",
            "test_notes_replace_those_before",
            "test_notes_leave_the_secret_as_it_is",
            "test_notes_of_one_secret_are_not_anothers",
            "test_what_is_absent_has_no_notes_and_gets_none",
        },
    ),
}


class TestStrictBackend(BackendContract):
    """A backend that refuses odd names, empty values, odd notes and single versions keeps the contract."""

    capabilities = frozenset(Capability)
    recovers_versions = False
    writes_over_deleted = False

    @pytest.fixture
    def backend(self) -> StrictBackend:
        return StrictBackend()


def module(mistake: str) -> str:
    return textwrap.dedent(HEAD) + textwrap.indent(textwrap.dedent(mistake), "    ") + textwrap.dedent(TAIL)


@pytest.mark.parametrize(("mistake", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(mistake: str, expected: set[str], failed_checks: Callable[..., set[str]]) -> None:
    assert failed_checks(module(mistake), "-k", "not concurrent") == expected


def test_what_a_class_does_not_state_is_demanded(failed_checks: Callable[..., set[str]]) -> None:
    stated = "        recovers_versions = False\n        writes_over_deleted = False\n"
    assert stated in TAIL
    source = textwrap.dedent(HEAD) + "        pass\n" + textwrap.dedent(TAIL.replace(stated, ""))
    assert failed_checks(source, "-k", "not concurrent") == OVER_DELETED | {
        "test_an_older_version_comes_back_by_its_number",
        "test_a_destroyed_version_never_comes_back",
        "test_a_deleted_version_can_be_destroyed",
        "test_a_version_that_never_was_cannot_be_destroyed",
        "test_what_never_was_cannot_be_undeleted",
    }
