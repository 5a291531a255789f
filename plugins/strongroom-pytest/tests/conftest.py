"""Tests of the plugin run pytest itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Runs the body of a test module as pytest does at a user's; the arguments are pytest's."""

    def run(source: str, *arguments: str, apart: bool = False, as_installed: bool = False) -> pytest.RunResult:
        pytester.makepyfile("import logging, os, subprocess, sys, warnings\nimport pytest\n" + source)
        arguments = ("-p", "no:cacheprovider", *arguments)
        # There pytest repeats whole reports in its summary, and what is counted here would be there twice.
        monkeypatch.delenv("CI", raising=False)
        if not as_installed:
            # Whatever else is installed here costs each of these runs more than all of ours.
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            arguments = ("-p", "strongroom_pytest.pytest_plugin", *arguments)
        # A process of its own takes longer, and most tests need none.
        return (pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess)(*arguments)

    return run
