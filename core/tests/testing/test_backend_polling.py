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
