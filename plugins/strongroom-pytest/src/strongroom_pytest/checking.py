"""Looks through the reports of tests that watch values, masks them, and fails those that hold one."""

from __future__ import annotations

import warnings

from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest

from strongroom_pytest.leaks import LeakWatch
from strongroom_pytest.listening import Listening

CHECKER: Final = pytest.StashKey["Checker"]()
ALLOW: Final = "strongroom_allow_leaks"
_SECTION: Final = "strongroom"


class Checker:
    """The check, as a plugin of its own: where it is switched off, no hook of it is called.

    Each report is looked through twice, and neither time can be spared. Plugins that repeat tests judge by the report
    as it was made, and those that give each test a process log it in another one, which knows no values. The report
    of a subtest gets its output after it was made, and whatever a plugin adds on the way shows only when it is logged.

    Args:
        config: pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._streams = config.getoption("capture", default="no") == "no"
        self._leaks: LeakWatch | None = None
        self._listening: Listening | None = None

    def start(self, item: pytest.Item, leaks: LeakWatch) -> None:
        """Check a test from now on to its end, unless it may show values."""
        self._stop()
        if item.get_closest_marker(ALLOW) is None:
            self._leaks = leaks
            self._listening = Listening(leaks, streams=self._streams)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Forget the values when a test has ended; its warnings are recorded before that."""
        try:
            return (yield)
        finally:
            self._stop()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Check a report when all others have written what they have to write into it."""
        report = yield
        if self._leaks is not None:
            self._check(report, self._leaks, item.nodeid)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Check again before anybody shows a report: that of a subtest gets its output late."""
        if self._leaks is not None:
            self._check(report, self._leaks, "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Mask a warning before it is kept for the summary."""
        if self._leaks is not None:
            text = str(warning_message.message)
            masked = self._leaks.mask(text)
            if masked != text:
                warning_message.message = UserWarning(masked)

    def _stop(self) -> None:
        if self._listening is not None:
            self._listening.stop()
        self._leaks = self._listening = None

    def _check(self, report: pytest.TestReport, leaks: LeakWatch, name: str) -> None:
        places: dict[str, set[str]] = {}
        # A test whose setup went well is judged when it has run, with all that its setup printed.
        if not (report.when == "setup" and report.passed):
            leaks.refresh()
            for place, names in [*leaks.noted(), *_in_report(report, leaks, name)]:
                places.setdefault(place, set()).update(names)
        _mask(report, leaks)
        # What pytest has captured of the log has no names of loggers that can be relied on; ours has.
        if any(place.startswith("the log of ") for place in places):
            places = {place: names for place, names in places.items() if not place.startswith("log (")}
        if places:
            _fail(report, places)


def _in_report(report: pytest.TestReport, leaks: LeakWatch, name: str) -> Iterator[tuple[str, list[str]]]:
    texts = [("its own name", name)] if report.when == "call" else []
    texts += [("its subtest's name", text) for text in _subtest(report).values()]
    for header, content in report.sections:
        stream, _, phase = header.removeprefix("Captured ").partition(" ")
        # The report of the teardown repeats what that of the call has told.
        if header != _SECTION and (report.when != "teardown" or phase == "teardown"):
            texts.append((f"{stream} ({phase})" if phase else header, content))
    texts.append(("its failure's report", "\n".join([_reason(report), *_summaries(report)])))
    texts += [
        (f"its property {leaks.mask(key)}", f"{key}\n{value}")
        for key, value in report.user_properties
        if report.when == "call"
    ]
    for place, text in texts:
        names = leaks.names_in(text) if text else []
        if names:
            yield place, names


def _reason(report: pytest.TestReport) -> str:
    """Return the text of a failure or of a skip."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext


def _summaries(report: pytest.TestReport) -> list[str]:
    """Return what is shown of a failure by itself: the error's own text, and the reason why it was expected."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return [getattr(crash, "message", ""), getattr(report, "wasxfail", "")]


def _subtest(report: pytest.TestReport) -> dict[str, str]:
    """Return what the report of a subtest is headed with."""
    context = getattr(report, "context", None)
    parts = {"": getattr(context, "msg", None), **(getattr(context, "kwargs", None) or {})}
    return {key: str(part) for key, part in parts.items() if part is not None}


def _mask_subtest(report: pytest.TestReport, leaks: LeakWatch) -> None:
    masked = {key: leaks.mask_failure(text) for key, text in _subtest(report).items()}
    if masked != _subtest(report):
        context = report.context
        # It is frozen against accidents; what it is made of is all strings.
        object.__setattr__(context, "msg", masked.pop("", None))
        object.__setattr__(context, "kwargs", masked)


def _mask(report: pytest.TestReport, leaks: LeakWatch) -> None:
    _mask_subtest(report, leaks)
    report.sections = [(header, leaks.mask(content)) for header, content in report.sections]
    report.user_properties = [(leaks.mask(key), _masked(value, leaks)) for key, value in report.user_properties]
    reason, (message, expected) = _reason(report), _summaries(report)
    if expected:
        report.wasxfail = leaks.mask_failure(expected)
    masked = leaks.mask_failure(reason)
    if masked == reason and leaks.mask_failure(message) == message:
        return
    if isinstance(report.longrepr, tuple):
        report.longrepr = (*report.longrepr[:2], masked)
    else:
        # A traceback in pieces would have to be masked piece by piece, and a value may begin in one and end in another.
        report.longrepr = masked


def _masked(value: Any, leaks: LeakWatch) -> Any:
    masked = leaks.mask(str(value))
    return value if masked == str(value) else masked


def _fail(report: pytest.TestReport, places: dict[str, set[str]]) -> None:
    lines = [f"  {place}: {', '.join(sorted(names))}" for place, names in sorted(places.items())]
    message = "\n".join(
        [
            "The output of this test holds values of secrets (masked in this report):",
            *lines,
            f"Do not print them, or mark the test with @pytest.mark.{ALLOW} if it has to.",
        ]
    )
    if report.outcome == "failed":
        report.sections.append((_SECTION, message))
        return
    # A test that was expected to fail, or was skipped, is no better for having shown a value first.
    vars(report).pop("wasxfail", None)
    report.outcome, report.longrepr = "failed", message
