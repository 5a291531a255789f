"""The kit's checks of current versions: each mistake is found, and a backend that says none is not checked."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import pytest

import strongroom.testing  # noqa: F401  # here once, not in each inner run

pytest_plugins = ["pytester"]

HEAD = """
    import pytest

    from strongroom.builtin.memory import MemoryBackend
    from strongroom.contracts import *
    from strongroom.model import SecretName
    from strongroom.testing.backend_polling import PollingChecks

    def changed(result, versions):
        return result.replace(versions=versions)

    class Broken(MemoryBackend):
"""
TAIL = """
    class TestBroken(PollingChecks):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self):
            return Broken()
"""
OPENED_TWICE = """
    class TestBroken(PollingChecks):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self):
            return Broken()

        @pytest.fixture
        def reopen(self, backend):
            def again():
                other = Broken()
                other._histories = backend._histories
                return other

            return again
"""
MISTAKES = {
    "remembers what it has said once": (
        """
        said = None

        def current_versions(self, request):
            self.said = self.said or {}
            found = super().current_versions(request).versions
            versions = {name: self.said.setdefault(name, found[name]) for name in request.names}
            return CurrentVersionsResult(versions=versions, errors={})
        """,
        {
            "test_a_change_is_seen_at_the_next_look",
            "test_a_new_secret_is_seen_at_the_next_look",
            "test_a_deleted_secret_has_no_current_version",
            "test_versions_are_said_while_others_write",
        },
    ),
    "names versions in a way of its own": (
        """
        def current_versions(self, request):
            result = super().current_versions(request)
            return changed(result, {name: version and f"v{version}" for name, version in result.versions.items()})
        """,
        {
            "test_a_current_version_is_the_one_that_a_read_names",
            "test_a_change_is_seen_at_the_next_look",
            "test_many_names_are_answered_each_for_itself",
            "test_versions_are_said_while_others_write",
        },
    ),
    "leaves out what is absent": (
        """
        def current_versions(self, request):
            result = super().current_versions(request)
            return changed(result, {name: version for name, version in result.versions.items() if version})
        """,
        {
            "test_a_secret_that_is_not_there_has_no_current_version",
            "test_a_new_secret_is_seen_at_the_next_look",
            "test_a_deleted_secret_has_no_current_version",
            "test_many_names_are_answered_each_for_itself",
        },
    ),
    "answers the first twenty names": (
        """
        def current_versions(self, request):
            return super().current_versions(request.replace(names=request.names[:20]))
        """,
        {"test_many_names_are_answered_each_for_itself"},
    ),
    "shows the value instead of the version": (
        """
        def current_versions(self, request):
            read = self.read_many(ReadManyRequest(names=request.names)).found
            found = {name: read[name].value.reveal_text() if name in read else None for name in request.names}
            return CurrentVersionsResult(versions=found, errors={})
        """,
        {
            "test_a_current_version_is_the_one_that_a_read_names",
            "test_a_change_is_seen_at_the_next_look",
            "test_many_names_are_answered_each_for_itself",
            "test_no_value_in_what_is_said_of_versions",
            "test_versions_are_said_while_others_write",
        },
    ),
    "cannot go on in a child": (
        """
        def after_fork(self):
            self._histories = {}
        """,
        {"test_a_forked_child_can_ask_for_versions"},
    ),
}
OF_ITS_OWN = """
        @property
        def own(self):
            return f"{id(self)}."

        def read(self, request):
            found = super().read(request)
            return found.replace(version=self.own + found.version)

        def write(self, request):
            made = super().write(request)
            return made.replace(version=self.own + made.version)

        def current_versions(self, request):
            result = super().current_versions(request)
            return changed(result, {name: version and self.own + version for name, version in result.versions.items()})
"""
NOT_SHARED = """
        versions_are_shared = False
"""
BETWEEN = {
    "makes versions of its own": (
        OF_ITS_OWN,
        {
            "test_whoever_opens_the_same_is_told_the_same_version",
            "test_a_change_is_seen_by_whoever_opens_the_same",
        },
    ),
    "sees only what it has changed itself": (
        """
        said = None

        def current_versions(self, request):
            self.said = self.said or {}
            found = super().current_versions(request).versions
            versions = {name: self.said.setdefault(name, found[name]) for name in request.names}
            return CurrentVersionsResult(versions=versions, errors={})

        def write(self, request):
            self.said = None
            return super().write(request)

        def delete(self, request):
            self.said = None
            return super().delete(request)
        """,
        {"test_a_change_is_seen_by_whoever_opens_the_same"},
    ),
}


def module(body: str, tail: str = TAIL) -> str:
    return textwrap.dedent(HEAD) + textwrap.indent(textwrap.dedent(body), "    ") + textwrap.dedent(tail)


@pytest.mark.parametrize(("body", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_fails_its_checks(failed_checks: Callable[..., set[str]], body: str, expected: set[str]) -> None:
    assert failed_checks(module(body)) == expected


def test_a_backend_that_says_no_versions_is_not_checked(failed_checks: Callable[..., set[str]]) -> None:
    body = """
        pass

    class Plain(Backend):
        address = "plain:"

        def read(self, request):
            raise AssertionError("it is not asked")
    """
    source = module("pass", TAIL.replace("Broken()", "Plain()"))
    plain = textwrap.dedent(body).partition("\n\n")[2]
    assert failed_checks(source.replace("class TestBroken", plain + "\n\nclass TestBroken")) == set()


@pytest.mark.parametrize(("body", "expected"), BETWEEN.values(), ids=BETWEEN.keys())
def test_a_mistake_between_two_openings_fails_its_checks(
    failed_checks: Callable[..., set[str]], body: str, expected: set[str]
) -> None:
    assert failed_checks(module(body, OPENED_TWICE)) == expected


def test_versions_that_are_not_shared_may_differ(failed_checks: Callable[..., set[str]]) -> None:
    assert failed_checks(module(OF_ITS_OWN + NOT_SHARED, OPENED_TWICE)) == set()


def test_two_openings_must_not_be_one_object(failed_checks: Callable[..., set[str]]) -> None:
    source = module("pass", OPENED_TWICE).replace("return again", "return lambda: backend")
    assert failed_checks(source, "-k", "opens_the_same") == {
        "test_whoever_opens_the_same_is_told_the_same_version",
        "test_a_change_is_seen_by_whoever_opens_the_same",
    }
