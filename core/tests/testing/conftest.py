"""Runs the conformance kit on things that are broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

FailedChecks = Callable[..., set[str]]

# Hypothesis would be imported anew, and rewritten, in each of the many inner runs.
PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist", "--import-mode=importlib", "--tb=no")


@pytest.fixture
def failed_checks(pytester: pytest.Pytester) -> FailedChecks:
    """Return a function that runs a test module and returns the names of the checks that failed."""

    def run(source: str, *arguments: str) -> set[str]:
        path = pytester.makepyfile(test_broken=source)
        outcome = pytester.inline_run(str(path), *PLAIN, *arguments)
        passed, skipped, failed = outcome.listoutcomes()
        assert passed or skipped or failed, "the module could not be collected"
        return {report.nodeid.rpartition("::")[2].partition("[")[0] for report in failed}

    return run
