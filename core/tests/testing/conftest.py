"""Runs the conformance kit on things that are broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kits import promises_of

FailedChecks = Callable[..., set[str]]

# Hypothesis would be imported anew, and rewritten, in each of the many inner runs.
PLAIN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist", "--import-mode=importlib", "--tb=no")


def check_of(report: pytest.TestReport) -> str:
    """Return the name of the check that a report is about."""
    return report.nodeid.rpartition("::")[2].partition("[")[0]


def is_explained(report: pytest.TestReport) -> bool:
    """Tell whether what pytest prints of a failed check ends with the explanation of that check."""
    printed = "\n".join(line.removeprefix("E").strip() for line in report.longreprtext.splitlines())
    return any(printed.count(str(promise)) == 1 for promise in promises_of(check_of(report)))


@pytest.fixture
def failed_checks(pytester: pytest.Pytester) -> FailedChecks:
    """Return a function that runs a test module and returns the names of the checks that failed.

    It sees to it that each failure is explained.
    """

    def run(source: str, *arguments: str) -> set[str]:
        path = pytester.makepyfile(test_broken=source)
        outcome = pytester.inline_run(str(path), *PLAIN, *arguments)
        passed, skipped, failed = outcome.listoutcomes()
        assert passed or skipped or failed, "the module could not be collected"
        unexplained = [report.longreprtext for report in failed if report.when == "call" and not is_explained(report)]
        assert unexplained == []
        return {check_of(report) for report in failed}

    return run
